/** Mutexes; the value is 0 for a free one, otherwise 1 + owner. */
import {
  mutex,
  mutexIsLocked,
  mutexLock,
  mutexLockKillable,
  mutexTrylock,
  mutexUnlock,
  type Mutex,
} from '../../../../src/kernel/mutex.ts';
import {
  asNumber,
  Misuse,
  sleepingStep,
  step,
  taskNumber,
  type FuzzOperation,
  type Kind,
} from './kind.ts';
import { interruptible, SIGNAL, toldOfSignal } from './signal.ts';

const MUTEX_UNLOCK: FuzzOperation = {
  name: 'mutex_unlock',
  steps: step(({ value, task }) => {
    if (value !== task + 1) throw new Misuse('mutex_unlock by another than the owner');
    return { writes: 1, value: 0 };
  }),
  run: ({ state, key }) => mutexUnlock(state[key] as Mutex),
};

export const MUTEX: Kind = {
  prefix: 'm',
  initial: 0,
  holds: (value, task) => (value === task + 1 ? 1 : 0),
  field: mutex,
  valueOf(state, key) {
    const { owner } = state[key] as Mutex;
    return owner === null ? 0 : taskNumber(owner) + 1;
  },
  operations: [
    {
      name: 'mutex_is_locked',
      steps: step(({ value }) => ({ reads: 1, result: value === 0 ? 0 : 1 })),
      run: ({ state, key }) => mutexIsLocked(state[key] as Mutex),
      told: asNumber,
    },
  ],
  acquisitions: [
    {
      operation: {
        name: 'mutex_lock',
        steps: sleepingStep(({ value, task }) =>
          value === 0 ? { writes: 1, value: task + 1 } : null,
        ),
        run: ({ state, key }) => mutexLock(state[key] as Mutex),
      },
      takenWhen: null,
      releases: [[MUTEX_UNLOCK]],
    },
    {
      operation: {
        name: 'mutex_trylock',
        steps: step(({ value, task }) =>
          value === 0 ? { writes: 1, value: task + 1, result: 1 } : { reads: 1, result: 0 },
        ),
        run: ({ state, key }) => mutexTrylock(state[key] as Mutex),
        told: asNumber,
      },
      takenWhen: 1,
      releases: [[MUTEX_UNLOCK]],
    },
    {
      operation: {
        name: 'mutex_lock_killable',
        steps: [
          SIGNAL,
          interruptible(
            ({ value, task }) => (value === 0 ? { writes: 1, value: task + 1, result: 0 } : null),
            1,
          ),
        ],
        run: ({ state, key }) => mutexLockKillable(state[key] as Mutex),
        told: toldOfSignal,
      },
      takenWhen: 0,
      releases: [[MUTEX_UNLOCK]],
    },
  ],
};
