import { describe, expect, it, test } from 'vitest';
import { findProgram, PROGRAMS } from '../../../src/catalogue/program/index.ts';
import type { Program, Schedule } from '../../../src/check/program.ts';
import { replay } from '../../../src/check/replay.ts';
import { SAMPLER_NAMES } from '../../../src/check/sampler/sampler.ts';
import { Sampling, type SamplingPlan } from '../../../src/check/sampler/sampling.ts';
import { programOf, type AnyScenario } from '../../../src/check/scenario.ts';
import { choose, goal } from '../../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import { small } from '../../util/programs.ts';

function named(name: string): Program {
  return programOf(findProgram(name) as AnyScenario, 'sc');
}

function schedulesOf(program: Program, plan: SamplingPlan): string[] {
  const schedules: string[] = [];
  const onExecution = ({ schedule }: { schedule: Schedule }): boolean => {
    schedules.push(schedule.tasks.join(''));
    return false;
  };
  new Sampling(program, plan, { onExecution }).run();
  return schedules;
}

/** Programs with so few traces that samples can be expected to meet all. */
const SMALL = [
  ['program/probe', 2],
  ['program/lost-update', 4],
  ['program/store-buffering', 3],
  ['program/ab-ba', 3],
  ['program/lockinc-4', 24],
  ['program/ainc-4', 24],
  ['program/ainc-void-5', 1],
  ['program/readers-4', 16],
  ['program/indexer-12', 8],
  ['program/filesystem-15', 4],
] as const;

describe.each(SAMPLER_NAMES)('%s', (method) => {
  it.each(SMALL)('sees as many traces of %s as there are: %i', (name, traces) => {
    const samples = 2000;
    const sampling = new Sampling(named(name), { method, samples, seed: 1, depth: 6 });
    const result = sampling.run();
    const figures = sampling.figures();
    expect(result).toMatchObject({ executions: samples, isComplete: false });
    expect(figures).toMatchObject({ isExact: true, traces });
    expect(figures.newNext).toBeLessThan(0.01);
  });

  it('sees only traces that there are, where some are rare', () => {
    for (const [name, traces] of [
      ['program/lastzero-5', 64],
      ['program/refcount-3', 522],
    ] as const) {
      const sampling = new Sampling(named(name), { method, samples: 2000, seed: 1, depth: 6 });
      sampling.run();
      const { traces: seen, isExact } = sampling.figures();
      expect(isExact).toBe(true);
      expect(seen).toBeGreaterThan(traces / 8);
      expect(seen).toBeLessThanOrEqual(traces);
    }
  });

  it('takes the same executions with the same seed, and others with another', () => {
    const plan = { method, samples: 50, seed: 7 };
    const first = schedulesOf(named('program/refcount-3'), plan);
    expect(schedulesOf(named('program/refcount-3'), plan)).toEqual(first);
    expect(schedulesOf(named('program/refcount-3'), { ...plan, seed: 8 })).not.toEqual(first);
  });

  it('takes executions that can be replayed, deadlocks included', () => {
    const program = named('program/ab-ba');
    const schedules: Schedule[] = [];
    let stuck = 0;
    const plan = { method, samples: 100, seed: 1 };
    new Sampling(program, plan, {
      watches: [{ onStuck: () => (stuck += 1) }],
      onExecution: ({ schedule }) => {
        schedules.push(schedule);
        return false;
      },
    }).run();
    expect(stuck).toBeGreaterThan(0);
    expect(stuck).toBeLessThan(100);
    for (const schedule of schedules) {
      expect(replay(program, schedule)).toMatchObject({ diverged: null, isOver: true });
    }
  });

  it('draws every way in which a step can turn out', () => {
    const program = small(
      { x: 0 },
      {
        *a(s) {
          const first = yield* choose(2, 'first');
          const second = yield* choose(3, 'second');
          yield* writeOnce(s, 'x', 1);
          goal(`${first} ${second}`);
        },
      },
    );
    const goals = new Map<string, number>();
    new Sampling(
      program,
      { method, samples: 1000, seed: 1 },
      {
        onExecution: ({ kernel }) => {
          for (const name of kernel.goals) goals.set(name, (goals.get(name) ?? 0) + 1);
          return false;
        },
      },
    ).run();
    expect(goals.size).toBe(6);
    expect(Math.min(...goals.values())).toBeGreaterThan(50);
  });
});

test('the estimate of distinct traces is within its error, where there are many', () => {
  // 8! traces, of which 10,000 samples meet a share that is known: each is as likely as any other.
  const { traces } = PROGRAMS.find(({ name }) => name === 'program/ainc') as {
    traces: Readonly<Record<number, number>>;
  };
  const total = traces[8] as number;
  const samples = 10_000;
  const sampling = new Sampling(named('program/ainc-8'), { method: 'pct', samples, seed: 1 });
  sampling.run();
  const figures = sampling.figures();
  const expected = total * (1 - (1 - 1 / total) ** samples);
  expect(figures.isExact).toBe(false);
  expect(Math.abs(figures.traces / expected - 1)).toBeLessThan(3 * figures.tracesError);
  expect(Math.abs(figures.newNext - (1 - expected / total))).toBeLessThan(0.05);
});

describe('an execution that does not end', () => {
  /** Task `a` asks again and again; it ends once `b` has come. */
  const spinning = small(
    { x: 0 },
    {
      *a(s) {
        while ((yield* readOnce(s, 'x')) === 0);
      },
      *b(s) {
        yield* writeOnce(s, 'x', 1);
      },
    },
  );

  it('is cut, and counts as no trace', () => {
    const plan = { method: 'random', samples: 1000, seed: 1 } as const;
    const sampling = new Sampling(spinning, plan, { stepCountMax: 5 });
    expect(sampling.run().executions).toBe(1000);
    const { cut, traces, stepCountMax } = sampling.figures();
    // It is so as often as not one of five tosses is heads.
    expect(cut / 1000).toBeCloseTo(1 / 32, 1);
    expect([traces, stepCountMax]).toEqual([4, 5]);
  });

  it('is an error if none does', () => {
    const endless = small(
      { x: 0 },
      {
        *a(s) {
          for (;;) yield* readOnce(s, 'x');
        },
      },
    );
    const plan = { method: 'pos', samples: 1000, seed: 1 } as const;
    expect(() => new Sampling(endless, plan, { stepCountMax: 100 }).run()).toThrow(
      /an execution did not end within 100 steps: task 'a' took 100/,
    );
  });
});

test('it stops when it is told to', () => {
  let executions = 0;
  const plan = { method: 'pos', samples: 1000, seed: 1 } as const;
  const sampling = new Sampling(named('program/probe'), plan, {
    onExecution: () => {
      executions += 1;
      return executions === 10;
    },
  });
  expect(sampling.run()).toMatchObject({ executions: 10, isComplete: false });
  expect(sampling.left).toBe(990);
});
