/**
 * Wakeup trees: beginnings of executions that are yet to be explored from one depth (Abdulla, Aronis,
 * Jonsson, Sagonas, POPL 2014). A branch is a step and what is to follow it; where it has nothing to
 * follow, the search goes on freely.
 *
 * A beginning comes from a race of the present execution: of the steps that come after the first one of
 * the race without depending on it (all of them: a shortened one would lead into runs that have to be
 * abandoned), and then the second one. It is explored unless something that was or will be explored is
 * its own beginning too.
 */
import type { Access } from '../kernel/operation.ts';
import { doConflict } from './search-node.ts';
import type { Step, TraceOrder } from './trace-order.ts';

/** What a branch has below it that is to be explored freely. Never changed. */
const NO_BRANCHES: Branch[] = [];

export class Branch {
  /** The name of the task that takes the step: its index may not be the same in all executions. */
  task: number;
  outcome: number;
  /** What the step touched when it was taken here, or would. */
  footprint: readonly Access[] = [];
  /** True while nobody knows what it would touch. */
  isGuess = true;
  /** True for the racing step: what else it can come to here is to be explored, too. */
  isRacing = false;
  /** True for one that a race asked for; those are counted. */
  isPlanned = false;
  /** True if only the first step of what was to be planned is remembered. */
  isShortened = false;
  children: Branch[] = NO_BRANCHES;

  constructor(task: number, outcome: number) {
    this.task = task;
    this.outcome = outcome;
  }

  /** Makes it a new one, of which nothing is known. */
  reuse(task: number, outcome: number): void {
    this.task = task;
    this.outcome = outcome;
    this.isGuess = true;
    this.children = NO_BRANCHES;
  }

  /** The planned branches in it and below it. */
  get plannedCount(): number {
    let count = this.isPlanned ? 1 : 0;
    for (const child of this.children) count += child.plannedCount;
    return count;
  }
}

/** Branches that were made and not yet explored or dropped are counted, and bounded. */
export interface BranchBudget {
  left: number;
}

/** Whether a beginning can begin with a step. */
export const NO = 0;
/** It can, and the step is part of it. */
export const AS_PART = 1;
/** It can: the step is no part of it, and independent of all of it. */
export const AS_OTHER = 2;
/** Nobody can know what would be touched. */
export const UNKNOWN = 3;
export type Answer = typeof NO | typeof AS_PART | typeof AS_OTHER | typeof UNKNOWN;

/**
 * The beginning that a race asks for: the steps of an execution that can be taken without those that
 * are put off, and the racing step after them. Used again for every race.
 */
export class Beginning {
  protected readonly order: TraceOrder;
  /** Those of the steps that are left, in order. */
  protected readonly steps: number[] = [];
  /** For each task its first step among them, or -1. */
  protected readonly first: number[] = [];
  /** The racing step; null once it was taken out. */
  private racing: Step | null = null;
  private racingAt = 0;
  /** What the racing step touches where it is now; null if nobody knows. */
  private racingFootprint: readonly Access[] | null = null;

  constructor(order: TraceOrder) {
    this.order = order;
  }

  /**
   * Fills it for step `racing`, taken at `at`, which is to come before the steps of `group`.
   *
   * @param depth the number of steps of the execution.
   */
  fill(group: readonly number[], racing: Step, at: number, depth: number): void {
    const { order, steps, first } = this;
    steps.length = 0;
    first.fill(-1);
    const early = earliestOf(group);
    for (let index = early + 1; index < depth; index += 1) {
      if (index === at || this.isPutOff(index, group)) continue;
      steps.push(index);
      const { task } = order.steps[index] as Step;
      while (first.length <= task) first.push(-1);
      if ((first[task] as number) < 0) first[task] = index;
    }
    this.racing = racing;
    this.racingAt = at;
    this.racingFootprint = this.footprintWithout(early);
  }

  get isEmpty(): boolean {
    return this.steps.length === 0 && this.racing === null;
  }

  /** Whether the branch's step can come first, as part of what is left or because it is independent of it. */
  beginsWith(branch: Branch): Answer {
    const found = this.indexOf(branch);
    if (found !== ABSENT) return found === IMPOSSIBLE ? NO : AS_PART;
    if (branch.isGuess) return UNKNOWN;
    for (const index of this.steps) {
      if (doConflict(branch.footprint, (this.order.steps[index] as Step).footprint)) return NO;
    }
    if (this.racing === null) return AS_OTHER;
    if (this.racingFootprint === null) return UNKNOWN;
    return doConflict(branch.footprint, this.racingFootprint) ? NO : AS_OTHER;
  }

