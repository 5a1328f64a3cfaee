/** The examples of docs/examples hold, and the documents show them as they are. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { loadExample } from './load-example.ts';

const DOCS = new URL('../../docs/', import.meta.url);
const FILE = /(<!-- file: (.+?) -->\n+```ts\n)([^]*?)(```\n+<!-- end -->)/g;

function read(name: string): string {
  return readFileSync(new URL(name, DOCS), 'utf8');
}

const EXAMPLES = readdirSync(new URL('examples/', DOCS)).flatMap((file) =>
  loadExample(`examples/${file}`).flatMap((scenario) =>
    Object.keys(scenario.variants).map((variant) => ({ file, variant, scenario })),
  ),
);

test.each(EXAMPLES)('$file ($variant) is as it expects to be', ({ scenario, variant }) => {
  expect(checkVariant(scenario, variant)).toMatchObject({
    asExpected: true,
    complete: true,
  });
});

const SHOWING = readdirSync(DOCS).filter(
  (name) => name.endsWith('.md') && read(name).search(FILE) >= 0,
);

test.each(SHOWING)('%s shows files as they are', (name) => {
  const text = read(name);
  const fresh = text.replaceAll(
    FILE,
    (_, head: string, file: string, __, tail: string) => head + read(file) + tail,
  );
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(new URL(name, DOCS), fresh);
  else expect(text).toBe(fresh);
});
