/**
 * The bounded explorer against plain enumeration: for each bound, every trace that has an interleaving of
 * so many preemptions must be executed, and nothing beyond the bound. Explorers with a rule left out must
 * be caught. MMULAB_FUZZ_SEED and MMULAB_BOUNDED_COUNT set another seed, and how many programs there are.
 */
import { describe, expect, test } from 'vitest';
import { BoundedDpor, type BoundedResult } from '../../src/check/bounded-dpor.ts';
import type { Claim } from '../../src/check/bounded-node.ts';
import type { ExploreOptions } from '../../src/check/exploration.ts';
import { preemptionsOf } from '../../src/check/preemption.ts';
import type { Program } from '../../src/check/program.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { goal } from '../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { spinlock, spinLock } from '../../src/kernel/spinlock.ts';
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
} from '../../src/kernel/srcu.ts';
import { generateProgram } from '../util/fuzz/generate.ts';
import { exploreBounded, needsOf, type BoundedClass } from '../util/fuzz/preemptions.ts';
import { showProgram } from '../util/fuzz/program.ts';
import { ResumedBound } from '../util/parts.ts';
import { boundedOnKernel, interruptProgram, needsOnKernel } from '../util/preemptions.ts';
import { small } from '../util/programs.ts';

const seed = Number(process.env['MMULAB_FUZZ_SEED'] ?? 1);
const count = Number(process.env['MMULAB_BOUNDED_COUNT'] ?? 2000);
/** Programs with more interleavings than this are left out. */
const INTERLEAVING_COUNT_MAX = 700;

interface Report {
  readonly programs: number;
  /** For each bound. */
  readonly executions: readonly number[];
  readonly traces: readonly number[];
  readonly fault: string | null;
}

function fuzz(
  programCount: number,
  Explorer: BoundedClass = BoundedDpor,
  firstSeed = seed,
): Report {
  const executions: number[] = [];
  const traces: number[] = [];
  let programs = 0;
  for (let at = 0; programs < programCount; at += 1) {
    const program = generateProgram(firstSeed + at);
    const needs = needsOf(program, INTERLEAVING_COUNT_MAX);
    if (needs === null) continue;
    programs += 1;
    // The first bound that leaves nothing out is the last.
    for (let bound = 0, wasCut = true; wasCut; bound += 1) {
      const run = exploreBounded(program, needs, bound, Explorer);
      if (run.fault !== null) {
        const fault = `seed ${firstSeed + at}: ${run.fault}\n${showProgram(program)}`;
        return { programs, executions, traces, fault };
      }
      executions[bound] = (executions[bound] ?? 0) + run.executions;
      const within = [...needs.values()].filter((need) => need <= bound).length;
      traces[bound] = (traces[bound] ?? 0) + within;
      ({ wasCut } = run);
    }
  }
  return { programs, executions, traces, fault: null };
}

test(
  'what can be reached with k preemptions is found with the bound k, for every k',
  { timeout: 600_000 },
  () => {
    const { fault, programs, executions, traces } = fuzz(count);
    process.stdout.write(
      `bounded: seed ${seed}, ${programs} programs; executions for bound 0, 1, …: ` +
        `${executions.join(' ')}, traces: ${traces.join(' ')}\n`,
    );
    expect(fault ?? '').toBe('');
  },
);

test(
  'so it is when it is saved and gone on with after each execution',
  { timeout: 600_000 },
  () => {
    const resumed = fuzz(count / 10, ResumedBound);
    expect(resumed.fault ?? '').toBe('');
    expect(resumed).toEqual(fuzz(count / 10));
  },
);

test(
  'so it is where interrupts come in, which preempt nobody by themselves',
  { timeout: 600_000 },
  () => {
    let programs = 0;
    for (let at = 0; programs < 150; at += 1) {
      const { program, text } = interruptProgram(seed + at);
      const needs = needsOnKernel(program, 300);
      if (needs === null) continue;
      programs += 1;
      for (let bound = 0, wasCut = true; wasCut; bound += 1) {
        const found = boundedOnKernel(program, bound);
        const missing = [...needs].filter(
          ([key, need]) => !found.keys.has(key) && (need <= bound || !found.wasCut),
        );
        expect(missing, `seed ${seed + at}, bound ${bound}\n${text}`).toEqual([]);
        ({ wasCut } = found);
      }
    }
  },
);

/** The goals that are reached in some execution of the bounded search. */
function goalsOf(program: Program, bound: number, Explorer: BoundedClass = BoundedDpor): string[] {
  const goals = new Set<string>();
  new Explorer(program, bound, {
    onExecution({ kernel }) {
      for (const name of kernel.goals) goals.add(name);
      return false;
    },
  }).run();
  return [...goals];
}

test('whoever is shut out by a task that never goes on may have had to be let go on before', () => {
  const program = small(
    { lock: spinlock(), srcu: srcuStruct() },
    {
      *reader(s) {
        yield* srcuReadUnlock(s.srcu, yield* srcuReadLock(s.srcu));
      },
      *hog(s) {
        yield* spinLock(s.lock);
        yield* spinLock(s.lock);
      },
      *waiter(s) {
        yield* synchronizeSrcu(s.srcu);
      },
    },
    { cpus: { hog: 1, waiter: 1 } },
  );
  const needs = needsOnKernel(program, 1000) ?? new Map<string, number>();
  for (let bound = 0, wasCut = true; wasCut; bound += 1) {
    const found = boundedOnKernel(program, bound);
    expect([...needs].filter(([key, need]) => need <= bound && !found.keys.has(key))).toEqual([]);
    ({ wasCut } = found);
  }
});

