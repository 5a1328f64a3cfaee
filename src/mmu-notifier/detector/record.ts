/**
 * What the detectors know of one notifier, and of one call of one of its callbacks. Read raw: looking is no
 * access of the model.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { KernelObject } from '../../kernel/memory.ts';
import { slotOf, type StructObject } from '../../kernel/struct.ts';
import type { Frame, Task } from '../../kernel/task.ts';
import type { Order } from '../../kernel/watch.ts';
import type { MmuNotifierOps } from '../mmu-notifier.ts';

/** How it came to be: by mmu_notifier_get, by registering it directly, or as an interval notifier. */
export type NotifierKind = 'get' | 'register' | 'interval';

/** The value of a plain field, without an access. */
export function rawField(object: KernelObject, key: string): unknown {
  return (object as unknown as Record<string, unknown>)[slotOf(key)];
}

/** A moment of a task, to be asked later what it happened before. */
export interface Moment {
  readonly task: Task;
  readonly step: number;
  readonly label: number;
}

/** The present moment of the current task. */
export function momentNow(kernel: Kernel, order: Order | null): Moment {
  const task = kernel.currentTask;
  return { task, step: kernel.now, label: order?.labels[task.index] ?? 0 };
}

/** Whether `moment` happened before what the current task does now. Set-up comes before everything. */
export function isBefore(kernel: Kernel, order: Order | null, moment: Moment): boolean {
  const now = kernel.currentTask.index;
  if (order === null || now < 0 || moment.task.index < 0) return true;
  return order.isOrdered(moment.label, moment.task.index, now);
}

/** One call of a callback by the core. */
export class CallbackRun {
  readonly record: NotifierRecord;
  /** `release`, `invalidateRangeStart`, …: the field of the ops table. */
  readonly op: string;
  readonly task: Task;
  readonly frame: Frame;
  readonly startStep: number;
  end: Moment | null = null;
  /** Whether the notifier was still on the list when it returned. */
  wasListed = false;
  value: unknown = undefined;

  constructor(record: NotifierRecord, op: string, at: { task: Task; frame: Frame; step: number }) {
    this.record = record;
    this.op = op;
    this.task = at.task;
    this.frame = at.frame;
    this.startStep = at.step;
  }

  /** The kernel name of the driver's function. */
  get name(): string {
    return this.frame.callee.name;
  }

  get args(): readonly unknown[] {
    return this.frame.call?.args ?? [];
  }

  /** False once it has returned, and when its task was ended by an oops. */
  get isRunning(): boolean {
    return this.end === null && !this.task.isDone;
  }
}

export class NotifierRecord {
  readonly notifier: StructObject;
  kind: NotifierKind = 'register';
  mm: StructObject | null = null;
  /** The call that is registering it. */
  registering: Frame | null = null;
  isRegistered = false;
  /** The function that has ended its life as a notifier; null before. */
  endedBy: string | null = null;
  /** The last run of each callback by each task. */
  readonly runs: CallbackRun[] = [];

  constructor(notifier: StructObject) {
    this.notifier = notifier;
  }

  /** The kernel name of the struct it is part of. */
  get object(): string {
    return this.notifier.memory.name;
  }

  get isLive(): boolean {
    return this.notifier.memory.isLive;
  }

  get ops(): MmuNotifierOps | null {
    return rawField(this.notifier, 'ops') as MmuNotifierOps | null;
  }

  get users(): number {
    return rawField(this.notifier, 'users') as number;
  }

  /** Whether it is on the list of its mm, which an interval notifier never is. */
  get isListed(): boolean {
    const { hlist } = this.notifier as unknown as {
      readonly hlist?: { readonly isHashed: boolean };
    };
    return this.isLive && hlist?.isHashed === true;
  }

  /** A new registration: what was known of an earlier life counts no more. */
  begin(kind: NotifierKind, mm: StructObject | null, frame: Frame): void {
    this.kind = kind;
    this.mm = mm;
    this.registering = frame;
    this.isRegistered = false;
    this.endedBy = null;
    this.runs.length = 0;
  }

  /** Adds a run, in the place of an older one of the same callback by the same task that is over. */
  add(run: CallbackRun): void {
    const at = this.runs.findIndex(
      (old) => old.end !== null && old.task === run.task && old.op === run.op,
    );
    if (at >= 0) this.runs.splice(at, 1);
    this.runs.push(run);
  }
}
