/**
 * Exploration of all that can be reached with at most so many preemptions (see preemption.ts): at least
 * one execution for each trace that has an interleaving within the bound, and none beyond it.
 *
 * How it goes. What counts is the interleaving itself, not the trace: two interleavings of one trace
 * cost differently, and a step that DPOR would take to be as good as another may be a preemption more.
 * Two things never cost anything: going on with the task whose turn it is, and, where a turn begins,
 * giving it to somebody for as long as he can go on. So at each node the search stays with one task
 * until a later step e is found that conflicts with what was done, and adds a task that can begin the
 * past of e
 *
 * - at the node of the step that e conflicts with: e's side preempts there;
 * - where the turn of that step's task began, and, if it came back from being preempted, where the turn
 *   before that began, and so on: e's side goes first, which may be free.
 *
 *     A | a1 a2 a3             e conflicts with a3: B before a3 is a preemption of A,
 *     B |          b1 e        B before a1 is none if nobody had to stop for A
 *
 * Only what e really comes after is begun with: other tasks that could go first too would make a
 * source set of traces, but not of interleavings within a bound.
 *
 * - A release that lets a blocked task go on is treated as a conflict of the two, although their
 *   order in the trace is fixed: with the other task first, blocked, changing from it is free.
 * - A blocked task is checked at each node, not only at the end: where the other order would show as
 *   a step, that step may be beyond the bound.
 * - No task ever sleeps. A sleeping task says that its step was explored before, but it was explored in
 *   another place, where it may have cost a preemption more. So traces may be executed several
 *   times, at worst in every order of the tasks' turns; what is saved is saved by the bound.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { access, WRITE, type Access, type PastHold } from '../kernel/operation.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import { running, setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import { tookAnotherCourse, tooManySteps } from './explore-error.ts';
import type { Execution, ExploreOptions, ExploreResult } from './exploration.ts';
import { LastAccess } from './last-access.ts';
import {
  advance,
  beginBoundedNode,
  boundedNodeAfter,
  initialsOf,
  type BoundedNode,
  type Claim,
} from './bounded-node.ts';
import type { Program, Schedule } from './program.ts';
import { enabledTasks } from './search-node.ts';
import { StepClocks } from './step-clocks.ts';

export interface BoundedResult extends ExploreResult {
  /** True if the bound left something out; if not, everything was explored that there is. */
  readonly wasCut: boolean;
}

export class BoundedDpor {
  private readonly program: Program;
  private readonly options: ExploreOptions;
  private readonly preemptionCountMax: number;
  private readonly stepCountMax: number;
  protected readonly nodes: BoundedNode[] = [];
  private readonly clocks = new StepClocks();
  private readonly last = new LastAccess();
  protected kernel!: Kernel;
  /** Length of the prefix that the next execution repeats; after one, its length. */
  protected depth = 0;
  /** Whether the step after that prefix was chosen by `backtrack`. */
  protected hasChosen = false;
  /** True if nothing is left. */
  protected isOver = false;
  protected executions = 0;
  protected steps = 0;
  protected wasCut = false;

  /** @param preemptionCountMax preemptions that one execution may have. */
  constructor(program: Program, preemptionCountMax: number, options: ExploreOptions = {}) {
    this.program = program;
    this.preemptionCountMax = preemptionCountMax;
    this.options = options;
    this.stepCountMax = options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
  }

  /** `isComplete` says that all within the bound was explored. */
  run(): BoundedResult {
    const before = running;
    try {
      while (!this.isOver) {
        const isStopped = this.runOnce();
        this.isOver = !this.backtrack();
        if (isStopped) return this.result(false);
        this.options.onRest?.();
        if (this.executions >= (this.options.executionCountMax ?? Infinity)) break;
      }
      return this.result(this.isOver);
    } finally {
      setRunning(before);
    }
  }

  /** What has been done so far. */
  result(isComplete: boolean): BoundedResult {
    const { executions, steps, wasCut } = this;
    return { executions, blocked: 0, steps, isComplete, wasCut };
  }

  /** What has been done so far in the present execution: its schedule, to be replayed. */
  get schedule(): Schedule {
    const nodes = this.nodes.slice(0, this.kernel.stepCount);
    return {
      tasks: nodes.map((node) => node.task),
      outcomes: nodes.map((node) => node.outcome | node.pause),
    };
  }

  // ---- an execution -------------------------------------------------------------------------

  protected start(): Kernel {
    this.kernel = this.program.start(this.options.watches ?? [], null);
    this.kernel.visibleMemory = this.options.visibleMemory ?? null;
    setRunning(this.kernel);
    return this.kernel;
  }

  private runOnce(): boolean {
    const kernel = this.start();
    for (let at = 0; at < this.depth; at += 1) this.repeat(this.nodes[at] as BoundedNode);
    for (;;) {
      const enabled = enabledTasks(kernel);
      const at = kernel.stepCount;
      this.checkBlockedTasks(at, enabled);
      if (enabled === 0) break;
      const node = this.nodeAt(at, enabled);
      this.takeStep(node, at);
    }
    this.depth = kernel.stepCount;
    this.executions += 1;
    kernel.finish();
    this.program.finish(kernel);
    kernel.end();
    return this.options.onExecution?.(this.execution()) ?? false;
  }

