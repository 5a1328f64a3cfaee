/** What the catalogue must have of the notifier core, and that each bug is shown next to what mends it. */
import { describe, expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';

const PATCHES = ['patch 1', 'patch 2', 'patch 3', 'patch 8', 'patch 11'];
const BUGS = [
  'B-1',
  'B-2',
  'B-3',
  'B-4',
  'B-7',
  'B-8',
  'B-9',
  'B-27',
  'B-28',
  'B-29',
  'B-30',
  'B-39',
  'B-44',
];
const CASES = ['K2', 'K4', 'K5', 'K9', 'K17', 'K18', 'K20', 'K22'];
const CANDIDATES = ['A-1', 'A-2', 'A-3', 'A-4', 'A-13', 'A-16', 'A-17', 'A-30', 'A-31'];

function scenariosOf(name: string): readonly AnyScenario[] {
  return DRIVER_SCENARIOS.filter(({ models }) => models?.includes(name));
}

function verdictsOf({ variants }: AnyScenario): ReadonlySet<string | undefined> {
  return new Set(Object.values(variants).map(({ expect: expected }) => expected?.verdict));
}

test.each([...PATCHES, ...BUGS, ...CASES, ...CANDIDATES])(
  '%s has a scenario with a variant that is violated and one that is clean',
  (name) => {
    const shown = scenariosOf(name).filter((scenario) => {
      const verdicts = verdictsOf(scenario);
      return verdicts.has('violation') && verdicts.has('clean');
    });
    expect(shown).not.toEqual([]);
  },
);

/** The invariant that each breaks, as its description says. The others are found by their consequences alone. */
const BROKEN = {
  'B-1': ['I1'],
  'B-2': ['I7'],
  'B-3': ['I1'],
  'B-7': ['I6'],
  'B-8': ['I12'],
  'B-27': ['I8a'],
  'B-28': ['I8b', 'I9'],
  'B-30': ['I6'],
  'B-39': ['I8a'],
  'B-44': ['I5'],
  K9: ['I8a'],
  K20: ['I8b'],
  K22: ['I9'],
  'A-1': ['I6'],
  'A-4': ['I10'],
  'A-13': ['I12'],
  'A-17': ['I4'],
  'A-31': ['I8b'],
} as const;

test.each(Object.entries(BROKEN))('%s breaks %j', (name, invariants) => {
  const expected = scenariosOf(name).flatMap(({ variants }) =>
    Object.values(variants).map((variant) => variant.expect?.invariant),
  );
  for (const invariant of invariants) expect(expected).toContain(invariant);
});

test('a violation is expected of a kind, and on an object unless it is a deadlock', () => {
  for (const { name, variants } of DRIVER_SCENARIOS) {
    for (const [variant, { expect: expected }] of Object.entries(variants)) {
      if (expected?.verdict !== 'violation') continue;
      expect(expected.kind, `${name} ${variant}`).toBeDefined();
      if (expected.kind !== 'deadlock') expect(expected.object, `${name} ${variant}`).toBeDefined();
    }
  }
});

/** Each with two tasks and, below the second name, with three. */
const RACES: readonly (readonly [two: string, three: string])[] = [
  ['get-put', 'get-put-munmap'],
  ['put-put', 'put-put-munmap'],
  ['get-exit', 'get-put-exit'],
  ['put-exit', 'put-exit-munmap'],
  ['put-from-release', 'put-from-release-munmap'],
  ['get-after-exit', 'get-after-exit-put'],
  ['two-owners', 'three-owners'],
  ['over-put', 'over-put-munmap'],
  ['users-maximum', 'users-maximum-put'],
  ['alloc-fails', 'alloc-fails-munmap'],
  ['register-interrupted', 'register-interrupted-munmap'],
  ['unregister-exit', 'unregister-exit-munmap'],
  ['interval-remove', 'interval-remove-two-ranges'],
  ['interval-insert', 'interval-insert-remove'],
];

describe.each(RACES)('%s and %s', (...names) => {
  const [two, three] = names.map((name) => DRIVER_SCENARIOS.find((one) => one.name === name));

  test('have two and three tasks, and are explored without a bound', () => {
    expect(Object.keys(two?.tasks ?? {})).toHaveLength(2);
    expect(Object.keys(three?.tasks ?? {})).toHaveLength(3);
    for (const scenario of [two, three]) {
      expect(scenario?.preemptions).toBeUndefined();
      for (const variant of Object.values(scenario?.variants ?? {})) {
        expect(variant.preemptions).toBeUndefined();
      }
    }
  });
});

test('every scenario says what it is about, what it stands for, and what shows that it is not vacuous', () => {
  for (const { name, about, models, goals, variants } of DRIVER_SCENARIOS) {
    expect(about, name).toBeTruthy();
    expect(models ?? [], name).not.toEqual([]);
    expect(goals ?? [], name).not.toEqual([]);
    for (const [variant, { expect: expected }] of Object.entries(variants)) {
      expect(expected, `${name} ${variant}`).toBeDefined();
    }
  }
});

test('no two scenarios have one name', () => {
  const names = DRIVER_SCENARIOS.map(({ name }) => name);
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});
