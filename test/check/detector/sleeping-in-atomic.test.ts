import { expect, test } from 'vitest';
import { mightSleep } from '../../../src/kernel/assertion.ts';
import { GFP_ATOMIC, GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock } from '../../../src/kernel/mutex.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../../src/kernel/spinlock.ts';
import { struct } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Thing = struct('thing', { size: 7 });
const fields = { spin: spinlock(), mutex: mutex() };

test('a mutex taken under a spinlock is found, though it is free', () => {
  const result = check(fields, {
    *only(s) {
      yield* spinLock(s.spin);
      yield* mutexLock(s.mutex);
      yield* mutexUnlock(s.mutex);
      yield* spinUnlock(s.spin);
    },
  });
  expect(violationsOf(result)).toEqual(['sleeping-in-atomic mutex_lock(&s.mutex)']);
  expect(messagesOf(result)).toEqual([
    'only calls mutex_lock(&s.mutex), which may sleep, with preemption off, since ' +
      'spin_lock(&s.spin) in only',
  ]);
});

test('a spinlock taken under a mutex is clean, and so is a trylock under a spinlock', () => {
  const result = check(fields, {
    *one(s) {
      yield* mutexLock(s.mutex);
      yield* spinLock(s.spin);
      yield* spinUnlock(s.spin);
      yield* mutexUnlock(s.mutex);
    },
    *other(s) {
      yield* spinLock(s.spin);
      if (yield* mutexTrylock(s.mutex)) yield* mutexUnlock(s.mutex);
      yield* spinUnlock(s.spin);
    },
  });
  expect(result.verdict).toBe('clean');
});

test('an allocation under a spinlock is found unless its flags forbid it to sleep', () => {
  for (const [gfp, found] of [
    [GFP_KERNEL, ['sleeping-in-atomic kzalloc(sizeof(struct thing), GFP_KERNEL)']],
    [GFP_ATOMIC, []],
  ] as const) {
    const result = check(fields, {
      *only(s) {
        yield* spinLock(s.spin);
        const thing = yield* kzalloc(Thing, gfp);
        yield* spinUnlock(s.spin);
        yield* kfree(thing);
      },
    });
    expect(violationsOf(result)).toEqual(found);
  }
});

test('might_sleep() is a finding under a spinlock and none after it', () => {
  const result = check(fields, {
    *good(s) {
      yield* spinLock(s.spin);
      yield* spinUnlock(s.spin);
      mightSleep();
    },
    *bad(s) {
      yield* spinLock(s.spin);
      mightSleep();
      yield* spinUnlock(s.spin);
    },
  });
  expect(result.violations.map(({ object, places }) => [object, places[0]])).toEqual([
    ['might_sleep()', 'bad'],
  ]);
});
