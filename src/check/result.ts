/** What checking a variant of a scenario yields, before anybody draws it. */
import type { FindingKind } from '../kernel/finding.ts';
import type { BoundRound } from './iterative-bound.ts';
import type { Schedule } from './program.ts';
import type { SamplerName } from './sampler/sampler.ts';
import type { Expectation, Verdict } from './scenario.ts';

/** A rule that some execution breaks, and the shortest schedule found that shows it. */
export interface Violation {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly invariant: string | null;
  /** Where it was noticed and where its cause was, as `function` names. */
  readonly places: readonly [string, string];
  /** The shortest schedule found that ends in it; replaying it yields this violation. */
  readonly schedule: Schedule;
  /** Preemptions in it, as preemption.ts defines them. */
  readonly preemptions: number;
  /** True if no execution with fewer of them has this violation. */
  readonly isFewest: boolean;
  /** Changes from one task to another. */
  readonly switches: number;
}

/** Something that may be a violation and has not been seen to happen. Does not change the verdict. */
export interface Suspicion {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly places: readonly [string, string];
}

export interface GoalResult {
  readonly name: string;
  readonly reached: boolean;
}

/**
 * A bound that ended the search. `isRequested` tells a bound that was asked for from a limit. The
 * limit of `samples` is how many were asked for; that of `preemptions`, up to how many everything was
 * explored; that of `shard`, into how many parts the search was taken; that of `interrupted`, how many executions there were
 * when somebody stopped it.
 */
export interface Bound {
  readonly kind:
    | 'executions'
    | 'time'
    | 'memory'
    | 'steps'
    | 'rounds'
    | 'first-violation'
    | 'preemptions'
    | 'samples'
    | 'shard'
    | 'interrupted';
  readonly limit: number;
  readonly isRequested: boolean;
}

/** How a variant was sampled, where not every class of interleavings was executed. */
export interface SamplingFigures {
  readonly method: SamplerName;
  /** Executions that were asked for. */
  readonly samples: number;
  readonly seed: number;
  /** For `pct`, otherwise null. */
  readonly depth: number | null;
  /** Different traces that were seen. */
  readonly traces: number;
  /** The standard deviation of `traces`, relative to the true number; 0 if it is exact. */
  readonly tracesError: number;
  readonly isExact: boolean;
  /** The estimated probability that one more execution would be a trace not seen before. */
  readonly newNext: number;
  /** Executions that had not ended after `stepCountMax` steps; their traces do not count. */
  readonly cut: number;
  readonly stepCountMax: number;
}

/** What was found out about a variant. */
export interface VariantResult {
  readonly scenario: string;
  readonly variant: string;
  readonly models: readonly string[];
  readonly expected: Expectation | null;
  readonly asExpected: boolean;
  /** Groups of tasks that were taken to be the same; left out: none. */
  readonly interchangeable?: readonly (readonly string[])[];
  readonly verdict: Verdict;
  readonly complete: boolean;
  readonly bound: Bound | null;
  readonly goals: readonly GoalResult[];
  readonly executions: number;
  readonly blocked: number;
  readonly steps: number;
  readonly violations: readonly Violation[];
  readonly suspicions: readonly Suspicion[];
  /** Left out if the search was no sampling. */
  readonly sampling?: SamplingFigures;
  /** The searches with a bound on preemptions, where there were any. */
  readonly rounds?: readonly BoundRound[];
  /**
   * An execution to look at, where no violation was found and some goal was not reached: the one that
   * reached most of them.
   */
  readonly example?: Schedule;
}
