/**
 * struct timer_list: a function that is called once, some time after the timer was armed.
 *
 * Modelled: a timer that is armed fires at any later moment unless it is deleted first; its function
 * runs in atomic context and may arm the timer again; it does not run beside itself; del_timer does not
 * wait for it, del_timer_sync does, and must not hold a lock that it takes.
 * Simplified: how long the delay is does not matter, so arming an armed timer changes nothing; each run
 * is a task on a CPU of its own. A timer that always arms itself again never comes to an end: let it
 * stop after some rounds.
 *
 * A run that is deleted before it fires conflicts with its deletion only, on a variable of its own: it
 * could have fired before.
 */
import type { KernelCallable } from './call.ts';
import { LockClass } from './lock-class.ts';
import { holdMap, touchMap } from './lock-map.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { textFootprint } from './module.ts';
import { access, made, Operation, READ, WRITE, type Access, type Body } from './operation.ts';
import { running } from './running.ts';
import { NONE_HELD, type Task } from './task.ts';

/** Gets the timer, and finds what it is embedded in by containerOf. Must not sleep. */
export type TimerFunction = KernelCallable<[TimerList], unknown>;

/** struct timer_list. A field of a struct declares one, with its function. */
export class TimerList extends KernelObject {
  func: TimerFunction | null = null;
  /** The run that will come, or null if the timer is not armed. */
  armed: TimerRun | null = null;
  /** The run that began last, whether or not it is over. */
  lastFired: TimerRun | null = null;
  /** What lockdep knows it by: deleting it with del_timer_sync waits for its function. */
  readonly lockClass: LockClass;
  readonly lock = this;
  readonly modOperation = new ModTimer(this);
  readonly delOperation = new DelTimer(this);
  readonly delSyncOperation = new DelTimerSync(this);
  readonly pendingOperation = new TimerPending(this);

  constructor(at: Placement, lockClass: LockClass) {
    super(at);
    this.lockClass = lockClass;
  }
}

/** A field of type struct timer_list. */
export function timerList(): FieldSpec<TimerList> {
  const lockClass = new LockClass({ prefix: '(timer)', isLock: false });
  return new FieldSpec(1, (at: Placement) => new TimerList(at, lockClass));
}

class TimerRun {
  readonly func: TimerFunction;
  readonly variable = running.reserveVariables(1);
  readonly armSteps: number[] = [];
  /** Dropped when it fires or is deleted: what ran keeps nothing alive. */
  timer: TimerList | null;
  stage: 'armed' | 'running' | 'done' | 'deleted' = 'armed';
  task: Task | null = null;
  fireStep = -1;
  endStep = -1;

  constructor(timer: TimerList, func: TimerFunction) {
    this.timer = timer;
    this.func = func;
  }

  get isOver(): boolean {
    return this.stage === 'done' || this.stage === 'deleted';
  }

  delete(): void {
    for (const step of this.armSteps) running.after(step);
    (this.timer as TimerList).armed = null;
    this.timer = null;
    this.stage = 'deleted';
    running.withdraw(this.task as Task);
  }
}

function* runBody(run: TimerRun, timer: TimerList): Body<void> {
  yield* run.func(yield* made(new Fire(run, timer)));
  yield* made(new EndRun(run));
}

class Fire extends Operation<TimerList> {
  override readonly footprintVaries = true;
  readonly run: TimerRun;
  readonly variable: number;
  readonly path: string;

  constructor(run: TimerRun, timer: TimerList) {
    super(timer.memory);
    this.run = run;
    this.variable = timer.variable;
    this.path = timer.path;
  }

  override isEnabled(): boolean {
    const { stage, timer } = this.run;
    return stage === 'armed' && (timer?.lastFired?.isOver ?? true);
  }

  footprint(out: Access[]): void {
    const { run, variable } = this;
    const isDeleted = run.stage === 'deleted';
    out.push(access(isDeleted ? run.variable : variable, WRITE));
    if (!isDeleted) textFootprint(run.func.callee, out);
  }

  perform(task: Task): TimerList {
    const { run } = this;
    const timer = run.timer as TimerList;
    holdMap(task, timer);
    for (const step of run.armSteps) running.after(step);
    running.requires(timer.lastFired?.endStep ?? -1);
    run.stage = 'running';
    run.fireStep = running.now;
    run.timer = null;
    timer.armed = null;
    timer.lastFired = run;
    return timer;
  }

