import { describe, expect, test } from 'vitest';
import { atomic, atomicInc } from '../../src/kernel/atomic.ts';
import { goal } from '../../src/kernel/choose.ts';
import {
  mutex,
  mutexIsLocked,
  mutexLock,
  mutexLockInterruptible,
  mutexLockKillable,
  mutexLockKillableNested,
  mutexTrylock,
  mutexUnlock,
  type Mutex,
} from '../../src/kernel/mutex.ts';
import { preemptDisable, preemptEnable } from '../../src/kernel/preempt.ts';
import { signalPending } from '../../src/kernel/signal.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

interface Shared {
  readonly m: Mutex;
}

function* section({ m }: Shared) {
  yield* mutexLock(m);
  yield* mutexUnlock(m);
}

function* tryOnce({ m }: Shared) {
  const got = yield* mutexTrylock(m);
  goal(got ? 'got it' : 'it was taken');
  if (got) yield* mutexUnlock(m);
}

function* killable({ m }: Shared) {
  const error = yield* mutexLockKillable(m);
  goal(`error ${error}`);
  if (error === 0) yield* mutexUnlock(m);
}

function* killableNested({ m }: Shared) {
  const error = yield* mutexLockKillableNested(m, 1);
  goal(`error ${error}`);
  if (error === 0) yield* mutexUnlock(m);
}

function* twice(s: Shared) {
  yield* section(s);
  yield* section(s);
}

function* ask({ m }: Shared) {
  yield* mutexIsLocked(m);
}

function* look() {
  yield* signalPending();
}

test('n tasks take it in n! orders', () => {
  expectTraces(small({ m: mutex() }, same(3, section)), 6);
});

test('a release is no race: two tasks that take it twice have the orders of their takings', () => {
  // Four takings, two of each task: 4! / (2! · 2!).
  expectTraces(small({ m: mutex() }, same(2, twice)), 6);
});

test('two mutexes taken crosswise have three traces, one of them a deadlock', () => {
  const program = small(
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
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['deadlock: one waits for two; two waits for one', 'nothing']);
});

test('a trylock comes before the holder, while it holds, or after', () => {
  const program = small({ m: mutex() }, { section, tryOnce });
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['got it', 'it was taken']);
});

test('two trylocks that fail in one hold commute', () => {
  // Each comes before, inside or after the section. At different places their order is given: 6.
  // Both before, or both after: either first, the other one then inside its hold or after it: 4.
  // Both inside: they fail and do not notice each other: 1.
  const program = small({ m: mutex() }, { section, one: tryOnce, two: tryOnce });
  expectTraces(program, 6 + 4 + 4 + 1);
});

test('an owner that asks whether it is locked does not hide the order of the owners', () => {
  const program = small(
    { m: mutex() },
    {
      *one({ m }) {
        yield* mutexLock(m);
        yield* mutexIsLocked(m);
        yield* mutexUnlock(m);
      },
      section,
    },
  );
  expectTraces(program, 2);
});

test('asking whether it is locked changes nothing: those who ask commute', () => {
  expectTraces(small({ m: mutex() }, { section, one: ask, two: ask }), 9);
});

test('a task that is blocked for ever was not there first in one trace, and was in another', () => {
  const program = small(
    { m: mutex(), x: atomic(0) },
    {
      *keeps(s) {
        yield* mutexLock(s.m);
        yield* atomicInc(s.x);
      },
      section,
    },
  );
  expectTraces(program, 2);
});
describe('a signal', () => {
  test('ends a wait, never one that did not have to wait', () => {
    const alone = small({ m: mutex() }, { killable }, { faults: { signals: 1 } });
    expect(outcomes(alone)).toEqual(['error 0']);
    const program = small({ m: mutex() }, { section, killable }, { faults: { signals: 1 } });
    expect(outcomes(program)).toEqual(['error -4', 'error 0']);
  });

  test('ends a wait for a mutex that is never unlocked', () => {
    const program = small(
      { m: mutex() },
      {
        *keeps({ m }) {
          yield* mutexLock(m);
        },
        killable,
      },
      { faults: { signals: 1 } },
    );
    expect(outcomes(program)).toContain(
      "error -4, lock-misuse: still held when task 'keeps' ended",
    );
    expect(outcomes(program)).toContain(
      "deadlock: killable waits for keeps, lock-misuse: still held when task 'keeps' ended",
    );
  });

  test('ends a nested wait just so', () => {
    const faults = { faults: { signals: 1 } };
    const program = small({ m: mutex() }, { section, killableNested }, faults);
    expect(outcomes(program)).toEqual(['error -4', 'error 0']);
    expectTraces(program, 2 + 3);
  });

  test('that stays away leaves the traces of mutex_lock', () => {
    expectTraces(small({ m: mutex() }, { section, killable }), 2);
  });

  test('adds the traces in which it comes', () => {
    // Without it: before or after the section. With it: before, inside (it gives up), or after.
    const program = small({ m: mutex() }, { section, killable }, { faults: { signals: 1 } });
    expectTraces(program, 2 + 3);
  });

  test('that one task gets, another one does not', () => {
    // Nobody, the one, or the other.
    expectTraces(small({}, { one: look, two: look }, { faults: { signals: 1 } }), 3);
    expectTraces(small({}, { one: look, two: look }, { faults: { signals: 2 } }), 4);
  });

  test('that ends one of two waits in a deadlock ends either of them', () => {
    const program = small(
      { a: mutex(), b: mutex() },
      {
        *one(s) {
          yield* mutexLock(s.a);
          goal(`one ${yield* mutexLockInterruptible(s.b)}`);
        },
        *two(s) {
          yield* mutexLock(s.b);
          goal(`two ${yield* mutexLockInterruptible(s.a)}`);
        },
      },
      { faults: { signals: 1 } },
    );
    const seen = outcomes(program).join('\n');
    expect(seen).toContain('one -4');
    expect(seen).toContain('two -4');
    expect(seen).toContain('deadlock: one waits for two; two waits for one');
  });
});

describe('misuse of a mutex is found:', () => {
  test('unlocking what another task holds', () => {
    const program = small(
      { m: mutex() },
      {
        *one({ m }) {
          yield* mutexLock(m);
          yield* mutexUnlock(m);
        },
        *two({ m }) {
          if (yield* mutexIsLocked(m)) yield* mutexUnlock(m);
        },
      },
    );
    expect(outcomes(program).join('\n')).toContain(
      "lock-misuse: unlocked by a task that does not hold it ('one' does)",
    );
  });

  test('unlocking what nobody holds', () => {
    const program = small(
      { m: mutex() },
      {
        *one({ m }) {
          yield* mutexUnlock(m);
        },
      },
    );
    expect(outcomes(program)).toEqual(['lock-misuse: unlocked while nobody held it']);
  });

  test('locking twice is a deadlock with oneself', () => {
    const program = small(
      { m: mutex() },
      {
        *one({ m }) {
          yield* mutexLock(m);
          yield* mutexLock(m);
        },
      },
    );
    expect(outcomes(program)).toEqual(['deadlock: one waits for one']);
  });

  test('locking it with preemption off', () => {
    const program = small(
      { m: mutex() },
      {
        *one(s) {
          yield* preemptDisable();
          yield* section(s);
          yield* preemptEnable();
        },
      },
    );
    expect(outcomes(program)).toEqual(['sleeping-in-atomic: with preemption off']);
  });
});
