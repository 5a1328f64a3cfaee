/**
 * Wait queues: wait_event and its kin, and what they are made of.
 *
 *     CPU0 (waiter)                       CPU1 (waker)
 *     prepare_to_wait(&wq)
 *     if (!condition)                     condition = true
 *       schedule()                        wake_up(&wq)
 *     finish_wait(&wq)
 *
 * Modelled: a wake-up that is missing, or that comes before the condition is true, leaves the waiter
 * stuck; a wake-up between prepare and schedule is not lost; a waiter that was woken is off the queue,
 * and finish_wait does not touch the queue then, so the waker may free it once the waiter is awake;
 * of exclusive waiters one is woken. Signals and timeouts: see sleep.ts.
 * Simplified: wait_event does not look at the condition before it has queued itself; who finds it true
 * queues itself for nothing. Left out: custom wake functions, poll, bit waits.
 *
 * Variables: waiters that queue themselves commute unless they are exclusive; waking conflicts with
 * them; waking nobody conflicts with no other waking.
 */
import { ERESTARTSYS } from '../base/errno.ts';
import { fn } from './call.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import {
  access,
  COMMUTE,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type Body,
} from './operation.ts';
import { current, running } from './running.ts';
import { schedule, scheduleTimeout, sleeperOf, type Sleeper, type SleepMode } from './sleep.ts';
import type { Task } from './task.ts';

export {
  schedule,
  scheduleTimeout,
  setCurrentState,
  wakeUpProcess,
  type SleepMode,
} from './sleep.ts';

interface Waiter {
  readonly sleeper: Sleeper;
  readonly isExclusive: boolean;
}

/** wait_queue_head_t. A field of a struct declares one: {@link waitQueueHead}. */
export class WaitQueueHead extends KernelObject {
  /** Who waits: those that are not exclusive first. */
  readonly waiters: Waiter[] = [];
  readonly prepareOperation = new PrepareToWait(this);
  readonly finishOperation = new FinishWait(this);
  readonly wakeOperation = new WakeUp(this);
  readonly activeOperation = new WaitqueueActive(this);

  add(waiter: Waiter): void {
    if (this.waiters.some(({ sleeper }) => sleeper === waiter.sleeper)) return;
    if (waiter.isExclusive) this.waiters.push(waiter);
    else this.waiters.unshift(waiter);
  }

  /** False if it is not on the queue. */
  remove(sleeper: Sleeper): boolean {
    const at = this.waiters.findIndex((waiter) => waiter.sleeper === sleeper);
    if (at >= 0) this.waiters.splice(at, 1);
    return at >= 0;
  }
}

/** A field of type wait_queue_head_t. */
export function waitQueueHead(): FieldSpec<WaitQueueHead> {
  return new FieldSpec(1, (at: Placement) => new WaitQueueHead(at));
}

interface WaitRequest extends Waiter {
  readonly mode: SleepMode;
}

class PrepareToWait extends Operation<void> {
  readonly queue: WaitQueueHead;

  constructor(queue: WaitQueueHead) {
    super(queue.memory);
    this.queue = queue;
  }

  footprint(out: Access[], task: Task): void {
    const { sleeper, isExclusive } = task.argument as WaitRequest;
    out.push(access(this.queue.variable, isExclusive ? WRITE : COMMUTE));
    out.push(access(sleeper.variable, WRITE));
  }

  perform(task: Task): void {
    const request = task.argument as WaitRequest;
    const { sleeper, mode } = request;
    sleeper.fallAsleep(mode, `waiting for ${this.queue.path}`);
    // A signal must not keep an exclusive wake-up to itself.
    if (task.hasSignal && sleeper.isInterruptible) this.queue.remove(sleeper);
    else this.queue.add(request);
  }

  describe(task: Task): string {
    const { isExclusive } = task.argument as WaitRequest;
    return `prepare_to_wait${isExclusive ? '_exclusive' : ''}(&${this.queue.path})`;
  }
}

