import { expect, test } from 'vitest';
import { atomic, atomicFetchAdd } from '../../../src/kernel/atomic.ts';
import { fn } from '../../../src/kernel/call.ts';
import {
  dataRace,
  dataRaceWrite,
  rcuAssignPointer,
  rcuDereference,
  readOnce,
  smpLoadAcquire,
  smpStoreRelease,
  writeOnce,
  xchg,
} from '../../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../../src/kernel/mutex.ts';
import { running } from '../../../src/kernel/running.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { embed, ptr, struct, type Instance, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Thing = struct('thing', { size: 7 });
type Thing = InstanceOf<typeof Thing>;
const fields = { count: 0, flag: 0, lock: mutex(), other: mutex(), thing: ptr<Thing>() };
type Shared = Instance<typeof fields>;

const addUnlocked = fn(function* addUnlocked(s: Shared) {
  yield* mutexLock(s.other);
  s.count += 1;
  yield* mutexUnlock(s.other);
});

const addLocked = fn(function* addLocked(s: Shared) {
  yield* mutexLock(s.lock);
  s.count += 1;
  yield* mutexUnlock(s.lock);
});

function* lockedReader(s: Shared) {
  yield* mutexLock(s.other);
  if (s.count > 0) yield* readOnce(s, 'count');
  yield* mutexUnlock(s.other);
}

function* plainReader(s: Shared) {
  yield* mutexLock(s.lock);
  yield* mutexUnlock(s.lock);
  if (s.count > 0) yield* mutexLock(s.lock);
}

function* releasingWriter(s: Shared) {
  s.count = 1;
  yield* smpStoreRelease(s, 'flag', 1);
}

function* publisher(s: Shared) {
  const thing = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
  thing.size = 8;
  yield* rcuAssignPointer(s, 'thing', thing);
}

function* plainUser(s: Shared) {
  const thing = yield* readOnce(s, 'thing');
  if (thing !== null && thing.size === 0) yield* readOnce(s, 'flag');
}

const counted = { users: atomic(2), size: 7 };

function* countedUser(s: Instance<typeof counted>) {
  if ((yield* atomicFetchAdd(s.users, -1)) === 1) s.size = 0;
}

function spawnChild(s: Shared): void {
  running.spawn('child', 'thread', null, function* child() {
    yield* mutexLock(s.lock);
    s.count += 1;
    yield* mutexUnlock(s.lock);
  });
}

test('writes under different locks race, and the finding is the same in every order', () => {
  const result = check(fields, {
    *one(s) {
      yield* addLocked(s);
    },
    *two(s) {
      yield* addUnlocked(s);
    },
  });
  expect(result.violations.map(({ kind, object, places }) => [kind, object, places])).toEqual([
    ['data-race', 's.count', ['add_locked', 'add_unlocked']],
  ]);
});

test('writes under one lock do not race', () => {
  const result = check(fields, {
    *one(s) {
      yield* addLocked(s);
    },
    *two(s) {
      yield* addLocked(s);
    },
    *three(s) {
      yield* addLocked(s);
    },
  });
  expect(result.verdict).toBe('clean');
  expect(result.executions).toBe(6);
});

test('an access after the unlock races though it follows at once', () => {
  const result = check(fields, {
    *one(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
      s.count = 1;
    },
    *two(s) {
      yield* addLocked(s);
    },
  });
  expect(messagesOf(result)).toContain(
    's.count: nothing orders the plain read by add_locked with the plain write by one',
  );
});

test('reads do not race with reads', () => {
  const result = check(fields, { one: lockedReader, two: lockedReader });
  expect(result.verdict).toBe('clean');
});

test('a plain access races with a marked write and not with a marked read', () => {
  const withWrite = check(fields, {
    one: plainReader,
    *two(s) {
      yield* writeOnce(s, 'count', 0);
    },
  });
  expect(messagesOf(withWrite)).toEqual([
    's.count: nothing orders the plain read by one with the marked write by two',
  ]);
  const withRead = check(fields, {
    one: plainReader,
    *two(s) {
      yield* readOnce(s, 'count');
    },
  });
  expect(withRead.verdict).toBe('clean');
});

test('marked accesses do not race with each other, data_race() among them', () => {
  const result = check(fields, {
    *one(s) {
      yield* writeOnce(s, 'count', 1);
      yield* dataRaceWrite(s, 'flag', 1);
    },
    *two(s) {
      yield* readOnce(s, 'count');
      yield* dataRace(s, 'flag');
    },
  });
  expect(result.verdict).toBe('clean');
});

test('an acquire of a release orders; the same with a relaxed read does not', () => {
  const acquiring = check(fields, {
    writer: releasingWriter,
    *reader(s) {
      if ((yield* smpLoadAcquire(s, 'flag')) === 1) s.count += 1;
    },
  });
  expect(acquiring.verdict).toBe('clean');
  const relaxed = check(fields, {
    writer: releasingWriter,
    *reader(s) {
      if ((yield* readOnce(s, 'flag')) === 1) s.count += 1;
    },
  });
  expect(violationsOf(relaxed)).toContain('data-race s.count');
});

