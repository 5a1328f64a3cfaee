/**
 * What the documents show is what the program prints. `npm run docs` writes it anew.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const DOCUMENTS = [
  'README.md',
  'docs/sampling.md',
  'docs/mm.md',
  'docs/c-to-typescript.md',
  'docs/devices.md',
];
const MAIN = new URL('../../dist/cli/main.js', import.meta.url);
const BLOCK = /(<!-- output: (.+?) -->\n+```text\n)([\s\S]*?)(```\n+<!-- end -->)/g;

function outputOf(command: string): string {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env;
  return execFileSync(process.execPath, [MAIN.pathname, ...command.split(' ')], {
    encoding: 'utf8',
    env,
  });
}

test.each(DOCUMENTS)('the outputs in %s are those of the commands they name', (name) => {
  const path = new URL(`../../${name}`, import.meta.url);
  const text = readFileSync(path, 'utf8');
  const fresh = text.replaceAll(
    BLOCK,
    (_, head: string, command: string, __, tail: string) => head + outputOf(command) + tail,
  );
  expect(text).toMatch(BLOCK);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, fresh);
  else expect(text).toBe(fresh);
});
