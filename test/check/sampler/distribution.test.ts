/**
 * What comes out how often. The seeds are fixed, so each number is the same in every run; what it is
 * compared with is what the sampler promises, or what another one does.
 */
import { describe, expect, it, test } from 'vitest';
import { findProgram } from '../../../src/catalogue/program/index.ts';
import type { Program } from '../../../src/check/program.ts';
import { Sampling, type SamplingPlan } from '../../../src/check/sampler/sampling.ts';
import { programOf, type AnyScenario } from '../../../src/check/scenario.ts';
import { warnOn } from '../../../src/kernel/assertion.ts';
import { atomic, atomicIncReturn } from '../../../src/kernel/atomic.ts';
import { choose } from '../../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { traceKey } from '../../util/brute-force.ts';
import { same, small } from '../../util/programs.ts';

interface Hits {
  /** Which part of the executions had the bug. */
  readonly share: number;
  readonly stepCountMax: number;
}

function hits(program: Program, plan: SamplingPlan): Hits {
  let count = 0;
  let stepCountMax = 0;
  new Sampling(program, plan, {
    watches: [{ onAssertion: () => (count += 1) }],
    onExecution: ({ kernel }) => {
      stepCountMax = Math.max(stepCountMax, kernel.stepCount);
      return false;
    },
  }).run();
  return { share: count / plan.samples, stepCountMax };
}

/** Steps that have nothing to do with anything. */
function* idle(count: number): Body<void> {
  for (let step = 0; step < count; step += 1) yield* choose(1);
}

/**
 * Programs of four tasks with a bug of each depth. Each needs one change of task less than its depth,
 * with all else as it may be.
 */
const BUGS: Readonly<Record<number, Program>> = {
  1: small(
    { x: 0 },
    {
      *a(s) {
        yield* idle(5);
        yield* writeOnce(s, 'x', 1);
      },
      *b(s) {
        warnOn((yield* readOnce(s, 'x')) === 1, 'bug');
        yield* idle(5);
      },
      ...same(2, () => idle(10)),
    },
  ),
  2: small(
    { x: 0 },
    {
      *a(s) {
        yield* idle(3);
        yield* writeOnce(s, 'x', 1);
        yield* writeOnce(s, 'x', 0);
        yield* idle(3);
      },
      *b(s) {
        yield* idle(3);
        warnOn((yield* readOnce(s, 'x')) === 1, 'bug');
        yield* idle(3);
      },
      ...same(2, () => idle(6)),
    },
  ),
  3: small(
    { x: 0 },
    {
      *a(s) {
        yield* writeOnce(s, 'x', 1);
        yield* writeOnce(s, 'x', 2);
        yield* idle(2);
      },
      *b(s) {
        const first = yield* readOnce(s, 'x');
        const second = yield* readOnce(s, 'x');
        warnOn(first === 1 && second === 2, 'bug');
        yield* idle(2);
      },
      ...same(2, () => idle(4)),
    },
  ),
};

describe('PCT', () => {
  const TASKS = 4;
  const samples = 40_000;

  it.each([1, 2, 3])('finds a bug of depth %i at least as often as it promises', (depth) => {
    const program = BUGS[depth] as Program;
    const { share, stepCountMax } = hits(program, { method: 'pct', samples, seed: 1, depth });
    const promised = 1 / (TASKS * stepCountMax ** (depth - 1));
    // So many executions tell the share to within a few parts in a hundred of what is promised.
    expect(share).toBeGreaterThanOrEqual(promised);
  });

  it.each([2, 3])('does not find a bug of depth %i if it looks for less', (depth) => {
    const plan = { method: 'pct', samples, seed: 1, depth: depth - 1 } as const;
    // But for the first execution, which is a random walk.
    expect(hits(BUGS[depth] as Program, plan).share).toBeLessThanOrEqual(1 / samples);
  });

  it('finds what a random walk misses: one task does much between two steps of another', () => {
    const program = small(
      { x: 0 },
      {
        *a(s) {
          yield* writeOnce(s, 'x', 1);
          yield* writeOnce(s, 'x', 0);
        },
        *b(s) {
          const first = yield* readOnce(s, 'x');
          yield* idle(30);
          warnOn(first === 1 && (yield* readOnce(s, 'x')) === 1, 'bug');
        },
      },
    );
    const plan = { samples: 10_000, seed: 1, depth: 2 };
    expect(hits(program, { method: 'random', ...plan }).share).toBe(0);
    const { share, stepCountMax } = hits(program, { method: 'pct', ...plan });
    // It is just as often as promised: less three standard deviations.
    const promised = 1 / (2 * stepCountMax);
    expect(share).toBeGreaterThan(promised - 3 * Math.sqrt(promised / plan.samples));
  });
});

