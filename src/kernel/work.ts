/**
 * struct work_struct and struct delayed_work: work items, and one run of each.
 *
 * Modelled: the pending bit is set when an item is queued and cleared before its function runs, so that
 * it can be queued again meanwhile and may free itself; an item does not run beside itself; the
 * timer of a delayed item fires at any later moment, as a step of its own. Nothing touches the item
 * once its function has begun.
 *
 *     queue_work()   pending, a run is queued       second queue_work(): false, nothing happens
 *     run begins     pending is cleared             queue_work(): true, a second run after this one
 *     run ends       whoever flushes goes on
 *
 * Variables of an item: the pending bit, and which run was queued last. A run that is cancelled
 * conflicts with its cancellation only, on a variable of its own: it could have begun before.
 */
import type { KernelCallable } from './call.ts';
import { LockClass } from './lock-class.ts';
import { holdMap, touchMap, type Waitable } from './lock-map.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { textFootprint } from './module.ts';
import { access, COMMUTE, made, Operation, WRITE, type Access, type Body } from './operation.ts';
import { running } from './running.ts';
import { NONE_HELD, type Task } from './task.ts';
import type { Workqueue } from './workqueue-core.ts';

/** The function of a work item gets the item, and finds what it is embedded in by containerOf. */
export type WorkFunction<W extends WorkStruct = WorkStruct> = KernelCallable<[W], unknown>;

/** struct work_struct. A field of a struct declares one, with its function. */
export class WorkStruct extends KernelObject {
  func: WorkFunction<never> | null;
  /** The run that is queued, or whose timer runs; null if the pending bit is clear. */
  pending: WorkRun | null = null;
  /** The runs that were queued and begun last, whether or not they are over. */
  lastQueued: WorkRun | null = null;
  lastBegun: WorkRun | null = null;
  /** How many are in cancel_work_sync: queueing is refused meanwhile. */
  cancelCount = 0;
  readonly operations: Record<string, Operation<unknown>> = {};
  readonly lockClass: LockClass;

  constructor(at: Placement, func: WorkFunction<never> | null, lockClass: LockClass) {
    super(at);
    this.func = func;
    this.lockClass = lockClass;
  }

  /** Tells lockdep that `task` waits for the function of the item. */
  touchMap(task: Task): void {
    touchMap(task, waitableOf(this));
  }

  /** The operation `label`, made on first use. */
  operation<T>(label: string, build: () => Operation<T>): Operation<T> {
    const found = this.operations[label] ?? build();
    this.operations[label] = found;
    return found as Operation<T>;
  }
}

/** A deadlock calls an item by its function; the class needs the item itself only for its name. */
function waitableOf(work: WorkStruct): Waitable {
  return { path: work.func?.callee.name ?? work.path, lock: work, lockClass: work.lockClass };
}

function workClass(): LockClass {
  return new LockClass({ prefix: '(work_completion)', isLock: false });
}

/** struct delayed_work: a work item with a timer before it. */
export class DelayedWork extends WorkStruct {}

/** Variables of an item, and of a delayed one. */
const WORK_VARIABLES = 2;

/** A field of type struct work_struct; `func` if it is known already, as in DECLARE_WORK. */
export function workStruct(func: WorkFunction | null = null): FieldSpec<WorkStruct> {
  const lockClass = workClass();
  return new FieldSpec(WORK_VARIABLES, (at) => new WorkStruct(at, func, lockClass));
}

/** A field of type struct delayed_work. */
export function delayedWork(func: WorkFunction<DelayedWork> | null = null): FieldSpec<DelayedWork> {
  const lockClass = workClass();
  return new FieldSpec(WORK_VARIABLES, (at) => new DelayedWork(at, func, lockClass));
}

/** `INIT_WORK(work, func)`. The item is not queued. */
export function initWork(work: WorkStruct, func: WorkFunction): void {
  initialise(work, func, 'INIT_WORK');
}

