import { expect, test } from 'vitest';
import { warnOn } from '../../../src/kernel/assertion.ts';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import { running } from '../../../src/kernel/running.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

test('a WARN_ON that fires is found, and its task goes on', () => {
  const result = check(
    { users: 1 },
    {
      *only(s) {
        warnOn((yield* readOnce(s, 'users')) === 1, 'users == 1');
        yield* writeOnce(s, 'users', 0);
        warnOn((yield* readOnce(s, 'users')) === 0, 'users == 0');
      },
    },
  );
  expect(violationsOf(result)).toEqual(['warn users == 1', 'warn users == 0']);
  expect(messagesOf(result)[0]).toBe('WARN_ON(users == 1) fires in only');
});

test('a lockdep assertion that does not hold counts as a warning', () => {
  const result = check(
    { users: 1 },
    {
      *only(s) {
        yield* readOnce(s, 'users');
        running.assertion('lockdep', 'lockdep_assert_held(&s.lock)');
      },
    },
  );
  expect(violationsOf(result)).toEqual(['warn lockdep_assert_held(&s.lock)']);
  expect(messagesOf(result)).toEqual(['lockdep_assert_held(&s.lock) does not hold in only']);
});

test('a WARN_ON whose condition does not hold is clean', () => {
  const result = check(
    { users: 1 },
    {
      *only(s) {
        warnOn((yield* readOnce(s, 'users')) !== 1, 'users != 1');
      },
    },
  );
  expect(result.verdict).toBe('clean');
});
