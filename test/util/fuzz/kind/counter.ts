/** atomic_t: reads, updates that return nothing and commute, updates that return the value before. */
import {
  atomic,
  atomicFetchAdd,
  atomicInc,
  atomicRead,
  type Atomic,
} from '../../../../src/kernel/atomic.ts';
import { VALUE_COUNT } from '../machine.ts';
import { step, type Kind } from './kind.ts';

export const COUNTER: Kind = {
  prefix: 'c',
  initial: 0,
  field: () => atomic(0),
  valueOf: (state, key) => (state[key] as Atomic).value,
  acquisitions: [],
  operations: [
    {
      name: 'atomic_read',
      steps: step(({ value }) => ({ reads: 1, result: value % VALUE_COUNT })),
      run: ({ state, key }) => atomicRead(state[key] as Atomic),
      told: (result) => (result as number) % VALUE_COUNT,
    },
    {
      name: 'atomic_inc',
      steps: step(({ value }) => ({ commutes: 1, value: value + 1 })),
      run: ({ state, key }) => atomicInc(state[key] as Atomic),
    },
    {
      name: 'atomic_fetch_add',
      steps: step(({ value, operand }) => ({
        writes: 1,
        value: value + operand,
        result: value % VALUE_COUNT,
      })),
      run: ({ state, key, operand }) => atomicFetchAdd(state[key] as Atomic, operand),
      told: (result) => (result as number) % VALUE_COUNT,
    },
  ],
};