/** `INIT_DELAYED_WORK(work, func)`. The item is not queued. */
export function initDelayedWork(work: DelayedWork, func: WorkFunction<DelayedWork>): void {
  initialise(work, func, 'INIT_DELAYED_WORK');
}

function initialise(work: WorkStruct, func: WorkFunction<never>, macro: string): void {
  running.touch(work.memory, work.path);
  if (work.pending !== null) {
    running.assertion('WARN_ON', `${macro}(&${work.path}): it is queued`);
  }
  work.func = func;
}

type Stage = 'timer' | 'queued' | 'running' | 'done' | 'cancelled';

/** One run of a work item, from queueing to its end. */
export class WorkRun {
  readonly queue: Workqueue;
  readonly func: WorkFunction<never>;
  /** What cancelling it conflicts on, once it is cancelled. */
  readonly variable: number;
  /** Dropped when it begins or is cancelled: what ran keeps nothing alive. */
  work: WorkStruct | null;
  stage: Stage;
  task: Task | null = null;
  /** On an ordered queue, the one before. */
  private before: WorkRun | null = null;
  /** The run of the same item that was begun before this one was queued or began. */
  private queueStep: number;
  /** Steps that tried to queue the item while it was pending: the run sees what came before them. */
  readonly attemptSteps: number[] = [];
  endStep = -1;
  readonly endOperation = new EndRun(this);
  readonly waitOperation = new WaitForRun(this);

  constructor(work: WorkStruct, queue: Workqueue, stage: 'timer' | 'queued') {
    if (work.func === null) running.misuse(`${work.path} is queued before initWork`);
    this.queue = queue;
    this.func = work.func as WorkFunction<never>;
    this.variable = running.reserveVariables(1);
    this.work = work;
    this.stage = stage;
    this.queueStep = running.now;
    if (stage === 'queued') this.enqueue();
  }

  get isOver(): boolean {
    return this.stage === 'done' || this.stage === 'cancelled';
  }

  /** Puts the run at the end of its queue, as part of the present step. */
  enqueue(): void {
    const work = this.work as WorkStruct;
    this.stage = 'queued';
    this.queueStep = running.now;
    if (this.queue.isOrdered) this.before = this.queue.runs.at(-1) ?? null;
    // In direct mode there is no order to remember.
    if (running.now < 0) while (this.queue.runs[0]?.isOver === true) this.queue.runs.shift();
    this.queue.runs.push(this);
    work.lastQueued = this;
  }

  /** Runs that must be over before this one may begin: on an ordered queue, and of the same item. */
  *predecessors(): Generator<WorkRun> {
    const begun = this.work?.lastBegun ?? null;
    if (begun !== null) yield begun;
    for (let run = this.before; run !== null; run = run.before) {
      yield run;
      if (run.stage !== 'cancelled') return;
    }
  }

  get mayBegin(): boolean {
    if (this.stage !== 'queued') return false;
    for (const run of this.predecessors()) if (!run.isOver) return false;
    return true;
  }

  /** Begins the run, as part of the present step. */
  begin(): WorkStruct {
    const work = this.work as WorkStruct;
    running.requires(this.queueStep);
    for (const run of this.predecessors()) running.requires(run.endStep);
    for (const step of this.attemptSteps) running.after(step);
    work.pending = null;
    work.lastBegun = this;
    this.work = null;
    this.before = null;
    this.stage = 'running';
    return work;
  }

  end(stage: 'done' | 'cancelled'): void {
    this.stage = stage;
    this.endStep = running.now;
  }

  /** Cancels a run that has not begun, as part of the present step. */
  cancel(): void {
    running.after(this.queueStep);
    (this.work as WorkStruct).pending = null;
    this.lose();
  }

  /** Never begins. The pending bit stays as it is. */
  lose(): void {
    this.work = null;
    this.end('cancelled');
    running.withdraw(this.task as Task);
  }
}

