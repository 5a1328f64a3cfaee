/**
 * Checking one variant of a scenario: explores it with all detectors, collects the distinct
 * violations with the shortest schedule found for each, and judges whether this is what the variant
 * was expected to do.
 *
 * Two violations are the same if kind, object and the two code places agree. The search goes on
 * after a violation, unless told otherwise.
 *
 * The search first takes plain accesses for ordered, as they are where there is no data race. When a
 * race or an unordered free shows that some are not, their memory becomes visible (its plain accesses
 * become steps) and the search starts over, so that no verdict rests on the shortcut where it does not
 * hold. The numbers of a result are those of the last search.
 */
import { UsageError } from '../base/usage-error.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ExploreProgress } from './estimate.ts';
import type { BoundWishes } from './make-explorer.ts';
import type { Schedule } from './program.ts';
import type { Bound, GoalResult, VariantResult } from './result.ts';
import type { SamplingPlan } from './sampler/sampling.ts';
import { goalName, programOf, type Scenario, type Variant } from './scenario.ts';
import type { Parts } from './search-parts.ts';
import { Search } from './search.ts';
import { isAsExpected, verdictOf } from './verdict.ts';

/** What {@link checkVariant} may be told. */
export interface CheckOptions extends BoundWishes {
  /** Stop at the first violation. */
  readonly bail?: boolean;
  /** Stop after so many executions, abandoned ones included. */
  readonly executionCountMax?: number;
  /**
   * Stop at an execution of so many steps; without it, one that seems endless is an error. A sample is
   * cut there, with or without it, and the next one is taken.
   */
  readonly stepCountMax?: number;
  /** Draw executions at random instead of executing one of each class. Such a search has no end. */
  readonly sampling?: SamplingPlan;
  /** Called after each step, for a sign of life. */
  readonly onStep?: () => void;
  /** How to go about it in parts; left out: in one piece that cannot be saved. */
  readonly parts?: Parts;
  /** Asked after each execution: the bound that ends the search here, if any. */
  readonly boundReached?: (progress: Progress) => Bound | null;
}

/** How far a search has come. */
export interface Progress extends ExploreProgress {
  readonly violations: number;
}

/**
 * Explores a variant and judges it.
 *
 * @throws UsageError if the scenario cannot be run as written. The error has the steps that led to it
 *   as its `schedule`, the one that failed included, if any was taken: see {@link WithSchedule}.
 */
export function checkVariant<K extends Kernel, S>(
  scenario: Scenario<K, S>,
  variantName: string,
  options: CheckOptions = {},
): VariantResult {
  const variant = variantOf(scenario, variantName);
  const preemptions = options.preemptions ?? variant.preemptions ?? scenario.preemptions;
  const search = new Search(() => programOf(scenario, variantName), {
    ...options,
    ...(preemptions === undefined ? {} : { preemptions }),
  });
  const explored = search.run();
  const goals = (scenario.goals ?? []).map((goal): GoalResult => {
    const name = goalName(goal);
    return { name, reached: search.goals.has(name) };
  });
  const violations = search.violations();
  const complete = explored.isComplete && search.bound === null;
  const verdict = verdictOf(violations, complete, goals);
  return {
    scenario: scenario.name,
    variant: variantName,
    models: scenario.models ?? [],
    expected: variant.expect ?? null,
    asExpected: isAsExpected(variant, verdict, violations),
    ...(scenario.interchangeable === undefined
      ? {}
      : { interchangeable: scenario.interchangeable }),
    verdict,
    complete,
    bound: search.bound,
    goals,
    executions: explored.executions,
    blocked: explored.blocked,
    steps: explored.steps,
    violations,
    suspicions: search.suspicions(),
    ...search.extras(violations, goals),
  };
}

/** What an error that {@link checkVariant} throws has besides; a recorder can repeat it. */
export interface WithSchedule {
  readonly schedule?: Schedule;
}

function variantOf<K extends Kernel, S>(scenario: Scenario<K, S>, name: string): Variant {
  const variant = Object.hasOwn(scenario.variants, name) ? scenario.variants[name] : undefined;
  if (variant !== undefined) return variant;
  throw new UsageError(
    'MN102',
    `scenario '${scenario.name}' has no variant '${name}'; it has ` +
      Object.keys(scenario.variants)
        .map((known) => `'${known}'`)
        .join(', '),
  );
}
