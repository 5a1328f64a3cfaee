/**
 * Grace periods: what RCU and every srcu_struct have in common.
 *
 * Modelled: a grace period ends when the read sections that were open at its start have been left,
 * no sooner and whatever later ones do; synchronize; callbacks, queued on the list of the CPU that
 * queued them, run one after another in the order of their list, each by a task of its own that may
 * not sleep; barriers, which wait for the callbacks of all CPUs; that synchronize waits by a callback
 * of its own, behind those queued before on its CPU, and not for those of other CPUs.
 * Simplified: the grace period of a callback starts when it is queued; Linux may start it later, so
 * that also a reader who came later holds it up. What only that would show is a reader who waits for
 * a callback that was queued before it came; the direct form of it is reported, see `barrier`.
 * Not modelled: expedited grace periods, polling for them, offloaded callbacks, the two counters.
 *
 * Order, and why it is declared so:
 *
 *   read_lock × start    whether a reader is waited for: they conflict on `enter` (COMMUTE, READ)
 *   read_unlock          conflicts with nothing but the end of the domain's memory
 *   end                  comes after the unlock of each reader that entered before the start, those
 *                        included that had already left at the start: given the first line, it does
 *                        so in every order of the same steps
 *   queue × queue        of one CPU: the order of its list (WRITE); × synchronize: behind it or not
 *   queue × barrier      waited for or not: they conflict on `queue` (COMMUTE, READ)
 *
 * Happens-before: unlock → end → what follows synchronize, or the callback; start of synchronize →
 * every read section entered later; the end of a callback → the next of its list, and barriers.
 */
import type { Call, KernelFunction } from './call.ts';
import { topFrame } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { FieldSpec, KernelObject, type Memory, type Placement } from './memory.ts';
import type { Operation } from './operation.ts';
import { running } from './running.ts';
import type { ReadSection, Task } from './task.ts';

/** A read section, open until `unlockStep` is known. */
export interface OpenReadSection extends ReadSection {
  readonly task: Task;
  /** What unlocking must hand back. */
  readonly index: number;
  isOpen: boolean;
  unlockStep: number;
}

/** What a grace period waits for. */
export interface GracePeriod {
  /** For each task, at its index + 1, its last unlock before the start. */
  readonly past: readonly number[];
  /** The sections that were open at the start. */
  readonly sections: readonly OpenReadSection[];
  /** The callbacks that are waited for besides, done ones included. */
  readonly callbacks: readonly QueuedCallback[];
}

/** A callback function: made by `fn`, called with the rcu_head that was queued. May not sleep. */
export interface RcuCallback {
  (head: RcuHead): Call<unknown>;
  readonly callee: KernelFunction;
}

/** struct rcu_head: what queues the struct around it for a callback. One variable. */
export class RcuHead extends KernelObject {
  /** True from when it is queued until its callback begins to run. */
  isQueued = false;
}

/** A field of type struct rcu_head. */
export function rcuHead(): FieldSpec<RcuHead> {
  return new FieldSpec(1, (at: Placement) => new RcuHead(at));
}

/** The callbacks that were queued on one CPU. */
export class CallbackList {
  /** What queueing conflicts on. */
  readonly variable: number;
  last: QueuedCallback | null = null;
  lastStarted: QueuedCallback | null = null;

  constructor(variable: number) {
    this.variable = variable;
  }
}

export class QueuedCallback {
  readonly name: string;
  readonly list: CallbackList;
  /** Its own grace period, and the callback before it on its list. */
  readonly period: GracePeriod;
  readonly queueStep: number;
  /** Dropped when it begins: what ran keeps nothing alive. */
  request: QueueRequest | null;
  task: Task | null = null;
  hasStarted = false;
  isDone = false;
  endStep = -1;

  constructor(request: QueueRequest, period: GracePeriod) {
    this.name = request.func.callee.name;
    this.list = request.list;
    this.period = period;
    this.queueStep = running.now;
    this.request = request;
  }
}

/** What call_srcu is asked for. */
export interface QueueRequest {
  readonly head: RcuHead;
  readonly func: RcuCallback;
  /** `call_srcu`, `kfree_rcu`, …: what the step is called. */
  readonly label: string;
  readonly list: CallbackList;
}

/** Variables that a domain takes. */
export const DOMAIN_VARIABLES = 3;

export class GracePeriodDomain {
  /** `srcu` or `rcu`: how the names of its functions end. */
  readonly flavour: 'srcu' | 'rcu';
  /** `&kvm.srcu`, or nothing for RCU: the argument of its functions. */
  readonly argument: string;
  readonly path: string;
  readonly memory: Memory | null;
  /** What entering and starting conflict on. */
  readonly enterVariable: number;
  /** What everything else touches, to conflict with freeing the memory and with clean-up. */
  readonly leaveVariable: number;
  /** What queueing and barriers conflict on. */
  readonly queueVariable: number;
  isCleanedUp = false;
  /** What lockdep knows the read sections by; synchronizing waits for them. */
  readonly lockClass: LockClass;

  private operations: Record<string, Operation<unknown>> | null = null;
  private readonly open: OpenReadSection[] = [];
  /** By task index + 1 (set-up has the index -1); what is not there never happened. */
  private readonly lastUnlock: number[] = [];
  private readonly lastStart: number[] = [];
  private readonly nextIndex: number[] = [];
  private readonly lists = new Map<number, CallbackList>();

