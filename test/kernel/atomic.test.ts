import { expect, test } from 'vitest';
import {
  atomic,
  atomicAdd,
  atomicAddReturn,
  atomicAddUnless,
  atomicCmpxchg,
  atomicDec,
  atomicDecAndTest,
  atomicDecIfPositive,
  atomicDecReturn,
  atomicFetchAdd,
  atomicInc,
  atomicIncAndTest,
  atomicIncNotZero,
  atomicIncReturn,
  atomicRead,
  atomicReadAcquire,
  atomicSet,
  atomicSetRelease,
  atomicSub,
  atomicSubAndTest,
  atomicSubReturn,
  atomicXchg,
  type Atomic,
} from '../../src/kernel/atomic.ts';
import type { Operation } from '../../src/kernel/operation.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

/** What an operation returns on a counter of the given value, and the value afterwards. */
function effect(value: number, operation: (a: Atomic) => Operation<unknown>): [unknown, number] {
  let result: [unknown, number] | null = null;
  const program = small(
    { a: atomic(value) },
    {
      *one({ a }) {
        result = [yield* operation(a), a.value];
      },
    },
  );
  outcomes(program);
  return result ?? [null, NaN];
}

test.each<[string, number, (a: Atomic) => Operation<unknown>, unknown, number]>([
  ['atomic_read', 7, atomicRead, 7, 7],
  ['atomic_read_acquire', 7, atomicReadAcquire, 7, 7],
  ['atomic_set', 7, (a) => atomicSet(a, 3), undefined, 3],
  ['atomic_set_release', 7, (a) => atomicSetRelease(a, 3), undefined, 3],
  ['atomic_inc', 7, atomicInc, undefined, 8],
  ['atomic_dec', 7, atomicDec, undefined, 6],
  ['atomic_add', 7, (a) => atomicAdd(a, 3), undefined, 10],
  ['atomic_sub', 7, (a) => atomicSub(a, 3), undefined, 4],
  ['atomic_fetch_add', 7, (a) => atomicFetchAdd(a, 3), 7, 10],
  ['atomic_add_return', 7, (a) => atomicAddReturn(a, 3), 10, 10],
  ['atomic_sub_return', 7, (a) => atomicSubReturn(a, 3), 4, 4],
  ['atomic_inc_return', 7, atomicIncReturn, 8, 8],
  ['atomic_dec_return', 7, atomicDecReturn, 6, 6],
  ['atomic_inc_and_test to 0', -1, atomicIncAndTest, true, 0],
  ['atomic_inc_and_test to 1', 0, atomicIncAndTest, false, 1],
  ['atomic_dec_and_test to 0', 1, atomicDecAndTest, true, 0],
  ['atomic_dec_and_test to 1', 2, atomicDecAndTest, false, 1],
  ['atomic_sub_and_test to 0', 3, (a) => atomicSubAndTest(a, 3), true, 0],
  ['atomic_inc_not_zero of 0', 0, atomicIncNotZero, false, 0],
  ['atomic_inc_not_zero of 1', 1, atomicIncNotZero, true, 2],
  ['atomic_add_unless that', 5, (a) => atomicAddUnless(a, 2, 5), false, 5],
  ['atomic_add_unless other', 5, (a) => atomicAddUnless(a, 2, 4), true, 7],
  ['atomic_dec_if_positive of 1', 1, atomicDecIfPositive, 0, 0],
  ['atomic_dec_if_positive of 0', 0, atomicDecIfPositive, -1, 0],
  ['atomic_xchg', 7, (a) => atomicXchg(a, 3), 7, 3],
  ['atomic_cmpxchg as expected', 7, (a) => atomicCmpxchg(a, 7, 3), 7, 3],
  ['atomic_cmpxchg not as expected', 7, (a) => atomicCmpxchg(a, 6, 3), 7, 7],
  ['wrapping upwards', 2 ** 31 - 1, atomicIncReturn, -(2 ** 31), -(2 ** 31)],
  ['wrapping downwards', -(2 ** 31), atomicDecReturn, 2 ** 31 - 1, 2 ** 31 - 1],
])('%s', (_name, value, operation, result, after) => {
  expect(effect(value, operation)).toEqual([result, after]);
});

interface Shared {
  readonly a: Atomic;
}

function* increments({ a }: Shared) {
  yield* atomicInc(a);
}

function* fetches({ a }: Shared) {
  yield* atomicFetchAdd(a, 1);
}

function* reads({ a }: Shared) {
  yield* atomicRead(a);
}

function* takes({ a }: Shared) {
  yield* atomicIncNotZero(a);
}

test('increments commute', () => {
  expectTraces(small({ a: atomic(0) }, same(3, increments)), 1);
});

test('reads commute', () => {
  expectTraces(small({ a: atomic(0) }, same(3, reads)), 1);
});

test('a read comes before or after each of two increments', () => {
  expectTraces(small({ a: atomic(0) }, { ...same(2, increments), reads }), 4);
});

test('updates that return something have n! orders', () => {
  expectTraces(small({ a: atomic(0) }, same(3, fetches)), 6);
});

test('an update that fails still has its order', () => {
  expectTraces(small({ a: atomic(0) }, same(2, takes)), 2);
});

test('descriptions are as the kernel writes them', () => {
  const seen: string[] = [];
  const program = small(
    { a: atomic(0) },
    {
      *one({ a }) {
        for (const operation of [atomicInc(a)]) {
          seen.push(operation.describe({} as never));
          yield* operation;
        }
      },
    },
  );
  outcomes(program);
  expect(seen).toContain('atomic_inc(&s.a)');
});
