/**
 * Exhaustive exploration with Source-DPOR and sleep sets (Abdulla, Aronis, Jonsson, Sagonas, POPL
 * 2014): at least one execution for each Mazurkiewicz trace, each trace that completes at most once.
 * Runs that only repeat what is known are abandoned and counted as `blocked`.
 *
 * How it goes. An execution is a sequence of steps; two steps of different tasks depend on each other
 * when they conflict (see operation.ts) or when one could not have been without the other. The order
 * that this gives is kept as a vector clock for each step. Whenever a step e' of task p conflicts with
 * an earlier step e of another task and nothing else orders them, the other order must be explored
 * too: before e, one of the tasks that can begin the rest of the execution without e (the
 * *initials*) is added to the node's backtrack set. A task whose branch at a node is done sleeps
 * below its later siblings until something dependent is done.
 *
 * - Acquisitions race with acquisitions: a release only lets them happen (`kernel.after`). What is
 *   tried the other way round is therefore never one step inside the time for which a lock is held,
 *   but that together with the acquisition, and with those of all others that hold it then.
 * - A task that is still blocked at the end is checked as if its step had come last, or the order in
 *   which it was first would be lost.
 *
 * Clocks, footprints and last accesses are kept for each depth; a new execution repeats the shared
 * prefix without touching them.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { access, WRITE, type Access } from '../kernel/operation.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import { running, setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import { bitCount, type BranchCounts } from './estimate.ts';
import { tookAnotherCourse, tooManySteps } from './explore-error.ts';
import type { Execution, ExploreOptions, ExploreResult } from './exploration.ts';
import { LastAccess } from './last-access.ts';
import type { Program, Schedule } from './program.ts';
import {
  doConflict,
  enabledTasks,
  nodeOf,
  notePending,
  pendingFootprint,
  type Node,
} from './search-node.ts';
import { CLOCK_LENGTH, followsAny, StepClocks } from './step-clocks.ts';

export type { Execution, ExploreOptions, ExploreResult };

export class SourceDpor {
  private readonly program: Program;
  private readonly options: ExploreOptions;
  private readonly stepCountMax: number;
  protected readonly nodes: Node[] = [];
  private readonly clocks = new StepClocks();
  protected readonly last = new LastAccess();
  private kernel!: Kernel;
  /** Length of the prefix that the next execution repeats; after one, its length. */
  private depth = 0;
  /** True if the node at `depth` has a step chosen that is yet to be taken. */
  private hasChosen = false;
  private executions = 0;
  private blocked = 0;
  private steps = 0;

  constructor(program: Program, options: ExploreOptions = {}) {
    this.program = program;
    this.options = options;
    this.stepCountMax = options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
  }

  run(): ExploreResult {
    // Operations are asked whether they are enabled, and in how many ways, between steps too.
    const before = running;
    try {
      return this.explore();
    } finally {
      setRunning(before);
    }
  }

  private explore(): ExploreResult {
    let isComplete = true;
    do {
      const wasStopped = this.runOnce();
      if (wasStopped) {
        isComplete = false;
        break;
      }
      if (this.executions + this.blocked >= (this.options.executionCountMax ?? Infinity)) {
        isComplete = !this.backtrack();
        break;
      }
    } while (this.backtrack());
    return this.result(isComplete);
  }

  /** What has been done so far. */
  result(isComplete: boolean): ExploreResult {
    return { executions: this.executions, blocked: this.blocked, steps: this.steps, isComplete };
  }

  /**
   * How many branches are done and pending at each depth of the execution that has just ended; see
   * RemainingEstimate. Costs nothing unless it is called.
   */
  branchCounts(out: BranchCounts): void {
    out.length = this.depth;
    for (let at = 0; at < this.depth; at += 1) {
      const node = this.nodes[at] as Node;
      const open = node.backtrack & ~node.done & ~node.sleep & ~(1 << node.task);
      out.done[at] = bitCount(node.done) + node.outcome;
      out.pending[at] = bitCount(open) + node.arity - 1 - node.outcome;
    }
  }

  /** One execution: repeats the prefix up to `depth`, then goes on to the end. */
  private runOnce(): boolean {
    this.kernel = this.program.start(this.options.watches ?? [], null);
    const { kernel } = this;
    kernel.visibleMemory = this.options.visibleMemory ?? null;
    setRunning(kernel);
    for (let at = 0; at < this.depth; at += 1) this.repeat(at);
    this.resumeNode();
    for (;;) {
      const enabled = enabledTasks(this.kernel);
      const at = kernel.stepCount;
      if (enabled === 0) break;
      const node = this.openNode(at, enabled);
      if (node === null) {
        this.blocked += 1;
        this.depth = at;
        this.checkBlockedTasks();
        return false;
      }
      this.takeStep(node, at);
    }
    this.depth = kernel.stepCount;
    this.checkBlockedTasks();
    this.executions += 1;
    kernel.finish();
    this.program.finish(kernel);
    kernel.end();
    return this.options.onExecution?.(this.execution()) ?? false;
  }

  /** What has been done so far in the present execution: its schedule, to be replayed. */
  get schedule(): Schedule {
    const nodes = this.nodes.slice(0, this.kernel.stepCount);
    return {
      tasks: nodes.map((node) => node.task),
      outcomes: nodes.map((node) => node.outcome | node.pause),
    };
  }

  private execution(): Execution {
    const scheduleSoFar = (): Schedule => this.schedule;
    return {
      kernel: this.kernel,
      // Hardly anybody asks for it.
      get schedule() {
        return scheduleSoFar();
      },
      clockOf: (step) => this.clocks.row(step),
    };
  }

  /** Takes the step that `backtrack` chose at the end of the prefix, if there is one. */
  private resumeNode(): void {
    const node = this.nodes[this.depth];
    if (!this.hasChosen || node === undefined) return;
    this.hasChosen = false;
    if (enabledTasks(this.kernel) !== node.enabled) throw tookAnotherCourse(this.kernel, node.task);
    const task = this.kernel.tasks[node.task] as Task;
    if (node.arity < 0) node.arity = task.pending?.arity(task) ?? 1;
    this.takeStep(node, this.depth);
  }

  private repeat(at: number): void {
    const node = this.nodes[at] as Node;
    const task = this.kernel.tasks[node.task];
    if (task === undefined || !this.kernel.isEnabled(task)) {
      throw tookAnotherCourse(this.kernel, node.task);
    }
    this.kernel.step(task, node.outcome | node.pause);
    this.options.onStep?.();
  }

  /** Makes the node of a new depth and chooses its first task; null if all that could go on sleep. */
  private openNode(at: number, enabled: number): Node | null {
    const sleep = at === 0 ? 0 : this.sleepBelow(this.nodes[at - 1] as Node);
    const awake = enabled & ~sleep;
    if (awake === 0) return null;
    if (at >= this.stepCountMax) throw tooManySteps(this.kernel, this.nodes);
    const before = at === 0 ? 0 : 1 << (this.nodes[at - 1] as Node).task;
    const chosen = (awake & before) === 0 ? awake & -awake : before;
    const task = 31 - Math.clz32(chosen);
    const node = nodeOf(task);
    node.arity = this.kernel.tasks[task]?.pending?.arity(this.kernel.tasks[task] as Task) ?? 1;
    node.enabled = enabled;
    node.backtrack = chosen;
    node.sleep = sleep;
    if (at > 0) node.slept = (this.nodes[at - 1] as Node).slept.slice();
    notePending(node, this.kernel);
    this.nodes[at] = node;
    return node;
  }

  /**
   * Which of the tasks that sleep at `node` still sleep after its step: those whose own step, when it
   * was taken, touched nothing that this one depends on. What it would touch now must not be asked:
   * it may be less, just because of this step.
   */
  protected sleepBelow(node: Node): number {
    let still = 0;
    for (let task = 0; task < this.kernel.tasks.length; task += 1) {
      if ((node.sleep & (1 << task)) === 0) continue;
      if (!doConflict(node.slept[task] as readonly Access[], node.footprint)) still |= 1 << task;
    }
    return still;
  }

  private takeStep(node: Node, at: number): void {
    const { kernel } = this;
    const task = kernel.tasks[node.task] as Task;
    node.footprint.length = 0;
    kernel.footprint(task, node.footprint);
    const previous = task.lastStep;
    node.isPlain = task.pending === PLAIN_CODE;
    const pauses = this.options.visibleMemory !== undefined && !node.isPlain;
    node.pause = pauses ? PAUSE : 0;
    node.past = task.pending?.heldBefore(task) ?? [];
    kernel.step(task, node.outcome | node.pause);
    this.steps += 1;
    this.options.onStep?.();
    node.footprint.push(...kernel.plainAccesses);
    node.after = kernel.afterSteps.slice();
    node.since = kernel.sinceSteps.slice();
    const row = this.clocks.open(
      at,
      previous >= 0 ? previous : task.spawnedAt,
      kernel.tasks.length,
    );
    for (const step of kernel.requiredSteps) this.clocks.join(row, step);
    this.findRaces(at, task.index, node, row);
    for (const item of node.footprint) {
      for (let other = 0; other < kernel.tasks.length; other += 1) {
        if (other !== task.index) this.clocks.join(row, this.last.lastConflict(item, other));
      }
    }
    for (const step of node.after) this.clocks.join(row, step);
    row[task.index] = at + 1;
    this.last.open(at);
    for (const item of node.footprint) this.last.record(item, task.index, at);
  }

  // ---- races --------------------------------------------------------------------------------

  /**
   * Finds the steps that race with the one being taken at `at` and makes sure that the other order
   * is explored. `row` holds what the task knew before this step.
   */
  private findRaces(at: number, task: number, node: Node, row: Int32Array): void {
    const candidates: number[] = [];
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      if (other === task) continue;
      let last = -1;
      for (const item of node.footprint) {
        const step = this.last.lastConflict(item, other);
        if (step > last) last = step;
      }
      if (last + 1 > (row[other] as number)) candidates.push(last);
    }
    for (const step of candidates) {
      const isOrderedByAnother = candidates.some(
        (other) => other !== step && this.isBefore(step, other),
      );
      if (isOrderedByAnother) continue;
      const group = this.withHolds(step, node, row);
      if (group !== null) this.reverse(group, at, task, node, row);
    }
  }

  /**
   * Step `first`, which races with the step of `node`, and what must be put off together with it. A
   * lock whose release comes after `first` would still be held if `first` were put off alone, so its
   * acquisition must be put off too; one that is not released at all must be, in any case. Null if the
   * task has seen one of them: then there is no other order. `row` holds what it knew before.
   */
  protected withHolds(first: number, node: Node, row: Int32Array): number[] | null {
    const group = [first];
    const { cpu } = this.kernel.tasks[node.task] as Task;
    // The start of an interrupt handler is not shut out by those who shut out tasks.
    const isInterrupting = node.footprint.includes(access(cpu.variable + 1, WRITE));
    const holds = [...node.past];
    if (cpu.isShared && !isInterrupting) holds.push(...cpu.pastExclusions);
    for (const [at, since] of node.since.entries()) holds.push([since, node.after[at] as number]);
    for (let count = 0; count < group.length;) {
      count = group.length;
      for (const [since, end] of holds) {
        if (since < 0 || group.some((step) => step === since || this.isBefore(step, since))) {
          continue;
        }
        if (end < 0 || group.some((step) => step === end || this.isBefore(step, end))) {
          if ((row[(this.nodes[since] as Node).task] as number) > since) return null;
          group.push(since);
        }
      }
    }
    return group;
  }

  /** Whether step `one` comes before step `other` in the order of the trace. */
  private isBefore(one: number, other: number): boolean {
    return this.clocks.knows(other, (this.nodes[one] as Node).task, one);
  }

  /** The steps of `group` race with `at`: makes sure that an execution with `at` first will be run. */
  private reverse(group: number[], at: number, task: number, node: Node, row: Int32Array): void {
    const early = Math.min(...group);
    const target = this.nodes[early] as Node;
    let initials = this.initials(group, at, task, node, row) & target.enabled;
    // Whatever is enabled there will do, should none of the initials be.
    if (initials === 0) initials = target.enabled & ~(1 << target.task);
    if (initials === 0 || (initials & (target.backtrack | target.sleep)) !== 0) return;
    const own = 1 << task;
    target.backtrack |= (initials & own) === 0 ? initials & -initials : own;
  }

  /**
   * The tasks that can begin "what came after the first of `group` without depending on any of it,
   * then the step at `at`". Without the group that step may touch something else than it did: what is
   * asked is what it would have touched there. (Of plain code nobody knows, so it begins nothing but
   * itself.)
   */
  protected initials(
    group: readonly number[],
    at: number,
    task: number,
    node: Node,
    row: Int32Array,
  ): number {
    const early = Math.min(...group);
    const own = pendingFootprint(this.nodes[early] as Node, task);
    const first = new Int32Array(CLOCK_LENGTH).fill(-1);
    let isFirst = true;
    for (let step = early + 1; step < at; step += 1) {
      if (group.some((member) => this.isBefore(member, step))) continue;
      const other = this.nodes[step] as Node;
      if ((first[other.task] as number) < 0) first[other.task] = step;
      if (node.isPlain || doConflict(own, other.footprint) || node.after.includes(step)) {
        isFirst = false;
      }
    }
    let mask = 0;
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      const step = first[other] as number;
      if (step >= 0 && !followsAny(this.clocks.row(step), other, first)) mask |= 1 << other;
    }
    const isInitial = isFirst && (first[task] as number) < 0 && !followsAny(row, task, first);
    return isInitial ? mask | (1 << task) : mask;
  }

  /**
   * Tasks that are blocked at the end race with whoever got there first. So do those that are blocked
   * when a run is abandoned: where it would have led, others have been who were not blocked by this.
   */
  protected checkBlockedTasks(): void {
    const { kernel } = this;
    for (const task of kernel.tasks) {
      if (task.pending === null || kernel.isEnabled(task)) continue;
      const node = nodeOf(task.index);
      node.since = [...kernel.heldSince(task)];
      node.after = node.since.map(() => -1);
      node.past = task.pending.heldBefore(task);
      kernel.footprint(task, node.footprint);
      const last = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
      const row = this.clocks.open(this.depth, last, kernel.tasks.length);
      this.findRaces(this.depth, task.index, node, row);
    }
  }

  // ---- the next execution -------------------------------------------------------------------

  /** Sets `depth` and the node there for the next execution; false when all is explored. */
  private backtrack(): boolean {
    for (let at = this.depth - 1; at >= 0; at -= 1) {
      const node = this.nodes[at] as Node;
      if (this.advance(node)) {
        this.last.rollBack(at);
        this.depth = at;
        this.hasChosen = true;
        return true;
      }
    }
    return false;
  }

  private advance(node: Node): boolean {
    const before = node.outcome > 0 ? (node.slept[node.task] as readonly Access[]) : [];
    node.slept[node.task] = [...before, ...node.footprint];
    if (node.outcome + 1 < node.arity) {
      node.outcome += 1;
      return true;
    }
    node.done |= 1 << node.task;
    node.sleep |= 1 << node.task;
    const open = node.backtrack & ~node.done & ~node.sleep;
    if (open === 0) return false;
    node.task = 31 - Math.clz32(open & -open);
    node.outcome = 0;
    node.arity = -1;
    return true;
  }
}
