/**
 * rw semaphores that are fair to writers: one that waits keeps out readers that come later. By
 * definition, coming to write depends on who reads; taking it then on other writers only. Readers come
 * after every writer that has left or given up, writers after everybody who has left.
 */
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
import type { FairRwSemaphore } from '../../../../src/kernel/rwsem-state.ts';
import type { Effect, StepDefinition, View } from '../machine.ts';
import { asNumber, Misuse, stepsOf, taskNumber, type FuzzOperation, type Kind } from './kind.ts';
import { SIGNAL, toldOfSignal } from './signal.ts';

interface Lock {
  /** The task that writes, or -1. */
  readonly writer: number;
  readonly readers: readonly number[];
  /** The writers that have come and wait. */
  readonly waiting: readonly number[];
  /** The steps with which writers have left or given up, and readers have left: bit masks. */
  readonly writersLeft: number;
  readonly readersLeft: number;
}

const COME = 1;
const READABLE = 2;
const FREE = 4;
const TAKE = 8;

const INITIAL: Lock = { writer: -1, readers: [], waiting: [], writersLeft: 0, readersLeft: 0 };

const lockOf = ({ state, key }: Parameters<FuzzOperation['run']>[0]): RwSemaphore =>
  state[key] as RwSemaphore;

function takeRead({ value, task }: View<Lock>, effect: Effect<Lock>): Effect<Lock> | null {
  if (value.writer >= 0 || value.waiting.length > 0) return null;
  const readers = [...value.readers, task];
  return { ...effect, value: { ...value, readers }, after: value.writersLeft };
}

function canWrite({ writer, readers }: Lock): boolean {
  return writer < 0 && readers.length === 0;
}

function takeWrite({ value, task }: View<Lock>, effect: Effect<Lock>): Effect<Lock> | null {
  if (!canWrite(value)) return null;
  const waiting = value.waiting.filter((other) => other !== task);
  const after = value.writersLeft | value.readersLeft;
  return { ...effect, value: { ...value, writer: task, waiting }, after };
}

function isFree(value: Lock): boolean {
  return canWrite(value) && value.waiting.length === 0;
}

const UP_READ: FuzzOperation = {
  name: 'up_read',
  steps: stepsOf<Lock>({
    take({ value, task, now }) {
      const at = value.readers.lastIndexOf(task);
      if (at < 0) throw new Misuse('up_read by one who does not read');
      const readers = value.readers.toSpliced(at, 1);
      const readersLeft = value.readersLeft | (1 << now);
      return { commutes: FREE, value: { ...value, readers, readersLeft } };
    },
  }),
  run: (request) => upRead(lockOf(request)),
};

function leaveWriting({ value, task, now }: View<Lock>, readers: readonly number[]): Lock {
  if (value.writer !== task) throw new Misuse('up_write by one who does not write');
  return { ...value, writer: -1, readers, writersLeft: value.writersLeft | (1 << now) };
}

const UP_WRITE: FuzzOperation = {
  name: 'up_write',
  steps: stepsOf<Lock>({
    take: (view) => ({ commutes: READABLE | FREE, value: leaveWriting(view, []) }),
  }),
  run: (request) => upWrite(lockOf(request)),
};

const DOWNGRADE_WRITE: FuzzOperation = {
  name: 'downgrade_write',
  steps: stepsOf<Lock>({
    take: (view) => ({ commutes: READABLE, value: leaveWriting(view, [view.task]) }),
  }),
  run: (request) => downgradeWrite(lockOf(request)),
};

const WRITE_RELEASES = [[UP_WRITE], [DOWNGRADE_WRITE, UP_READ]];

const COME_TO_WRITE: StepDefinition<Lock> = {
  take: ({ value, task }) => ({
    commutes: COME,
    value: { ...value, waiting: [...value.waiting, task] },
  }),
  maySleep: true,
};

/** The choice whether a signal comes; a step even where none can. */
const ALWAYS_SIGNAL: StepDefinition<Lock> = {
  take: ({ outcome }) => (outcome === 1 ? { signals: true } : {}),
  arity: ({ signalsLeft, hasSignal }) => (signalsLeft > 0 && !hasSignal ? 2 : 1),
};

