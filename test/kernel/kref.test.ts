import { expect, test } from 'vitest';
import { fn } from '../../src/kernel/call.ts';
import { goal } from '../../src/kernel/choose.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import {
  kref,
  krefGet,
  krefGetUnlessZero,
  krefInit,
  krefPut,
  krefPutLock,
  krefPutMutex,
  krefRead,
  type Kref,
} from '../../src/kernel/kref.ts';
import { mutex, mutexUnlock } from '../../src/kernel/mutex.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { spinlock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { containerOf, ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { lockdepAssertHeld } from '../../src/kernel/lockdep.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

const Thing = struct('thing', { ref: kref(), mutex: mutex(), lock: spinlock() });
type Thing = InstanceOf<typeof Thing>;
const shared = { thing: ptr<Thing>() };

const release = fn(function* release(ref: Kref) {
  goal('released');
  yield* kfree(containerOf(ref, Thing, 'ref'));
});

/** A thing of its own with two references. */
function* makeThing() {
  const thing = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
  krefInit(thing.ref);
  yield* krefGet(thing.ref);
  return thing;
}

test('the last put calls release once, with the kref', () => {
  const program = small(shared, {
    *one() {
      const thing = yield* makeThing();
      const was = yield* krefRead(thing.ref);
      const first = yield* krefPut(thing.ref, release);
      const second = yield* krefPut(thing.ref, release);
      goal(`${was} ${first} ${second}`);
    },
  });
  expect(outcomes(program)).toEqual(['2 false true, released']);
});

test('a put too many is a use of freed memory', () => {
  const program = small(shared, {
    *one() {
      const thing = yield* makeThing();
      yield* krefPut(thing.ref, release);
      yield* krefPut(thing.ref, release);
      yield* krefPut(thing.ref, release);
    },
  });
  expect(outcomes(program).join()).toContain('use-after-free');
});

test('a kref that was never initialised is found when it is used', () => {
  const program = small(
    { ref: kref() },
    {
      *one({ ref }) {
        yield* krefGet(ref);
      },
    },
  );
  expect(outcomes(program)).toEqual(['refcount: incremented from 0']);
});

test('initialising freed memory is found', () => {
  const program = small(shared, {
    *one() {
      const thing = yield* makeThing();
      yield* kfree(thing);
      krefInit(thing.ref);
    },
  });
  expect(outcomes(program).join()).toContain('use-after-free');
});

test('a reference taken unless it is too late is one that is there', () => {
  const program = small(
    { ref: kref() },
    {
      *owner({ ref }) {
        yield* krefPut(ref, justNote);
      },
      *user({ ref }) {
        if (yield* krefGetUnlessZero(ref)) yield* krefPut(ref, justNote);
        else goal('too late');
      },
    },
    { setup: ({ ref }) => krefInit(ref) },
  );
  // The user comes too late, or takes one and drops it before or after the owner.
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['released', 'released, too late']);
});

const justNote = fn(function* justNote(_ref: Kref) {
  goal('released');
});

test.each(['mutex', 'spinlock'] as const)('the last put takes the %s for release', (kind) => {
  const releaseLocked = fn(function* releaseLocked(ref: Kref) {
    const thing = containerOf(ref, Thing, 'ref');
    lockdepAssertHeld(kind === 'mutex' ? thing.mutex : thing.lock);
    goal('released');
    if (kind === 'mutex') yield* mutexUnlock(thing.mutex);
    else yield* spinUnlock(thing.lock);
    yield* kfree(thing);
  });
  const program = small(shared, {
    *one() {
      const thing = yield* makeThing();
      for (const _ of [1, 2]) {
        if (kind === 'mutex') yield* krefPutMutex(thing.ref, releaseLocked, thing.mutex);
        else yield* krefPutLock(thing.ref, releaseLocked, thing.lock);
      }
    },
  });
  expect(outcomes(program)).toEqual(['released']);
});
