/**
 * Optimal exploration: exactly one execution for each Mazurkiewicz trace (Optimal-DPOR; Abdulla, Aronis,
 * Jonsson, Sagonas, POPL 2014 and JACM 2017).
 *
 * How it goes. An execution is a sequence of steps. When it has ended, each of its races asks for the
 * other order: a beginning of an execution in which the second step comes before the first, see
 * wakeup-tree.ts. It is planned where the two part, unless one that was or will be explored there does.
 * A step whose branch was explored sleeps below its later siblings until something dependent is done.
 *
 * Each trace is executed at most once because of the sleeping steps, and at least once because of the
 * races. Runs that are abandoned (all that could go on sleep) do not come from plain programs, but may
 * where nobody can know what a step will touch once it comes earlier: a trylock, a walk of a list, plain
 * code. They are counted as `blocked`.
 *
 * Clocks, footprints and races are kept for each depth; a new execution repeats the shared prefix without
 * touching them, and only the races of what is new are looked at. (But all of them where a step turned out
 * otherwise, and those of steps that may touch something else: nothing else asks for what did not depend on
 * them.) What is planned is bounded by depth and
 * tasks: beyond that, only its first step is remembered.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { clearList } from '../base/scratch-list.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { running, setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { BranchCounts } from './estimate.ts';
import { tookAnotherCourse, tooManySteps } from './explore-error.ts';
import type { Execution, ExploreOptions, ExploreResult } from './exploration.ts';
import { isAsleep, OptimalNode as Node } from './optimal-node.ts';
import type { Program, Schedule } from './program.ts';
import { doConflict, enabledTasks } from './search-node.ts';
import { Step, TraceOrder } from './trace-order.ts';
import { AS_OTHER, AS_PART, Beginning, Branch, earliestOf, UNKNOWN } from './wakeup-tree.ts';

/** Branches that may be planned at one time, for each depth and task. */
const BRANCHES_PER_TASK = 256;

export class OptimalDpor {
  protected readonly order: TraceOrder;
  protected readonly nodes: Node[] = [];
  protected readonly program: Program;
  protected readonly options: ExploreOptions;
  private readonly stepCountMax: number;
  protected readonly beginning: Beginning;
  protected readonly blockedStep = new Step();
  protected readonly budget = { left: 0 };
  /** Branches that may be planned at one time, of an execution as long as the longest so far. */
  plannedLimit = 0;
  protected kernel!: Kernel;
  /** Length of the prefix that the next execution repeats; after one, its length. */
  protected depth = 0;
  /** The first step of the present execution that the one before did not take. */
  protected fresh = 0;
  /** True if a new step could have turned out in several ways. */
  private hasChoice = false;
  /** Depths above it are somebody else's: what is planned there is told, and not explored here. */
  protected floor = 0;
  protected executions = 0;
  protected blocked = 0;
  protected steps = 0;
  /**
   * False once something was planned that need not have been, because nobody could know, or shortened.
   * From then on a step counts as the beginning of an execution only if it is in it: that something
   * independent was explored first is enough only where all plans are exact.
   */
  protected isExact = true;
  private isUnsure = false;
  /** The most branches that were planned at one time. */
  plannedCountMax = 0;

  constructor(program: Program, options: ExploreOptions = {}) {
    this.program = program;
    this.options = options;
    this.stepCountMax = options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
    this.order = this.makeOrder(options.visibleMemory !== undefined);
    this.beginning = this.makeBeginning();
  }

  protected makeOrder(pauses: boolean): TraceOrder {
    return new TraceOrder(pauses);
  }

  protected makeBeginning(): Beginning {
    return new Beginning(this.order);
  }

  run(): ExploreResult {
    return this.asRunning(() => this.explore());
  }

  /** Operations are asked whether they are enabled, and in how many ways, between steps too. */
  protected asRunning<T>(code: () => T): T {
    const before = running;
    try {
      return code();
    } finally {
      setRunning(before);
    }
  }

  protected explore(): ExploreResult {
    const limit = this.options.executionCountMax ?? Infinity;
    for (let branch: Branch | null = null; ;) {
      if (this.runOnce(branch)) return this.result(false);
      branch = this.backtrack();
      if (branch === null) return this.result(true);
      if (this.executions + this.blocked >= limit) return this.result(false);
    }
  }

