import { describe, expect, test } from 'vitest';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { goal } from '../../src/kernel/choose.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import {
  refcount,
  REFCOUNT_MAX,
  REFCOUNT_SATURATED,
  refcountAdd,
  refcountDec,
  refcountDecAndTest,
  refcountDecIfOne,
  refcountDecNotOne,
  refcountInc,
  refcountIncNotZero,
  refcountRead,
  refcountSet,
  refcountSubAndTest,
  type Refcount,
} from '../../src/kernel/refcount.ts';
import type { Operation } from '../../src/kernel/operation.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

interface Shared {
  readonly r: Refcount;
}

/** What an operation returns on a counter of the given value, the value then, and what was found. */
function effect(
  value: number,
  operation: (r: Refcount) => Operation<unknown>,
): [unknown, number, string] {
  let result: [unknown, number] = [null, NaN];
  const program = small(
    { r: refcount(value) },
    {
      *one({ r }) {
        result = [yield* operation(r), r.value];
      },
    },
  );
  const found = outcomes(program).join();
  return [...result, found.replace('refcount: ', '')];
}

const OVERFLOW = 'overflowed, so it never drops to 0';

test.each<[string, number, (r: Refcount) => Operation<unknown>, unknown, number, string]>([
  ['refcount_read', 3, refcountRead, 3, 3, 'nothing'],
  ['refcount_set', 3, (r) => refcountSet(r, 5), undefined, 5, 'nothing'],
  ['refcount_inc', 1, refcountInc, undefined, 2, 'nothing'],
  ['refcount_inc of 0', 0, refcountInc, undefined, REFCOUNT_SATURATED, 'incremented from 0'],
  [
    'refcount_inc of the largest',
    REFCOUNT_MAX,
    refcountInc,
    undefined,
    REFCOUNT_SATURATED,
    OVERFLOW,
  ],
  [
    'refcount_inc of a saturated one',
    REFCOUNT_SATURATED,
    refcountInc,
    undefined,
    REFCOUNT_SATURATED,
    'nothing',
  ],
  ['refcount_add', 1, (r) => refcountAdd(r, 4), undefined, 5, 'nothing'],
  ['refcount_inc_not_zero', 1, refcountIncNotZero, true, 2, 'nothing'],
  ['refcount_inc_not_zero of 0', 0, refcountIncNotZero, false, 0, 'nothing'],
  [
    'refcount_inc_not_zero of the largest',
    REFCOUNT_MAX,
    refcountIncNotZero,
    true,
    REFCOUNT_SATURATED,
    OVERFLOW,
  ],
  ['refcount_dec_and_test', 2, refcountDecAndTest, false, 1, 'nothing'],
  ['refcount_dec_and_test of the last', 1, refcountDecAndTest, true, 0, 'nothing'],
  [
    'refcount_dec_and_test of 0',
    0,
    refcountDecAndTest,
    false,
    REFCOUNT_SATURATED,
    'decremented below 0',
  ],
  [
    'refcount_dec_and_test of a saturated one',
    REFCOUNT_SATURATED,
    refcountDecAndTest,
    false,
    REFCOUNT_SATURATED,
    'nothing',
  ],
  ['refcount_sub_and_test', 3, (r) => refcountSubAndTest(r, 3), true, 0, 'nothing'],
  [
    'refcount_sub_and_test of less',
    2,
    (r) => refcountSubAndTest(r, 3),
    false,
    REFCOUNT_SATURATED,
    'decremented below 0',
  ],
  ['refcount_dec', 2, refcountDec, undefined, 1, 'nothing'],
  [
    'refcount_dec of the last',
    1,
    refcountDec,
    undefined,
    REFCOUNT_SATURATED,
    'decremented to 0 by who does not look',
  ],
  ['refcount_dec_not_one', 2, refcountDecNotOne, true, 1, 'nothing'],
  ['refcount_dec_not_one of the last', 1, refcountDecNotOne, false, 1, 'nothing'],
  ['refcount_dec_if_one', 2, refcountDecIfOne, false, 2, 'nothing'],
  ['refcount_dec_if_one of the last', 1, refcountDecIfOne, true, 0, 'nothing'],
])('%s', (_name, value, operation, result, after, found) => {
  expect(effect(value, operation)).toEqual([result, after, found]);
});

function* takes({ r }: Shared) {
  yield* refcountInc(r);
}

function* drops({ r }: Shared) {
  if (yield* refcountDecAndTest(r)) goal('freed');
}

function* takesIfNotZero({ r }: Shared) {
  yield* refcountIncNotZero(r);
}

describe('the traces of a refcount', () => {
  test('who has a reference takes another one in no particular order', () => {
    expectTraces(small({ r: refcount(1) }, same(3, takes)), 1);
  });

  test('those who drop come one after the other, and the last one frees', () => {
    const program = small({ r: refcount(3) }, same(3, drops));
    expectTraces(program, 6);
    expect(outcomes(program)).toEqual(['freed']);
  });

  test('those who take if it is not 0 have an order even if they fail', () => {
    expectTraces(small({ r: refcount(0) }, same(2, takesIfNotZero)), 2);
  });

  test('two who take from 0 have done the same, whoever was first', () => {
    const program = small({ r: refcount(0) }, same(2, takes));
    expectTraces(program, 1);
    const blamed: string[] = [];
    const onCounterMisuse = ({ currentTask }: Kernel): void => void blamed.push(currentTask.name);
    new SourceDpor(program, { watches: [{ onCounterMisuse }] }).run();
    expect(blamed).toEqual(['t0', 't1']);
  });

  test('taking beside dropping the last one is found in one of both orders', () => {
    const program = small({ r: refcount(1) }, { takes, drops });
    expectTraces(program, 2);
    expect(outcomes(program)).toEqual(['freed, refcount: incremented from 0', 'nothing']);
  });
});
