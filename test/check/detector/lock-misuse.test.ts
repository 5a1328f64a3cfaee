import { expect, test } from 'vitest';
import { mutex, mutexLock, mutexUnlock } from '../../../src/kernel/mutex.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const fields = { lock: mutex() };

test('an unlock by somebody else is found', () => {
  const result = check(fields, {
    *owner(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
    },
    *other(s) {
      yield* mutexUnlock(s.lock);
    },
  });
  expect(violationsOf(result)).toContain('lock-misuse s.lock');
});

test('a lock that is still held when its task ends is found', () => {
  const result = check(fields, {
    *owner(s) {
      yield* mutexLock(s.lock);
    },
  });
  expect(violationsOf(result)).toEqual(['lock-misuse s.lock']);
  expect(messagesOf(result)).toEqual([
    "s.lock: still held when task 'owner' ended; it was taken in owner",
  ]);
});

test('a lock that is taken and released by its owner is clean', () => {
  const result = check(fields, {
    *owner(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
    },
    *other(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
    },
  });
  expect(result.verdict).toBe('clean');
});
