/**
 * Wait queues, and the sleep of those who are on them. Of these a program has one at most: how a task
 * sleeps is kept with the queue.
 *
 * By definition, those who queue themselves commute, unless they are exclusive; waking depends on them,
 * and on waking if anybody is there. What is done to a sleeper depends on what else is done to it. A
 * sleep that only a wake-up can end comes after that, and depends on nothing else; leaving a queue that
 * one was taken off by whoever woke one is nobody else's affair.
 */
import {
  finishWait,
  prepareToWait,
  prepareToWaitExclusive,
  schedule,
  waitqueueActive,
  waitQueueHead,
  wakeUp,
  wakeUpAll,
  wakeUpInterruptible,
  type WaitQueueHead,
} from '../../../../src/kernel/wait.ts';
import type { Effect, View } from '../machine.ts';
import { asNumber, stepsOf, type FuzzOperation, type Kind, type Request } from './kind.ts';
import { SIGNAL } from './signal.ts';

interface Sleep {
  readonly isAsleep: boolean;
  /** What ended it, or -1. */
  readonly wokenAt: number;
  /** True if a wake-up had come when it slept. */
  readonly wasWoken: boolean;
  /** Whether a signal would end it, or null if the task has said that it is awake. */
  readonly isSignalled: boolean | null;
}

interface Waiter {
  readonly task: number;
  readonly isExclusive: boolean;
}

interface Queue {
  /** In the order in which they are woken. */
  readonly waiters: readonly Waiter[];
  readonly sleeps: readonly Sleep[];
}

const TASK_COUNT_MAX = 4;
const QUEUE = 1;
const AWAKE: Sleep = { isAsleep: false, wokenAt: -1, wasWoken: false, isSignalled: null };

const sleeper = (task: number): number => 2 << task;

function queueOf({ state, key }: Request): WaitQueueHead {
  return state[key] as WaitQueueHead;
}

function withSleep({ waiters, sleeps }: Queue, task: number, change: Partial<Sleep>): Queue {
  return { waiters, sleeps: sleeps.with(task, { ...(sleeps[task] as Sleep), ...change }) };
}

function prepare(name: string, isSignalled: boolean, isExclusive: boolean): FuzzOperation {
  const mode = isSignalled ? 'interruptible' : 'uninterruptible';
  return {
    name: `${name} ${mode}`,
    steps: stepsOf<Queue>({
      take({ value, task, hasSignal }) {
        const slept = withSleep(value, task, {
          isAsleep: true,
          wokenAt: -1,
          wasWoken: false,
          isSignalled,
        });
        const others = slept.waiters.filter((waiter) => waiter.task !== task);
        const own = { task, isExclusive };
        let { waiters } = slept;
        if (isSignalled && hasSignal) waiters = others;
        else if (others.length === waiters.length) {
          waiters = isExclusive ? [...waiters, own] : [own, ...waiters];
        }
        const touched = isExclusive
          ? { writes: QUEUE | sleeper(task) }
          : { commutes: QUEUE, writes: sleeper(task) };
        return { ...touched, value: { ...slept, waiters } };
      },
    }),
    run: (request) =>
      isExclusive
        ? prepareToWaitExclusive(queueOf(request), mode)
        : prepareToWait(queueOf(request), mode),
  };
}

/** Whether a signal that has come ends the task's sleep. */
function isEnded({ value, task, hasSignal }: View<Queue>): boolean {
  return hasSignal && value.sleeps[task]?.isSignalled === true;
}

const SCHEDULE: FuzzOperation = {
  name: 'schedule',
  steps: [
    {
      ...SIGNAL,
      isSkipped: ({ value, task, hasSignal }) =>
        hasSignal || (value as unknown as Queue).sleeps[task]?.isSignalled !== true,
    },
    ...stepsOf<Queue>({
      take(view) {
        const { value, task } = view;
        const { isAsleep, wokenAt } = value.sleeps[task] as Sleep;
        if (isAsleep && !isEnded(view)) return null;
        const change = { isAsleep: false, isSignalled: null, wasWoken: !isAsleep };
        return {
          writes: isEnded(view) ? sleeper(task) : 0,
          value: withSleep(value, task, change),
          after: wokenAt < 0 ? 0 : 1 << wokenAt,
        };
      },
      maySleep: true,
    }),
  ],
  run: () => schedule(),
};

