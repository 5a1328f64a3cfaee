/** The explorer for a search, and what can be asked of it whichever it is. */
import { BOUNDS_FIRST_MAX } from '../base/limits.ts';
import { RemainingEstimate, type Band } from './estimate.ts';
import type { Explorer, ExploreOptions } from './exploration.ts';
import {
  IterativeBound,
  type BoundPlan,
  type BoundRound,
  type SavedBounds,
} from './iterative-bound.ts';
import { OptimalDpor } from './optimal-dpor.ts';
import type { Program } from './program.ts';
import type { SamplingFigures } from './result.ts';
import { Sampling, type SamplingPlan } from './sampler/sampling.ts';

export interface MadeExplorer {
  readonly explorer: Explorer;
  /** The executions that are left after `executions`; see RemainingEstimate. */
  readonly remaining: (executions: number) => Band;
  /** The figures of a sampling so far; null if it is none. */
  readonly figures: () => SamplingFigures | null;
  /** The searches with a bound on preemptions that are over. */
  readonly rounds: () => readonly BoundRound[];
  /** The preemptions up to which everything was explored, if there is more; null otherwise. */
  readonly boundReached: () => number | null;
  /** How far the searches with a bound are; null if there are none. Call between executions. */
  readonly saveBounds: (() => SavedBounds) | null;
}

/** What may be asked of a search about preemptions; see preemption.ts. */
export interface BoundWishes {
  /** Explore only executions with at most so many preemptions. */
  readonly preemptions?: number;
  /**
   * Search with no preemption, with one, with two, …, and stop where something is found: it then has
   * the fewest preemptions there are.
   */
  readonly shortest?: boolean;
  /** Search with few preemptions first, and then the whole. */
  readonly boundsFirst?: boolean;
}

/**
 * Which bounds are to be searched; undefined for none.
 *
 * @param hasFound whether the search that is made of them has found anything.
 */
export function boundPlanOf(wishes: BoundWishes, hasFound: () => boolean): BoundPlan | undefined {
  const { preemptions, shortest = false, boundsFirst = false } = wishes;
  if (shortest) {
    return { from: 0, to: preemptions ?? Infinity, isEnough: hasFound, thenWhole: false };
  }
  if (boundsFirst) {
    const to = preemptions ?? BOUNDS_FIRST_MAX;
    return { from: 0, to, isEnough: () => false, thenWhole: true };
  }
  if (preemptions === undefined) return undefined;
  return { from: preemptions, to: preemptions, isEnough: () => false, thenWhole: false };
}

/** An explorer of which no more is known. */
export function madeOf(explorer: Explorer): MadeExplorer {
  return {
    explorer,
    remaining: () => ({ low: 0, high: Infinity }),
    figures: () => null,
    rounds: () => [],
    boundReached: () => null,
    saveBounds: null,
  };
}

/**
 * @param plan how to sample, or which bounds to search; undefined for one execution of each class of
 *   interleavings.
 */
export function makeExplorer(
  program: Program,
  options: ExploreOptions,
  plan: SamplingPlan | BoundPlan | undefined,
): MadeExplorer {
  if (plan !== undefined && 'from' in plan) {
    const makeWhole = (left: ExploreOptions): Explorer => new OptimalDpor(program, left);
    const explorer = new IterativeBound(program, plan, makeWhole, options);
    return {
      // Nothing is known of how many there are within a bound.
      ...madeOf(explorer),
      rounds: () => explorer.rounds,
      boundReached: () => explorer.reached,
      saveBounds: () => explorer.save(),
    };
  }
  if (plan !== undefined) {
    const explorer = new Sampling(program, plan, options);
    return {
      ...madeOf(explorer),
      remaining: () => ({ low: explorer.left, high: explorer.left }),
      figures: () => explorer.figures(),
    };
  }
  const explorer = new OptimalDpor(program, options);
  const estimate = new RemainingEstimate();
  const counts = { length: 0, done: [], pending: [] };
  return {
    ...madeOf(explorer),
    remaining: (executions) => {
      explorer.branchCounts(counts);
      const { low, high } = estimate.remaining(executions, counts);
      const most = (options.executionCountMax ?? Infinity) - executions;
      return { low: Math.min(low, most), high: Math.min(high, most) };
    },
  };
}
