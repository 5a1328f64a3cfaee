/**
 * Shortening: from an execution that shows a violation to a schedule for people.
 *
 * Steps that the violation does not depend on are left out: what remains is the causal past of the
 * step at which it was noticed and of its witnesses, by the order of the trace. The rest is put into
 * the equivalent order that changes from task to task least, as far as a greedy choice finds it. An
 * independent order gives the same values, so the violation should come out again; that it does is
 * tried, since plain accesses that race belong to no trace.
 *
 * A violation of the execution as a whole (a deadlock, a leak) keeps all its steps.
 */
import type { Finding } from '../kernel/finding.ts';
import { PAUSE } from '../kernel/kernel.ts';
import type { Watch } from '../kernel/watch.ts';
import type { Program, Schedule } from './program.ts';
import { replay } from './replay.ts';
import type { Execution } from './source-dpor.ts';

/** What makes a schedule hard to follow: first the changes between tasks, then its length. */
export interface Cost {
  readonly switches: number;
  readonly steps: number;
}

export function costOf(schedule: Schedule): Cost {
  let switches = 0;
  for (const [at, task] of schedule.tasks.entries()) {
    if (at > 0 && task !== schedule.tasks[at - 1]) switches += 1;
  }
  // Plain code belongs to the operation before it, whether or not somebody comes in between.
  const pauses = schedule.outcomes.filter((outcome) => (outcome & PAUSE) !== 0).length;
  return { switches, steps: schedule.tasks.length - pauses };
}

export function isCheaper(a: Cost, b: Cost): boolean {
  return a.switches < b.switches || (a.switches === b.switches && a.steps < b.steps);
}

/** What tells violations apart: kind, object and the two places. */
export function identityOf(finding: Pick<Finding, 'kind' | 'object' | 'places'>): string {
  return JSON.stringify([finding.kind, finding.object, ...finding.places]);
}

/** Whether the finding is about the execution as a whole, so that it shows only at its end. */
export function isOfWhole(finding: Finding): boolean {
  return finding.task === null || (finding.task.kind === 'setup' && finding.step >= 0);
}

/** A schedule that was tried and ends in a violation, and the finding as it came out. */
export interface Counterexample {
  readonly schedule: Schedule;
  readonly cost: Cost;
  readonly finding: Finding;
}

/** Where schedules are tried: a program and detectors that no exploration is using. */
export interface Bench {
  readonly program: Program;
  readonly watches: readonly Watch[];
  /** What detectors that explore say has to be run before; see {@link Schedule.earlier}. */
  readonly earlierOf?: (finding: Finding) => readonly Schedule[];
}

/**
 * Shortens the schedule of an execution in which `finding` came out.
 *
 * @param limit what the result must cost less than; null if any will do.
 * @returns null if it would not; or, without a limit, if not even the execution itself can be
 *   repeated, because the program takes another course each time.
 */
export function shorten(
  run: Execution,
  finding: Finding,
  bench: Bench,
  limit: Cost | null = null,
): Counterexample | null {
  if (finding.locking !== null) return shortenLocking(run, finding, bench, limit);
  const story = new Story(run, finding);
  const best = story.ordered();
  if (limit !== null && !isCheaper(costOf(best), limit)) return null;
  const found = attempt(bench, best, finding);
  if (found !== null || limit !== null) return found;
  return (
    attempt(bench, story.asTaken(), finding) ?? attempt(bench, upTo(finding, run.schedule), finding)
  );
}

/**
 * A finding of lockdep rests on moments of this execution, and maybe of others. Which of this one, only
 * a detector that knows nothing else can tell.
 */
function shortenLocking(
  run: Execution,
  finding: Finding,
  bench: Bench,
  limit: Cost | null,
): Counterexample | null {
  const seen = repeatLocking(run.schedule, finding, bench);
  if (seen === null) return null;
  const { earlier } = seen.schedule;
  const story = new Story(run, seen.finding);
  for (const order of [story.ordered(), story.asTaken()]) {
    const schedule = earlier === undefined ? order : { ...order, earlier };
    const found = attempt(bench, schedule, finding);
    if (found === null) continue;
    return limit === null || isCheaper(found.cost, limit) ? found : null;
  }
  return limit === null || isCheaper(seen.cost, limit) ? seen : null;
}

