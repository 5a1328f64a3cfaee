/** docs/mm.md has every switch of the mm, with what it is in the two kernels. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LINUX_5_4, LINUX_6_18 } from '../../src/mm/behaviour.ts';

const text = readFileSync(new URL('../../docs/mm.md', import.meta.url), 'utf8');
const rows = [...text.matchAll(/^\| `(\w+)` +\| (\S+) +\| (\S+) +\| .+\|$/gm)];

function shown(value: string | boolean): string {
  if (typeof value === 'string') return `\`${value}\``;
  return value ? 'yes' : 'no';
}

test('every switch of the mm is in the table, with its values', () => {
  const expected = Object.entries(LINUX_6_18).map(([name, value]) => {
    return [name, shown(value), shown(LINUX_5_4[name as keyof typeof LINUX_5_4])];
  });
  expect(rows.map(([, ...cells]) => cells)).toEqual(expected);
});

test('every source that is named is there', () => {
  for (const [, path] of text.matchAll(/\]\(\.\.\/(src\/[^)]+)\)/g)) {
    expect(() => readFileSync(new URL(`../../${path}`, import.meta.url))).not.toThrow();
  }
});