function named(name: string): Program {
  return programOf(findProgram(name) as AnyScenario, 'sc');
}

/** How often each trace came. */
function tally(program: Program, plan: SamplingPlan): number[] {
  const counts = new Map<string, number>();
  new Sampling(program, plan, {
    onExecution: ({ schedule }) => {
      const key = traceKey(program, schedule);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return false;
    },
  }).run();
  return [...counts.values()];
}

/** Of the number of traces: 1 if all come equally often, less the more uneven it is. */
function evenness(counts: readonly number[], traces: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const entropy = counts.reduce((sum, count) => {
    const share = count / total;
    return sum - share * Math.log(share);
  }, 0);
  return entropy / Math.log(traces);
}

/** One step beside nine, all of which depend on each other: ten interleavings, ten traces. */
const uneven = small(
  { x: atomic(0) },
  {
    *a(s) {
      yield* atomicIncReturn(s.x);
    },
    *b(s) {
      for (let count = 0; count < 9; count += 1) yield* atomicIncReturn(s.x);
    },
  },
);

describe('POS', () => {
  it.each([
    ['program/lastzero-5', 64],
    ['program/indexer-12', 8],
    ['program/readers-6', 64],
  ])('draws the traces of %s more evenly than a random walk does', (name, traces) => {
    const plan = { samples: 3000, seed: 1 };
    const pos = tally(named(name), { method: 'pos', ...plan });
    const walk = tally(named(name), { method: 'random', ...plan });
    expect(evenness(pos, traces)).toBeGreaterThan(evenness(walk, traces) + 0.01);
    expect(pos.length).toBeGreaterThanOrEqual(walk.length);
  });

  it('lets a step come first as often as its many rivals let it', () => {
    const late = small(
      { x: 0 },
      {
        *a(s) {
          yield* writeOnce(s, 'x', 1);
        },
        *b(s) {
          yield* idle(9);
          warnOn((yield* readOnce(s, 'x')) === 0, 'bug');
        },
      },
    );
    const plan = { samples: 20_000, seed: 1 };
    // The lowest of 11 priorities, against 10 tosses in a row.
    expect(hits(late, { method: 'pos', ...plan }).share).toBeCloseTo(1 / 11, 2);
    expect(hits(late, { method: 'random', ...plan }).share).toBeCloseTo(2 ** -10, 3);
  });

  it('draws the priority of a step anew when it has lost against one that it conflicts with', () => {
    const counts = tally(uneven, { method: 'pos', samples: 10_000, seed: 1 });
    const [first, second, third] = counts.toSorted((a, b) => b - a);
    // 1/2, 1/4, 1/8; a priority that stayed low would make it 1/2, 1/6, 1/12.
    expect(Math.abs((first as number) - 5000)).toBeLessThan(200);
    expect(Math.abs((second as number) - 2500)).toBeLessThan(175);
    expect(Math.abs((third as number) - 1250)).toBeLessThan(135);
  });
});

describe('the weighted walk', () => {
  it('draws each interleaving with the same probability, which a random walk does not', () => {
    const plan = { samples: 10_000, seed: 1 };
    const weighted = tally(uneven, { method: 'weighted', ...plan });
    const walk = tally(uneven, { method: 'random', ...plan });
    expect(weighted).toHaveLength(10);
    // Each is expected 1000 times, with a standard deviation of 30.
    for (const count of weighted) expect(Math.abs(count - 1000)).toBeLessThan(120);
    expect(Math.max(...walk)).toBeGreaterThan(4000);
  });
});

test('a random walk chooses evenly at each step', () => {
  const counts = tally(named('program/lockinc-4'), { method: 'random', samples: 24_000, seed: 1 });
  expect(counts).toHaveLength(24);
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(130);
});