/**
 * Repeats a schedule that ends in a finding of lockdep, alone or, if that does not do, after the others
 * that it rests on; null if the finding does not come out.
 */
export function repeatLocking(
  schedule: Schedule,
  finding: Finding,
  bench: Bench,
): Counterexample | null {
  const whole = upTo(finding, schedule);
  const others = bench.earlierOf?.(finding) ?? [];
  const seen = attempt(bench, whole, finding);
  if (seen !== null || others.length === 0) return seen;
  const lean = { ...whole, earlier: others.map((other) => ofLastTask(other)) };
  return attempt(bench, lean, finding) ?? attempt(bench, { ...whole, earlier: others }, finding);
}

/** Only the steps of the task that takes the last one: often the others have no part in it. */
function ofLastTask({ tasks, outcomes }: Schedule): Schedule {
  const isKept = (_: number, at: number): boolean => tasks[at] === tasks.at(-1);
  return { tasks: tasks.filter(isKept), outcomes: outcomes.filter(isKept) };
}

function attempt(bench: Bench, schedule: Schedule, finding: Finding): Counterexample | null {
  const { kernel, diverged } = replay(bench.program, schedule, { watches: bench.watches });
  if (diverged !== null) return null;
  const identity = identityOf(finding);
  const found = kernel.findings.find((one) => identityOf(one) === identity);
  if (found === undefined) return null;
  const needed = upTo(found, schedule);
  return { schedule: needed, cost: costOf(needed), finding: found };
}

/** The part of a schedule that leads to the finding. */
function upTo(finding: Finding, schedule: Schedule): Schedule {
  return isOfWhole(finding) ? schedule : cut(schedule, finding.step + 1);
}

function cut(schedule: Schedule, length: number): Schedule {
  return {
    ...schedule,
    tasks: schedule.tasks.slice(0, length),
    outcomes: schedule.outcomes.slice(0, length),
  };
}

/** The steps that belong to a finding, to be put into a better order. */
class Story {
  private readonly run: Execution;
  private readonly schedule: Schedule;
  private readonly taskCount: number;
  /** Steps in the order they were taken, by task. */
  private readonly queues: number[][];
  /** The step that shows the finding, or -1: it comes last. */
  private readonly last: number;
  /** Steps of other tasks that must not come before what the finding's task did before them. */
  private readonly witnesses: ReadonlySet<number>;
  private readonly stepCount: number;

  constructor(run: Execution, finding: Finding) {
    this.run = run;
    this.schedule = run.schedule;
    this.taskCount = run.kernel.tasks.length;
    this.last = isOfWhole(finding) ? -1 : finding.step;
    this.witnesses = new Set(finding.witnesses);
    const kept = isOfWhole(finding)
      ? [...this.schedule.tasks.keys()]
      : this.pastOf([finding.step, ...finding.witnesses]);
    this.stepCount = kept.length;
    this.queues = Array.from({ length: this.taskCount }, () => []);
    for (const step of kept) this.queues[this.taskOf(step)]?.push(step);
  }

  /** The order with the fewest changes between tasks that a greedy choice finds. */
  ordered(): Schedule {
    let best: readonly number[] | null = null;
    let bestSwitches = Infinity;
    for (let first = 0; first < this.taskCount; first += 1) {
      const order = this.greedyFrom(first);
      if (order === null) continue;
      const { switches } = costOf({ tasks: order.map((step) => this.taskOf(step)), outcomes: [] });
      if (switches < bestSwitches) {
        best = order;
        bestSwitches = switches;
      }
    }
    return this.renumbered(best ?? []);
  }

  /** The same steps in the order they were taken. */
  asTaken(): Schedule {
    return this.renumbered(this.queues.flat().toSorted((a, b) => a - b));
  }

