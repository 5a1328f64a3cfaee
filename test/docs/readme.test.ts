/**
 * What the README shows is what the program prints. `npm run docs` writes it anew.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const README = new URL('../../README.md', import.meta.url);
const MAIN = new URL('../../dist/cli/main.js', import.meta.url);
const BLOCK = /(<!-- output: (.+?) -->\n+```text\n)([\s\S]*?)(```\n+<!-- end -->)/g;

function outputOf(command: string): string {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env;
  return execFileSync(process.execPath, [MAIN.pathname, ...command.split(' ')], {
    encoding: 'utf8',
    env,
  });
}

test('the outputs in the README are those of the commands they name', () => {
  const text = readFileSync(README, 'utf8');
  const fresh = text.replaceAll(
    BLOCK,
    (_, head: string, command: string, __, tail: string) => head + outputOf(command) + tail,
  );
  expect(text).toMatch(BLOCK);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(README, fresh);
  else expect(text).toBe(fresh);
});
