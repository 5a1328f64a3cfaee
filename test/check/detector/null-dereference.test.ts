import { expect, test } from 'vitest';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { readOnce } from '../../../src/kernel/field.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { ptr, struct, type InstanceOf } from '../../../src/kernel/struct.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const Thing = struct('thing', { maxSize: 7 });
type Thing = InstanceOf<typeof Thing>;
const fields = { thing: ptr<Thing>() };
const faults = { allocations: 1 };

test('an allocation whose failure is not tested is found', () => {
  const result = check(
    fields,
    {
      *opener(s) {
        const thing = yield* kzalloc(Thing, GFP_KERNEL);
        thing!.maxSize = 8;
        yield* readOnce(s, 'thing');
        yield* kfree(thing);
      },
    },
    { faults },
  );
  expect(violationsOf(result)).toEqual(['null-dereference NULL']);
  expect(messagesOf(result)).toEqual(['opener dereferences NULL: write of max_size']);
});

test('taking a field out of NULL is found as well', () => {
  const result = check(fields, {
    *opener(s) {
      yield* readOnce(s, 'thing');
      const { maxSize } = s.thing!;
      yield* readOnce(s, maxSize > 0 ? 'thing' : 'thing');
    },
  });
  expect(messagesOf(result)).toEqual(['opener dereferences NULL: read of max_size']);
});

test('an allocation whose failure is tested is clean', () => {
  const result = check(
    fields,
    {
      *opener() {
        const thing = yield* kzalloc(Thing, GFP_KERNEL);
        if (thing === null) return;
        thing.maxSize = 8;
        yield* kfree(thing);
      },
    },
    { faults },
  );
  expect(result.verdict).toBe('clean');
  expect(result.executions).toBe(2);
});