  /** Takes the branch's step out of what is left, if it is there. */
  takeOut(branch: Branch): void {
    const found = this.indexOf(branch);
    if (found === RACING) this.racing = null;
    else if (found >= 0) {
      this.steps.splice(found, 1);
      const { steps } = this.order;
      const task = this.order.indexOf(branch.task);
      const next = this.steps.find((index) => (steps[index] as Step).task === task);
      this.first[task] = next ?? -1;
    }
  }

  /** What is left as branches, one below the other; null if that is nothing. */
  toBranch(budget: BranchBudget): Branch | null {
    let branch: Branch | null = null;
    if (this.racing !== null) {
      branch = new Branch(this.racing.name, this.racing.outcome);
      branch.isPlanned = true;
      branch.isRacing = true;
      if (this.racingFootprint !== null) {
        branch.footprint = this.racingFootprint;
        branch.isGuess = false;
      }
    }
    // Without the means to remember all of it, the first step alone: the search then goes on freely
    // from there, and may have to abandon a run, but misses nothing.
    const count =
      budget.left > this.steps.length ? this.steps.length : Math.min(1, this.steps.length);
    const isShortened = count < this.steps.length;
    if (isShortened) branch = null;
    for (let at = count - 1; at >= 0; at -= 1) {
      const step = this.order.steps[this.steps[at] as number] as Step;
      const parent: Branch = new Branch(step.name, step.outcome);
      parent.footprint = step.footprint;
      parent.isGuess = false;
      parent.isPlanned = true;
      if (branch !== null) parent.children = [branch];
      branch = parent;
    }
    if (branch !== null) {
      branch.isShortened = isShortened;
      budget.left -= branch.plannedCount;
    }
    return branch;
  }

  /** The position of the branch's step among those that are left. */
  private indexOf(branch: Branch): number {
    const { order, steps, racing } = this;
    const index = this.first[order.indexOf(branch.task)] ?? -1;
    if (index >= 0) {
      if ((order.steps[index] as Step).outcome !== branch.outcome) return IMPOSSIBLE;
      for (let at = 0; ; at += 1) {
        const earlier = steps[at] as number;
        if (earlier === index) return at;
        if (order.isBefore(earlier, index)) return IMPOSSIBLE;
      }
    }
    if (racing === null || racing.name !== branch.task) return ABSENT;
    if (racing.outcome !== branch.outcome) return IMPOSSIBLE;
    for (const earlier of steps) if (this.mustFollow(earlier)) return IMPOSSIBLE;
    return RACING;
  }

  /** Whether the racing step must come after step `earlier`, as far as is known. */
  private mustFollow(earlier: number): boolean {
    const { order, racingAt, racingFootprint } = this;
    const racing = this.racing as Step;
    const { task, footprint } = order.steps[earlier] as Step;
    if ((order.before.row(racingAt)[task] as number) > earlier) return true;
    if (racing.after.includes(earlier)) return true;
    return racingFootprint === null || doConflict(racingFootprint, footprint);
  }

  /** What the racing step touches if all that is left comes before it; null if nobody knows. */
  private footprintWithout(early: number): readonly Access[] | null {
    const racing = this.racing as Step;
    if (racing.isPlain) return null;
    if (!racing.varies) return racing.footprint;
    const { steps } = this.order;
    if ((this.first[racing.task] ?? -1) >= 0) return null;
    const there = this.order.varyingFootprint(early, racing.task);
    // What waits for something to happen touches nothing until it has.
    if (there === null || there.length === 0) return null;
    for (const index of this.steps) {
      if (doConflict(there, (steps[index] as Step).footprint)) return null;
    }
    return there;
  }

  private isPutOff(index: number, group: readonly number[]): boolean {
    for (const member of group) {
      if (member === index || this.order.isBefore(member, index)) return true;
    }
    return false;
  }
}

const ABSENT = -1;
const IMPOSSIBLE = -2;
const RACING = -3;

export function earliestOf(group: readonly number[]): number {
  let early = group[0] as number;
  for (const step of group) if (step < early) early = step;
  return early;
}
