/**
 * Sleeping and being woken: the state of a task, schedule and wake_up_process. Wait queues are in wait.ts.
 *
 *     CPU0 (sleeper)                     CPU1 (waker)
 *     set_current_state(...)
 *     if (!condition)                    condition = true
 *       schedule()                       wake_up_process(sleeper)
 *
 * Modelled: a wake-up between setting the state and schedule is not lost, one before is; a wake-up
 * that never comes leaves the sleeper stuck. A signal ends an interruptible or killable sleep at any
 * moment, a timeout a timed one; both are choices with a budget, made before the sleep: see signal.ts.
 * Once the budget for timeouts is spent, a timed sleep is an untimed one.
 *
 * The wake-up that ends a sleep is never turned round with it, unless the sleep can end by itself.
 */
import { fn } from './call.ts';
import { perKernel } from './kernel.ts';
import {
  access,
  made,
  Operation,
  WRITE,
  type Access,
  type Body,
  type Yieldable,
} from './operation.ts';
import { current, running } from './running.ts';
import { signalPending } from './signal.ts';
import type { Task } from './task.ts';

/** How a task sleeps: what may end it besides a wake-up. */
export type SleepMode = 'uninterruptible' | 'interruptible' | 'killable';

/** What is known of a task's sleep. */
export class Sleeper {
  /** What waking it conflicts on. */
  readonly variable = running.reserveVariables(1);
  /** As it was last set by the task itself; null is TASK_RUNNING. */
  mode: SleepMode | null = null;
  /** True from setting the state until a wake-up. */
  isAsleep = false;
  /** The wake-up that ended it, or -1. */
  wakeStep = -1;
  /** True once schedule has returned because of a wake-up. */
  wasWoken = false;
  /** What it waits for, in words. */
  what = '';

  fallAsleep(mode: SleepMode, what: string): void {
    this.mode = mode;
    this.isAsleep = true;
    this.wakeStep = -1;
    this.wasWoken = false;
    this.what = what;
  }

  wakeUp(): void {
    this.isAsleep = false;
    this.wakeStep = running.now;
  }

  stayAwake(): void {
    this.mode = null;
    this.isAsleep = false;
  }

  /** Whether a pending signal ends the sleep. */
  get isInterruptible(): boolean {
    return this.mode === 'interruptible' || this.mode === 'killable';
  }
}

const sleepers = perKernel(() => new Map<Task, Sleeper>());

/** Call it from model code, not from a footprint: it may reserve a variable. */
export function sleeperOf(task: Task): Sleeper {
  const known = sleepers(running);
  let sleeper = known.get(task);
  if (sleeper === undefined) {
    sleeper = new Sleeper();
    known.set(task, sleeper);
  }
  return sleeper;
}

interface SleepRequest {
  readonly sleeper: Sleeper;
  /** True if the timeout fires, at whatever moment the step is taken. */
  readonly timesOut: boolean;
}

/** Returns 0 if the timeout fired, otherwise something else. */
class Schedule extends Operation<number> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return !(task.argument as SleepRequest).sleeper.isAsleep || this.endsByItself(task);
  }

  footprint(out: Access[], task: Task): void {
    const { sleeper } = task.argument as SleepRequest;
    if (this.endsByItself(task)) out.push(access(sleeper.variable, WRITE));
  }

  perform(task: Task): number {
    const { sleeper, timesOut } = task.argument as SleepRequest;
    sleeper.wasWoken = !sleeper.isAsleep;
    if (this.endsByItself(task)) running.after(sleeper.wakeStep);
    else running.requires(sleeper.wakeStep);
    sleeper.stayAwake();
    return timesOut && !sleeper.wasWoken ? 0 : 1;
  }

  describe(task: Task): string {
    const { what } = (task.argument as SleepRequest).sleeper;
    return what === '' ? 'schedule()' : `schedule(): ${what}`;
  }

  private endsByItself(task: Task): boolean {
    const { sleeper, timesOut } = task.argument as SleepRequest;
    return timesOut || (task.hasSignal && sleeper.isInterruptible);
  }
}

