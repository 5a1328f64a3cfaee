import { expect, test } from 'vitest';
import { fn } from '../../src/kernel/call.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import type { Body } from '../../src/kernel/operation.ts';
import {
  callSrcu,
  rcuHead,
  srcuBarrier,
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
  type RcuHead,
} from '../../src/kernel/srcu.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { check, violationsOf } from '../check/small-scenario.ts';

const FIELDS = { ss: srcuStruct(), rcu: rcuHead(), plain: 0, flag: 0 };
const STATE = struct('s', FIELDS);
type State = InstanceOf<typeof STATE>;

/** What is found when these two run side by side, on CPUs 0 and 1. */
function found(
  zero: (s: State) => Body<unknown>,
  one: (s: State) => Body<unknown>,
  isAlsoComplete = true,
): string[] {
  const result = check(FIELDS, { zero, one }, { cpus: { zero: 0, one: 1 } });
  expect(result.complete).toBe(isAlsoComplete);
  return violationsOf(result);
}

/** Uses the plain field in a read section, if the flag says that it still may. */
function* reader(s: State): Body<void> {
  const index = yield* srcuReadLock(s.ss);
  if ((yield* readOnce(s, 'flag')) === 0) s.plain += 1;
  yield* srcuReadUnlock(s.ss, index);
}

function* writeAfterWait(s: State): Body<void> {
  yield* writeOnce(s, 'flag', 1);
  yield* synchronizeSrcu(s.ss);
  s.plain += 1;
}

function* writeAtOnce(s: State): Body<void> {
  yield* writeOnce(s, 'flag', 1);
  s.plain += 1;
}

function* writeBeforeWait(s: State): Body<void> {
  s.plain += 1;
  yield* synchronizeSrcu(s.ss);
  yield* writeOnce(s, 'flag', 1);
}

/** Uses the plain field in a read section, if the flag says that it may now. */
function* lateReader(s: State): Body<void> {
  const index = yield* srcuReadLock(s.ss);
  if ((yield* readOnce(s, 'flag')) === 1) s.plain += 1;
  yield* srcuReadUnlock(s.ss, index);
}

test('what a reader did in its section is ordered before what follows synchronize_srcu', () => {
  expect(found(reader, writeAfterWait)).toEqual([]);
});

test('without synchronize_srcu it races', () => {
  expect(found(reader, writeAtOnce)).toEqual(['data-race s.plain']);
});

test('what a reader did in its section is ordered before the callback', () => {
  const use = fn(function* use(head: RcuHead) {
    (head.container as State).plain += 1;
  });
  function* writer(s: State): Body<void> {
    yield* writeOnce(s, 'flag', 1);
    yield* callSrcu(s.ss, s.rcu, use);
  }
  expect(found(reader, writer)).toEqual([]);
});

test('what came before synchronize_srcu is ordered before sections entered after its start', () => {
  expect(found(writeBeforeWait, lateReader)).toEqual([]);
});

/** Uses the plain field once `wait` has returned, if the flag is up. */
function* useAfter(s: State, wait: typeof srcuBarrier): Body<void> {
  if ((yield* readOnce(s, 'flag')) === 0) return;
  yield* wait(s.ss);
  s.plain += 1;
}

test('all that a callback did, its last lines included, is ordered before the barrier returns', () => {
  const use = fn(function* use(head: RcuHead) {
    const s = head.container as State;
    yield* readOnce(s, 'flag');
    s.plain += 1;
  });
  function* queue(s: State): Body<void> {
    yield* callSrcu(s.ss, s.rcu, use);
    yield* writeOnce(s, 'flag', 1);
  }
  expect(found(queue, (s) => useAfter(s, srcuBarrier))).toEqual([]);
  // The callback is on the list of another CPU, which synchronize_srcu does not wait for.
  expect(found(queue, (s) => useAfter(s, synchronizeSrcu))).toEqual(['data-race s.plain']);
});
