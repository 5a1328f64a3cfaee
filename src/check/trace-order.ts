/**
 * The present execution, step by step, with the order of its trace: what an explorer must know to find
 * the steps that race.
 *
 * Two steps of different tasks depend on each other when they conflict (see operation.ts) or when one
 * could not have been without the other. The order that this gives is kept as a vector clock for each
 * step. Two steps race when they conflict and nothing else orders them.
 *
 * Acquisitions race with acquisitions: a release only lets them happen (`kernel.after`). What is tried
 * the other way round is therefore never one step inside the time for which a lock is held, but that
 * together with the acquisition, and with those of all others that hold it then.
 *
 * Everything is kept for each depth, so that a prefix which is repeated needs no bookkeeping. A new step
 * without a race costs copies of what it touched and of what it comes after, which stay when it is gone.
 */
import { InternalError } from '../base/assert.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { TASK_COUNT_MAX } from '../base/limits.ts';
import { clearList, scratchList } from '../base/scratch-list.ts';
import { access, WRITE, type Access, type PastHold } from '../kernel/operation.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import type { Task } from '../kernel/task.ts';
import { LastAccess } from './last-access.ts';
import { CLOCK_LENGTH, StepClocks } from './step-clocks.ts';

/**
 * Names of tasks that mean the same in every execution, unlike their indexes: those that are there from
 * the beginning have their index, the others who started them and the how-manieth of them it was.
 */
class TaskNames {
  private readonly known = new Map<number, number>();
  /** By index in the present execution. */
  private readonly names: number[] = [];
  private readonly childCounts: number[] = [];

  restart(): void {
    this.names.length = 0;
  }

  nameOf(index: number, kernel: Kernel): number {
    if (this.names.length < kernel.tasks.length) this.nameNew(kernel);
    return this.names[index] as number;
  }

  /** The index of the task in the present execution, or -1 if it is not there. */
  indexOf(name: number, kernel: Kernel): number {
    if (this.names.length < kernel.tasks.length) this.nameNew(kernel);
    return this.names[name] === name ? name : this.names.indexOf(name);
  }

  /** What a name stands for, whoever gave it: a task that is there from the beginning, then whose child. */
  pathOf(name: number): readonly number[] {
    if (name <= TASK_COUNT_MAX) return [name];
    for (const [key, known] of this.known) {
      if (known !== name) continue;
      const count = key % (TASK_COUNT_MAX + 1);
      return [...this.pathOf((key - count) / (TASK_COUNT_MAX + 1)), count];
    }
    throw new InternalError(`task name ${name} was never given`);
  }

  /** The other way round. */
  nameOfPath([first, ...counts]: readonly number[]): number {
    let name = first as number;
    for (const count of counts) name = this.nameOfKey(name * (TASK_COUNT_MAX + 1) + count);
    return name;
  }

  private nameNew(kernel: Kernel): void {
    for (let index = this.names.length; index < kernel.tasks.length; index += 1) {
      const { parent } = kernel.tasks[index] as Task;
      this.childCounts[index] = 0;
      this.names.push(parent === null ? index : this.nameOfChild(parent.index));
    }
  }

  private nameOfChild(parent: number): number {
    const count = this.childCounts[parent] as number;
    this.childCounts[parent] = count + 1;
    return this.nameOfKey((this.names[parent] as number) * (TASK_COUNT_MAX + 1) + count);
  }

  private nameOfKey(key: number): number {
    const name = this.known.get(key) ?? TASK_COUNT_MAX + 1 + this.known.size;
    this.known.set(key, name);
    return name;
  }
}

const NONE: readonly number[] = [];
const NO_PAST: readonly PastHold[] = [];
const NO_RACES: readonly (readonly number[])[] = [];
const NONE_VARIES: readonly (readonly Access[] | undefined)[] = [];

/** One step of the execution. The objects are kept for each depth and used again. */
export class Step {
  /** The index of its task in the present execution. */
  task = -1;
  /** The name of its task in all executions. */
  name = -1;
  /** How it turned out, without PAUSE. */
  outcome = 0;
  /** PAUSE if the plain code behind the operation is a step of its own, otherwise 0. */
  pause = 0;
  /** True if it might touch something else in another state. */
  varies = false;
  /** True if it is plain code: what it touches is known only when it has run. */
  isPlain = false;
  /** True if it, or a step before it, varies or is plain code. */
  someVary = false;
  /** What it touched. */
  footprint: readonly Access[] = NONE;
  /** The steps that it comes after without a conflict. */
  after: readonly number[] = NONE;
  /** For each of those the step that began what it ended, or -1; see `kernel.after`. */
  since: readonly number[] = NONE;
  /** For each race the steps that must be put off together, so that this one can come first. */
  races: readonly (readonly number[])[] = NO_RACES;
  /** For each task whose footprint varies what its next step would have touched here. */
  varying: readonly (readonly Access[] | undefined)[] = NONE_VARIES;
}

