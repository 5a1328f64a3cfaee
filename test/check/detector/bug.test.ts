import { expect, test } from 'vitest';
import { bugOn } from '../../../src/kernel/assertion.ts';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

test('a BUG_ON that fires in one order of steps is found', () => {
  const result = check(
    { users: 1 },
    {
      *putter(s) {
        yield* writeOnce(s, 'users', 0);
      },
      *getter(s) {
        const users = yield* readOnce(s, 'users');
        bugOn(users <= 0, 'users <= 0');
      },
    },
  );
  expect(violationsOf(result)).toEqual(['bug users <= 0']);
  expect(messagesOf(result)).toEqual(['BUG_ON(users <= 0) fires in getter']);
});

test('a BUG_ON whose condition never holds is clean', () => {
  const result = check(
    { users: 1 },
    {
      *putter(s) {
        yield* writeOnce(s, 'users', 0);
      },
      *getter(s) {
        const users = yield* readOnce(s, 'users');
        bugOn(users < 0, 'users < 0');
      },
    },
  );
  expect(result.verdict).toBe('clean');
  expect(result.executions).toBe(2);
});