  private taskOf(step: number): number {
    return this.schedule.tasks[step] as number;
  }

  private pastOf(ends: readonly number[]): number[] {
    const kept: number[] = [];
    for (let step = 0; step <= Math.max(...ends); step += 1) {
      const task = this.taskOf(step);
      const isPast = ends.some((end) => end >= 0 && (this.run.clockOf(end)[task] as number) > step);
      if (isPast) kept.push(step);
    }
    return kept;
  }

  /** Stays with a task as long as it can; null if `first` cannot begin. */
  private greedyFrom(first: number): number[] | null {
    const heads = Array.from({ length: this.taskCount }, () => 0);
    const order: number[] = [];
    let task = first;
    while (order.length < this.stepCount) {
      const count = this.runLength(task, heads, order.length);
      if (count === 0) return null;
      const at = heads[task] as number;
      order.push(...(this.queues[task] as number[]).slice(at, at + count));
      heads[task] = at + count;
      task = this.nextTask(heads, order.length);
    }
    return order;
  }

  /** Who is best to go on: a task that can be done with, or else the one that gets furthest. */
  private nextTask(heads: readonly number[], done: number): number {
    let best = 0;
    let bestScore = -1;
    for (let task = 0; task < this.taskCount; task += 1) {
      const count = this.runLength(task, heads, done);
      const left = (this.queues[task] as number[]).length - (heads[task] as number);
      const score = count === 0 ? -1 : count + (count === left ? this.stepCount : 0);
      if (score > bestScore) {
        best = task;
        bestScore = score;
      }
    }
    return best;
  }

  /** How many steps the task can take in a row. */
  private runLength(task: number, heads: readonly number[], done: number): number {
    const queue = this.queues[task] as number[];
    let at = heads[task] as number;
    const start = at;
    while (at < queue.length && this.isReady(queue[at] as number, task, heads, done + at - start)) {
      at += 1;
    }
    return at - start;
  }

  private isReady(step: number, task: number, heads: readonly number[], done: number): boolean {
    if (step === this.last) return done === this.stepCount - 1;
    const clock = this.run.clockOf(step);
    for (let other = 0; other < this.taskCount; other += 1) {
      const next = (this.queues[other] as number[])[heads[other] as number];
      if (other === task || next === undefined) continue;
      if ((clock[other] as number) > next) return false;
      const isHeldUp = this.witnesses.has(step) && this.last >= 0;
      if (isHeldUp && other === this.taskOf(this.last) && next < step) return false;
    }
    return true;
  }

  /** Gives the tasks the numbers that they have when the steps are taken in this order. */
  private renumbered(order: readonly number[]): Schedule {
    const { kernel } = this.run;
    const numbers = new Map<number, number>();
    for (const task of kernel.tasks) if (task.spawnedAt < 0) numbers.set(task.index, task.index);
    const tasks: number[] = [];
    for (const step of order) {
      tasks.push(numbers.get(this.taskOf(step)) as number);
      for (const task of kernel.tasks) {
        if (task.spawnedAt === step) numbers.set(task.index, numbers.size);
      }
    }
    return withoutIdlePauses({
      tasks,
      outcomes: order.map((step) => this.schedule.outcomes[step] as number),
    });
  }
}

/** Joins an operation with the plain code behind it where nobody comes in between, or it is not needed. */
export function withoutIdlePauses(schedule: Schedule): Schedule {
  const tasks: number[] = [];
  const outcomes: number[] = [];
  for (let at = 0; at < schedule.tasks.length; at += 1) {
    const task = schedule.tasks[at] as number;
    const outcome = schedule.outcomes[at] as number;
    const next = schedule.tasks.indexOf(task, at + 1);
    const isIdle = (outcome & PAUSE) !== 0 && (next < 0 || next === at + 1);
    tasks.push(task);
    outcomes.push(isIdle ? outcome & ~PAUSE : outcome);
    if (isIdle && next > 0) at += 1;
  }
  return { tasks, outcomes };
}
