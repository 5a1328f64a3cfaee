import { expect, test } from 'vitest';
import type { Bound, VariantResult } from '../../src/check/result.ts';
import { exitCodeOf, worstExitCode } from '../../src/cli/exit-code.ts';

const CLEAN: VariantResult = {
  scenario: 's',
  variant: 'v',
  models: [],
  expected: null,
  asExpected: true,
  verdict: 'clean',
  complete: true,
  bound: null,
  goals: [],
  executions: 1,
  blocked: 0,
  steps: 1,
  violations: [],
  suspicions: [],
};

const bound = (isRequested: boolean): Bound => ({ kind: 'time', limit: 1, isRequested });
const BOUNDED = { ...CLEAN, verdict: 'bounded', complete: false } as const;
const FOUND = {
  ...CLEAN,
  verdict: 'violation',
  asExpected: false,
  violations: [{} as VariantResult['violations'][number]],
} as const;

test('what was expected and nothing found is 0', () => {
  expect(exitCodeOf(CLEAN)).toBe(0);
  expect(exitCodeOf({ ...FOUND, expected: { verdict: 'violation' }, asExpected: true })).toBe(0);
});

test('what was not expected is 1', () => {
  expect(exitCodeOf(FOUND)).toBe(1);
  expect(exitCodeOf({ ...CLEAN, expected: { verdict: 'violation' }, asExpected: false })).toBe(1);
  expect(exitCodeOf({ ...CLEAN, verdict: 'vacuous', asExpected: false })).toBe(1);
});

test('a bound that was asked for is no finding, unless something had to be found', () => {
  const asked = { ...BOUNDED, bound: bound(true) };
  expect(exitCodeOf(asked)).toBe(0);
  expect(exitCodeOf({ ...asked, expected: { verdict: 'clean' }, asExpected: false })).toBe(0);
  expect(exitCodeOf({ ...asked, expected: { verdict: 'violation' }, asExpected: false })).toBe(1);
});

test('a limit that nobody asked for is 3, unless something was found before', () => {
  expect(exitCodeOf({ ...BOUNDED, bound: bound(false) })).toBe(3);
  expect(exitCodeOf({ ...FOUND, complete: false, bound: bound(false) })).toBe(1);
});

test('of several codes the one that matters most counts', () => {
  expect(worstExitCode([])).toBe(0);
  expect(worstExitCode([0, 3, 1])).toBe(1);
  expect(worstExitCode([1, 2, 3])).toBe(2);
  expect(worstExitCode([2, 70])).toBe(70);
  expect(worstExitCode([0, 130])).toBe(130);
});
