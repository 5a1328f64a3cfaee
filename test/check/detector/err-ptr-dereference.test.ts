import { expect, test } from 'vitest';
import { ENOMEM } from '../../../src/base/errno.ts';
import { fn } from '../../../src/kernel/call.ts';
import { errPtr, isErr, type ErrPtr } from '../../../src/kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { struct, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Thing = struct('thing', { kobj: 0 });
type Thing = InstanceOf<typeof Thing>;
const faults = { allocations: 1 };

const createThing = fn(function* createThing() {
  const thing: Thing | ErrPtr | null = yield* kzalloc(Thing, GFP_KERNEL);
  return thing ?? errPtr(-ENOMEM);
});

test('an error pointer that nobody tests for is found', () => {
  const result = check(
    {},
    {
      *opener() {
        const thing = (yield* createThing()) as Thing;
        thing.kobj = 1;
        yield* kfree(thing);
      },
    },
    { faults },
  );
  expect(violationsOf(result)).toEqual(['err-ptr-dereference ERR_PTR(-ENOMEM)']);
  expect(messagesOf(result)).toEqual(['opener dereferences ERR_PTR(-ENOMEM): write of kobj']);
});

test('an error pointer that is tested for is clean', () => {
  const result = check(
    {},
    {
      *opener() {
        const thing = yield* createThing();
        if (isErr(thing)) return;
        thing.kobj = 1;
        yield* kfree(thing);
      },
    },
    { faults },
  );
  expect(result.verdict).toBe('clean');
});
