import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import type { Program } from '../../src/check/program.ts';
import { SourceDpor, type ExploreOptions } from '../../src/check/source-dpor.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import {
  atomic,
  atomicFetchAdd,
  atomicInc,
  atomicRead,
  atomicXchg,
} from '../../src/kernel/atomic.ts';
import { choose, goal } from '../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import {
  mutex,
  mutexIsLocked,
  mutexLock,
  mutexLockKillable,
  mutexTrylock,
  mutexUnlock,
} from '../../src/kernel/mutex.ts';
import { made, Operation, type Body } from '../../src/kernel/operation.ts';
import { preemptDisable, preemptEnable } from '../../src/kernel/preempt.ts';
import { running } from '../../src/kernel/running.ts';
import { spinlock, spinLock, spinTrylock, spinUnlock } from '../../src/kernel/spinlock.ts';
import type { Task } from '../../src/kernel/task.ts';
import type { Watch } from '../../src/kernel/watch.ts';
import { compare } from '../util/brute-force.ts';
import { same, small } from '../util/programs.ts';

function explore(program: Program, options: ExploreOptions = {}) {
  const goals: string[] = [];
  const result = new SourceDpor(program, {
    onExecution: ({ kernel }) => {
      goals.push([...kernel.goals].toSorted().join(' '));
      return false;
    },
    ...options,
  }).run();
  return { ...result, goals: goals.toSorted() };
}