class FinishWait extends Operation<void> {
  override readonly footprintVaries = true;
  readonly queue: WaitQueueHead;

  constructor(queue: WaitQueueHead) {
    // The queue is touched only if the waiter is still on it.
    super(null);
    this.queue = queue;
  }

  footprint(out: Access[], task: Task): void {
    const sleeper = task.argument as Sleeper;
    if (this.isOffQueue(sleeper)) return;
    out.push(access(this.queue.variable, COMMUTE), access(sleeper.variable, WRITE));
  }

  perform(task: Task): void {
    const sleeper = task.argument as Sleeper;
    sleeper.stayAwake();
    if (!this.queue.remove(sleeper)) return;
    running.touch(this.queue.memory, this.describe(), 'run');
  }

  describe(): string {
    return `finish_wait(&${this.queue.path})`;
  }

  /** A wake-up that the waiter has slept for took it off: nobody else can have any part in this. */
  private isOffQueue(sleeper: Sleeper): boolean {
    return sleeper.wasWoken && !this.queue.waiters.some((waiter) => waiter.sleeper === sleeper);
  }
}

interface WakeRequest {
  readonly label: string;
  /** How many exclusive waiters are woken. */
  readonly count: number;
  /** Only those that a signal could end. */
  readonly isInterruptible: boolean;
}

class WakeUp extends Operation<void> {
  override readonly footprintVaries = true;
  readonly queue: WaitQueueHead;

  constructor(queue: WaitQueueHead) {
    super(queue.memory);
    this.queue = queue;
  }

  footprint(out: Access[]): void {
    const { variable, waiters } = this.queue;
    out.push(access(variable, waiters.length === 0 ? READ : WRITE));
    for (const { sleeper } of waiters) out.push(access(sleeper.variable, WRITE));
  }

  perform(task: Task): void {
    const { count, isInterruptible } = task.argument as WakeRequest;
    let left = count;
    for (const { sleeper, isExclusive } of this.queue.waiters.slice()) {
      if (!sleeper.isAsleep || (isInterruptible && sleeper.mode !== 'interruptible')) continue;
      if (isExclusive && left === 0) break;
      sleeper.wakeUp();
      this.queue.remove(sleeper);
      if (isExclusive) left -= 1;
    }
  }

  describe(task: Task): string {
    return `${(task.argument as WakeRequest).label}(&${this.queue.path})`;
  }
}

class WaitqueueActive extends Operation<boolean> {
  readonly queue: WaitQueueHead;

  constructor(queue: WaitQueueHead) {
    super(queue.memory);
    this.queue = queue;
  }

  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, READ));
  }

  perform(): boolean {
    return this.queue.waiters.length > 0;
  }

  describe(): string {
    return `waitqueue_active(&${this.queue.path})`;
  }
}

function prepare(queue: WaitQueueHead, mode: SleepMode, isExclusive: boolean): Operation<void> {
  const request: WaitRequest = { sleeper: sleeperOf(current()), isExclusive, mode };
  return made(queue.prepareOperation, request);
}

/** `prepare_to_wait(queue, …, mode)`: from here on a wake-up counts for the next schedule. */
export function prepareToWait(queue: WaitQueueHead, mode: SleepMode): Operation<void> {
  return prepare(queue, mode, false);
}

/** `prepare_to_wait_exclusive(queue, …, mode)`: of such waiters, `wakeUp` wakes one. */
export function prepareToWaitExclusive(queue: WaitQueueHead, mode: SleepMode): Operation<void> {
  return prepare(queue, mode, true);
}

/** `finish_wait(queue, …)`: off the queue, if it is still there. */
export function finishWait(queue: WaitQueueHead): Operation<void> {
  return made(queue.finishOperation, sleeperOf(current()));
}

