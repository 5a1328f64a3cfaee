import { expect, test } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import { array } from '../../src/kernel/array.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { embed, struct } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';
import { small } from '../util/programs.ts';

const Slot = struct('slot', { value: 0, lock: mutex() });

test('elements have names, addresses and variables of their own', () => {
  const Table = struct('table', { before: 0, slots: array(3, embed(Slot)), after: 0 });
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  const table = allocateStatic(kernel, Table);
  const places = [0, 1, 2].map((at) => table.slots.get(at));
  setRunning(before);
  expect(places.map((slot) => slot.path)).toEqual([
    'table.slots[0]',
    'table.slots[1]',
    'table.slots[2]',
  ]);
  const step = Slot.variables * 8;
  expect(places.map((slot) => slot.address - table.address)).toEqual([8, 8 + step, 8 + 2 * step]);
  expect(Table.variables).toBe(2 + 3 * Slot.variables);
});

test('an index out of range is answered with the length', () => {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  const { locks } = allocateStatic(kernel, struct('s', { locks: array(2, mutex()) }));
  expect(() => locks.get(2)).toThrow('s.locks[2]: the array has 2 elements');
  expect(() => locks.get(-1)).toThrow(UsageError);
  expect(() => locks.get(0.5)).toThrow(UsageError);
  setRunning(before);
});

/** Two tasks that lock and use one element each. */
function users(first: number, second: number) {
  return small(
    { slots: array(2, embed(Slot)) },
    {
      *one(s) {
        yield* mutexLock(s.slots.get(first).lock);
        yield* writeOnce(s.slots.get(first), 'value', 1);
        yield* mutexUnlock(s.slots.get(first).lock);
      },
      *two(s) {
        yield* mutexLock(s.slots.get(second).lock);
        yield* readOnce(s.slots.get(second), 'value');
        yield* mutexUnlock(s.slots.get(second).lock);
      },
    },
  );
}

test('tasks that use different elements do not disturb each other', () => {
  expect(compare(users(0, 1)).executions).toBe(1);
  expect(compare(users(1, 1)).executions).toBe(2);
});