  describe(): string {
    return `call_timer_fn(&${this.path})`;
  }
}

/** Says that all the function did has been done. */
class EndRun extends Operation<void> {
  readonly run: TimerRun;

  constructor(run: TimerRun) {
    super(null);
    this.run = run;
  }

  override footprint(): void {
    // Ending only ever lets others go on.
  }

  perform(task: Task): void {
    task.lockMaps = NONE_HELD;
    this.run.stage = 'done';
    this.run.endStep = running.now;
  }

  describe(): string {
    return `${this.run.func.callee.name} is done`;
  }
}

abstract class TimerOperation<R> extends Operation<R> {
  override readonly footprintVaries = true;
  readonly timer: TimerList;

  constructor(timer: TimerList) {
    super(timer.memory);
    this.timer = timer;
  }

  footprint(out: Access[]): void {
    const { variable, armed } = this.timer;
    out.push(access(variable, WRITE));
    if (armed !== null) out.push(access(armed.variable, WRITE));
  }

  protected deleteArmed(): boolean {
    const { armed } = this.timer;
    armed?.delete();
    return armed !== null;
  }
}

class ModTimer extends TimerOperation<boolean> {
  override footprint(out: Access[]): void {
    out.push(access(this.timer.variable, WRITE));
  }

  perform(): boolean {
    const { timer } = this;
    if (timer.armed !== null) {
      timer.armed.armSteps.push(running.now);
      return true;
    }
    if (timer.func === null) running.misuse(`${timer.path} is armed before timerSetup`);
    const run = new TimerRun(timer, timer.func as TimerFunction);
    run.armSteps.push(running.now);
    timer.armed = run;
    const name = `timer: ${run.func.callee.name}`;
    run.task = running.spawn(name, 'timer', null, () => runBody(run, timer));
    return false;
  }

  describe(): string {
    return `mod_timer(&${this.timer.path})`;
  }
}

class DelTimer extends TimerOperation<boolean> {
  perform(): boolean {
    return this.deleteArmed();
  }

  describe(): string {
    return `del_timer(&${this.timer.path})`;
  }
}

/** Does not sleep: it asks again and again whether the function is done. */
class DelTimerSync extends TimerOperation<boolean> {
  override isEnabled(): boolean {
    return this.timer.lastFired?.isOver ?? true;
  }

  perform(task: Task): boolean {
    const { lastFired } = this.timer;
    touchMap(task, this.timer);
    if (lastFired !== null) running.after(lastFired.endStep, lastFired.fireStep);
    return this.deleteArmed();
  }

  describe(): string {
    return `del_timer_sync(&${this.timer.path})`;
  }

  override blockers(): readonly Task[] {
    const run = this.timer.lastFired;
    return run === null || run.isOver || run.task === null ? [] : [run.task];
  }

  override heldSince(): readonly number[] {
    const run = this.timer.lastFired;
    return run === null || run.isOver ? [] : [run.fireStep];
  }
}

class TimerPending extends TimerOperation<boolean> {
  override footprint(out: Access[]): void {
    out.push(access(this.timer.variable, READ));
  }

  perform(): boolean {
    return this.timer.armed !== null;
  }

  describe(): string {
    return `timer_pending(&${this.timer.path})`;
  }
}

/** `timer_setup(timer, func, 0)`. The timer is not armed. */
export function timerSetup(timer: TimerList, func: TimerFunction): void {
  running.touch(timer.memory, timer.path);
  if (timer.armed !== null)
    running.assertion('WARN_ON', `timer_setup(&${timer.path}): it is armed`);
  timer.func = func;
}

/** `mod_timer(timer, expires)`: arms it; true if it was armed. Never sleeps. */
export function modTimer(timer: TimerList): Operation<boolean> {
  return made(timer.modOperation);
}

/** `del_timer(timer)`: true if it was armed. Its function may be running. Never sleeps. */
export function delTimer(timer: TimerList): Operation<boolean> {
  return made(timer.delOperation);
}

/**
 * `del_timer_sync(timer)`: true if it was armed. Its function is not running on return. Waits without
 * sleeping.
 */
export function delTimerSync(timer: TimerList): Operation<boolean> {
  return made(timer.delSyncOperation);
}

/** `timer_pending(timer)`: whether it is armed. */
export function timerPending(timer: TimerList): Operation<boolean> {
  return made(timer.pendingOperation);
}
