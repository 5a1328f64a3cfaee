/** rw semaphores; the value is 0 for a free one, -1 - writer, or 16 ** reader for each hold. */
import {
  downgradeWrite,
  downRead,
  downReadKillable,
  downReadTrylock,
  downWrite,
  downWriteKillable,
  downWriteTrylock,
  rwsem,
  rwsemIsLocked,
  upRead,
  upWrite,
  type RwSemaphore,
} from '../../../../src/kernel/rwsem.ts';
import type { Effect, View } from '../machine.ts';
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

/** Whether one may read, and whether it is free: a writer that stays as a reader changes one. */
const READABLE = 1;
const BOTH = 3;
const FREE = 2;

const readHold = (task: number): number => 16 ** task;

const UP_READ: FuzzOperation = {
  name: 'up_read',
  steps: step(({ value, task }) => {
    if (value <= 0 || Math.floor(value / readHold(task)) % 16 === 0) {
      throw new Misuse('up_read by one who does not read');
    }
    return { commutes: BOTH, value: value - readHold(task) };
  }),
  run: ({ state, key }) => upRead(state[key] as RwSemaphore),
};

function endWriting(view: View, effect: Effect): Effect {
  if (view.value !== -1 - view.task) throw new Misuse('up_write by one who does not write');
  return effect;
}

const UP_WRITE: FuzzOperation = {
  name: 'up_write',
  steps: step((view) => endWriting(view, { writes: BOTH, value: 0 })),
  run: ({ state, key }) => upWrite(state[key] as RwSemaphore),
};

const DOWNGRADE_WRITE: FuzzOperation = {
  name: 'downgrade_write',
  steps: step((view) => endWriting(view, { writes: READABLE, value: readHold(view.task) })),
  run: ({ state, key }) => downgradeWrite(state[key] as RwSemaphore),
};

const WRITE_RELEASES = [[UP_WRITE], [DOWNGRADE_WRITE, UP_READ]];

function takeRead({ value, task }: View, result?: number): Effect | null {
  if (value < 0) return null;
  const effect = { commutes: BOTH, value: value + readHold(task) };
  return result === undefined ? effect : { ...effect, result };
}

function takeWrite({ value, task }: View, result?: number): Effect | null {
  if (value !== 0) return null;
  const effect = { writes: BOTH, value: -1 - task };
  return result === undefined ? effect : { ...effect, result };
}

function rwsemValue(lock: RwSemaphore): number {
  if (lock.writer !== null) return -1 - taskNumber(lock.writer);
  return lock.readers.reduce((sum, reader) => sum + readHold(taskNumber(reader)), 0);
}

export const RWSEM: Kind = {
  prefix: 's',
  initial: 0,
  holds(value, task) {
    if (value < 0) return value === -1 - task ? 1 : 0;
    return Math.floor(value / readHold(task)) % 16;
  },
  field: rwsem,
  valueOf: (state, key) => rwsemValue(state[key] as RwSemaphore),
  operations: [
    {
      name: 'rwsem_is_locked',
      steps: step(({ value }) => ({ reads: FREE, result: value === 0 ? 0 : 1 })),
      run: ({ state, key }) => rwsemIsLocked(state[key] as RwSemaphore),
      told: asNumber,
    },
  ],
  acquisitions: [
    {
      operation: {
        name: 'down_read',
        steps: sleepingStep((view) => takeRead(view)),
        run: ({ state, key }) => downRead(state[key] as RwSemaphore),
      },
      takenWhen: null,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_read_trylock',
        steps: step((view) => takeRead(view, 1) ?? { reads: READABLE, result: 0 }),
        run: ({ state, key }) => downReadTrylock(state[key] as RwSemaphore),
        told: asNumber,
      },
      takenWhen: 1,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_write',
        steps: sleepingStep((view) => takeWrite(view)),
        run: ({ state, key }) => downWrite(state[key] as RwSemaphore),
      },
      takenWhen: null,
      releases: WRITE_RELEASES,
    },
    {
      operation: {
        name: 'down_write_trylock',
        steps: step((view) => takeWrite(view, 1) ?? { reads: FREE, result: 0 }),
        run: ({ state, key }) => downWriteTrylock(state[key] as RwSemaphore),
        told: asNumber,
      },
      takenWhen: 1,
      releases: WRITE_RELEASES,
    },
    {
      operation: {
        name: 'down_read_killable',
        steps: [SIGNAL, interruptible((view) => takeRead(view, 0), READABLE)],
        run: ({ state, key }) => downReadKillable(state[key] as RwSemaphore),
        told: toldOfSignal,
      },
      takenWhen: 0,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_write_killable',
        steps: [SIGNAL, interruptible((view) => takeWrite(view, 0), FREE)],
        run: ({ state, key }) => downWriteKillable(state[key] as RwSemaphore),
        told: toldOfSignal,
      },
      takenWhen: 0,
      releases: WRITE_RELEASES,
    },
  ],
};