  /** What has been done so far. */
  result(isComplete: boolean): ExploreResult {
    return { executions: this.executions, blocked: this.blocked, steps: this.steps, isComplete };
  }

  /** What has been done so far in the present execution: its schedule, to be replayed. */
  get schedule(): Schedule {
    const steps = this.order.steps.slice(0, this.kernel.stepCount);
    return {
      tasks: steps.map((step) => step.task),
      outcomes: steps.map((step) => step.outcome | step.pause),
    };
  }

  /** Fills `out` for an estimate of what remains. */
  branchCounts(out: BranchCounts): void {
    out.length = this.depth;
    for (let at = 0; at < this.depth; at += 1) {
      const { doneCount, tree } = this.nodes[at] as Node;
      out.done[at] = doneCount;
      out.pending[at] = Math.max(0, tree.length - 1);
    }
  }

  // ---- one execution ------------------------------------------------------------------------

  /**
   * Repeats the prefix up to `depth`, then goes on to the end.
   *
   * @param first the branch to be taken there; null in the first execution of all.
   */
  protected runOnce(first: Branch | null): boolean {
    this.start();
    const { kernel } = this;
    for (let at = 0; at < this.depth; at += 1) this.repeat(at);
    this.fresh = this.depth;
    this.hasChoice = false;
    let branch = first;
    if (branch !== null) {
      branch = this.follow(this.nodes[this.depth] as Node);
      if (branch === null) return this.abandon();
    }
    for (;;) {
      branch = this.follow(this.openNode(branch));
      if (branch !== null) continue;
      if (enabledTasks(kernel) === 0) break;
      return this.abandon();
    }
    this.depth = kernel.stepCount;
    this.executions += 1;
    this.processRaces();
    kernel.finish();
    this.program.finish(kernel);
    kernel.end();
    return this.options.onExecution?.(this.execution()) ?? false;
  }

  protected start(): void {
    this.kernel = this.program.start(this.options.watches ?? [], null);
    this.kernel.visibleMemory = this.options.visibleMemory ?? null;
    this.order.start(this.kernel);
    setRunning(this.kernel);
  }

  protected repeat(at: number): void {
    const { kernel } = this;
    const step = this.order.steps[at] as Step;
    const task = kernel.tasks[step.task];
    if (task === undefined || !kernel.isEnabled(task)) throw tookAnotherCourse(kernel, step.task);
    kernel.step(task, step.outcome | step.pause);
    this.options.onStep?.();
  }

  private abandon(): boolean {
    this.blocked += 1;
    this.depth = this.kernel.stepCount;
    this.processRaces();
    return false;
  }

  private execution(): Execution {
    const scheduleSoFar = (): Schedule => this.schedule;
    return {
      kernel: this.kernel,
      // Hardly anybody asks for it.
      get schedule() {
        return scheduleSoFar();
      },
      clockOf: (step) => this.order.clocks.row(step),
    };
  }

  /** Takes the step of the first branch, and drops those that cannot be taken; null if none can. */
  protected follow(node: Node): Branch | null {
    const { kernel } = this;
    let hasDropped = false;
    for (;;) {
      const branch = node.tree[0];
      if (branch === undefined) {
        if (!hasDropped || !this.planOther(node)) return null;
        continue;
      }
      const task = kernel.tasks[this.order.indexOf(branch.task)];
      if (task !== undefined && kernel.isEnabled(task)) {
        const arity = task.pending?.arity(task) ?? 1;
        if (branch.outcome < arity) {
          if (arity > 1) {
            this.hasChoice = true;
            // What else the racing step can come to here is to be explored, too.
            if (branch.isRacing) this.addOutcomes(node, task.index);
          }
          branch.footprint = this.order.take(task, branch.outcome).footprint;
          branch.isGuess = false;
          this.steps += 1;
          this.options.onStep?.();
          return branch;
        }
      }
      this.budget.left += branch.plannedCount;
      node.tree.shift();
      hasDropped = true;
    }
  }

