/**
 * refcount_t, which begins with two references: taking one where there is none, and dropping more than
 * there are, is a finding, and from then on the counter stays where it is.
 */
import {
  refcount,
  refcountDec,
  refcountDecAndTest,
  refcountDecIfOne,
  refcountDecNotOne,
  refcountInc,
  refcountIncNotZero,
  refcountRead,
  REFCOUNT_SATURATED,
  type Refcount,
} from '../../../../src/kernel/refcount.ts';
import { VALUE_COUNT, type Effect, type View } from '../machine.ts';
import { asNumber, stepsOf, type FuzzOperation, type Kind, type Request } from './kind.ts';

interface Count {
  readonly count: number;
  /** True once a reference was taken where there was none: whoever takes one later did so too. */
  readonly isRisen: boolean;
}

const SATURATED = REFCOUNT_SATURATED;
const INITIAL = 2;

function counterOf({ state, key }: Request): Refcount {
  return state[key] as Refcount;
}

function reduced(value: unknown): number {
  return (((value as number) % VALUE_COUNT) + VALUE_COUNT) % VALUE_COUNT;
}

/** Drops a reference; `result` of whether it was the last. */
function drop(value: Count, result?: (isLast: boolean) => number): Effect<Count> {
  const { count } = value;
  if (count === 0) {
    return {
      writes: 1,
      value: { ...value, count: SATURATED },
      isMisuse: true,
      ...(result === undefined ? {} : { result: result(false) }),
    };
  }
  const left = count < 0 ? count : count - 1;
  return {
    writes: 1,
    value: { ...value, count: left },
    ...(result === undefined ? {} : { result: result(left === 0) }),
  };
}

function operation(
  name: string,
  take: (view: View<Count>) => Effect<Count>,
  run: FuzzOperation['run'],
  told?: FuzzOperation['told'],
): FuzzOperation {
  const steps = stepsOf<Count>({ take });
  return told === undefined ? { name, steps, run } : { name, steps, run, told };
}

const INC = operation(
  'refcount_inc',
  ({ value }) => {
    const { count, isRisen } = value;
    if (count === 0 || isRisen) {
      return { commutes: 1, value: { count: SATURATED, isRisen: true }, isMisuse: true };
    }
    return { commutes: 1, value: { ...value, count: count < 0 ? count : count + 1 } };
  },
  (request) => refcountInc(counterOf(request)),
);

const DEC = operation(
  'refcount_dec',
  ({ value }) => {
    // The last one must not be dropped by who does not look.
    if (value.count !== 1) return drop(value);
    return { writes: 1, value: { ...value, count: SATURATED }, isMisuse: true };
  },
  (request) => refcountDec(counterOf(request)),
);

const DEC_AND_TEST = operation(
  'refcount_dec_and_test',
  ({ value }) => drop(value, Number),
  (request) => refcountDecAndTest(counterOf(request)),
  asNumber,
);

export const REFCOUNT: Kind = {
  prefix: 'n',
  initial: { count: INITIAL, isRisen: false } satisfies Count as unknown as number,
  show: (value) => (value as unknown as Count).count,
  field: () => refcount(INITIAL),
  valueOf: (state, key) => (state[key] as Refcount).value,
  acquisitions: [],
  operations: [
    operation(
      'refcount_read',
      ({ value }) => ({ reads: 1, result: reduced(value.count) }),
      (request) => refcountRead(counterOf(request)),
      reduced,
    ),
    INC,
    DEC,
    DEC_AND_TEST,
    DEC_AND_TEST,
    operation(
      'refcount_inc_not_zero',
      ({ value }) => {
        const { count } = value;
        if (count === 0) return { writes: 1, result: 0 };
        return { writes: 1, value: { ...value, count: count < 0 ? count : count + 1 }, result: 1 };
      },
      (request) => refcountIncNotZero(counterOf(request)),
      asNumber,
    ),
    operation(
      'refcount_dec_not_one',
      ({ value }) => (value.count === 1 ? { writes: 1, result: 0 } : drop(value, () => 1)),
      (request) => refcountDecNotOne(counterOf(request)),
      asNumber,
    ),
    operation(
      'refcount_dec_if_one',
      ({ value }) => (value.count === 1 ? drop(value, () => 1) : { writes: 1, result: 0 }),
      (request) => refcountDecIfOne(counterOf(request)),
      asNumber,
    ),
  ],
};