export class TraceOrder {
  readonly steps: Step[] = [];
  readonly clocks = new StepClocks();
  /** What each step's task knew before it, its conflicts not counted. */
  readonly before = new StepClocks();
  readonly last: LastAccess;
  kernel!: Kernel;
  readonly names = new TaskNames();
  private readonly pauses: boolean;
  private readonly footprint: Access[] = scratchList();
  /** Scratch: the last conflicting step of each other task, the latest first. */
  private readonly candidates: number[] = scratchList();
  /** Scratch: for each task its last step that conflicts. */
  private readonly latest = new Int32Array(CLOCK_LENGTH);

  /**
   * @param pauses true if plain code is a step of its own.
   */
  constructor(pauses: boolean, last = new LastAccess()) {
    this.pauses = pauses;
    this.last = last;
  }

  stepAt(at: number): Step {
    return (this.steps[at] ??= new Step());
  }

  /** Call when an execution begins. */
  start(kernel: Kernel): void {
    this.kernel = kernel;
    this.names.restart();
  }

  nameOf(index: number): number {
    return this.names.nameOf(index, this.kernel);
  }

  /** The index that the task with this name has now, or -1. */
  indexOf(name: number): number {
    return this.names.indexOf(name, this.kernel);
  }

  /** Forgets the steps from `depth` on. */
  rollBack(depth: number): void {
    this.last.rollBack(depth);
  }

  /** Takes the next step of `task` and finds its races. */
  take(task: Task, outcome: number): Step {
    const { kernel } = this;
    const at = kernel.stepCount;
    const step = this.stepAt(at);
    const operation = task.pending;
    const previous = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
    step.task = task.index;
    step.name = this.nameOf(task.index);
    step.outcome = outcome;
    step.isPlain = operation === PLAIN_CODE;
    step.varies = operation?.footprintVaries === true;
    step.someVary =
      step.varies || step.isPlain || (at > 0 && (this.steps[at - 1] as Step).someVary);
    step.pause = this.pauses && !step.isPlain ? PAUSE : 0;
    step.varying = this.whatVaries();
    const footprint = this.footprintOf(task);
    const past = operation?.heldBefore(task) ?? NO_PAST;
    kernel.step(task, outcome | step.pause);
    for (const item of kernel.plainAccesses) footprint.push(item);
    step.footprint = keep(footprint);
    step.after = keep(kernel.afterSteps);
    step.since = keep(kernel.sinceSteps);
    const row = this.clocks.open(at, previous, kernel.tasks.length);
    for (const required of kernel.requiredSteps) this.clocks.join(row, required);
    this.findRaces(step, row, past);
    if (step.races.length > 0) this.before.copyRow(at, row, kernel.tasks.length);
    const { candidates } = this;
    for (let index = 0; index < candidates.length; index += 1) {
      const candidate = candidates[index] as number;
      const { task: other } = this.steps[candidate] as Step;
      if ((row[other] as number) <= candidate) this.clocks.join(row, candidate);
    }
    for (const earlier of step.after) this.clocks.join(row, earlier);
    row[task.index] = at + 1;
    this.last.open(at);
    for (const item of footprint) this.last.record(item, task.index, at);
    return step;
  }

  /**
   * The step of a task that is blocked at the end, as if it had come last: in which order it would
   * have come with those that keep it waiting must be tried, too.
   */
  blockedStep(task: Task, step: Step): Step {
    const { kernel } = this;
    const at = kernel.stepCount;
    step.task = task.index;
    step.name = this.nameOf(task.index);
    step.varies = task.pending?.footprintVaries === true;
    step.footprint = keep(this.footprintOf(task));
    step.since = kernel.heldSince(task);
    step.after = step.since.map(() => -1);
    const previous = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
    const row = this.before.open(at, -1, kernel.tasks.length);
    this.clocks.join(row, previous);
    this.findRaces(step, row, task.pending?.heldBefore(task) ?? []);
    return step;
  }

  /** Whether step `one` comes before step `other` in the order of the trace. */
  isBefore(one: number, other: number): boolean {
    return this.clocks.knows(other, (this.steps[one] as Step).task, one);
  }

  /**
   * What the next step of `task` would have touched before step `at` was taken; its operation varies. Null
   * if the task was not there yet.
   */
  varyingFootprint(at: number, task: number): readonly Access[] | null {
    return (this.steps[at] as Step).varying[task] ?? null;
  }

