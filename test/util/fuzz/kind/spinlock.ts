/** Spinlocks, which turn preemption off; the value is 0 for a free one, otherwise 1 + owner. */
import {
  spinIsLocked,
  spinlock,
  spinLock,
  spinTrylock,
  spinUnlock,
  type Spinlock,
} from '../../../../src/kernel/spinlock.ts';
import type { Effect, StepDefinition, View } from '../machine.ts';
import { asNumber, Misuse, step, taskNumber, type FuzzOperation, type Kind } from './kind.ts';

const SPIN_UNLOCK: FuzzOperation = {
  name: 'spin_unlock',
  steps: step(({ value, task }) => {
    if (value !== task + 1) throw new Misuse('spin_unlock by another than the owner');
    return { writes: 1, value: 0, preempt: -1 };
  }),
  run: ({ state, key }) => spinUnlock(state[key] as Spinlock),
};

function acquisition(take: (view: View) => Effect | null): readonly StepDefinition[] {
  return [{ take, disablesPreemption: true }];
}

export const SPINLOCK: Kind = {
  prefix: 'l',
  initial: 0,
  holds: (value, task) => (value === task + 1 ? 1 : 0),
  field: spinlock,
  valueOf(state, key) {
    const { owner } = state[key] as Spinlock;
    return owner === null ? 0 : taskNumber(owner) + 1;
  },
  operations: [
    {
      name: 'spin_is_locked',
      steps: step(({ value }) => ({ reads: 1, result: value === 0 ? 0 : 1 })),
      run: ({ state, key }) => spinIsLocked(state[key] as Spinlock),
      told: asNumber,
    },
  ],
  acquisitions: [
    {
      operation: {
        name: 'spin_lock',
        steps: acquisition(({ value, task }) =>
          value === 0 ? { writes: 1, value: task + 1, preempt: 1 } : null,
        ),
        run: ({ state, key }) => spinLock(state[key] as Spinlock),
      },
      takenWhen: null,
      releases: [[SPIN_UNLOCK]],
    },
    {
      operation: {
        name: 'spin_trylock',
        steps: acquisition(({ value, task }) =>
          value === 0
            ? { writes: 1, value: task + 1, result: 1, preempt: 1 }
            : { reads: 1, result: 0 },
        ),
        run: ({ state, key }) => spinTrylock(state[key] as Spinlock),
        told: asNumber,
      },
      takenWhen: 1,
      releases: [[SPIN_UNLOCK]],
    },
  ],
};
