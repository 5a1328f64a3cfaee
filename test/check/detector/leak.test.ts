import { expect, test } from 'vitest';
import { array } from '../../../src/kernel/array.ts';
import { readOnce } from '../../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { perKernel } from '../../../src/kernel/kernel.ts';
import { mutex, mutexLock, type Mutex } from '../../../src/kernel/mutex.ts';
import { running } from '../../../src/kernel/running.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Inner = struct('inner', { lock: mutex(), size: 7 });
const Thing = struct('thing', { next: ptr<object>(), inner: embed(Inner) });
type Thing = InstanceOf<typeof Thing>;
const fields = { thing: ptr<Thing>(), lock: ptr<Mutex>(), any: field<unknown>(null) };

const table = perKernel(() => ({ items: new Map<string, unknown>() }));

function* allocated() {
  return (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
}

test('memory that nothing refers to at the end is found, with who allocated it', () => {
  const result = check(fields, {
    *opener(s) {
      yield* allocated();
      yield* readOnce(s, 'thing');
    },
  });
  expect(violationsOf(result)).toEqual(['leak thing']);
  expect(messagesOf(result)).toEqual([
    'thing, allocated by opener, is never freed and nothing refers to it',
  ]);
});

test('memory that was freed is not leaked', () => {
  const result = check(fields, {
    *opener() {
      yield* kfree(yield* allocated());
    },
  });
  expect(result.verdict).toBe('clean');
});

test('memory that the state of the scenario refers to is not leaked', () => {
  const result = check(fields, {
    *opener(s) {
      s.thing = yield* allocated();
      s.thing.next = yield* allocated();
    },
  });
  expect(result.verdict).toBe('clean');
});

test('a pointer to something inside keeps the whole', () => {
  const result = check(fields, {
    *opener(s) {
      const thing = yield* allocated();
      thing.next = yield* allocated();
      s.lock = thing.inner.lock;
    },
  });
  expect(result.verdict).toBe('clean');
});

test('arrays, maps, sets and plain objects are followed', () => {
  const result = check(fields, {
    *opener(s) {
      const held = { set: new Set([yield* allocated()]), list: [yield* allocated()] };
      s.any = new Map([['key', held]]);
    },
  });
  expect(result.verdict).toBe('clean');
});

test('the elements of an array inside a struct are followed', () => {
  const Slot = struct('slot', { thing: ptr<Thing>() });
  const result = check(
    { slots: array(2, embed(Slot)) },
    {
      *opener(s) {
        s.slots.get(1).thing = yield* allocated();
      },
    },
  );
  expect(result.verdict).toBe('clean');
});

test('what a part of the kernel keeps is not leaked', () => {
  const result = check(fields, {
    *opener() {
      table(running).items.set('thing', yield* allocated());
    },
  });
  expect(result.verdict).toBe('clean');
});

test('a pointer from memory that was freed keeps nothing', () => {
  const result = check(fields, {
    *opener(s) {
      s.thing = yield* allocated();
      s.thing.next = yield* allocated();
      yield* kfree(s.thing);
    },
  });
  expect(violationsOf(result)).toEqual(['leak thing']);
});

test('of leaked memory that leads to more only the first is reported', () => {
  const Holder = struct('holder', { thing: ptr<Thing>() });
  const result = check(fields, {
    *opener() {
      const thing = yield* allocated();
      const holder = (yield* kzalloc(Holder, GFP_KERNEL)) as InstanceOf<typeof Holder>;
      holder.thing = thing;
    },
  });
  expect(violationsOf(result)).toEqual(['leak holder']);
});

test('of a ring of leaked memory one is reported', () => {
  const result = check(fields, {
    *opener() {
      const one = yield* allocated();
      const other = yield* allocated();
      one.next = other;
      other.next = one;
    },
  });
  expect(violationsOf(result)).toEqual(['leak thing']);
});

test('nothing is judged when a task did not come to its end', () => {
  const result = check(fields, {
    *opener(s) {
      const { inner } = yield* allocated();
      yield* mutexLock(inner.lock);
      yield* mutexLock(inner.lock);
      s.thing = null;
    },
  });
  expect(violationsOf(result)).toEqual(['deadlock thing.inner.lock']);
});

test('what finally frees is not leaked', () => {
  const kept: Thing[] = [];
  const result = check(
    fields,
    {
      *opener() {
        kept[0] = yield* allocated();
      },
    },
    {
      *finally() {
        yield* kfree(kept[0] as Thing);
      },
    },
  );
  expect(result.verdict).toBe('clean');
});