const FINISH_WAIT: FuzzOperation = {
  name: 'finish_wait',
  steps: stepsOf<Queue>({
    take({ value, task }) {
      const isQueued = value.waiters.some((waiter) => waiter.task === task);
      const isFree = !isQueued && value.sleeps[task]?.wasWoken === true;
      const awake = withSleep(value, task, { isAsleep: false, isSignalled: null });
      const waiters = awake.waiters.filter((waiter) => waiter.task !== task);
      const touched = isFree ? {} : { commutes: QUEUE, writes: sleeper(task) };
      return { ...touched, value: { ...awake, waiters } };
    },
  }),
  run: (request) => finishWait(queueOf(request)),
};

/** Wakes all who are not exclusive, and `count` who are. */
function wake({ value, now }: View<Queue>, count: number, isForSignals: boolean): Effect<Queue> {
  let after = value;
  let writes = value.waiters.length > 0 ? QUEUE : 0;
  let left = count;
  for (const waiter of value.waiters) {
    writes |= sleeper(waiter.task);
    const { isAsleep, isSignalled } = value.sleeps[waiter.task] as Sleep;
    const isMeant = isAsleep && (!isForSignals || isSignalled === true);
    if (!isMeant || (waiter.isExclusive && left === 0)) continue;
    after = withSleep(after, waiter.task, { isAsleep: false, wokenAt: now });
    after = { ...after, waiters: after.waiters.filter((other) => other !== waiter) };
    if (waiter.isExclusive) left -= 1;
  }
  return { reads: writes === 0 ? QUEUE : 0, writes, value: after };
}

const RELEASES = [
  [SCHEDULE, FINISH_WAIT],
  [SCHEDULE, FINISH_WAIT],
  [FINISH_WAIT],
  [SCHEDULE],
] as const;

function acquisition(operation: FuzzOperation): Kind['acquisitions'][number] {
  return { operation, takenWhen: null, releases: RELEASES };
}

export const WAIT_QUEUE: Kind = {
  prefix: 'w',
  initial: {
    waiters: [],
    sleeps: Array.from({ length: TASK_COUNT_MAX }, () => AWAKE),
  } satisfies Queue as unknown as number,
  show: (value) => (value as unknown as Queue).waiters.length,
  field: waitQueueHead,
  valueOf: (state, key) => (state[key] as WaitQueueHead).waiters.length,
  acquisitions: [
    acquisition(prepare('prepare_to_wait', false, false)),
    acquisition(prepare('prepare_to_wait', false, false)),
    acquisition(prepare('prepare_to_wait', true, false)),
    acquisition(prepare('prepare_to_wait_exclusive', false, true)),
    acquisition(prepare('prepare_to_wait_exclusive', true, true)),
  ],
  operations: [
    {
      name: 'wake_up',
      steps: stepsOf<Queue>({ take: (view) => wake(view, 1, false) }),
      run: (request) => wakeUp(queueOf(request)),
    },
    {
      name: 'wake_up_all',
      steps: stepsOf<Queue>({ take: (view) => wake(view, Infinity, false) }),
      run: (request) => wakeUpAll(queueOf(request)),
    },
    {
      name: 'wake_up_interruptible',
      steps: stepsOf<Queue>({ take: (view) => wake(view, 1, true) }),
      run: (request) => wakeUpInterruptible(queueOf(request)),
    },
    {
      name: 'waitqueue_active',
      steps: stepsOf<Queue>({
        take: ({ value }) => ({ reads: QUEUE, result: value.waiters.length > 0 ? 1 : 0 }),
      }),
      run: (request) => waitqueueActive(queueOf(request)),
      told: asNumber,
    },
  ],
};
