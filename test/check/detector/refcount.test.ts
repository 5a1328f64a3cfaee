import { expect, test } from 'vitest';
import { atomic, atomicFetchAdd, type Atomic } from '../../../src/kernel/atomic.ts';
import { fn } from '../../../src/kernel/call.ts';
import { running } from '../../../src/kernel/running.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

/** A reference counter as the hook sees it: it complains when it is taken from 0. */
const thingGet = fn(function* thingGet(users: Atomic) {
  if ((yield* atomicFetchAdd(users, 1)) === 0) {
    running.counterMisuse(users, 'incremented from 0');
  }
});

const thingPut = fn(function* thingPut(users: Atomic) {
  yield* atomicFetchAdd(users, -1);
});

test('a counter that complains is found by its path, and the task goes on', () => {
  const result = check(
    { users: atomic(1) },
    {
      *owner(s) {
        yield* thingPut(s.users);
      },
      *late(s) {
        yield* thingGet(s.users);
        yield* thingPut(s.users);
      },
    },
  );
  expect(violationsOf(result)).toEqual(['refcount s.users']);
  expect(messagesOf(result)).toEqual(['s.users: incremented from 0, in thing_get']);
  expect(result.violations[0]?.schedule.tasks).toEqual([0, 1]);
});

test('a counter that is taken while somebody holds it is clean', () => {
  const result = check(
    { users: atomic(1) },
    {
      *owner(s) {
        yield* thingGet(s.users);
        yield* thingPut(s.users);
      },
      *other(s) {
        yield* thingGet(s.users);
        yield* thingPut(s.users);
      },
    },
  );
  expect(result.verdict).toBe('clean');
});
