import { expect, test } from 'vitest';
import { fn } from '../../../src/kernel/call.ts';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../../src/kernel/mutex.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { ptr, struct, type Instance, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf } from '../small-scenario.ts';

const Thing = struct('thing', { lock: mutex(), size: 7 });
type Thing = InstanceOf<typeof Thing>;

const fields = { lock: mutex(), thing: ptr<Thing>() };
type Shared = Instance<typeof fields>;

const thingRead = fn(function* thingRead(thing: Thing) {
  yield* mutexLock(thing.lock);
  const size = thing.size;
  yield* mutexUnlock(thing.lock);
  return size;
});

const thingFree = fn(function* thingFree(thing: Thing) {
  yield* kfree(thing);
});

function* make(s: Shared) {
  yield* writeOnce(s, 'thing', (yield* kzalloc(Thing, GFP_KERNEL)) as Thing);
}

test('an operation on freed memory is found, with who freed it', () => {
  const result = check(fields, {
    *reader(s) {
      yield* make(s);
      const thing = yield* readOnce(s, 'thing');
      if (thing !== null) yield* thingRead(thing);
    },
    *owner(s) {
      const thing = yield* readOnce(s, 'thing');
      if (thing !== null) yield* thingFree(thing);
    },
  });
  expect(result.violations.map(({ kind, object, places }) => [kind, object, ...places])).toEqual([
    ['use-after-free', 'thing', 'thing_read', 'thing_free'],
  ]);
  expect(messagesOf(result)).toEqual([
    'thing_read runs mutex_lock(&thing.lock) after thing was freed by thing_free',
  ]);
});

test('a plain access of freed memory is found by the name of the field', () => {
  const result = check(fields, {
    *reader(s) {
      yield* make(s);
      const thing = (yield* readOnce(s, 'thing')) as Thing;
      yield* mutexLock(s.lock);
      thing.size += 1;
      yield* mutexUnlock(s.lock);
    },
    *owner(s) {
      const thing = yield* readOnce(s, 'thing');
      yield* mutexLock(s.lock);
      if (thing !== null) yield* thingFree(thing);
      yield* mutexUnlock(s.lock);
    },
  });
  expect(messagesOf(result)).toContain(
    'thing.size is read by reader after thing was freed by thing_free',
  );
});

test('memory that is freed under the lock of its users is not used afterwards', () => {
  const result = check(fields, {
    *reader(s) {
      yield* mutexLock(s.lock);
      s.thing ??= yield* kzalloc(Thing, GFP_KERNEL);
      if (s.thing !== null) yield* thingRead(s.thing);
      yield* mutexUnlock(s.lock);
    },
    *owner(s) {
      yield* mutexLock(s.lock);
      const { thing } = s;
      s.thing = null;
      if (thing !== null) yield* thingFree(thing);
      yield* mutexUnlock(s.lock);
    },
  });
  expect(result.violations).toEqual([]);
  expect(result.suspicions).toEqual([]);
  expect(result.verdict).toBe('clean');
});

test('computing the address of something inside freed memory is no use of it', () => {
  const result = check(fields, {
    *only(s) {
      const thing = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
      yield* kfree(thing);
      if (thing.lock === null) yield* mutexLock(s.lock);
    },
  });
  expect(result.verdict).toBe('clean');
});
