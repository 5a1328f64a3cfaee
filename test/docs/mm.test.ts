/** docs/mm.md has every switch of the mm, with what it is in the two kernels and what its comment says. */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LINUX_5_4, LINUX_6_18 } from '../../src/mm/behaviour.ts';
import { exportedEntries } from './api.ts';

const url = new URL('../../docs/mm.md', import.meta.url);
const text = readFileSync(url, 'utf8');

function shown(value: string | boolean): string {
  if (typeof value === 'string') return `\`${value}\``;
  return value ? 'yes' : 'no';
}

/** `name`, what it is by default and in v5.4, and its comment. */
function items(): string[] {
  const behaviour = exportedEntries().find(({ name }) => name === 'Behaviour')!;
  return behaviour.members.map(({ usage, text: about }) => {
    const name = /^\w+/.exec(usage)![0] as keyof typeof LINUX_6_18;
    const present = shown(LINUX_6_18[name]);
    const old = shown(LINUX_5_4[name]);
    const values = old === present ? present : `${present}; v5.4: ${old}`;
    return `- \`${name}\` (${values}): ${about.replaceAll(/\s+/g, ' ')}\n`;
  });
}

test('every switch of the mm is listed, with its values', () => {
  const fresh = text.replace(
    /(<!-- switches -->\n\n)[^]*?(<!-- end -->)/,
    (_, head: string, tail: string) => `${head}${items().join('')}\n${tail}`,
  );
  expect(fresh).toContain('- `changePte`');
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});
