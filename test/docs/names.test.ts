/** docs/names.md explains the names that the catalogue uses. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SCENARIOS } from '../../src/catalogue/index.ts';
import { INVARIANTS } from '../../src/mmu-notifier/detector/invariant.ts';

const text = readFileSync(new URL('../../docs/names.md', import.meta.url), 'utf8');
const names = [...text.matchAll(/^\| ((?!name |-)[^|]*?) +\|/gm)].map((match) => match[1]);

test('every name that a scenario stands for is explained', () => {
  const models = SCENARIOS.flatMap((scenario) => scenario.models ?? []);
  expect([...new Set(models)].filter((name) => !names.includes(name))).toEqual([]);
});

test('every invariant that a finding may name is explained', () => {
  expect(Object.keys(INVARIANTS).filter((name) => !names.includes(name))).toEqual([]);
});

test('no name is explained twice', () => {
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});