  private execution(): Execution {
    const scheduleSoFar = (): Schedule => this.schedule;
    return {
      kernel: this.kernel,
      get schedule() {
        return scheduleSoFar();
      },
      clockOf: (step) => this.clocks.row(step),
    };
  }

  private repeat(node: BoundedNode): void {
    const task = this.kernel.tasks[node.task];
    if (task === undefined || !this.kernel.isEnabled(task)) {
      throw tookAnotherCourse(this.kernel, node.task);
    }
    this.kernel.step(task, node.outcome | node.pause);
    this.options.onStep?.();
  }

  /**
   * The node of the next step: a new one, or the one at which `backtrack` chose another step. Some step
   * is always within the bound, since whoever would be preempted can go on.
   */
  private nodeAt(at: number, enabled: number): BoundedNode {
    if (at >= this.stepCountMax) throw tooManySteps(this.kernel, this.nodes);
    const isNew = !this.hasChosen;
    this.hasChosen = false;
    const node = isNew ? this.newNode(at, enabled) : (this.nodes[at] as BoundedNode);
    if (enabled !== node.enabled) throw tookAnotherCourse(this.kernel, node.task);
    this.begin(node, at);
    return node;
  }

  protected newNode(at: number, enabled: number): BoundedNode {
    const before = at === 0 ? undefined : this.nodes[at - 1];
    const node = boundedNodeAfter(
      before,
      { at, enabled, kernel: this.kernel },
      this.preemptionCountMax,
    );
    this.nodes[at] = node;
    return node;
  }

  protected begin(node: BoundedNode, at: number): void {
    beginBoundedNode(node, at, at === 0 ? undefined : this.nodes[at - 1], this.kernel);
  }

  protected takeStep(node: BoundedNode, at: number): void {
    const { kernel } = this;
    const task = kernel.tasks[node.task] as Task;
    node.footprint.length = 0;
    kernel.footprint(task, node.footprint);
    const previous = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
    const isPlain = task.pending === PLAIN_CODE;
    node.pause = this.options.visibleMemory !== undefined && !isPlain ? PAUSE : 0;
    const past = task.pending?.heldBefore(task) ?? [];
    kernel.step(task, node.outcome | node.pause);
    this.steps += 1;
    this.options.onStep?.();
    node.footprint.push(...kernel.plainAccesses);
    node.after = kernel.afterSteps.slice();
    node.since = kernel.sinceSteps.slice();
    const row = this.clocks.open(at, previous, kernel.tasks.length);
    const { footprint, after, since } = node;
    const known = { task, past, row, isBlocked: false };
    this.findReleases({ ...known, footprint: [], after: [], since: [], past: [] }, after, at);
    for (const step of kernel.requiredSteps) this.clocks.join(row, step);
    this.findRaces({ ...known, footprint, after, since }, at);
    for (const item of footprint) {
      for (let other = 0; other < kernel.tasks.length; other += 1) {
        if (other !== task.index) this.clocks.join(row, this.last.lastConflict(item, other));
      }
    }
    for (const step of after) this.clocks.join(row, step);
    row[task.index] = at + 1;
    this.last.open(at);
    for (const item of footprint) this.last.record(item, task.index, at);
  }

  // ---- races --------------------------------------------------------------------------------

  /** Tasks that cannot go on race with whoever keeps them waiting. */
  protected checkBlockedTasks(at: number, enabled: number): void {
    const { kernel } = this;
    for (const task of kernel.tasks) {
      if (task.pending === null || (enabled & (1 << task.index)) !== 0) continue;
      const since = [...kernel.heldSince(task)];
      const footprint: Access[] = [];
      kernel.footprint(task, footprint);
      const previous = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
      const claim: Claim = {
        task,
        footprint,
        after: since.map(() => -1),
        since,
        past: task.pending.heldBefore(task),
        row: this.clocks.open(at, previous, kernel.tasks.length),
        isBlocked: true,
      };
      this.findRaces(claim, at);
    }
  }

