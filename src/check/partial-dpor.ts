/**
 * Optimal exploration of a part: it can be stopped after any execution, saved, and gone on with where it
 * was saved, here or elsewhere; and it can give away what it has not yet begun.
 *
 * What is above its floor belongs to others. Races that ask for another order up there are told, with the
 * execution that has them, and whoever keeps the upper part looks whether somebody explores it already
 * (shared-tree.ts). What others explore there is known here as of the moment when the part was handed out,
 * which spares most of the telling.
 */
import { UsageError } from '../base/usage-error.ts';
import { PAUSE } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { ExploreOptions, ExploreResult } from './exploration.ts';
import { OptimalDpor } from './optimal-dpor.ts';
import { OptimalNode } from './optimal-node.ts';
import type { Program, Schedule } from './program.ts';
import { loadBranches, saveNode, WHOLE, type SavedNode, type SavedSearch } from './saved-search.ts';
import type { Step } from './trace-order.ts';
import { earliestOf, type Branch } from './wakeup-tree.ts';

/** An execution in which a step could come before others that somebody else has to put off. */
export interface PlannedAbove {
  readonly schedule: Schedule;
  /** The steps to be put off. */
  readonly group: readonly number[];
  /** The step that is to come first; as many as there are steps, if a blocked task is to take it. */
  readonly at: number;
  /** The index of its task. */
  readonly task: number;
}

/** Depths that were explored here and are now shared: `from` up to and including `to`. */
export interface SharedDepths {
  readonly from: number;
  readonly to: number;
}

export interface PartialOptions extends ExploreOptions {
  /** True if others explore parts at the same time; see `follow`. */
  readonly takesAllOutcomes?: boolean;
  /** Told what is planned above the floor. */
  readonly onPlannedAbove?: (planned: PlannedAbove) => void;
  /** Asked after each run, abandoned ones too: true to pause. `run` goes on from there. */
  readonly isPauseWanted?: () => boolean;
}

export class PartialDpor extends OptimalDpor {
  declare protected readonly options: PartialOptions;
  /** True if nothing is left. */
  isOver = false;
  /** Whether the last execution has to be left for the next one; otherwise `next` says where to begin. */
  private isRun = false;
  private next: Branch | null = null;

  /** @throws UsageError MN303 if the program does not go where `saved` says it went. */
  constructor(program: Program, options: PartialOptions = {}, saved: SavedSearch = WHOLE) {
    super(program, options);
    this.load(saved);
  }

  protected override explore(): ExploreResult {
    const { executionCountMax = Infinity, isPauseWanted } = this.options;
    while (!this.isOver) {
      if (this.isRun) {
        this.next = this.backtrack();
        this.isRun = false;
        this.isOver = this.next === null;
        if (this.isOver || this.executions + this.blocked >= executionCountMax) break;
      }
      const { next } = this;
      this.isRun = true;
      this.next = null;
      if (this.runOnce(next) || isPauseWanted?.() === true) break;
    }
    return this.result(this.isOver);
  }

  /**
   * Where parts are not explored one after the other, nobody comes back to add what else a planned choice
   * can come to: then each choice that is taken brings the others with it.
   */
  protected override follow(node: OptimalNode): Branch | null {
    const [first] = node.tree;
    if (this.options.takesAllOutcomes !== true || first === undefined) return super.follow(node);
    first.isRacing = true;
    return super.follow(node);
  }

  // ---- saving -------------------------------------------------------------------------------

  /** What is left, and what was done. Call between executions. */
  save(): SavedSearch {
    const { isRun, isOver, depth, floor, isExact, executions, blocked, steps } = this;
    const { names } = this.order;
    const count = isOver ? 0 : depth + (isRun || this.next === null ? 0 : 1);
    const nodes: SavedNode[] = [];
    for (let at = 0; at < count; at += 1) {
      nodes.push(saveNode(this.nodes[at] as OptimalNode, names));
    }
    const path = this.order.steps.slice(0, isOver ? 0 : depth);
    return {
      path: {
        tasks: path.map((step) => step.task),
        outcomes: path.map((step) => step.outcome | step.pause),
      },
      floor,
      nodes,
      isRun,
      isOver,
      isExact,
      executions,
      blocked,
      steps,
      plannedLimit: this.plannedLimit,
      plannedLeft: this.budget.left,
      plannedCountMax: this.plannedCountMax,
    };
  }

  private load(saved: SavedSearch): void {
    const { path, nodes } = saved;
    this.floor = saved.floor;
    this.isRun = saved.isRun;
    this.isOver = saved.isOver;
    this.isExact = saved.isExact;
    this.executions = saved.executions;
    this.blocked = saved.blocked;
    this.steps = saved.steps;
    this.plannedLimit = saved.plannedLimit;
    this.plannedCountMax = saved.plannedCountMax;
    this.budget.left = saved.plannedLeft;
    this.depth = path.tasks.length;
    for (const [at, { tree, sleep, doneCount }] of nodes.entries()) {
      const node = new OptimalNode();
      node.tree = loadBranches(tree, this.order.names);
      node.sleep.push(...loadBranches(sleep, this.order.names));
      node.doneCount = doneCount;
      this.nodes[at] = node;
    }
    this.next = this.isRun ? null : (this.nodes[this.depth]?.tree[0] ?? null);
    if (path.tasks.length > 0) this.asRunning(() => this.retrace(path));
  }

  /** Takes the steps of the path, to know what follows from them. */
  protected retrace({ tasks, outcomes }: Schedule): void {
    this.order.rollBack(0);
    this.start();
    const { kernel } = this;
    for (const [at, index] of tasks.entries()) {
      const task = kernel.tasks[index];
      const outcome = (outcomes[at] as number) & ~PAUSE;
      const isThere = task !== undefined && kernel.isEnabled(task);
      if (!isThere || outcome >= (task.pending?.arity(task) ?? 1)) throw wentElsewhere(at, task);
      const step = this.order.take(task, outcome);
      if ((step.outcome | step.pause) !== outcomes[at]) throw wentElsewhere(at, task);
      this.options.onStep?.();
    }
  }

  // ---- sharing ------------------------------------------------------------------------------

  /**
   * Gives away what is planned at the uppermost depth where something is, and the depths above it. It stays
   * in what `save` returns: there others find it. Null if there is nothing to give away.
   */
  share(): SharedDepths | null {
    if (this.isOver) return null;
    for (let to = this.floor; to < this.depth; to += 1) {
      const { tree } = this.nodes[to] as OptimalNode;
      if (tree.length < 2) continue;
      for (const branch of tree.slice(1)) this.budget.left += branch.plannedCount;
      // What is given away is not explored in order any more, see shared-tree.ts.
      this.isExact = false;
      const from = this.floor;
      this.floor = to + 1;
      return { from, to };
    }
    return null;
  }

  protected override plan(group: readonly number[], racing: Step, at: number): void {
    const { left } = this.budget;
    super.plan(group, racing, at);
    // What is planned above the floor is remembered there.
    if (earliestOf(group) < this.floor) this.budget.left = left;
  }

  protected override tellPlanned(group: readonly number[], racing: Step, at: number): void {
    this.options.onPlannedAbove?.({ schedule: this.schedule, group, at, task: racing.task });
  }
}

function wentElsewhere(at: number, task: Task | undefined): UsageError {
  const who = task === undefined ? 'a task that is not there' : `task '${task.name}'`;
  return new UsageError(
    'MN303',
    `the search cannot be resumed: its step ${at + 1} was taken by ${who}, which cannot take it now. ` +
      'The scenario has changed since; begin anew, without --resume.',
  );
}