  /**
   * What was planned last cannot be taken, as may be for tasks that are stuck at the end: then what it was
   * thought to cover must be found otherwise. Plans the first that does not sleep; false if all do.
   */
  protected planOther(node: Node): boolean {
    for (
      let left = enabledTasks(this.kernel);
      left !== 0 && node.tree.length === 0;
      left &= left - 1
    ) {
      const index = 31 - Math.clz32(left & -left);
      const task = this.kernel.tasks[index] as Task;
      const name = this.order.nameOf(index);
      const arity = task.pending?.arity(task) ?? 1;
      for (let outcome = 0; outcome < arity; outcome += 1) {
        if (!isAsleep(node, name, outcome)) node.tree.push(new Branch(name, outcome));
      }
    }
    return node.tree.length > 0;
  }

  /**
   * Makes the node of a new depth, with what is to be explored from it: nothing if all of it sleeps.
   *
   * @param parent the branch that led here.
   */
  private openNode(parent: Branch | null): Node {
    const at = this.kernel.stepCount;
    if (at >= this.stepCountMax && enabledTasks(this.kernel) !== 0) {
      throw tooManySteps(this.kernel, this.order.steps);
    }
    const node = (this.nodes[at] ??= new Node());
    node.doneCount = 0;
    this.inheritSleep(at, node);
    if (parent === null || parent.children.length === 0) {
      this.choose(node, at);
    } else {
      node.tree = parent.children;
      this.dropSleeping(node);
    }
    return node;
  }

  /**
   * What sleeps at a new node: what slept at the one before, as far as its step, when it was taken,
   * touched nothing that the step in between depends on. What it would touch now must not be asked: it
   * may be less, just because of that step.
   */
  protected inheritSleep(at: number, node: Node): void {
    clearList(node.sleep);
    if (at === 0) return;
    const { name, footprint } = this.order.steps[at - 1] as Step;
    for (const sleeper of (this.nodes[at - 1] as Node).sleep) {
      if (sleeper.task !== name && !doConflict(sleeper.footprint, footprint))
        node.sleep.push(sleeper);
    }
  }

  /** Nothing is planned: goes on with the same task, or else the first that does not sleep. */
  private choose(node: Node, at: number): void {
    const { kernel } = this;
    node.tree = node.ownTree;
    clearList(node.tree);
    const before = at === 0 ? undefined : kernel.tasks[(this.order.steps[at - 1] as Step).task];
    if (before !== undefined && kernel.isEnabled(before)) this.addOutcomes(node, before.index);
    for (let index = 0; index < kernel.tasks.length && node.tree.length === 0; index += 1) {
      if (kernel.isEnabled(kernel.tasks[index] as Task)) this.addOutcomes(node, index);
    }
  }

  /** Adds a branch for each way in which the task's step can turn out, but for those that sleep. */
  protected addOutcomes(node: Node, index: number): void {
    const task = this.kernel.tasks[index] as Task;
    const name = this.order.nameOf(index);
    const arity = task.pending?.arity(task) ?? 1;
    for (let outcome = 0; outcome < arity; outcome += 1) {
      if (isAsleep(node, name, outcome)) continue;
      if (node.tree.some((known) => known.task === name && known.outcome === outcome)) continue;
      const branch = node.tree.length === 0 ? node.ownBranch : new Branch(name, outcome);
      if (branch === node.ownBranch) branch.reuse(name, outcome);
      if (arity > 1) {
        // However it turns out, it touches the same; plans are compared with it before it is taken.
        branch.footprint = this.order.pendingFootprint(task);
        branch.isGuess = false;
      }
      node.tree.push(branch);
    }
  }

  /** Drops what sleeps of that which was planned. */
  private dropSleeping(node: Node): void {
    const { tree } = node;
    for (let at = 0; at < tree.length;) {
      const branch = tree[at] as Branch;
      if (isAsleep(node, branch.task, branch.outcome)) {
        tree.splice(at, 1);
        this.budget.left += branch.plannedCount;
      } else {
        at += 1;
      }
    }
  }

  // ---- races --------------------------------------------------------------------------------

