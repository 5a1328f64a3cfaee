/**
 * Minimising: makes a counterexample as easy to follow as can be found out with so much effort. Fewer
 * preemptions come first, then fewer changes between tasks, then fewer tasks, then fewer steps, and last
 * fewer of them that turn out otherwise than in the first way.
 *
 * First, bounded searches look for the finding with fewer preemptions: with none, with one, and so on.
 * When they come to their end without it, its preemptions are the fewest there are. Then what is found
 * is varied, as long as that makes it easier: tasks and turns are left out, turns of one task are
 * joined, neighbours change places, a turn ends a step earlier or later, a choice is not made. Each variant is run (see
 * trial.ts), so what comes out is an execution that shows the finding, and nothing else is claimed.
 */
import { MINIMISING_EXECUTION_COUNT_MAX, MINIMISING_TRIAL_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { PAUSE } from '../kernel/kernel.ts';
import { BoundedDpor } from './bounded-dpor.ts';
import { preemptionsOf } from './preemption.ts';
import type { Schedule } from './program.ts';
import {
  identityOf,
  shorten,
  withoutIdlePauses,
  type Bench,
  type Counterexample,
} from './shorten.ts';
import { blocksOf, isEasier, tryBlocks, type Block, type Trial } from './trial.ts';

export interface Minimal {
  readonly counterexample: Counterexample;
  readonly preemptions: number;
  /** True if no execution with fewer preemptions has the finding. */
  readonly isFewest: boolean;
}

export interface MinimiseOptions {
  /** As the search had it that found the counterexamples. */
  readonly visibleMemory?: ReadonlySet<string>;
  /** No execution with fewer preemptions than this has any of the findings. */
  readonly leastPreemptions?: number;
  readonly executionCountMax?: number;
  readonly stepCountMax?: number;
  readonly trialCountMax?: number;
}

/** The same counterexamples, in the same order, each as easy as was found. */
export function minimise(
  found: readonly Counterexample[],
  bench: Bench,
  options: MinimiseOptions = {},
): Minimal[] {
  const items = found.map((counterexample) => new Item(counterexample, bench, options));
  searchFewer(items, bench, options);
  return items.map((item) => item.finish(options.trialCountMax ?? MINIMISING_TRIAL_COUNT_MAX));
}

/** A counterexample on its way. */
class Item {
  readonly identity: string;
  readonly original: Counterexample;
  /** The easiest so far; null if the counterexample cannot be repeated as a trial. */
  best: Trial | null;
  isFewest: boolean;
  private readonly bench: Bench;
  private readonly stepCountMax: number;

  constructor(original: Counterexample, bench: Bench, { leastPreemptions = 0 }: MinimiseOptions) {
    this.original = original;
    this.bench = bench;
    this.identity = identityOf(original.finding);
    this.stepCountMax = 4 * original.schedule.tasks.length + 100;
    // What rests on other executions as well is left as it is.
    const { earlier } = original.schedule;
    const { kind, locking } = original.finding;
    // Of a livelock the order is the point, and a search for it would not come to an end.
    const isAlone = earlier === undefined && locking === null && kind !== 'livelock';
    this.best = isAlone ? this.attempt(blocksOf(original.schedule)) : null;
    this.isFewest = this.best !== null && this.best.effort.preemptions <= leastPreemptions;
  }

  /**
   * Runs the blocks. What a task that does not come again would have done besides is left out, but it
   * may well go on first: leaving it then preempts nobody, if the finding comes out all the same.
   */
  attempt(blocks: readonly Block[]): Trial | null {
    const trial = this.run(blocks);
    if (trial === null || trial.effort.preemptions === 0) return trial;
    const longer = this.run(extended(blocksOf(trial.schedule), this.stepCountMax));
    if (longer === null || longer.effort.preemptions >= trial.effort.preemptions) return trial;
    return { ...trial, effort: { ...trial.effort, preemptions: longer.effort.preemptions } };
  }

  private run(blocks: readonly Block[]): Trial | null {
    return tryBlocks(this.bench, blocks, this.original.finding, this.stepCountMax);
  }

  /** Takes the schedule of an execution with the finding, if it is easier. */
  offer(schedule: Schedule): void {
    const trial = this.attempt(blocksOf(schedule));
    if (trial !== null && this.best !== null && isEasier(trial.effort, this.best.effort)) {
      this.best = trial;
    }
  }

  finish(trialCountMax: number): Minimal {
    const { original, best } = this;
    if (best === null) {
      const preemptions = preemptionsOf(this.bench.program, original.schedule);
      return { counterexample: original, preemptions, isFewest: preemptions === 0 };
    }
    const easiest = this.joined(this.vary(best, trialCountMax));
    const { schedule, finding, effort } = easiest;
    return {
      counterexample: {
        schedule,
        finding,
        cost: { switches: effort.switches, steps: effort.steps },
      },
      preemptions: effort.preemptions,
      isFewest: this.isFewest || effort.preemptions === 0,
    };
  }

  private vary(first: Trial, trialCountMax: number): Trial {
    let best = first;
    let left = trialCountMax;
    for (let hasChanged = true; hasChanged;) {
      hasChanged = false;
      for (const blocks of variants(blocksOf(best.schedule))) {
        if (left === 0) return best;
        left -= 1;
        const trial = this.attempt(blocks);
        if (trial === null || !isEasier(trial.effort, best.effort)) continue;
        best = trial;
        hasChanged = true;
        break;
      }
    }
    return best;
  }

  /** Joins operations with the plain code behind them, where that makes no difference. */
  private joined(trial: Trial): Trial {
    const schedule = withoutIdlePauses(trial.schedule);
    const again = this.attempt(blocksOf(schedule));
    return again === null || isEasier(trial.effort, again.effort) ? trial : again;
  }
}

/** The same, but each task goes on after its last turn for as long as it can. */
function extended(blocks: readonly Block[], stepCountMax: number): Block[] {
  const rest = Array.from({ length: stepCountMax }, () => 0);
  return blocks.map(({ task, outcomes }, at) => {
    const isLast = blocks.findLastIndex((other) => other.task === task) === at;
    return isLast ? { task, outcomes: [...outcomes, ...rest] } : { task, outcomes };
  });
}

/** Everything one change away. What saves most comes first. */
function* variants(blocks: readonly Block[]): Generator<readonly Block[]> {
  for (const task of new Set(blocks.map((block) => block.task))) {
    yield blocks.filter((block) => block.task !== task);
  }
  for (const at of blocks.keys()) yield blocks.toSpliced(at, 1);
  for (const [at, block] of blocks.entries()) {
    const next = blocks.findIndex((other, place) => place > at && other.task === block.task);
    if (next < 0) continue;
    const later = blocks[next] as Block;
    const both = { task: block.task, outcomes: [...block.outcomes, ...later.outcomes] };
    yield blocks.with(at, both).toSpliced(next, 1);
    yield blocks.with(next, both).toSpliced(at, 1);
  }
  for (const [at, block] of blocks.entries()) {
    for (const [step, outcome] of block.outcomes.entries()) {
      if ((outcome & ~PAUSE) === 0) continue;
      yield blocks.with(at, { ...block, outcomes: block.outcomes.with(step, outcome & PAUSE) });
    }
  }
  for (let at = 0; at + 1 < blocks.length; at += 1) {
    yield blocks.with(at, blocks[at + 1] as Block).with(at + 1, blocks[at] as Block);
  }
  for (const [at, block] of blocks.entries()) {
    const next = blocks.findIndex((other, place) => place > at && other.task === block.task);
    if (block.outcomes.length > 1) yield withMoved(blocks, at, next, -1);
    if (next >= 0) yield withMoved(blocks, at, next, 1);
  }
}

/** The turn at `at` ends a step later (1) or earlier (-1), at the cost of the task's next turn. */
function withMoved(
  blocks: readonly Block[],
  at: number,
  next: number,
  by: 1 | -1,
): readonly Block[] {
  const one = blocks[at] as Block;
  const two = blocks[next];
  const all = [...one.outcomes, ...(two?.outcomes ?? [])];
  const end = one.outcomes.length + by;
  const shorter = blocks.with(at, { task: one.task, outcomes: all.slice(0, end) });
  if (two === undefined) return shorter;
  return shorter.with(next, { task: one.task, outcomes: all.slice(end) });
}

/** Looks for each finding with fewer preemptions than it has, as long as the effort allows. */
function searchFewer(items: readonly Item[], bench: Bench, options: MinimiseOptions): void {
  const { leastPreemptions = 0 } = options;
  let left = options.executionCountMax ?? MINIMISING_EXECUTION_COUNT_MAX;
  for (let bound = leastPreemptions; left > 0; bound += 1) {
    const sought = new Map<string, Item>();
    for (const item of items) {
      if (item.best !== null && item.best.effort.preemptions > bound)
        sought.set(item.identity, item);
    }
    if (sought.size === 0) return;
    const round = searchBound(bound, sought, bench, { ...options, executionCountMax: left });
    if (round === null) return;
    const { executions, isComplete, found } = round;
    left -= executions;
    for (const [item, schedules] of found) {
      for (const schedule of schedules) item.offer(schedule);
      item.isFewest = item.best?.effort.preemptions === bound;
    }
    if (!isComplete && sought.size > 0) return;
    for (const item of sought.values()) item.isFewest = item.best?.effort.preemptions === bound + 1;
  }
}

interface Round {
  readonly executions: number;
  readonly isComplete: boolean;
  /** Schedules with the finding of an item. */
  readonly found: readonly (readonly [Item, readonly Schedule[]])[];
}

/**
 * Looks for what is `sought` with at most `bound` preemptions; takes from it what was found. Null if the
 * search cannot be brought to an end, because an execution seems endless.
 */
function searchBound(
  bound: number,
  sought: Map<string, Item>,
  bench: Bench,
  { visibleMemory, executionCountMax, stepCountMax }: MinimiseOptions,
): Round | null {
  const found: [Item, readonly Schedule[]][] = [];
  const explorer = new BoundedDpor(bench.program, bound, {
    watches: bench.watches,
    ...(executionCountMax === undefined ? {} : { executionCountMax }),
    ...(stepCountMax === undefined ? {} : { stepCountMax }),
    ...(visibleMemory === undefined || visibleMemory.size === 0 ? {} : { visibleMemory }),
    onExecution(run) {
      for (const finding of run.kernel.findings) {
        const item = sought.get(identityOf(finding));
        if (item === undefined) continue;
        sought.delete(item.identity);
        const { schedule } = run;
        const short = shorten(run, finding, bench);
        found.push([item, short === null ? [schedule] : [schedule, short.schedule]]);
      }
      return sought.size === 0;
    },
  });
  try {
    const { executions, isComplete } = explorer.run();
    return { executions, isComplete, found };
  } catch (error) {
    if (error instanceof UsageError && error.code === 'MN205') return null;
    throw error;
  }
}
