import { expect, test } from 'vitest';
import {
  lockdepAssertHeld,
  lockdepAssertHeldRead,
  lockdepAssertHeldWrite,
  lockdepAssertNotHeld,
} from '../../src/kernel/lockdep.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import {
  downgradeWrite,
  downRead,
  downWrite,
  rwsem,
  upRead,
  upWrite,
  type RwSemaphore,
} from '../../src/kernel/rwsem.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

function assertAll({ sem }: { readonly sem: RwSemaphore }): void {
  lockdepAssertHeld(sem);
  lockdepAssertHeldRead(sem);
  lockdepAssertHeldWrite(sem);
  lockdepAssertNotHeld(sem);
}

const HELD = 'warn: lockdep_assert_held(&s.sem)';
const HELD_READ = 'warn: lockdep_assert_held_read(&s.sem)';
const HELD_WRITE = 'warn: lockdep_assert_held_write(&s.sem)';
const NOT_HELD = 'warn: lockdep_assert_not_held(&s.sem)';

test('without the lock all assertions that it is held fail', () => {
  const program = small(
    { sem: rwsem() },
    {
      *one(s) {
        assertAll(s);
      },
    },
  );
  expect(outcomes(program)).toEqual([[HELD, HELD_READ, HELD_WRITE].join(', ')]);
});

test('a reader holds it, but not for writing', () => {
  const program = small(
    { sem: rwsem() },
    {
      *one(s) {
        yield* downRead(s.sem);
        assertAll(s);
        yield* upRead(s.sem);
        lockdepAssertNotHeld(s.sem);
      },
    },
  );
  expect(outcomes(program)).toEqual([[HELD_WRITE, NOT_HELD].join(', ')]);
});

test('a writer holds it, but not for reading', () => {
  const program = small(
    { sem: rwsem() },
    {
      *one(s) {
        yield* downWrite(s.sem);
        assertAll(s);
        yield* upWrite(s.sem);
        lockdepAssertNotHeld(s.sem);
      },
    },
  );
  expect(outcomes(program)).toEqual([[HELD_READ, NOT_HELD].join(', ')]);
});

test('a writer that has been downgraded is a reader', () => {
  const program = small(
    { sem: rwsem() },
    {
      *one(s) {
        yield* downWrite(s.sem);
        yield* downgradeWrite(s.sem);
        assertAll(s);
        yield* upRead(s.sem);
        lockdepAssertNotHeld(s.sem);
      },
    },
  );
  expect(outcomes(program)).toEqual([[HELD_WRITE, NOT_HELD].join(', ')]);
});

test('the lock of another object of the same struct is another lock', () => {
  const program = small(
    { a: mutex(), b: mutex() },
    {
      *one({ a, b }) {
        yield* mutexLock(a);
        lockdepAssertHeld(a);
        lockdepAssertHeld(b);
        yield* mutexUnlock(a);
      },
    },
  );
  expect(outcomes(program)).toEqual(['warn: lockdep_assert_held(&s.b)']);
});

test('what another task holds is not held', () => {
  const program = small(
    { m: mutex() },
    {
      *holder({ m }) {
        yield* mutexLock(m);
        yield* mutexUnlock(m);
      },
      *other({ m }) {
        lockdepAssertHeld(m);
      },
    },
  );
  expect(outcomes(program)).toEqual(['warn: lockdep_assert_held(&s.m)']);
});