test('an object that is filled in before it is published is not raced for', () => {
  const good = check(fields, {
    publisher,
    *reader(s) {
      const thing = yield* rcuDereference(s, 'thing');
      if (thing !== null && thing.size === 0) yield* readOnce(s, 'thing');
    },
  });
  expect(good.verdict).toBe('clean');
  const bad = check(fields, {
    publisher,
    *reader(s) {
      const thing = yield* readOnce(s, 'thing');
      if (thing !== null && thing.size === 0) yield* readOnce(s, 'thing');
    },
  });
  expect(violationsOf(bad)).toEqual(['data-race thing.size']);
});

test('a value-returning atomic orders what comes before it with what follows the next one', () => {
  const result = check(counted, {
    *one(s) {
      s.size += 1;
      yield* countedUser(s);
    },
    two: countedUser,
  });
  expect(result.verdict).toBe('clean');
});

test('what a task does after it started another races with it, what it did before does not', () => {
  const before = check(fields, {
    *one(s) {
      yield* readOnce(s, 'flag');
      s.count = 1;
      spawnChild(s);
    },
  });
  expect(before.verdict).toBe('clean');
  const after = check(fields, {
    *one(s) {
      yield* readOnce(s, 'flag');
      spawnChild(s);
      s.count = 1;
    },
  });
  expect(violationsOf(after)).toEqual(['data-race s.count']);
});

test('set-up and finally race with nothing', () => {
  const result = check(
    fields,
    {
      *one(s) {
        yield* addLocked(s);
      },
    },
    {
      setup(_kernel, s) {
        s.count = 1;
      },
      finally(s) {
        s.count = 2;
      },
    },
  );
  expect(result.verdict).toBe('clean');
});

test('a field inside an embedded struct is named from its outermost one', () => {
  const Inner = struct('inner', { useCount: 0 });
  const result = check(
    { inner: embed(Inner), lock: mutex() },
    {
      *one(s) {
        yield* mutexLock(s.lock);
        s.inner.useCount = 1;
        yield* mutexUnlock(s.lock);
      },
      *two(s) {
        s.inner.useCount = 2;
        yield* mutexLock(s.lock);
        yield* mutexUnlock(s.lock);
      },
    },
  );
  expect(violationsOf(result)).toEqual(['data-race s.inner.use_count']);
});

test('a free that nothing orders with a plain use is tried first, and shown', () => {
  const result = check(
    fields,
    {
      user: plainUser,
      *owner(s) {
        const thing = yield* xchg(s, 'thing', null);
        yield* kfree(thing);
      },
    },
    {
      setup(kernel, s) {
        s.thing = kernel.runNow(kzalloc(Thing, GFP_KERNEL));
      },
    },
  );
  expect(violationsOf(result)).toEqual(['use-after-free thing']);
  expect(result.suspicions).toEqual([]);
  // The pause between getting the pointer and using it is part of the schedule.
  const [violation] = result.violations;
  expect(violation?.schedule.tasks).toEqual([0, 1, 1, 0]);
  expect(violation?.message).toContain('thing.size is read by user');
});

test('a free that only a value orders with a plain use is tried first, and not possible', () => {
  const result = check(
    { ...fields, isDone: false, opens: atomic(0) },
    {
      *user(s) {
        yield* atomicFetchAdd(s.opens, 1);
        const { thing } = s;
        if (thing !== null) thing.size += 1;
        yield* writeOnce(s, 'isDone', true);
      },
      *owner(s) {
        if (!(yield* readOnce(s, 'isDone'))) return;
        yield* kfree(s.thing);
        s.thing = null;
      },
    },
    {
      setup(kernel, s) {
        s.thing = kernel.runNow(kzalloc(Thing, GFP_KERNEL));
      },
    },
  );
  // The pointer itself is raced for; the memory behind it is not used after its free.
  expect(violationsOf(result)).toEqual(['data-race s.thing']);
  expect(result.suspicions).toEqual([]);
});

test('a free under the lock of the users is not suspected', () => {
  const result = check(
    fields,
    {
      *user(s) {
        yield* mutexLock(s.lock);
        if (s.thing !== null) s.thing.size += 1;
        yield* mutexUnlock(s.lock);
      },
      *owner(s) {
        yield* mutexLock(s.lock);
        const { thing } = s;
        s.thing = null;
        yield* mutexUnlock(s.lock);
        yield* kfree(thing);
      },
    },
    {
      setup(kernel, s) {
        s.thing = kernel.runNow(kzalloc(Thing, GFP_KERNEL));
      },
    },
  );
  expect(result.verdict).toBe('clean');
  expect(result.suspicions).toEqual([]);
});
