/** atomic_t: reads, updates that return nothing and commute, updates that return something. */
import {
  atomic,
  atomicCmpxchg,
  atomicDec,
  atomicDecAndTest,
  atomicFetchAdd,
  atomicInc,
  atomicIncNotZero,
  atomicRead,
  type Atomic,
} from '../../../../src/kernel/atomic.ts';
import { VALUE_COUNT } from '../machine.ts';
import { asNumber, step, type Kind, type Request } from './kind.ts';

const counterOf = ({ state, key }: Request): Atomic => state[key] as Atomic;

/** A value of the counter as a register can hold it. */
function reduced(value: unknown): number {
  return (((value as number) % VALUE_COUNT) + VALUE_COUNT) % VALUE_COUNT;
}

export const COUNTER: Kind = {
  prefix: 'c',
  initial: 0,
  field: () => atomic(0),
  valueOf: (state, key) => (state[key] as Atomic).value,
  acquisitions: [],
  operations: [
    {
      name: 'atomic_read',
      mayRepeat: true,
      steps: step(({ value }) => ({ reads: 1, result: reduced(value) })),
      run: (request) => atomicRead(counterOf(request)),
      told: reduced,
    },
    {
      name: 'atomic_inc',
      steps: step(({ value }) => ({ commutes: 1, value: value + 1 })),
      run: (request) => atomicInc(counterOf(request)),
    },
    {
      name: 'atomic_dec',
      steps: step(({ value }) => ({ commutes: 1, value: value - 1 })),
      run: (request) => atomicDec(counterOf(request)),
    },
    {
      name: 'atomic_fetch_add',
      steps: step(({ value, operand }) => ({
        writes: 1,
        value: value + operand,
        result: reduced(value),
      })),
      run: (request) => atomicFetchAdd(counterOf(request), request.operand),
      told: reduced,
    },
    {
      name: 'atomic_cmpxchg 1',
      mayRepeat: true,
      steps: step(({ value, operand }) => ({
        writes: 1,
        value: value === 1 ? operand : value,
        result: reduced(value),
      })),
      run: (request) => atomicCmpxchg(counterOf(request), 1, request.operand),
      told: reduced,
    },
    {
      name: 'atomic_inc_not_zero',
      steps: step(({ value }) => ({
        writes: 1,
        value: value === 0 ? 0 : value + 1,
        result: value === 0 ? 0 : 1,
      })),
      run: (request) => atomicIncNotZero(counterOf(request)),
      told: asNumber,
    },
    {
      name: 'atomic_dec_and_test',
      steps: step(({ value }) => ({
        writes: 1,
        value: value - 1,
        result: value === 1 ? 1 : 0,
      })),
      run: (request) => atomicDecAndTest(counterOf(request)),
      told: asNumber,
    },
  ],
};
