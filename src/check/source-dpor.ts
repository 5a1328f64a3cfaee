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
import { assert } from '../base/assert.ts';
import { STEP_COUNT_MAX_DEFAULT, TASK_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { access, conflicts, modeOf, variableOf, WRITE, type Access } from '../kernel/operation.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import { running, setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer, Watch } from '../kernel/watch.ts';
import { LastAccess } from './last-access.ts';
import type { Program, Schedule } from './program.ts';

const STRIDE = TASK_COUNT_MAX + 1;

export interface ExploreOptions {
  readonly watches?: readonly Watch[];
  /** Steps of one execution; reaching it ends the search with an error that says where. */
  readonly stepCountMax?: number;
  /**
   * Names of memory whose plain accesses are steps that others can come before or after. Then all
   * plain code is a step of its own; without it, plain code belongs to the operation before it.
   */
  readonly visibleMemory?: ReadonlySet<string>;
  /** Executions, abandoned ones included, after which the search stops. */
  readonly executionCountMax?: number;
  /** Called at the end of each execution that was not abandoned. Returns true to stop the search. */
  readonly onExecution?: (run: Execution) => boolean;
  /** Called after each step, for a sign of life. */
  readonly onStep?: () => void;
}

/** An execution that has just ended; valid until the callback that is told of it returns. */
export interface Execution {
  readonly kernel: Kernel;
  readonly schedule: Schedule;
  /** For each step, the step + 1 up to which it comes after each task: row `step`, see `clockOf`. */
  readonly clockOf: (step: number) => Int32Array;
}

export interface ExploreResult {
  /** Executions that ended, deadlocked ones included. */
  readonly executions: number;
  /** Runs that were abandoned because they only repeat what is known. */
  readonly blocked: number;
  /** Steps taken, repeated prefixes not counted. */
  readonly steps: number;
  /** True if every trace was executed. */
  readonly isComplete: boolean;
}

/** A depth of the search: the step taken there, and what else is to be tried instead. */
export interface Node {
  task: number;
  outcome: number;
  arity: number;
  /** Bit masks over tasks. */
  enabled: number;
  backtrack: number;
  done: number;
  sleep: number;
  footprint: Access[];
  /** The steps that it comes after without a conflict. */
  after: number[];
  /** For each of those the step that began what it ended, or -1; see `kernel.after`. */
  since: number[];
  /** PAUSE if the plain code behind the operation is a step of its own, otherwise 0. */
  pause: number;
  /** For each sleeping task what its step touched when it was taken, however it turned out. */
  slept: (readonly Access[])[];
}

export class SourceDpor {
  private readonly program: Program;
  private readonly options: ExploreOptions;
  private readonly stepCountMax: number;
  protected readonly nodes: Node[] = [];
  private clocks = new Int32Array(256 * STRIDE);
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

  /** One execution: repeats the prefix up to `depth`, then goes on to the end. */
  private runOnce(): boolean {
    this.kernel = this.program.start(this.options.watches ?? [], null as Tracer | null);
    const { kernel } = this;
    kernel.visibleMemory = this.options.visibleMemory ?? null;
    setRunning(kernel);
    for (let at = 0; at < this.depth; at += 1) this.repeat(at);
    this.resumeNode();
    for (;;) {
      const enabled = this.enabledTasks();
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
      clockOf: (step) => this.clockRow(step),
    };
  }

  /** Takes the step that `backtrack` chose at the end of the prefix, if there is one. */
  private resumeNode(): void {
    const node = this.nodes[this.depth];
    if (!this.hasChosen || node === undefined) return;
    this.hasChosen = false;
    if (this.enabledTasks() !== node.enabled) this.tookAnotherCourse(this.depth, node);
    const task = this.kernel.tasks[node.task] as Task;
    if (node.arity < 0) node.arity = task.pending?.arity(task) ?? 1;
    this.takeStep(node, this.depth);
  }

  private repeat(at: number): void {
    const node = this.nodes[at] as Node;
    const task = this.kernel.tasks[node.task];
    if (task === undefined || !this.kernel.isEnabled(task)) this.tookAnotherCourse(at, node);
    this.kernel.step(task, node.outcome | node.pause);
    this.options.onStep?.();
  }

  private tookAnotherCourse(at: number, node: Node): never {
    const task = this.kernel.tasks[node.task];
    let what = 'other tasks can go on than before';
    if (task === undefined) what = `task ${node.task} is not there`;
    else if (!this.kernel.isEnabled(task)) what = `task '${task.name}' cannot go on`;
    throw new UsageError(
      'MN204',
      `after ${at} steps the same schedule took another course: ${what}. ` +
        'Something keeps state between executions: a variable of the module that set-up does not ' +
        'make anew, the clock, or a random number.',
    );
  }

  private enabledTasks(): number {
    let mask = 0;
    for (const task of this.kernel.tasks) {
      if (this.kernel.isEnabled(task)) mask |= 1 << task.index;
    }
    return mask;
  }

  /** Makes the node of a new depth and chooses its first task; null if all that could go on sleep. */
  private openNode(at: number, enabled: number): Node | null {
    const sleep = at === 0 ? 0 : this.sleepBelow(this.nodes[at - 1] as Node);
    const awake = enabled & ~sleep;
    if (awake === 0) return null;
    if (at >= this.stepCountMax) this.tooManySteps();
    const before = at === 0 ? 0 : 1 << (this.nodes[at - 1] as Node).task;
    const chosen = (awake & before) === 0 ? awake & -awake : before;
    const task = 31 - Math.clz32(chosen);
    const node: Node = {
      task,
      outcome: 0,
      arity: this.kernel.tasks[task]?.pending?.arity(this.kernel.tasks[task] as Task) ?? 1,
      enabled,
      backtrack: chosen,
      done: 0,
      sleep,
      footprint: [],
      after: [],
      since: [],
      pause: 0,
      slept: at === 0 ? [] : (this.nodes[at - 1] as Node).slept.slice(),
    };
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
    const pauses = this.options.visibleMemory !== undefined && task.pending !== PLAIN_CODE;
    node.pause = pauses ? PAUSE : 0;
    kernel.step(task, node.outcome | node.pause);
    this.steps += 1;
    this.options.onStep?.();
    node.footprint.push(...kernel.plainAccesses);
    node.after = kernel.afterSteps.slice();
    node.since = kernel.sinceSteps.slice();
    const row = this.openClock(at, task, previous);
    for (const step of kernel.requiredSteps) this.join(row, step);
    this.findRaces(at, task.index, node, row);
    for (const item of node.footprint) {
      for (let other = 0; other < kernel.tasks.length; other += 1) {
        if (other !== task.index) this.join(row, this.last.lastConflict(item, other));
      }
    }
    for (const step of node.after) this.join(row, step);
    row[task.index] = at + 1;
    this.last.open(at);
    for (const item of node.footprint) this.last.record(item, task.index, at);
  }

  // ---- clocks -------------------------------------------------------------------------------

  private clockRow(step: number): Int32Array {
    return this.clocks.subarray(step * STRIDE, (step + 1) * STRIDE);
  }

  /** The clock row of a new step, holding what its task knew before. */
  private openClock(at: number, task: Task, previous: number): Int32Array {
    if ((at + 2) * STRIDE > this.clocks.length) {
      const grown = new Int32Array(this.clocks.length * 2);
      grown.set(this.clocks);
      this.clocks = grown;
    }
    const row = this.clockRow(at);
    row.fill(0);
    this.join(row, previous >= 0 ? previous : task.spawnedAt);
    return row;
  }

  private join(row: Int32Array, step: number): void {
    if (step < 0) return;
    const base = step * STRIDE;
    for (let task = 0; task < this.kernel.tasks.length; task += 1) {
      const value = this.clocks[base + task] as number;
      if (value > (row[task] as number)) row[task] = value;
    }
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
      const { task: owner } = this.nodes[step] as Node;
      const isOrderedByAnother = candidates.some(
        (other) => other !== step && (this.clocks[other * STRIDE + owner] as number) > step,
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
    const holds = cpu.isShared && !isInterrupting ? [...cpu.pastExclusions] : [];
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
    return (this.clocks[other * STRIDE + (this.nodes[one] as Node).task] as number) > one;
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
   * then the step at `at`".
   */
  protected initials(
    group: readonly number[],
    at: number,
    task: number,
    node: Node,
    row: Int32Array,
  ): number {
    const early = Math.min(...group);
    const first = new Int32Array(STRIDE).fill(-1);
    let isFirst = true;
    for (let step = early + 1; step < at; step += 1) {
      if (group.some((member) => this.isBefore(member, step))) continue;
      const other = this.nodes[step] as Node;
      if ((first[other.task] as number) < 0) first[other.task] = step;
      if (doConflict(node.footprint, other.footprint) || node.after.includes(step)) isFirst = false;
    }
    let mask = 0;
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      const step = first[other] as number;
      if (step >= 0 && !this.followsAny(this.clockRow(step), other, first)) mask |= 1 << other;
    }
    const isInitial = isFirst && (first[task] as number) < 0 && !this.followsAny(row, task, first);
    return isInitial ? mask | (1 << task) : mask;
  }

  /** Whether a step with this clock comes after the first step of any other task. */
  private followsAny(clock: Int32Array, task: number, first: Int32Array): boolean {
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      const step = first[other] as number;
      if (other !== task && step >= 0 && (clock[other] as number) > step) return true;
    }
    return false;
  }

  /**
   * Tasks that are blocked at the end race with whoever got there first. So do those that are blocked
   * when a run is abandoned: where it would have led, others have been who were not blocked by this.
   */
  protected checkBlockedTasks(): void {
    const { kernel } = this;
    for (const task of kernel.tasks) {
      if (task.pending === null || kernel.isEnabled(task)) continue;
      const node: Node = {
        task: task.index,
        outcome: 0,
        arity: 1,
        enabled: 0,
        backtrack: 0,
        done: 0,
        sleep: 0,
        footprint: [],
        after: [],
        since: [...kernel.heldSince(task)],
        pause: 0,
        slept: [],
      };
      node.after = node.since.map(() => -1);
      for (const [since, end] of task.pending.heldBefore(task)) {
        node.since.push(since);
        node.after.push(end);
      }
      kernel.footprint(task, node.footprint);
      const row = this.openClock(this.depth, task, task.lastStep);
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

  private tooManySteps(): never {
    const { kernel } = this;
    const counts = new Map<number, number>();
    for (let at = 0; at < kernel.stepCount; at += 1) {
      const { task } = this.nodes[at] as Node;
      counts.set(task, (counts.get(task) ?? 0) + 1);
    }
    const [busiest, count] = [...counts].toSorted((a, b) => b[1] - a[1])[0] as [number, number];
    const task = kernel.tasks[busiest];
    assert(task !== undefined, 'the busiest task exists');
    throw new UsageError(
      'MN205',
      `an execution did not end within ${this.stepCountMax} steps: task '${task.name}' took ` +
        `${count} of them, now in ${task.functionName} at ${task.pending?.describe(task) ?? 'its end'}. ` +
        'A loop that waits for another task must block instead of asking again.',
    );
  }
}

function doConflict(a: readonly Access[], b: readonly Access[]): boolean {
  for (const one of a) {
    for (const other of b) {
      if (variableOf(one) === variableOf(other) && conflicts(modeOf(one), modeOf(other)))
        return true;
    }
  }
  return false;
}