  /** Sees to it that what conflicts with `claim` and could come after it is explored so. */
  private findRaces(claim: Claim, at: number): void {
    const { task, footprint, row } = claim;
    const candidates: number[] = [];
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      if (other === task.index) continue;
      let last = -1;
      for (const item of footprint) {
        const step = this.last.lastConflict(item, other);
        if (step > last) last = step;
      }
      if (last + 1 > (row[other] as number)) candidates.push(last);
    }
    for (const step of candidates) {
      if (candidates.some((other) => other !== step && this.isBefore(step, other))) continue;
      const group = this.withHolds(step, claim);
      if (group !== null) this.reverse(group, claim, at);
    }
  }

  /**
   * A step that could not be taken before a release could have been waiting for it: changing from a
   * task that waits is free.
   */
  protected findReleases(claim: Claim, releases: readonly number[], at: number): void {
    for (const step of releases) {
      const releaser = (this.nodes[step] as BoundedNode).task;
      if (releaser === claim.task.index || (claim.row[releaser] as number) > step) continue;
      this.reverse([step], claim, at);
    }
  }

  /** As `SourceDpor.withHolds`. */
  protected withHolds(first: number, claim: Claim): number[] | null {
    const { after, since, row } = claim;
    const group = [first];
    const holds = this.holdsOf(claim);
    for (const [at, begun] of since.entries()) holds.push([begun, after[at] as number]);
    for (let count = 0; count < group.length;) {
      count = group.length;
      for (const [begun, end] of holds) {
        if (begun < 0 || group.some((step) => step === begun || this.isBefore(step, begun))) {
          continue;
        }
        if (end < 0 || group.some((step) => step === end || this.isBefore(step, end))) {
          if ((row[(this.nodes[begun] as BoundedNode).task] as number) > begun) return null;
          group.push(begun);
        }
      }
    }
    return group;
  }

  /** All times, over by now, that the step can come before or after, but not in between. */
  private holdsOf({ task, past, footprint }: Claim): PastHold[] {
    const { cpu } = task;
    // The start of an interrupt handler is not shut out by those who shut out tasks.
    const isInterrupting = footprint.includes(access(cpu.variable + 1, WRITE));
    return cpu.isShared && !isInterrupting ? [...past, ...cpu.pastExclusions] : [...past];
  }

  private isBefore(one: number, other: number): boolean {
    return this.clocks.knows(other, (this.nodes[one] as BoundedNode).task, one);
  }

  /** What `claim` comes after, leaving out `group` and all that comes after it: a clock. */
  protected pastWithout(group: readonly number[], claim: Claim): Int32Array {
    const { task, footprint, after, row } = claim;
    const past = row.slice();
    const add = (step: number): void => {
      if (step < 0 || group.some((member) => this.isBefore(member, step))) return;
      this.clocks.join(past, step);
    };
    for (const item of footprint) {
      for (let other = 0; other < this.kernel.tasks.length; other += 1) {
        if (other !== task.index) add(this.last.lastConflict(item, other));
      }
    }
    for (const step of after) add(step);
    // A step that is still waiting does not know yet what it will have waited for.
    for (const [begun, end] of this.holdsOf(claim)) {
      if (begun >= 0 && !group.some((member) => this.isBefore(member, begun))) add(end);
    }
    return past;
  }

  /**
   * Sees to it that the step of `claim` comes before `group` is begun: there, and where the turns began
   * without which it would not have been begun there.
   */
  private reverse(group: readonly number[], claim: Claim, at: number): void {
    const early = Math.min(...group);
    const { task } = this.nodes[early] as BoundedNode;
    this.tryBefore(early, claim, this.pastWithout(group, claim), at);
    for (const start of this.turnStarts(early)) {
      // What it needs of the other task it cannot come before.
      if ((claim.row[task] as number) > start) return;
      if (start === early) continue;
      this.tryBefore(start, claim, this.pastWithout([...group, start], claim), at);
    }
  }

  /** Where the turn began in which step `step` was taken; if its task was preempted before, that turn too. */
  protected turnStarts(step: number): number[] {
    const { task } = this.nodes[step] as BoundedNode;
    const starts: number[] = [];
    for (let at = step; ;) {
      const { turnStart } = this.nodes[at] as BoundedNode;
      starts.push(turnStart);
      at = (this.nodes[turnStart] as BoundedNode).turnBefore;
      if (at < 0) return starts;
      if (((this.nodes[at + 1] as BoundedNode).enabled & (1 << task)) === 0) return starts;
    }
  }

  /** Adds to the node at `early` a task that can begin what is in `past` from there on, then the claim. */
  protected tryBefore(early: number, claim: Claim, past: Int32Array, at: number): void {
    const target = this.nodes[early] as BoundedNode;
    const { enabled, allowed } = target;
    const initials =
      initialsOf(this.nodes.slice(early, at), claim.task, past, {
        from: early,
        clocks: this.clocks,
      }) & enabled;
    if (initials === 0 && claim.isBlocked) {
      // It would have to be let go on first, and who does that is not known.
      if (allowed !== enabled) this.wasCut = true;
      target.backtrack |= allowed;
    }
    if ((initials & target.backtrack) !== 0 || initials === 0) return;
    const open = initials & allowed;
    if (open === 0) {
      this.wasCut = true;
      return;
    }
    const own = 1 << claim.task.index;
    target.backtrack |= (open & own) === 0 ? open & -open : own;
  }

  // ---- the next execution -------------------------------------------------------------------

  /** Sets `depth` and the node there for the next execution; false when all is explored. */
  private backtrack(): boolean {
    for (let at = this.depth - 1; at >= 0; at -= 1) {
      if (!advance(this.nodes[at] as BoundedNode)) continue;
      this.last.rollBack(at);
      this.depth = at;
      this.hasChosen = true;
      return true;
    }
    return false;
  }
}