  constructor(
    flavour: 'srcu' | 'rcu',
    at: { readonly path: string; readonly memory: Memory | null; readonly variable: number },
    lockClass = new LockClass({ name: at.path, isLock: false }),
  ) {
    this.flavour = flavour;
    this.lockClass = lockClass;
    this.path = at.path;
    this.argument = flavour === 'srcu' ? `&${at.path}` : '';
    this.memory = at.memory;
    this.enterVariable = at.variable;
    this.leaveVariable = at.variable + 1;
    this.queueVariable = at.variable + 2;
  }

  /** The operation `label` of the domain, made on first use. */
  operation<T extends Operation<unknown>>(
    label: string,
    build: (domain: GracePeriodDomain, label: string) => T,
  ): T {
    this.operations ??= {};
    const found = this.operations[label];
    if (found !== undefined) return found as T;
    const operation = build(this, label);
    this.operations[label] = operation;
    return operation;
  }

  // ---- read sections ------------------------------------------------------------------------

  /** Opens a read section of `task`, as part of the present step. */
  enter(task: Task): OpenReadSection {
    if (this.isCleanedUp) running.lockMisuse(this.path, 'used after cleanup_srcu_struct');
    for (const step of this.lastStart) running.after(step ?? -1);
    const at = task.index + 1;
    const index = this.nextIndex[at] ?? 0;
    this.nextIndex[at] = index + 1;
    const section: OpenReadSection = {
      path: this.path,
      task,
      index,
      isOpen: true,
      unlockStep: -1,
      mode: 'read',
      lock: this,
      lockClass: this.lockClass,
      subclass: 0,
      isTry: false,
      nest: null,
      step: running.now,
      frame: topFrame(task),
    };
    // Waiting for RCU inside its read section is sleeping in atomic context, and found as such.
    if (this.flavour === 'srcu') running.lockTaken(task, section);
    this.open.push(section);
    task.readSections = [...task.readSections, section];
    return section;
  }

  /** The innermost open section of `task`; with an index, the one that has it. */
  sectionOf(task: Task, index: number | null = null): OpenReadSection | null {
    for (let at = this.open.length - 1; at >= 0; at -= 1) {
      const section = this.open[at] as OpenReadSection;
      if (section.task === task && (index === null || section.index === index)) return section;
    }
    return null;
  }

  /** Closes a read section, as part of the present step. */
  leave(section: OpenReadSection): void {
    section.isOpen = false;
    section.unlockStep = running.now;
    this.lastUnlock[section.task.index + 1] = running.now;
    this.open.splice(this.open.indexOf(section), 1);
    const { task } = section;
    task.readSections = task.readSections.toSpliced(task.readSections.indexOf(section), 1);
  }

  /** The sections that are open; raw, for detectors and tests. */
  get openSections(): readonly OpenReadSection[] {
    return this.open;
  }

  // ---- grace periods ------------------------------------------------------------------------

  /** A grace period that starts with the present step. */
  begin(callback: QueuedCallback | null): GracePeriod {
    return {
      past: this.lastUnlock.slice(),
      sections: this.open.slice(),
      // In direct mode there is no order to remember, and no end to the chain.
      callbacks: callback === null || (callback.isDone && running.now < 0) ? [] : [callback],
    };
  }

  /** Notes that `task` started a grace period which orders what came before it. */
  noteStart(task: Task): void {
    this.lastStart[task.index + 1] = running.now;
  }

  // ---- callbacks ----------------------------------------------------------------------------

  /**
   * The list of the CPU that `task` runs on. Call it from model code, never from a footprint: it
   * may reserve a variable, which must happen at the same point of each run.
   */
  listOf(task: Task): CallbackList {
    let list = this.lists.get(task.cpu.id);
    if (list === undefined) {
      list = new CallbackList(running.reserveVariables(1));
      this.lists.set(task.cpu.id, list);
    }
    return list;
  }

  /** What a barrier waits for: the last callback of each list. */
  lastCallbacks(): QueuedCallback[] {
    const found: QueuedCallback[] = [];
    for (const { last } of this.lists.values()) if (last !== null) found.push(last);
    return found;
  }

  /** The last callback of each list that has begun to run. */
  startedCallbacks(): QueuedCallback[] {
    const found: QueuedCallback[] = [];
    for (const { lastStarted } of this.lists.values()) {
      if (lastStarted !== null) found.push(lastStarted);
    }
    return found;
  }

  /** Whether some callback waits to be run. */
  get hasQueued(): boolean {
    for (const { last } of this.lists.values()) if (last?.hasStarted === false) return true;
    return false;
  }
}

/** Whether what the grace period waits for has come to pass. */
export function isOver(period: GracePeriod): boolean {
  for (const section of period.sections) if (section.isOpen) return false;
  for (const callback of period.callbacks) if (!callback.isDone) return false;
  return true;
}

/** Orders the present step after all that the grace period waited for. */
export function requireOver(period: GracePeriod): void {
  for (const step of period.past) running.requires(step ?? -1);
  for (const section of period.sections) running.requires(section.unlockStep);
  for (const callback of period.callbacks) running.requires(callback.endStep);
}

/** The tasks that hold it up. */
export function holdersOf(period: GracePeriod): Task[] {
  const found = new Set<Task>();
  for (const section of period.sections) if (section.isOpen) found.add(section.task);
  for (const { isDone, task } of period.callbacks) if (!isDone && task !== null) found.add(task);
  return [...found];
}
