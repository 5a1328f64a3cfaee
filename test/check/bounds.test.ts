/** Bounds on preemptions as one asks for them: of a search, a scenario or a variant. */
import { describe, expect, test } from 'vitest';
import { checkVariant, type CheckOptions } from '../../src/check/check-variant.ts';
import type { VariantResult } from '../../src/check/result.ts';
import type { Scenario } from '../../src/check/scenario.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { atomic, atomicFetchAdd, type Atomic } from '../../src/kernel/atomic.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { verdictText } from '../../src/report/text.ts';
import { scenarioOf } from './small-scenario.ts';

/** `a` must stop twice, and `b` once, for `b` to see both values. */
const needsThree = scenarioOf(
  { x: 0 },
  {
    *a(s) {
      yield* writeOnce(s, 'x', 1);
      yield* writeOnce(s, 'x', 2);
      yield* writeOnce(s, 'x', 3);
    },
    *b(s) {
      const first = yield* readOnce(s, 'x');
      const second = yield* readOnce(s, 'x');
      bugOn(first === 1 && second === 2, 'one, then two');
      yield* readOnce(s, 'x');
    },
  },
);

function* addTwice(s: { readonly x: Atomic }): Body<void> {
  yield* atomicFetchAdd(s.x, 1);
  yield* atomicFetchAdd(s.x, 1);
}

const harmless = scenarioOf({ x: atomic(0) }, { a: addTwice, b: addTwice, c: addTwice });

function checked<S>(scenario: Scenario<Kernel, S>, options: CheckOptions): VariantResult {
  return checkVariant(scenario, 'v', options);
}

function roundsOf({ rounds }: VariantResult): number[] | undefined {
  return rounds?.map(({ preemptions }) => preemptions);
}

describe('a bound', () => {
  test('leaves out what needs more preemptions, and says so', () => {
    const result = checked(needsThree, { preemptions: 2 });
    expect(result).toMatchObject({
      verdict: 'bounded',
      complete: false,
      bound: { kind: 'preemptions', limit: 2, isRequested: true },
      violations: [],
    });
    expect(roundsOf(result)).toEqual([2]);
    expect(verdictText(result)).toBe(
      `bounded: no violation in ${result.executions} executions, but executions with more than ` +
        '2 preemptions were left out, as asked',
    );
    expect(verdictText(checked(needsThree, { preemptions: 0 }))).toContain(
      'but executions with a preemption were left out, as asked',
    );
  });

  test('of as many preemptions as it takes finds the violation', () => {
    const { violations } = checked(needsThree, { preemptions: 3 });
    expect(violations).toMatchObject([{ kind: 'bug', preemptions: 3, isFewest: true }]);
  });

  test('that leaves nothing out makes no difference to the verdict', () => {
    expect(checked(harmless, { preemptions: 20 })).toMatchObject({
      verdict: 'clean',
      complete: true,
      bound: null,
    });
  });

  test('may be stated by the scenario and, before that, by the variant and by who asks', () => {
    const stated = { ...harmless, preemptions: 1, variants: { v: {}, w: { preemptions: 2 } } };
    expect(checkVariant(stated, 'v').bound?.limit).toBe(1);
    expect(checkVariant(stated, 'w').bound?.limit).toBe(2);
    expect(checkVariant(stated, 'w', { preemptions: 0 }).bound?.limit).toBe(0);
  });

  test('can be what a variant expects', () => {
    const expect0 = { v: { expect: { verdict: 'bounded' as const } } };
    const result = checkVariant({ ...harmless, preemptions: 1, variants: expect0 }, 'v');
    expect(result.asExpected).toBe(true);
  });
});

describe('the search for the shortest', () => {
  test('goes from bound to bound up to where something is found', () => {
    const result = checked(needsThree, { shortest: true });
    expect(roundsOf(result)).toEqual([0, 1, 2, 3]);
    expect(result.bound).toEqual({ kind: 'preemptions', limit: 3, isRequested: true });
    expect(result.violations).toMatchObject([{ preemptions: 3, isFewest: true }]);
    const sum = (result.rounds ?? []).reduce((total, round) => total + round.executions, 0);
    expect(result.executions).toBe(sum);
  });

  test('is complete where nothing is left out and nothing found', () => {
    const result = checked(harmless, { shortest: true });
    expect(result).toMatchObject({ verdict: 'clean', complete: true, bound: null });
  });

  test('goes no further than it is told', () => {
    const result = checked(needsThree, { shortest: true, preemptions: 1 });
    expect(roundsOf(result)).toEqual([0, 1]);
    expect(result).toMatchObject({ verdict: 'bounded', bound: { kind: 'preemptions', limit: 1 } });
  });

  test('knows of a data race what it takes', () => {
    const racy = scenarioOf(
      { plain: 0, x: 0 },
      {
        *a(s) {
          yield* writeOnce(s, 'x', 1);
          s.plain = 1;
          yield* writeOnce(s, 'x', 2);
        },
        *b(s) {
          if ((yield* readOnce(s, 'x')) === 1) s.plain = 2;
        },
      },
    );
    const { violations } = checked(racy, { shortest: true });
    expect(violations).toMatchObject([{ kind: 'data-race', preemptions: 1, isFewest: true }]);
  });
});

describe('bounds first', () => {
  test('then the whole', () => {
    const result = checked(harmless, { boundsFirst: true });
    expect(roundsOf(result)).toEqual([0, 1, 2]);
    expect(result).toMatchObject({ verdict: 'clean', complete: true, bound: null });
    expect(checked(needsThree, { boundsFirst: true }).violations).toHaveLength(1);
  });

  test('so that a search which is ended has something to say', () => {
    const result = checked(harmless, { boundsFirst: true, executionCountMax: 60 });
    expect(result.bound).toEqual({ kind: 'executions', limit: 60, isRequested: true });
    expect(result.rounds?.[0]).toMatchObject({ preemptions: 0, executions: 6, isComplete: true });
    expect(result.rounds?.at(-1)?.isComplete).toBe(false);
    expect(result.executions).toBe(60);
  });

  test('stop at the first violation if that is asked for', () => {
    const result = checked(needsThree, { boundsFirst: true, preemptions: 5, bail: true });
    expect(result.bound?.kind).toBe('first-violation');
    expect(roundsOf(result)).toEqual([0, 1, 2, 3]);
  });
});