function errorOf(run: () => unknown): UsageError {
  try {
    run();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

interface StartRequest {
  readonly cpu: number | null;
  readonly body: () => Body<unknown>;
}

/** Starts another task in a step that touches nothing. */
class Start extends Operation {
  override footprint(): void {}

  perform({ argument }: Task): void {
    const { cpu, body } = argument as StartRequest;
    running.spawn('started', 'thread', cpu, body);
  }

  describe(): string {
    return 'start';
  }
}

const START = new Start(null);

function start(body: () => Body<unknown>, cpu: number | null = null): Operation {
  return made(START, { cpu, body } satisfies StartRequest);
}

/** `count` tasks, each with one read-modify-write of the same place: count! traces. */
function orders(count: number): Program {
  return small(
    { c: atomic(0) },
    same(count, function* run(s) {
      yield* atomicFetchAdd(s.c, 1);
    }),
  );
}

describe('what ends a search', () => {
  test('everything was explored', () => {
    expect(explore(orders(3))).toMatchObject({ executions: 6, blocked: 0, isComplete: true });
  });

  test('a program without a step is executed once', () => {
    expect(explore(small({ x: 0 }, { *nothing() {} }))).toMatchObject({
      executions: 1,
      steps: 0,
      isComplete: true,
    });
  });

  test('as many executions as were asked for', () => {
    expect(explore(orders(3), { executionCountMax: 5 })).toMatchObject({
      executions: 5,
      isComplete: false,
    });
  });

  test('a bound that is reached with the last execution leaves the search complete', () => {
    expect(explore(orders(3), { executionCountMax: 6 })).toMatchObject({
      executions: 6,
      isComplete: true,
    });
  });

  test('whoever watches has seen enough', () => {
    let seen = 0;
    const result = new SourceDpor(orders(4), { onExecution: () => (seen += 1) === 7 }).run();
    expect(result).toMatchObject({ executions: 7, isComplete: false });
  });

  test('an execution that does not end is an error that says who is busy, and where', () => {
    const program = small(
      { x: 0, c: atomic(0) },
      {
        *bystander(s) {
          yield* atomicInc(s.c);
        },
        *waiter(s) {
          while ((yield* readOnce(s, 'x')) === 0);
        },
      },
    );
    const error = errorOf(() => explore(program, { stepCountMax: 50 }));
    expect(error.code).toBe('MN205');
    expect(error.message).toContain('did not end within 50 steps');
    expect(error.message).toContain("task 'waiter' took 49 of them");
    expect(error.message).toContain('READ_ONCE(s.x)');
  });

  test('an execution of exactly as many steps as are allowed is no error', () => {
    expect(explore(orders(3), { stepCountMax: 3 }).executions).toBe(6);
    expect(errorOf(() => explore(orders(3), { stepCountMax: 2 })).code).toBe('MN205');
  });

  test('an operation made and never run stops the search', () => {
    const program = small(
      { c: atomic(0) },
      {
        *forgetful(s) {
          void atomicInc(s.c);
          yield* atomicInc(s.c);
        },
      },
    );
    expect(errorOf(() => explore(program)).code).toBe('MN202');
  });
});

describe('a program that keeps state between executions', () => {
  test('is reported when a task ends earlier than before', () => {
    let executions = 0;
    const program = small(
      { c: atomic(0) },
      {
        *first(s) {
          executions += 1;
          if (executions > 1) return;
          yield* atomicFetchAdd(s.c, 1);
          yield* atomicFetchAdd(s.c, 1);
        },
        *second(s) {
          yield* atomicFetchAdd(s.c, 1);
        },
      },
    );
    const error = errorOf(() => explore(program));
    expect(error.code).toBe('MN204');
    expect(error.message).toContain(
      "after 0 steps the same schedule took another course: task 'first' cannot go on",
    );
  });

  test('is reported when a task goes on longer than before', () => {
    let executions = 0;
    const program = small(
      { c: atomic(0), other: atomic(0) },
      {
        *first(s) {
          executions += 1;
          yield* atomicFetchAdd(s.c, 1);
          if (executions > 1) yield* atomicInc(s.other);
        },
        *second(s) {
          yield* atomicInc(s.other);
          yield* atomicFetchAdd(s.c, 1);
        },
        *third(s) {
          yield* atomicFetchAdd(s.c, 1);
        },
      },
    );
    const error = errorOf(() => explore(program));
    expect(error.code).toBe('MN204');
    expect(error.message).toContain('other tasks can go on than before');
  });

  test('is reported when a task that was started is not there', () => {
    let executions = 0;
    const program = small(
      { c: atomic(0) },
      {
        *starter(s) {
          executions += 1;
          if (executions > 1) {
            yield* atomicInc(s.c);
          } else {
            yield* start(function* run() {
              yield* atomicFetchAdd(s.c, 1);
            });
          }
        },
        *other(s) {
          yield* atomicFetchAdd(s.c, 1);
        },
      },
    );
    expect(errorOf(() => explore(program)).code).toBe('MN204');
  });
});

describe('choices', () => {
  test('every value is explored, whatever the other task chose', () => {
    const program = small(
      { x: 0 },
      {
        *one() {
          goal(`one ${yield* choose(3)}`);
        },
        *two() {
          goal(`two ${yield* choose(2)}`);
        },
      },
    );
    const found = explore(program);
    expect(found).toMatchObject({ executions: 6, blocked: 0 });
    expect(new Set(found.goals).size).toBe(6);
  });

  test('a choice decides whether there is a race', () => {
    const program = small(
      { x: 0 },
      {
        *one(s) {
          if ((yield* choose(2)) === 1) yield* writeOnce(s, 'x', 1);
        },
        *two(s) {
          goal(`x is ${yield* readOnce(s, 'x')}`);
        },
      },
    );
    expect(explore(program).goals).toEqual(['x is 0', 'x is 0', 'x is 1']);
  });

  test('both values are tried on either side of a race', () => {
    const program = small(
      { x: 0 },
      {
        *one(s) {
          const chosen = yield* choose(2);
          yield* writeOnce(s, 'x', 1 + chosen);
        },
        *two(s) {
          const chosen = yield* choose(2);
          goal(`${chosen}: x is ${yield* readOnce(s, 'x')}`);
        },
      },
    );
    expect(explore(program).executions).toBe(8);
    expect(compare(program)).toMatchObject({ executions: 8, missing: [], repeated: [] });
  });
});

/** Writes down assertions that fire and tasks that are stuck. */
function reports(list: string[]): Watch {
  return {
    onAssertion: (_kernel, _grade, condition) => list.push(condition),
    onStuck: (_kernel, blocked) => list.push(`stuck: ${blocked.map(({ name }) => name).join(' ')}`),
  };
}

describe('an oops', () => {
  test('of one task does not hide what the others do', () => {
    const program = small(
      { x: 0 },
      {
        *doomed(s) {
          bugOn((yield* readOnce(s, 'x')) === 0, 'x == 0');
          goal('survived');
        },
        *writer(s) {
          yield* writeOnce(s, 'x', 1);
        },
        *reader(s) {
          goal(`x is ${yield* readOnce(s, 'x')}`);
        },
      },
    );
    const found = explore(program);
    expect(found.executions).toBe(4);
    expect(found.goals).toEqual(['survived x is 0', 'survived x is 1', 'x is 0', 'x is 1']);
    expect(compare(program)).toMatchObject({ executions: 4, missing: [], repeated: [] });
  });

  test('leaves its locks held, and who waits for them was first in some execution', () => {
    const program = small(
      { m: mutex() },
      {
        *doomed(s) {
          yield* mutexLock(s.m);
          bugOn(true, 'always');
        },
        *waiter(s) {
          yield* mutexLock(s.m);
          yield* mutexUnlock(s.m);
          goal('waiter was first');
        },
      },
    );
    const seen: string[] = [];
    const found = explore(program, { watches: [reports(seen)] });
    expect(found.executions).toBe(2);
    // Whoever is blocked by a dead task is no deadlock of its own.
    expect(seen).toEqual(['always', 'always']);
  });
});

test('the order of an execution knows what each step comes after', () => {
  const program = small(
    { m: mutex(), c: atomic(0) },
    {
      *one(s) {
        yield* mutexLock(s.m);
        yield* mutexUnlock(s.m);
      },
      *two(s) {
        yield* atomicInc(s.c);
        yield* mutexLock(s.m);
      },
    },
  );
  const rows: number[][] = [];
  new SourceDpor(program, {
    onExecution: ({ clockOf, schedule }) => {
      rows.push(...schedule.tasks.map((_, step) => Array.from(clockOf(step).slice(0, 2))));
      return true;
    },
  }).run();
  // One locks and unlocks, two increments, which nothing orders, and locks after the unlock.
  expect(rows).toEqual([
    [1, 0],
    [2, 0],
    [0, 3],
    [2, 4],
  ]);
});

/** Programs of which an explorer has missed or repeated traces. */
const TRICKY: Record<string, Program> = {
  'a task read what it reads again after another one wrote': small(
    { x: 0 },
    {
      *one(s) {
        yield* readOnce(s, 'x');
      },
      *two(s) {
        yield* readOnce(s, 'x');
        yield* writeOnce(s, 'x', 1);
      },
    },
  ),
  'a lock is looked at while it is held and another task waits for it': small(
    { m: mutex() },
    {
      *looks(s) {
        yield* mutexIsLocked(s.m);
      },
      *waits(s) {
        yield* mutexLock(s.m);
      },
      *holds(s) {
        yield* mutexIsLocked(s.m);
        yield* mutexTrylock(s.m);
      },
    },
  ),
  'a run is abandoned while a task is blocked': small(
    { m: mutex(), x: 0 },
    {
      *one(s) {
        yield* mutexLock(s.m);
        yield* writeOnce(s, 'x', 1);
      },
      *two(s) {
        if (!(yield* mutexTrylock(s.m))) return;
        yield* mutexUnlock(s.m);
        yield* mutexTrylock(s.m);
      },
      *three(s) {
        yield* mutexTrylock(s.m);
        yield* readOnce(s, 'x');
      },
    },
  ),
  'a second task comes to a CPU on which there was one': small(
    { l: spinlock(), x: 0 },
    {
      *first(s) {
        yield* writeOnce(s, 'x', 1);
      },
      *starter(s) {
        const body = function* run() {
          yield* spinLock(s.l);
        };
        yield* start(body, 1);
      },
    },
    { cpus: { first: 1 } },
  ),
  'a spinlock is waited for by a task that shuts out its CPU': small(
    { a: spinlock(), b: spinlock() },
    {
      *one(s) {
        yield* spinLock(s.b);
      },
      *two(s) {
        yield* spinTrylock(s.a);
        yield* spinLock(s.b);
        yield* spinUnlock(s.b);
      },
    },
    { cpus: { one: 0, two: 0 } },
  ),
  'a task that has a signal is shut out from its CPU before it finds the lock held': small(
    { m: mutex(), l: spinlock() },
    {
      *one(s) {
        yield* mutexTrylock(s.m);
        yield* spinLock(s.l);
        yield* mutexLockKillable(s.m);
      },
      *two(s) {
        yield* mutexLock(s.m);
        yield* mutexUnlock(s.m);
        yield* mutexLockKillable(s.m);
      },
    },
    { cpus: { one: 0, two: 0 }, faults: { signals: 1 } },
  ),
  'a trylock that failed would have succeeded earlier': small(
    { l: spinlock(), m: mutex(), x: atomic(0) },
    {
      *shutsOut(s) {
        yield* spinTrylock(s.l);
        yield* mutexLock(s.m);
      },
      *tries(s) {
        yield* mutexTrylock(s.m);
      },
      *looks(s) {
        yield* atomicRead(s.x);
        yield* mutexIsLocked(s.m);
      },
      *writes(s) {
        yield* atomicXchg(s.x, 1);
      },
    },
    { cpus: { shutsOut: 0, tries: 0, writes: 0 } },
  ),
  'a lock is let go and taken again while the CPU is shut': small(
    { m: mutex() },
    {
      *one(s) {
        yield* mutexLock(s.m);
        yield* preemptDisable();
        yield* mutexUnlock(s.m);
        yield* mutexLock(s.m);
        yield* mutexUnlock(s.m);
        yield* preemptEnable();
      },
      *two(s) {
        yield* mutexLock(s.m);
        yield* mutexUnlock(s.m);
      },
    },
    { cpus: { one: 0, two: 0 } },
  ),
  'tasks are started by tasks that race': small(
    { c: atomic(0) },
    same(2, function* run(s) {
      yield* start(function* started() {
        yield* atomicFetchAdd(s.c, 1);
      });
      yield* atomicFetchAdd(s.c, 2);
    }),
  ),
};

describe('each trace is executed once', () => {
  for (const [name, program] of Object.entries(TRICKY)) {
    test(`where ${name}`, () => {
      const found = compare(program);
      expect(found).toMatchObject({ missing: [], repeated: [], faults: [] });
      expect(found.executions).toBe(found.traces);
    });
  }
});