function* runBody(run: WorkRun, work: WorkStruct): Body<void> {
  if (run.stage === 'timer') yield* made(new FireTimer(run, work));
  yield* run.func((yield* made(new BeginRun(run, work))) as never);
  yield* made(run.endOperation);
}

/** Makes the item pending and starts a task for its run, as part of the present step. */
export function startRun(work: WorkStruct, queue: Workqueue, stage: 'timer' | 'queued'): void {
  const run = new WorkRun(work, queue, stage);
  work.pending = run;
  run.task = running.spawn(`kworker: ${run.func.callee.name}`, 'work', null, () =>
    runBody(run, work),
  );
}

/** A step of a run that has not begun. The item is kept by its memory and address only. */
abstract class PendingOperation<R> extends Operation<R> {
  override readonly footprintVaries = true;
  readonly run: WorkRun;
  readonly variable: number;
  readonly path: string;

  constructor(run: WorkRun, work: WorkStruct) {
    super(work.memory);
    this.run = run;
    this.variable = work.variable;
    this.path = work.path;
  }

  footprint(out: Access[]): void {
    const { run } = this;
    if (run.stage === 'cancelled') {
      out.push(access(run.variable, WRITE));
      return;
    }
    out.push(access(this.variable, WRITE));
    this.more(out);
  }

  protected abstract more(out: Access[]): void;
}

/** The delay of a delayed work item is over. */
export class FireTimer extends PendingOperation<void> {
  override isEnabled(): boolean {
    return this.run.stage === 'timer';
  }

  protected more(out: Access[]): void {
    out.push(access(this.variable + 1, WRITE));
    this.run.queue.insertFootprint(out);
  }

  perform(): void {
    const { run } = this;
    if (run.queue.accepts()) run.enqueue();
    else run.lose();
  }

  describe(): string {
    return `delayed_work_timer_fn(&${this.path})`;
  }
}

class BeginRun extends PendingOperation<WorkStruct> {
  override isEnabled(): boolean {
    return this.run.mayBegin;
  }

  protected more(out: Access[]): void {
    textFootprint(this.run.func.callee, out);
  }

  perform(task: Task): WorkStruct {
    const work = this.run.begin();
    holdMap(task, this.run.queue.waitable);
    holdMap(task, waitableOf(work));
    return work;
  }

  describe(): string {
    return `process_one_work(&${this.path})`;
  }

  override blockers(): readonly Task[] {
    return tasksOf([...this.run.predecessors()]);
  }
}

/** Says that all the function did has been done. */
class EndRun extends Operation<void> {
  readonly run: WorkRun;

  constructor(run: WorkRun) {
    super(null);
    this.run = run;
  }

  override footprint(): void {
    // Ending only ever lets others go on.
  }

  perform(task: Task): void {
    task.lockMaps = NONE_HELD;
    this.run.end('done');
  }

  describe(): string {
    return `${this.run.func.callee.name} is done`;
  }
}

class WaitForRun extends Operation<void> {
  override readonly maySleep = true;
  readonly run: WorkRun;

  constructor(run: WorkRun) {
    super(null);
    this.run = run;
  }

  override footprint(): void {
    // What it waits for only ever lets it go on.
  }

  override isEnabled(): boolean {
    return this.run.isOver;
  }

  perform(): void {
    running.requires(this.run.endStep);
  }

  describe(): string {
    return `flush_work: ${this.run.func.callee.name} is done`;
  }

  override blockers(): readonly Task[] {
    return tasksOf([this.run]);
  }
}

/** The tasks of those runs that are not over. */
export function tasksOf(runs: readonly WorkRun[]): Task[] {
  return runs.flatMap((run) => (run.isOver || run.task === null ? [] : [run.task]));
}

/** What putting a run on a queue touches of the queue: order matters on ordered ones only. */
export function insertAccess(variable: number, isOrdered: boolean): Access {
  return access(variable, isOrdered ? WRITE : COMMUTE);
}
