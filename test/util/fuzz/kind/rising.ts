/** Counters that only rise, and loops that ask until one is high enough. */
import {
  atomic,
  atomicFetchAdd,
  atomicInc,
  atomicRead,
  type Atomic,
} from '../../../../src/kernel/atomic.ts';
import { awaitCondition } from '../../../../src/kernel/await.ts';
import { VALUE_COUNT } from '../machine.ts';
import { step, type Kind, type Request } from './kind.ts';

const counterOf = ({ state, key }: Request): Atomic => state[key] as Atomic;

function reduced(value: unknown): number {
  return (value as number) % VALUE_COUNT;
}

export const RISING: Kind = {
  prefix: 'u',
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
      name: 'atomic_fetch_add 1',
      steps: step(({ value }) => ({ writes: 1, value: value + 1, result: reduced(value) })),
      run: (request) => atomicFetchAdd(counterOf(request), 1),
      told: reduced,
    },
    {
      name: 'await >=',
      steps: step(({ value, operand }) => (value >= operand ? { reads: 1 } : null)),
      run: (request) => {
        const counter = counterOf(request);
        return awaitCondition('high', () => counter.value >= request.operand, [counter]);
      },
    },
  ],
};
