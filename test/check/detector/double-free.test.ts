import { expect, test } from 'vitest';
import { fn } from '../../../src/kernel/call.ts';
import { readOnce, writeOnce, xchg } from '../../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { ptr, struct, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Thing = struct('thing', { size: 7 });
type Thing = InstanceOf<typeof Thing>;
const fields = { thing: ptr<Thing>() };

const thingDrop = fn(function* thingDrop(thing: Thing | null) {
  yield* kfree(thing);
});

test('two tasks that both free what they find are found', () => {
  const result = check(fields, {
    *maker(s) {
      yield* writeOnce(s, 'thing', yield* kzalloc(Thing, GFP_KERNEL));
      yield* thingDrop(yield* readOnce(s, 'thing'));
    },
    *other(s) {
      yield* thingDrop(yield* readOnce(s, 'thing'));
    },
  });
  expect(violationsOf(result)).toEqual(['double-free thing']);
  expect(messagesOf(result)).toEqual([
    'thing is freed by thing_drop after it was freed by thing_drop',
  ]);
});

test('two tasks of which only one gets the pointer free once', () => {
  const result = check(fields, {
    *maker(s) {
      yield* writeOnce(s, 'thing', yield* kzalloc(Thing, GFP_KERNEL));
      yield* thingDrop(yield* xchg(s, 'thing', null));
    },
    *other(s) {
      yield* thingDrop(yield* xchg(s, 'thing', null));
    },
  });
  expect(result.verdict).toBe('clean');
});