describe('an explorer is caught that', () => {
  const COUNT = 2000;
  const CAUGHT = /never executed|left out/;

  test('does not see what a release lets go on', () => {
    class Unreleased extends BoundedDpor {
      protected override findReleases(): void {}
    }
    // `b` is to stop between its writes. Waiting for the lock it stops for nothing; otherwise it would
    // have to be preempted as well, and `a` to go on.
    const program = small(
      { lock: mutex(), flag: 0, x: 0 },
      {
        *a(s) {
          yield* mutexLock(s.lock);
          yield* writeOnce(s, 'flag', 1);
          yield* mutexUnlock(s.lock);
          if ((yield* readOnce(s, 'x')) === 1) goal('between');
        },
        *b(s) {
          if ((yield* readOnce(s, 'flag')) === 0) return;
          yield* writeOnce(s, 'x', 1);
          yield* mutexLock(s.lock);
          yield* writeOnce(s, 'x', 2);
          yield* mutexUnlock(s.lock);
        },
      },
    );
    expect(goalsOf(program, 1)).toContain('between');
    expect(goalsOf(program, 1, Unreleased)).not.toContain('between');
  });

  test('forgets the tasks that are blocked', () => {
    class Forgetful extends BoundedDpor {
      protected override checkBlockedTasks(): void {}
    }
    expect(fuzz(COUNT, Forgetful).fault).toMatch(CAUGHT);
  });

  test('takes one execution of each trace, and leaves out those beyond the bound', () => {
    // What sleep sets make of a bound: the one execution may cost more than another of its trace.
    class OneForEach extends BoundedDpor {
      readonly #program: Program;
      readonly #bound: number;
      readonly #options: ExploreOptions;

      constructor(program: Program, bound: number, options: ExploreOptions = {}) {
        super(program, bound, options);
        this.#program = program;
        this.#bound = bound;
        this.#options = options;
      }

      override run(): BoundedResult {
        const explorer = new SourceDpor(this.#program, {
          ...this.#options,
          onExecution: (run) =>
            preemptionsOf(this.#program, run.schedule) <= this.#bound &&
            this.#options.onExecution?.(run) === true,
        });
        return { ...explorer.run(), wasCut: true };
      }
    }
    expect(fuzz(COUNT, OneForEach).fault).toMatch(CAUGHT);
  });

  test('tries the other order where it is a preemption, and not where the turn began', () => {
    class Naive extends BoundedDpor {
      protected override turnStarts(): number[] {
        return [];
      }
    }
    expect(fuzz(COUNT, Naive).fault).toMatch(CAUGHT);
  });

  test('begins the other order with whatever could be first in the trace', () => {
    class Careless extends BoundedDpor {
      protected override tryBefore(
        early: number,
        claim: Claim,
        past: Int32Array,
        at: number,
      ): void {
        const group = this.nodes[early]?.task;
        const wide = past.slice();
        for (let step = early; step < at; step += 1) {
          const other = this.nodes[step]?.task;
          if (other !== undefined && other !== group) wide[other] = step + 1;
        }
        super.tryBefore(early, claim, wide, at);
      }
    }
    expect(fuzz(COUNT, Careless).fault).toMatch(CAUGHT);
  });
});

function lostUpdate(): Program {
  return small(
    { x: 0 },
    {
      *a(s) {
        const x = yield* readOnce(s, 'x');
        yield* writeOnce(s, 'x', x + 1);
      },
      *b(s) {
        const x = yield* readOnce(s, 'x');
        yield* writeOnce(s, 'x', x + 1);
        bugOn((yield* readOnce(s, 'x')) < 2, 'an update was lost');
      },
    },
  );
}

describe('a bound', () => {
  test('of 0 runs each task as far as it can, in every order', () => {
    expect(new BoundedDpor(lostUpdate(), 0).run()).toMatchObject({
      executions: 2,
      isComplete: true,
      wasCut: true,
    });
  });

  test('that nothing exceeds leaves nothing out and says so', () => {
    const all = new SourceDpor(lostUpdate()).run();
    const bounded = new BoundedDpor(lostUpdate(), 9).run();
    expect(bounded).toMatchObject({ isComplete: true, wasCut: false });
    expect(bounded.executions).toBeGreaterThanOrEqual(all.executions);
  });

  test('does not count changing from a task that is blocked or has ended', () => {
    const deadlock = small(
      { a: mutex(), b: mutex() },
      {
        *one(s) {
          yield* mutexLock(s.a);
          yield* mutexLock(s.b);
          yield* mutexUnlock(s.b);
          yield* mutexUnlock(s.a);
        },
        *two(s) {
          yield* mutexLock(s.b);
          yield* mutexLock(s.a);
          yield* mutexUnlock(s.a);
          yield* mutexUnlock(s.b);
        },
      },
    );
    const deadlocksWith = (bound: number): number => {
      let deadlocks = 0;
      new BoundedDpor(deadlock, bound, {
        onExecution({ kernel }) {
          if (kernel.tasks.some((task) => !task.isDone)) deadlocks += 1;
          return false;
        },
      }).run();
      return deadlocks;
    };
    expect(deadlocksWith(0)).toBe(0);
    expect(deadlocksWith(1)).toBeGreaterThan(0);
  });
});
