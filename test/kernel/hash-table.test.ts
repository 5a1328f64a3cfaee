import { array, assert, boolean, integer, property, tuple } from 'fast-check';
import { expect, test } from 'vitest';
import { goal } from '../../src/kernel/choose.ts';
import {
  hashAdd,
  hashAddRcu,
  hashDel,
  hashDelRcu,
  hashEmpty,
  hashFirstPossibleRcu,
  hashForEach,
  hashForEachPossible,
  hashForEachPossibleSafe,
  hashForEachSafe,
  hashHashed,
  hashMin,
  hashTable,
} from '../../src/kernel/hash-table.ts';
import { hlistNextRcu, hlistNode } from '../../src/kernel/hlist.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type Instance } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

const ENTRY = struct('entry', { key: 0, link: hlistNode() });
const TABLE = struct('s', { table: hashTable(2) });

/** Runs plain code with a kernel around it. */
function inKernel(body: (kernel: Kernel) => void): void {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  body(kernel);
  setRunning(before);
}

test('a key falls into the same bucket each time, and all buckets are used', () => {
  const keys = Array.from({ length: 256 }, (_, at) => 0x8800_0000_0000 + at * 64);
  const hits = Array.from({ length: 16 }, () => 0);
  for (const key of keys) {
    const bucket = hashMin(key, 4);
    expect(bucket).toBe(hashMin(key, 4));
    hits[bucket] = (hits[bucket] as number) + 1;
  }
  expect(Math.min(...hits)).toBeGreaterThan(8);
  expect(Math.max(...hits)).toBeLessThan(32);
  expect(hashMin(2 ** 48 - 1, 0)).toBe(0);
  expect(hashMin(2 ** 47, 10)).toBeLessThan(1024);
});

test('the table holds what was added and not taken out', () => {
  const changes = array(tuple(integer({ min: 0, max: 9 }), boolean()));
  assert(
    property(changes, (list) => {
      inKernel((kernel) => {
        const { table } = allocateStatic(kernel, TABLE);
        const entries = Array.from({ length: 10 }, (_, key) => {
          const entry = allocateStatic(kernel, ENTRY);
          entry.key = key;
          return entry;
        });
        const expected = new Set<number>();
        for (const [key, isRcu] of list) {
          const { link } = entries[key]!;
          if (!expected.delete(key)) {
            expected.add(key);
            if (isRcu) kernel.runNow(hashAddRcu(table, link, key));
            else hashAdd(table, link, key);
          } else if (isRcu) kernel.runNow(hashDelRcu(link));
          else hashDel(link);
          expect(hashHashed(link)).toBe(expected.has(key));
        }
        const all = [...hashForEach(table, ENTRY, 'link')].map((entry) => entry.key);
        expect(all).toHaveLength(expected.size);
        expect(new Set(all)).toEqual(expected);
        expect(hashEmpty(table)).toBe(expected.size === 0);
        for (let key = 0; key < 10; key += 1) {
          const met = [...hashForEachPossible(table, ENTRY, 'link', key)].map((one) => one.key);
          expect(met.includes(key)).toBe(expected.has(key));
          for (const other of met) expect(hashMin(other, 2)).toBe(hashMin(key, 2));
        }
      });
    }),
    { seed: 1 },
  );
});

test('the safe walks may take out what they stand on', () => {
  inKernel((kernel) => {
    const { table } = allocateStatic(kernel, TABLE);
    for (let key = 0; key < 10; key += 1) {
      const entry = allocateStatic(kernel, ENTRY);
      entry.key = key;
      hashAdd(table, entry.link, key);
    }
    for (const entry of hashForEachPossibleSafe(table, ENTRY, 'link', 3)) hashDel(entry.link);
    for (const entry of hashForEach(table, ENTRY, 'link')) {
      expect(hashMin(entry.key, 2)).not.toBe(hashMin(3, 2));
    }
    for (const entry of hashForEachSafe(table, ENTRY, 'link')) hashDel(entry.link);
    expect(hashEmpty(table)).toBe(true);
  });
});

test('a reader finds an entry, or not, while it is added and another is taken out', () => {
  const fields = { table: hashTable(0), one: embed(ENTRY), two: embed(ENTRY), m: mutex() };
  type State = Instance<typeof fields>;
  function* add(s: State, name: 'one' | 'two'): Body<void> {
    yield* mutexLock(s.m);
    yield* hashAddRcu(s.table, s[name].link, 1);
    yield* mutexUnlock(s.m);
  }
  const made = small(fields, {
    *writer(s) {
      yield* add(s, 'one');
      yield* hashDelRcu(s.one.link);
    },
    other: (s) => add(s, 'two'),
    *reader(s) {
      const met: string[] = [];
      let node = yield* hashFirstPossibleRcu(s.table, 1);
      for (; node !== null; node = yield* hlistNextRcu(node)) {
        met.push(containerOf(node, ENTRY, 'link').path);
      }
      goal(`met ${met.join(' and ')}`);
    },
  });
  expect(compare(made)).toMatchObject({ faults: [], missing: [], repeated: [] });
  expect(outcomes(made)).toEqual([
    'met ',
    'met s.one',
    'met s.one and s.two',
    'met s.two',
    'met s.two and s.one',
  ]);
});
