/**
 * What fuzz programs are made of: kinds of objects, and for each its operations, twice — by
 * definition (see machine.ts), and as the kernel's own. To fuzz another kernel object, add a kind.
 */
import { EINTR } from '../../../src/base/errno.ts';
import {
  atomic,
  atomicFetchAdd,
  atomicInc,
  atomicRead,
  type Atomic,
} from '../../../src/kernel/atomic.ts';
import { choose } from '../../../src/kernel/choose.ts';
import { cmpxchg, readOnce, writeOnce, xchg } from '../../../src/kernel/field.ts';
import {
  mutex,
  mutexIsLocked,
  mutexLock,
  mutexLockKillable,
  mutexTrylock,
  mutexUnlock,
  type Mutex,
} from '../../../src/kernel/mutex.ts';
import type { Yieldable } from '../../../src/kernel/operation.ts';
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
} from '../../../src/kernel/rwsem.ts';
import type { StructObject } from '../../../src/kernel/struct.ts';
import { VALUE_COUNT, type Effect, type StepDefinition, type View } from './machine.ts';

/** The struct that a program's objects are in; each has a key of its own. */
export type State = StructObject & Record<string, unknown>;

/** How code on the kernel asks for an operation. */
export interface Request {
  readonly state: State;
  readonly key: string;
  readonly operand: number;
}

export interface FuzzOperation {
  /** `mutex_lock`, for printing. */
  readonly name: string;
  /** The steps it takes, by definition. */
  readonly steps: readonly StepDefinition[];
  /** The same on the kernel. */
  readonly run: (request: Request) => Yieldable<unknown>;
  /** What the task is told, of what the kernel returned; nothing if left out. */
  readonly told?: (result: unknown) => number;
}

/** An operation that takes hold of something, and the ways in which it can be let go. */
export interface Acquisition {
  readonly operation: FuzzOperation;
  /** What it returns when it was taken, or null if it always is when it returns. */
  readonly takenWhen: number | null;
  /** Each a list of operations, to be run in this order. */
  readonly releases: readonly (readonly FuzzOperation[])[];
}

export interface Kind {
  /** Begins the names of its objects. */
  readonly prefix: string;
  /** What it is as a field of a struct. */
  readonly field: () => unknown;
  readonly operations: readonly FuzzOperation[];
  readonly acquisitions: readonly Acquisition[];
  /** The value, in the terms of the definition, of the kernel's object. */
  readonly valueOf: (state: State, key: string) => number;
}

/** A program does what no program may do: let go of what it does not hold. */
export class Misuse extends Error {}

const step = (take: (view: View) => Effect | null): StepDefinition[] => [{ take }];
const asNumber = (result: unknown): number => Number(result);

// ---- fields ---------------------------------------------------------------------------------

function fieldUpdate(change: (view: View) => number): StepDefinition[] {
  return step((view) => ({ writes: 1, value: change(view), result: view.value }));
}

export const FIELD: Kind = {
  prefix: 'x',
  field: () => 0,
  valueOf: (state, key) => state[key] as number,
  acquisitions: [],
  operations: [
    {
      name: 'READ_ONCE',
      steps: step(({ value }) => ({ reads: 1, result: value })),
      run: ({ state, key }) => readOnce(state, key),
      told: asNumber,
    },
    {
      name: 'WRITE_ONCE',
      steps: step(({ operand }) => ({ writes: 1, value: operand })),
      run: ({ state, key, operand }) => writeOnce(state, key, operand),
    },
    {
      name: 'xchg',
      steps: fieldUpdate(({ operand }) => operand),
      run: ({ state, key, operand }) => xchg(state, key, operand),
      told: asNumber,
    },
    {
      name: 'cmpxchg 0',
      steps: fieldUpdate(({ value, operand }) => (value === 0 ? operand : value)),
      run: ({ state, key, operand }) => cmpxchg(state, key, 0, operand),
      told: asNumber,
    },
  ],
};

// ---- counters -------------------------------------------------------------------------------

export const COUNTER: Kind = {
  prefix: 'c',
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

// ---- signals --------------------------------------------------------------------------------

/** Before a wait that a signal ends: one may come, unless one has. */
const SIGNAL: StepDefinition = {
  take: ({ outcome }) => (outcome === 1 ? { signals: true } : {}),
  arity: ({ signalsLeft }) => (signalsLeft > 0 ? 2 : 1),
  isSkipped: ({ hasSignal }) => hasSignal,
};

/** A wait that a signal ends: with a signal, it takes what is there and gives up at once if not. */
function interruptible(take: (view: View) => Effect | null, aspects: number): StepDefinition {
  return {
    take: (view) => take(view) ?? (view.hasSignal ? { reads: aspects, result: 1 } : null),
  };
}

const toldOfSignal = (result: unknown): number => (result === -EINTR ? 1 : 0);

// ---- mutexes: 0 is free, otherwise 1 + owner --------------------------------------------------

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
  field: mutex,
  valueOf: (state, key) => ((state[key] as Mutex).owner?.index ?? -1) + 1,
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
        steps: step(({ value, task }) => (value === 0 ? { writes: 1, value: task + 1 } : null)),
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

// ---- rw semaphores: 0 is free, -1 - writer, or 16 ** reader for each hold -----------------------

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
  if (lock.writer !== null) return -1 - lock.writer.index;
  return lock.readers.reduce((sum, reader) => sum + readHold(reader.index), 0);
}

export const RWSEM: Kind = {
  prefix: 's',
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
        steps: step((view) => takeRead(view)),
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
        steps: step((view) => takeWrite(view)),
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

// ---- choices --------------------------------------------------------------------------------

/** A choice of the environment: no object of its own, and nobody sees it. */
export const CHOICE: FuzzOperation = {
  name: 'choose',
  steps: [{ take: ({ outcome }) => ({ result: outcome }), arity: () => 2 }],
  run: () => choose(2),
  told: asNumber,
};
