/** The examples of docs/examples hold, and the documents show them as they are. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const DOCS = new URL('../../docs/', import.meta.url);
const FILE = /(<!-- file: (.+?) -->\n+```ts\n)([^]*?)(```\n+<!-- end -->)/g;

function read(name: string): string {
  return readFileSync(new URL(name, DOCS), 'utf8');
}

test.each(readdirSync(new URL('examples/', DOCS)))('%s is as it expects to be', (name) => {
  const path = fileURLToPath(new URL(`examples/${name}`, DOCS));
  expect(() => execFileSync(process.execPath, [MAIN, 'check', path])).not.toThrow();
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
