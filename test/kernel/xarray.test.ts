import { array, assert, constantFrom, integer, property, tuple } from 'fast-check';
import { expect, test } from 'vitest';
import { EBUSY, ENOMEM } from '../../src/base/errno.ts';
import { goal } from '../../src/kernel/choose.ts';
import { GFP_ATOMIC, GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { running, setRunning } from '../../src/kernel/running.ts';
import { spinLock, spinlock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { allocateStatic, kzalloc } from '../../src/kernel/slab.ts';
import { struct, type Instance, type InstanceOf } from '../../src/kernel/struct.ts';
import {
  xaAlloc,
  xaCmpxchg,
  xaEmpty,
  xaErase,
  xaErr,
  xaFind,
  xaInsert,
  xaLoad,
  xarray,
  xaStore,
} from '../../src/kernel/xarray.ts';
import { check, violationsOf } from '../check/small-scenario.ts';
import { compare } from '../util/brute-force.ts';
import { compareSmall } from '../util/compare-small.ts';
import { outcomes } from '../util/outcomes.ts';
import { small, type SmallOptions } from '../util/programs.ts';

const FIELDS = { xa: xarray<string>(), lock: spinlock() };
type State = Instance<typeof FIELDS>;

test('the array holds what a map would hold', () => {
  const kinds = constantFrom('store', 'erase', 'cmpxchg', 'insert', 'alloc', 'find');
  const steps = array(tuple(kinds, integer({ min: 0, max: 40 })));
  assert(
    property(steps, (changes) => {
      const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
      const before = setRunning(kernel);
      const { xa } = allocateStatic(kernel, struct('s', FIELDS));
      const map = new Map<number, string>();
      for (const [kind, index] of changes) {
        const there = map.get(index) ?? null;
        const value = `v${index}`;
        if (kind === 'store') {
          expect(kernel.runNow(xaStore(xa, index, value, GFP_KERNEL))).toBe(there);
          map.set(index, value);
        } else if (kind === 'erase') {
          expect(kernel.runNow(xaErase(xa, index))).toBe(there);
          map.delete(index);
        } else if (kind === 'cmpxchg') {
          const exchange = { old: value, entry: 'new' };
          expect(kernel.runNow(xaCmpxchg(xa, index, exchange, GFP_KERNEL))).toBe(there);
          if (there === value) map.set(index, 'new');
        } else if (kind === 'insert') {
          const result = kernel.runNow(xaInsert(xa as never, index, value, GFP_KERNEL));
          expect(result).toBe(there === null ? 0 : -EBUSY);
          if (there === null) map.set(index, value);
        } else if (kind === 'alloc') {
          const limit = { min: index, max: 40 };
          let free = index;
          while (map.has(free)) free += 1;
          const expected = free > 40 ? -EBUSY : free;
          expect(kernel.runNow(xaAlloc(xa, value, limit, GFP_KERNEL))).toBe(expected);
          if (expected >= 0) map.set(free, value);
        } else {
          const next = [...map.keys()].filter((key) => key >= index);
          const found = kernel.runNow(xaFind(xa, index));
          expect(found?.index ?? null).toBe(next.length === 0 ? null : Math.min(...next));
        }
        expect(kernel.runNow(xaLoad(xa, index))).toBe(map.get(index) ?? null);
        expect(kernel.runNow(xaEmpty(xa))).toBe(map.size === 0);
      }
      setRunning(before);
    }),
    { seed: 1 },
  );
});

const STEPS: Record<string, (s: State) => Body<void>> = {
  *store1(s) {
    yield* xaStore(s.xa, 1, 'one', GFP_KERNEL);
  },
  *store2(s) {
    yield* xaStore(s.xa, 2, 'two', GFP_KERNEL);
  },
  *erase1(s) {
    goal(`erased ${yield* xaErase(s.xa, 1)}`);
  },
  *load1(s) {
    goal(`loaded ${yield* xaLoad(s.xa, 1)}`);
  },
  *insert1(s) {
    goal(`inserted ${yield* xaInsert(s.xa as never, 1, 'in', GFP_KERNEL)}`);
  },
  *alloc(s) {
    goal(`allocated ${yield* xaAlloc(s.xa, 'new', { min: 1, max: 2 }, GFP_KERNEL)}`);
  },
  *walk(s) {
    const met: number[] = [];
    for (let at = yield* xaFind(s.xa, 0); at !== null; at = yield* xaFind(s.xa, at.index + 1)) {
      met.push(at.index);
    }
    goal(`met ${met.join(' ')}`);
  },
};

/** A program whose tasks take these steps. */
function program(tasks: readonly (readonly string[])[], options: SmallOptions = {}) {
  const bodies = tasks.map((names, at) => [
    `t${at}`,
    function* body(s: State): Body<void> {
      for (const name of names) yield* STEPS[name]!(s);
    },
  ]);
  return small(FIELDS, Object.fromEntries(bodies), options);
}

/** The number of traces of tasks with one step each. */
function count(...tasks: string[]): number {
  const found = compare(program(tasks.map((name) => [name])));
  expect(found).toMatchObject({ faults: [], missing: [], repeated: [] });
  return found.executions;
}

test('changes of different indexes have 1 trace, of one index 2, beside a walk more', () => {
  expect(count('store1', 'store2')).toBe(1);
  expect(count('store1', 'erase1')).toBe(2);
  expect(count('load1', 'store2')).toBe(1);
  expect(count('load1', 'load1')).toBe(1);
  expect(count('alloc', 'alloc')).toBe(2);
  // The walk ends at once, or after the entry that was stored before its first or second step.
  expect(count('walk', 'store1')).toBe(2);
});

test('random programs are explored exactly, allocations that fail included', () => {
  const task = array(constantFrom(...Object.keys(STEPS)), { minLength: 1, maxLength: 2 });
  let compared = 0;
  assert(
    property(array(task, { minLength: 2, maxLength: 3 }), (tasks) => {
      const made = program(tasks, { faults: { allocations: 1 } });
      const found = compareSmall(made);
      if (found === null) return;
      compared += 1;
      expect(found).toMatchObject({ faults: [], missing: [], repeated: [] });
      expect(found.executions).toBe(found.traces);
    }),
    { numRuns: 60, seed: 2 },
  );
  expect(compared).toBeGreaterThan(45);
});

test('a store that may fail in three orders of three stores has 6 traces', () => {
  const made = program([['store1'], ['store1', 'store1']], { faults: { allocations: 1 } });
  const found = compare(made);
  expect(found).toMatchObject({ traces: 6, executions: 6, missing: [], repeated: [], faults: [] });
});

test('storing may fail for want of memory where nothing is, and only there', () => {
  const made = small(
    FIELDS,
    {
      *t(s) {
        const first = xaErr(yield* xaStore(s.xa, 1, 'one', GFP_KERNEL));
        if (first !== 0) {
          goal(first === -ENOMEM ? 'no memory' : 'another error');
          return;
        }
        goal(`again ${xaErr(yield* xaStore(s.xa, 1, 'two', GFP_KERNEL))}`);
        yield* xaErase(s.xa, 1);
        expect(running.left.allocations).toBe(1);
      },
    },
    { faults: { allocations: 1 } },
  );
  expect(outcomes(made)).toEqual(['again 0', 'no memory']);
});

/** What happens when something is stored under a spinlock. */
function under(gfp: number): string[] {
  return outcomes(
    small(FIELDS, {
      *t(s) {
        yield* spinLock(s.lock);
        yield* xaStore(s.xa, 1, 'one', gfp);
        yield* spinUnlock(s.lock);
      },
    }),
  );
}

test('an allocation that may sleep is reported under a spinlock, GFP_ATOMIC is not', () => {
  expect(under(GFP_KERNEL)).toEqual(['sleeping-in-atomic: with preemption off']);
  expect(under(GFP_ATOMIC)).toEqual(['nothing']);
});

test('what is loaded was published by the store', () => {
  const Thing = struct('thing', { value: 0 });
  const result = check(
    { xa: xarray<InstanceOf<typeof Thing>>() },
    {
      *writer(s) {
        const thing = (yield* kzalloc(Thing, GFP_KERNEL))!;
        thing.value = 7;
        yield* xaStore(s.xa, 3, thing, GFP_KERNEL);
      },
      *reader(s) {
        const thing = yield* xaLoad(s.xa, 3);
        if (thing !== null) goal(`saw ${thing.value}`);
      },
    },
    { goals: ['saw 7'] },
  );
  expect(violationsOf(result)).toEqual([]);
  expect(result.verdict).toBe('clean');
});
