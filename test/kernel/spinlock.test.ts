import { describe, expect, test } from 'vitest';
import { atomic, atomicFetchAdd } from '../../src/kernel/atomic.ts';
import { mutex, mutexLock } from '../../src/kernel/mutex.ts';
import { localIrqDisable, localIrqEnable, preemptDisable } from '../../src/kernel/preempt.ts';
import { current } from '../../src/kernel/running.ts';
import {
  spinIsLocked,
  spinlock,
  spinLock,
  spinLockIrq,
  spinLockIrqsave,
  spinTrylock,
  spinUnlock,
  spinUnlockIrq,
  spinUnlockIrqrestore,
  type Spinlock,
} from '../../src/kernel/spinlock.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

interface Shared {
  readonly a: Spinlock;
  readonly b: Spinlock;
}

const locks = { a: spinlock(), b: spinlock() };

function* sectionA({ a }: Shared) {
  yield* spinLock(a);
  yield* spinUnlock(a);
}

function* sectionB({ b }: Shared) {
  yield* spinLock(b);
  yield* spinUnlock(b);
}

/** The order of two tasks of one CPU is decided by who starts; those in between cannot. */
const oneCpu = { cpus: { one: 0, two: 0 } };

test('n tasks take it in n! orders', () => {
  expectTraces(small(locks, same(3, sectionA)), 6);
});

test('a trylock comes before the holder, while it holds, or after', () => {
  const program = small(locks, {
    sectionA,
    *tries({ a }) {
      if (yield* spinTrylock(a)) yield* spinUnlock(a);
    },
  });
  expectTraces(program, 3);
});

test('locks of their own do not order tasks of different CPUs', () => {
  expectTraces(small(locks, { one: sectionA, two: sectionB }), 1);
});

test('locks of their own order tasks of one CPU', () => {
  expectTraces(small(locks, { one: sectionA, two: sectionB }, oneCpu), 2);
});

test('a task of the CPU that does something else comes before the section or after it', () => {
  const program = small(
    { ...locks, x: atomic(0) },
    {
      one: sectionA,
      *two(s) {
        yield* atomicFetchAdd(s.x, 1);
      },
    },
    oneCpu,
  );
  expectTraces(program, 2);
});

test('of nested locks only the outermost turns preemption off', () => {
  const program = small(
    locks,
    {
      *one({ a, b }) {
        yield* spinLock(a);
        yield* spinLock(b);
        yield* spinUnlock(b);
        yield* spinUnlock(a);
      },
      two: sectionB,
    },
    oneCpu,
  );
  expectTraces(program, 2);
});

test('a task of another CPU may come inside', () => {
  const program = small(
    { ...locks, x: atomic(0) },
    {
      *one({ a, x }) {
        yield* spinLock(a);
        yield* atomicFetchAdd(x, 1);
        yield* spinUnlock(a);
      },
      two: sectionB,
      *other({ x }) {
        yield* atomicFetchAdd(x, 1);
      },
    },
    oneCpu,
  );
  // The two of the CPU in either order, and the two additions in either order.
  expectTraces(program, 4);
});

test('turning interrupts off keeps the CPU as well', () => {
  const program = small(
    locks,
    {
      *one() {
        yield* localIrqDisable();
        yield* localIrqEnable();
      },
      two: sectionB,
    },
    oneCpu,
  );
  expectTraces(program, 2);
});

test('one that is never released keeps the other tasks of its CPU out for ever', () => {
  const program = small(
    locks,
    {
      *one({ a }) {
        yield* spinLock(a);
        yield* spinLock(a);
      },
      two: sectionB,
    },
    oneCpu,
  );
  expectTraces(program, 2);
  expect(outcomes(program)).toEqual([
    'deadlock: one waits for one',
    'deadlock: one waits for one; two waits for ',
  ]);
});
/** The counts of a task inside a section and after it: of preemption, of interrupts. */
function countsIn(
  lock: (a: Spinlock) => ReturnType<typeof spinLock>,
  unlock: (a: Spinlock) => ReturnType<typeof spinUnlock>,
): number[] {
  const counts: number[] = [];
  const note = (): void => void counts.push(current().preemptCount, current().irqDisableCount);
  const program = small(locks, {
    *one({ a }) {
      yield* lock(a);
      note();
      yield* unlock(a);
      note();
    },
  });
  outcomes(program);
  return counts;
}

describe('a task that holds a spinlock', () => {
  test('has preemption off', () => {
    expect(countsIn(spinLock, spinUnlock)).toEqual([1, 0, 0, 0]);
  });

  test('has interrupts off if it asked for it', () => {
    expect(countsIn(spinLockIrq, spinUnlockIrq)).toEqual([1, 1, 0, 0]);
    expect(countsIn(spinLockIrqsave, (a) => spinUnlockIrqrestore(a, 0))).toEqual([1, 1, 0, 0]);
  });

  test('gets interrupts back as they were before', () => {
    const counts: number[] = [];
    const program = small(locks, {
      *one({ a, b }) {
        const outer = yield* spinLockIrqsave(a);
        const inner = yield* spinLockIrqsave(b);
        yield* spinUnlockIrqrestore(b, inner);
        counts.push(current().irqDisableCount);
        yield* spinUnlockIrqrestore(a, outer);
        counts.push(current().irqDisableCount);
      },
    });
    expect(outcomes(program)).toEqual(['nothing']);
    expect(counts).toEqual([1, 0]);
  });

  test('must not sleep', () => {
    const program = small(
      { ...locks, m: mutex() },
      {
        *one({ a, m }) {
          yield* spinLock(a);
          yield* mutexLock(m);
        },
      },
    );
    expect(outcomes(program).join()).toContain('sleeping-in-atomic: with preemption off');
  });

  test('has preemption as it was if a trylock fails', () => {
    const counts = new Set<number>();
    const program = small(locks, {
      *one({ a }) {
        yield* spinLock(a);
      },
      *two({ a }) {
        if (!(yield* spinTrylock(a))) counts.add(current().preemptCount);
      },
    });
    outcomes(program);
    expect([...counts]).toEqual([0]);
  });
});

describe('misuse of a spinlock is found:', () => {
  test('unlocking what nobody holds', () => {
    const program = small(locks, {
      *one({ a }) {
        yield* spinUnlock(a);
      },
    });
    expect(outcomes(program)).toEqual(['lock-misuse: unlocked while nobody held it']);
  });

  test('unlocking what another task holds', () => {
    const program = small(locks, {
      one: sectionA,
      *two({ a }) {
        yield* preemptDisable();
        if (yield* spinIsLocked(a)) yield* spinUnlock(a);
      },
    });
    expect(outcomes(program).join()).toContain(
      "unlocked by a task that does not hold it ('one' does)",
    );
  });

  test('locking twice is a deadlock with oneself', () => {
    const program = small(locks, {
      *one({ a }) {
        yield* spinLock(a);
        yield* spinLock(a);
      },
    });
    expect(outcomes(program)).toEqual(['deadlock: one waits for one']);
  });

  test('leaving with it held', () => {
    const program = small(locks, {
      *one({ a }) {
        yield* spinLock(a);
      },
    });
    expect(outcomes(program)).toEqual(["lock-misuse: still held when task 'one' ended"]);
  });
});
