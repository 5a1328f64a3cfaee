/**
 * Trials: an execution made of turns, run as far as they can be followed, in search of one finding.
 *
 * Other than a replay, a trial skips what cannot be done: a turn ends early if its task is blocked or has
 * ended, or is not there yet. What then was really done, up to the finding, is what comes out.
 */
import type { Finding } from '../kernel/finding.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import { PreemptionCounter } from './preemption.ts';
import type { Schedule } from './program.ts';
import { costOf, identityOf, isOfWhole, type Bench } from './shorten.ts';

/** Steps of one task in a row, each with its outcome. */
export interface Block {
  readonly task: number;
  readonly outcomes: readonly number[];
}

/** What makes an execution hard to follow, from what matters most to what matters least. */
export interface Effort {
  readonly preemptions: number;
  readonly switches: number;
  readonly tasks: number;
  readonly steps: number;
  /** Steps that turn out otherwise than in the first way: faults, signals, choices. */
  readonly choices: number;
}

/** An execution that leads to the finding that was looked for. */
export interface Trial {
  readonly schedule: Schedule;
  readonly effort: Effort;
  readonly finding: Finding;
}

export function isEasier(a: Effort, b: Effort): boolean {
  if (a.preemptions !== b.preemptions) return a.preemptions < b.preemptions;
  if (a.switches !== b.switches) return a.switches < b.switches;
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  if (a.steps !== b.steps) return a.steps < b.steps;
  return a.choices < b.choices;
}

export function blocksOf({ tasks, outcomes }: Schedule): Block[] {
  const blocks: { task: number; outcomes: number[] }[] = [];
  for (const [at, task] of tasks.entries()) {
    const last = blocks.at(-1);
    if (last?.task === task) last.outcomes.push(outcomes[at] ?? 0);
    else blocks.push({ task, outcomes: [outcomes[at] ?? 0] });
  }
  return blocks;
}

/**
 * Runs the blocks, then on to the end, each task as long as it can.
 *
 * @param stepCountMax steps after which the trial is given up.
 * @returns null if the finding did not come out.
 */
export function tryBlocks(
  bench: Bench,
  blocks: readonly Block[],
  sought: Finding,
  stepCountMax: number,
): Trial | null {
  const kernel = bench.program.start(bench.watches, null);
  const before = setRunning(kernel);
  try {
    return new Run(bench, kernel, sought, stepCountMax).run(blocks);
  } finally {
    setRunning(before);
  }
}

class Run {
  private readonly bench: Bench;
  private readonly kernel: Kernel;
  private readonly identity: string;
  private readonly isWhole: boolean;
  private readonly stepCountMax: number;
  private readonly tasks: number[] = [];
  private readonly outcomes: number[] = [];
  private readonly counter = new PreemptionCounter();
  private seen = 0;

  constructor(bench: Bench, kernel: Kernel, sought: Finding, stepCountMax: number) {
    this.bench = bench;
    this.kernel = kernel;
    this.identity = identityOf(sought);
    this.isWhole = isOfWhole(sought);
    this.stepCountMax = stepCountMax;
  }

  run(blocks: readonly Block[]): Trial | null {
    // What the tasks do before their first steps has been done.
    const atStart = this.isWhole ? null : this.look();
    if (atStart !== null) return atStart;
    for (const { task: index, outcomes } of blocks) {
      for (const outcome of outcomes) {
        const task = this.kernel.tasks[index];
        if (task === undefined || !this.kernel.isEnabled(task)) break;
        const found = this.take(task, outcome);
        if (found !== null) return found;
        if (this.tasks.length >= this.stepCountMax) return null;
      }
    }
    return this.goOn();
  }

  private goOn(): Trial | null {
    const { kernel } = this;
    for (;;) {
      const last = kernel.tasks[this.tasks.at(-1) ?? -1];
      const isGoingOn = last !== undefined && kernel.isEnabled(last);
      const task = isGoingOn ? last : kernel.tasks.find((one) => kernel.isEnabled(one));
      if (task === undefined) break;
      if (this.tasks.length >= this.stepCountMax) return null;
      const found = this.take(task, 0);
      if (found !== null) return found;
    }
    kernel.finish();
    this.bench.program.finish(kernel);
    kernel.end();
    return this.look();
  }

  private take(task: Task, wanted: number): Trial | null {
    const { kernel } = this;
    const arity = task.pending?.arity(task) ?? 1;
    const outcome = (wanted & ~PAUSE) < arity ? wanted : wanted & PAUSE;
    this.counter.note(kernel, task);
    this.tasks.push(task.index);
    this.outcomes.push(outcome);
    kernel.step(task, outcome);
    return this.isWhole ? null : this.look();
  }

  /** The finding, if it is among those that are new. */
  private look(): Trial | null {
    const { findings } = this.kernel;
    for (; this.seen < findings.length; this.seen += 1) {
      const finding = findings[this.seen] as Finding;
      if (identityOf(finding) !== this.identity) continue;
      const schedule = { tasks: [...this.tasks], outcomes: [...this.outcomes] };
      const { switches, steps } = costOf(schedule);
      const tasks = new Set(schedule.tasks).size;
      const choices = schedule.outcomes.filter((outcome) => (outcome & ~PAUSE) !== 0).length;
      const effort = { preemptions: this.counter.count, switches, tasks, steps, choices };
      return { schedule, effort, finding };
    }
    return null;
  }
}