  /** What the task's next step touches. */
  pendingFootprint(task: Task): readonly Access[] {
    return keep(this.footprintOf(task));
  }

  /** What the task's next step touches; valid until the next call. */
  protected footprintOf(task: Task): Access[] {
    clearList(this.footprint);
    this.kernel.footprint(task, this.footprint);
    return this.footprint;
  }

  private whatVaries(): Step['varying'] {
    if (!this.kernel.hasVarying) return NONE_VARIES;
    let found: (readonly Access[] | undefined)[] | null = null;
    const { tasks } = this.kernel;
    for (let index = 0; index < tasks.length; index += 1) {
      const task = tasks[index] as Task;
      if (task.pending?.footprintVaries !== true) continue;
      found ??= [];
      found[task.index] = keep(this.footprintOf(task));
    }
    return found ?? NONE_VARIES;
  }

  /**
   * Finds the steps that race with `step`. `row` holds what its task knew before, `past` all times in
   * which it would have had to wait. Leaves the last conflicting step of each other task in `candidates`.
   */
  private findRaces(step: Step, row: Int32Array, past: readonly PastHold[]): void {
    const { candidates, latest } = this;
    clearList(candidates);
    step.races = NO_RACES;
    const { footprint } = step;
    if (footprint.length === 0) return;
    const taskCount = this.kernel.tasks.length;
    // Only what the task did not know: an entry of the row is the step after the last one known.
    for (let other = 0; other < taskCount; other += 1) latest[other] = (row[other] as number) - 1;
    for (const item of footprint) this.last.raiseToConflicts(item, latest);
    for (let other = 0; other < taskCount; other += 1) {
      const last = latest[other] as number;
      if (other !== step.task && last >= (row[other] as number)) insertDescending(candidates, last);
    }
    for (let at = 0; at < candidates.length; at += 1) {
      const one = candidates[at] as number;
      let isOrderedByAnother = false;
      for (let later = 0; later < at && !isOrderedByAnother; later += 1) {
        isOrderedByAnother = this.isBefore(one, candidates[later] as number);
      }
      if (isOrderedByAnother) continue;
      const group = this.withHolds(one, step, row, past);
      if (group !== null) step.races = step.races === NO_RACES ? [group] : [...step.races, group];
    }
  }

  /**
   * Step `first`, which races with `step`, and what must be put off together with it. A lock whose
   * release comes after `first` would still be held if `first` were put off alone, so its acquisition
   * must be put off too; one that is not released at all must be, in any case. Null if the task has
   * seen one of them: then there is no other order.
   */
  protected withHolds(
    first: number,
    step: Step,
    row: Int32Array,
    past: readonly PastHold[],
  ): readonly number[] | null {
    const group = [first];
    const { cpu } = this.kernel.tasks[step.task] as Task;
    // The start of an interrupt handler is not shut out by those who shut out tasks.
    const isShutOut = cpu.isShared && !step.footprint.includes(access(cpu.variable + 1, WRITE));
    for (let count = 0; count < group.length;) {
      count = group.length;
      for (const [since, end] of past) {
        if (!this.joinHold(group, row, since, end)) return null;
      }
      if (isShutOut) {
        for (const [since, end] of cpu.pastExclusions) {
          if (!this.joinHold(group, row, since, end)) return null;
        }
      }
      for (let at = 0; at < step.since.length; at += 1) {
        const end = step.after[at] as number;
        if (!this.joinHold(group, row, step.since[at] as number, end)) return null;
      }
    }
    return group;
  }

  /** Adds the beginning of a hold to `group` if it must be; false if the task has seen it. */
  private joinHold(group: number[], row: Int32Array, since: number, end: number): boolean {
    if (since < 0) return true;
    // Over before the first of them was taken, as most are.
    if (end >= 0 && isOverBefore(group, end)) return true;
    for (const member of group) {
      if (member === since || this.isBefore(member, since)) return true;
    }
    let isOpen = end < 0;
    for (const member of group)
      isOpen ||= member === end || (end >= 0 && this.isBefore(member, end));
    if (!isOpen) return true;
    if ((row[(this.steps[since] as Step).task] as number) > since) return false;
    group.push(since);
    return true;
  }
}

/** A copy that stays. */
function keep(list: readonly number[]): readonly number[] {
  return list.length === 0 ? NONE : list.slice();
}

/** Whether step `end` comes before every step of the group. */
function isOverBefore(group: readonly number[], end: number): boolean {
  for (const member of group) if (member <= end) return false;
  return true;
}

function insertDescending(list: number[], item: number): void {
  let at = list.length;
  list.push(item);
  for (; at > 0 && (list[at - 1] as number) < item; at -= 1) list[at] = list[at - 1] as number;
  list[at] = item;
}