  /** Plans the other order of each race. */
  private processRaces(): void {
    this.reserveBudget();
    const fresh = this.firstToLookAt();
    const { steps } = this.order;
    // Mostly there is nothing among the steps repeated that must be looked at again.
    const first = fresh > 0 && !(steps[fresh - 1] as Step).someVary ? fresh : 0;
    for (let at = first; at < this.depth; at += 1) {
      const step = steps[at] as Step;
      if (at < fresh && !this.mustLookAgain(step)) continue;
      for (const group of step.races) this.plan(group, step, at);
    }
    this.processBlockedTasks();
    const planned = this.plannedLimit - this.budget.left;
    if (planned > this.plannedCountMax) this.plannedCountMax = planned;
  }

  /** The first step of whose races one may be new. */
  protected firstToLookAt(): number {
    return this.hasChoice ? 0 : this.fresh;
  }

  /**
   * Whether the races of a step are to be looked at in each execution. They are where the step may touch
   * something else when it comes first: it then depends on what else there is, which may be new.
   */
  protected mustLookAgain(step: Step): boolean {
    return step.varies || step.isPlain;
  }

  /**
   * Tasks that are blocked at the end race with whoever got there first. So do those that are blocked
   * when a run is abandoned: where it would have led, others have been who were not blocked by this.
   */
  protected processBlockedTasks(): void {
    const { kernel } = this;
    for (const task of kernel.tasks) {
      if (task.pending === null || kernel.isEnabled(task)) continue;
      const step = this.order.blockedStep(task, this.blockedStep);
      for (const group of step.races) this.plan(group, step, this.depth);
    }
  }

  /** Branches that may be planned at one time, for each depth and task. */
  protected get branchesPerTask(): number {
    return BRANCHES_PER_TASK;
  }

  private reserveBudget(): void {
    const wanted = this.branchesPerTask * this.depth * this.kernel.tasks.length;
    if (wanted <= this.plannedLimit) return;
    this.budget.left += wanted - this.plannedLimit;
    this.plannedLimit = wanted;
  }

  /** Plans an execution in which `racing` comes before the steps of `group`, unless there is one. */
  protected plan(group: readonly number[], racing: Step, at: number): void {
    const { beginning } = this;
    const node = this.nodes[earliestOf(group)] as Node;
    beginning.fill(group, racing, at, this.depth);
    this.isUnsure = false;
    for (const sleeper of node.sleep) if (this.covers(sleeper)) return;
    let { tree } = node;
    // The first branch is the one that is being explored; it begins with what is to be put off.
    let next = 1;
    while (next < tree.length) {
      const branch = tree[next] as Branch;
      if (!this.covers(branch)) {
        next += 1;
        continue;
      }
      beginning.takeOut(branch);
      if (branch.children.length === 0 || beginning.isEmpty) return;
      tree = branch.children;
      next = 0;
    }
    const branch = beginning.toBranch(this.budget);
    if (branch === null) return;
    tree.push(branch);
    if (this.isUnsure || branch.isShortened) this.isExact = false;
    if (earliestOf(group) < this.floor) this.tellPlanned(group, racing, at);
  }

  /** Something was planned above {@link floor}. */
  protected tellPlanned(_group: readonly number[], _racing: Step, _at: number): void {
    // There is nothing above depth 0.
  }

  /** Whether what is explored with `branch` first has an execution with the beginning. */
  protected covers(branch: Branch): boolean {
    const answer = this.beginning.beginsWith(branch);
    if (answer === UNKNOWN) this.isUnsure = true;
    return answer === AS_PART || (answer === AS_OTHER && this.isExact);
  }

  // ---- the next execution -------------------------------------------------------------------

  /** Sets `depth` for the next execution and returns the branch to be taken there, or null. */
  protected backtrack(): Branch | null {
    for (let at = this.depth - 1; at >= this.floor; at -= 1) {
      const node = this.nodes[at] as Node;
      const { tree, sleep } = node;
      const done = tree.shift() as Branch;
      if (done.isPlanned) this.budget.left += 1;
      sleep.push(done);
      node.doneCount += 1;
      while (tree.length > 0) {
        const next = tree[0] as Branch;
        if (!isAsleep(node, next.task, next.outcome)) {
          this.order.rollBack(at);
          this.depth = at;
          return next;
        }
        this.budget.left += next.plannedCount;
        tree.shift();
      }
    }
    return null;
  }
}