/** One who gives up no longer keeps anybody out. */
function giveUp({ value, task, now }: View<Lock>): Effect<Lock> {
  const waiting = value.waiting.filter((other) => other !== task);
  const writersLeft = value.writersLeft | (1 << now);
  return {
    reads: TAKE | FREE,
    commutes: READABLE,
    value: { ...value, waiting, writersLeft },
    result: 1,
  };
}

export const FAIR_RWSEM: Kind = {
  prefix: 'f',
  initial: INITIAL as unknown as number,
  show(value) {
    const { writer, readers, waiting } = value as unknown as Lock;
    const held = writer >= 0 ? -1 - writer : readers.reduce((sum, task) => sum + 16 ** task, 0);
    return held + 1e6 * waiting.length;
  },
  holds(value, task) {
    const { writer, readers } = value as unknown as Lock;
    return (writer === task ? 1 : 0) + readers.filter((reader) => reader === task).length;
  },
  field: () => rwsem({ fair: true }),
  valueOf(state, key) {
    const { writer, readers, waiting } = state[key] as FairRwSemaphore;
    const held =
      writer === null
        ? readers.reduce((sum, task) => sum + 16 ** taskNumber(task), 0)
        : -1 - taskNumber(writer);
    return held + 1e6 * waiting.length;
  },
  operations: [
    {
      name: 'rwsem_is_locked',
      steps: stepsOf<Lock>({
        take: ({ value }) => ({
          reads: READABLE | FREE,
          writes: COME,
          result: isFree(value) ? 0 : 1,
        }),
      }),
      run: (request) => rwsemIsLocked(lockOf(request)),
      told: asNumber,
    },
  ],
  acquisitions: [
    {
      operation: {
        name: 'down_read',
        steps: stepsOf<Lock>({ take: (view) => takeRead(view, { reads: COME }), maySleep: true }),
        run: (request) => downRead(lockOf(request)),
      },
      takenWhen: null,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_read_trylock',
        steps: stepsOf<Lock>({
          take(view) {
            const reads = COME | READABLE;
            return takeRead(view, { reads, result: 1 }) ?? { reads, result: 0 };
          },
        }),
        run: (request) => downReadTrylock(lockOf(request)),
        told: asNumber,
      },
      takenWhen: 1,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_read_killable',
        steps: [
          SIGNAL,
          ...stepsOf<Lock>({
            take(view) {
              if (!view.hasSignal) return takeRead(view, { reads: COME, result: 0 });
              const reads = COME | READABLE;
              return takeRead(view, { reads, result: 0 }) ?? { reads, result: 1 };
            },
            maySleep: true,
          }),
        ],
        run: (request) => downReadKillable(lockOf(request)),
        told: toldOfSignal,
      },
      takenWhen: 0,
      releases: [[UP_READ]],
    },
    {
      operation: {
        name: 'down_write',
        steps: stepsOf<Lock>(COME_TO_WRITE, {
          take: (view) => takeWrite(view, { writes: TAKE }),
          maySleep: true,
        }),
        run: (request) => downWrite(lockOf(request)),
      },
      takenWhen: null,
      releases: WRITE_RELEASES,
    },
    {
      operation: {
        name: 'down_write_trylock',
        steps: stepsOf<Lock>({
          take(view) {
            const touched = { writes: COME, reads: READABLE | FREE };
            const taken = isFree(view.value) ? takeWrite(view, { ...touched, result: 1 }) : null;
            return taken ?? { ...touched, result: 0 };
          },
        }),
        run: (request) => downWriteTrylock(lockOf(request)),
        told: asNumber,
      },
      takenWhen: 1,
      releases: WRITE_RELEASES,
    },
    {
      operation: {
        name: 'down_write_killable',
        steps: stepsOf<Lock>(ALWAYS_SIGNAL, COME_TO_WRITE, {
          take(view) {
            if (!view.hasSignal) return takeWrite(view, { writes: TAKE, result: 0 });
            return takeWrite(view, { writes: TAKE, reads: FREE, result: 0 }) ?? giveUp(view);
          },
          maySleep: true,
        }),
        run: (request) => downWriteKillable(lockOf(request)),
        told: toldOfSignal,
      },
      takenWhen: 0,
      releases: WRITE_RELEASES,
    },
  ],
};
