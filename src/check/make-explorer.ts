/** The explorer for a search, and what can be asked of it whichever it is. */
import { RemainingEstimate, type Band } from './estimate.ts';
import type { Explorer, ExploreOptions } from './exploration.ts';
import type { Program } from './program.ts';
import type { SamplingFigures } from './result.ts';
import { Sampling, type SamplingPlan } from './sampler/sampling.ts';
import { SourceDpor } from './source-dpor.ts';

export interface MadeExplorer {
  readonly explorer: Explorer;
  /** The executions that are left after `executions`; see RemainingEstimate. */
  readonly remaining: (executions: number) => Band;
  /** The figures of a sampling so far; null if it is none. */
  readonly figures: () => SamplingFigures | null;
}

/** @param plan how to sample; undefined for one execution of each class of interleavings. */
export function makeExplorer(
  program: Program,
  options: ExploreOptions,
  plan: SamplingPlan | undefined,
): MadeExplorer {
  if (plan !== undefined) {
    const explorer = new Sampling(program, plan, options);
    return {
      explorer,
      remaining: () => ({ low: explorer.left, high: explorer.left }),
      figures: () => explorer.figures(),
    };
  }
  const explorer = new SourceDpor(program, options);
  const estimate = new RemainingEstimate();
  const counts = { length: 0, done: [], pending: [] };
  return {
    explorer,
    remaining: (executions) => {
      explorer.branchCounts(counts);
      const { low, high } = estimate.remaining(executions, counts);
      const most = (options.executionCountMax ?? Infinity) - executions;
      return { low: Math.min(low, most), high: Math.min(high, most) };
    },
    figures: () => null,
  };
}