// They belong to no object and keep nothing, so one of each serves all executions.
const SCHEDULE = new Schedule(null);

class TimeoutChoice extends Operation<boolean> {
  override footprint(): void {
    // Whether it fires is the task's own affair.
  }

  override arity(): number {
    return running.left.timeouts > 0 ? 2 : 1;
  }

  perform(_task: Task, outcome: number): boolean {
    if (outcome === 1) running.left.timeouts -= 1;
    return outcome === 1;
  }

  describe(): string {
    return 'does the timeout fire?';
  }
}

const TIMEOUT_CHOICE = new TimeoutChoice(null);

/** Whether the timeout of what the task is about to wait for fires before what it waits for. */
export function* timeoutFires(): Body<boolean> {
  if (running.budget.timeouts === 0) return false;
  return yield* made(TIMEOUT_CHOICE);
}

const scheduleUntilSignal = fn(
  function* scheduleUntilSignal(request: SleepRequest) {
    yield* signalPending();
    return yield* made(SCHEDULE, request);
  },
  { name: 'schedule' },
);

function sleep(timesOut: boolean): Yieldable<number> {
  const sleeper = sleeperOf(current());
  const request: SleepRequest = { sleeper, timesOut };
  const mayBeInterrupted =
    sleeper.isInterruptible && !timesOut && running.budget.signals > 0 && !current().hasSignal;
  return mayBeInterrupted ? scheduleUntilSignal(request) : made(SCHEDULE, request);
}

/**
 * `schedule()`: sleeps until woken, or until a signal comes if the state says so. Ask `signal_pending`
 * what it was. Returns at once if the state was not set. The result means nothing.
 */
export function schedule(): Yieldable<number> {
  return sleep(false);
}

/** `schedule_timeout(timeout)`: the jiffies that were left, 0 if the timeout fired. */
export const scheduleTimeout = fn(function* scheduleTimeout(timeout: number) {
  const timesOut = yield* timeoutFires();
  return (yield* sleep(timesOut)) === 0 ? 0 : timeout;
});

class SetState extends Operation<void> {
  footprint(out: Access[], task: Task): void {
    out.push(access((task.argument as [Sleeper])[0].variable, WRITE));
  }

  perform(task: Task): void {
    const [sleeper, mode] = task.argument as [Sleeper, SleepMode | null];
    if (mode === null) sleeper.stayAwake();
    else sleeper.fallAsleep(mode, '');
  }

  describe(task: Task): string {
    const [, mode] = task.argument as [Sleeper, SleepMode | null];
    return `set_current_state(TASK_${(mode ?? 'running').toUpperCase()})`;
  }
}

const SET_STATE = new SetState(null);

/** `set_current_state(mode)`: from here on a wake-up counts for the next schedule. Null is TASK_RUNNING. */
export function setCurrentState(mode: SleepMode | null): Operation<void> {
  return made(SET_STATE, [sleeperOf(current()), mode]);
}

class WakeUpProcess extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    out.push(access((task.argument as [Sleeper])[0].variable, WRITE));
  }

  perform(task: Task): boolean {
    const [sleeper] = task.argument as [Sleeper];
    const { isAsleep } = sleeper;
    if (isAsleep) sleeper.wakeUp();
    return isAsleep;
  }

  describe(task: Task): string {
    const [, target] = task.argument as [Sleeper, Task];
    return `wake_up_process(${target.name})`;
  }
}

const WAKE_UP_PROCESS = new WakeUpProcess(null);

/** `wake_up_process(task)`: true if it slept. Never sleeps. */
export function wakeUpProcess(task: Task): Operation<boolean> {
  return made(WAKE_UP_PROCESS, [sleeperOf(task), task]);
}