const WAKE_UP: WakeRequest = { label: 'wake_up', count: 1, isInterruptible: false };
const WAKE_UP_ALL: WakeRequest = { label: 'wake_up_all', count: Infinity, isInterruptible: false };
const WAKE_UP_INTERRUPTIBLE: WakeRequest = {
  label: 'wake_up_interruptible',
  count: 1,
  isInterruptible: true,
};

/** `wake_up(queue)`: every waiter that is not exclusive, and one that is. Never sleeps. */
export function wakeUp(queue: WaitQueueHead): Operation<void> {
  return made(queue.wakeOperation, WAKE_UP);
}

/** `wake_up_all(queue)`. Never sleeps. */
export function wakeUpAll(queue: WaitQueueHead): Operation<void> {
  return made(queue.wakeOperation, WAKE_UP_ALL);
}

/** `wake_up_interruptible(queue)`: as {@link wakeUp}, of those in interruptible sleep. */
export function wakeUpInterruptible(queue: WaitQueueHead): Operation<void> {
  return made(queue.wakeOperation, WAKE_UP_INTERRUPTIBLE);
}

/** `waitqueue_active(queue)`: whether anybody waits, asked without the queue's lock. */
export function waitqueueActive(queue: WaitQueueHead): Operation<boolean> {
  return made(queue.activeOperation);
}

// ---- wait_event ----------------------------------------------------------------------------------

/** The condition of a wait: a generator function, so that what it reads are steps that others see. */
export type Condition = () => Body<boolean>;

/** `wait_event(queue, condition)`. May sleep. Pairs with {@link wakeUp}. */
export const waitEvent = fn(function* waitEvent(queue: WaitQueueHead, condition: Condition) {
  running.mightSleep(current(), `wait_event(${queue.path})`);
  for (;;) {
    yield* prepareToWait(queue, 'uninterruptible');
    if (yield* condition()) break;
    yield* schedule();
  }
  yield* finishWait(queue);
});

/** Waits until the condition holds: 0, or -ERESTARTSYS if a signal came first. */
function* waitForSignal(queue: WaitQueueHead, condition: Condition, mode: SleepMode): Body<number> {
  for (;;) {
    yield* prepareToWait(queue, mode);
    const isTrue = yield* condition();
    if (isTrue || current().hasSignal) {
      yield* finishWait(queue);
      return isTrue ? 0 : -ERESTARTSYS;
    }
    yield* schedule();
  }
}

/** `wait_event_interruptible(queue, condition)`: 0, or -ERESTARTSYS on a signal. May sleep. */
export const waitEventInterruptible = fn(function* waitEventInterruptible(
  queue: WaitQueueHead,
  condition: Condition,
) {
  running.mightSleep(current(), `wait_event_interruptible(${queue.path})`);
  return yield* waitForSignal(queue, condition, 'interruptible');
});

/** `wait_event_killable(queue, condition)`: 0, or -ERESTARTSYS on a fatal signal. May sleep. */
export const waitEventKillable = fn(function* waitEventKillable(
  queue: WaitQueueHead,
  condition: Condition,
) {
  running.mightSleep(current(), `wait_event_killable(${queue.path})`);
  return yield* waitForSignal(queue, condition, 'killable');
});

/**
 * `wait_event_timeout(queue, condition, timeout)`: 0 if the timeout fired and the condition is still
 * false, otherwise the jiffies that were left, at least 1. May sleep.
 */
export const waitEventTimeout = fn(function* waitEventTimeout(
  queue: WaitQueueHead,
  condition: Condition,
  timeout: number,
) {
  running.mightSleep(current(), `wait_event_timeout(${queue.path})`);
  let left = timeout;
  for (;;) {
    yield* prepareToWait(queue, 'uninterruptible');
    const isTrue = yield* condition();
    if (isTrue || left === 0) {
      yield* finishWait(queue);
      return isTrue ? Math.max(left, 1) : 0;
    }
    left = yield* scheduleTimeout(left);
  }
});
