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
import { SHORTENING_COUNT_MAX, STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { allDetectors } from './detector/index.ts';
import type { ExploreProgress } from './estimate.ts';
import type { Explorer } from './exploration.ts';
import { boundPlanOf, makeExplorer, type BoundWishes, type MadeExplorer } from './make-explorer.ts';
import { findLivelock } from './livelock.ts';
import { minimise, type Minimal } from './minimise.ts';
import type { Program, Schedule } from './program.ts';
import { replay } from './replay.ts';
import type { Bound, GoalResult, Suspicion, VariantResult, Violation } from './result.ts';
import type { SamplingPlan } from './sampler/sampling.ts';
import { goalName, programOf, type Scenario, type Variant } from './scenario.ts';
import {
  costOf,
  identityOf,
  repeatLocking,
  shorten,
  type Bench,
  type Counterexample,
} from './shorten.ts';
import type { Execution, ExploreResult } from './source-dpor.ts';
import { isAsExpected, isCovered, verdictOf } from './verdict.ts';

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

// ---- the search -------------------------------------------------------------------------------

interface Collected {
  readonly best: Counterexample;
  readonly attempts: number;
}

class Search {
  readonly goals = new Set<string>();
  bound: Bound | null = null;
  private readonly options: CheckOptions;
  private readonly program: Program;
  /** The same once more, for what is tried while the first is being explored. */
  private readonly bench: Bench;
  private detectors = allDetectors();
  private readonly visibleMemory = new Set<string>();
  private readonly collected = new Map<string, Collected>();
  private minimal: readonly Minimal[] = [];
  /** Rounds after which some loop was given up; null if none was. */
  private givenUp: number | null = null;
  /** Whether a sample was cut: what is true of one will be of others. */
  private hasCut = false;
  /** Whether the present search has found anything. */
  private hasFound = false;
  private isStarting = false;
  private made: MadeExplorer | null = null;
  private readonly progress = {
    executions: 0,
    violations: 0,
    depth: 0,
    estimate: () => this.made?.remaining(this.progress.executions) ?? { low: 0, high: Infinity },
  };
  /** The execution that reached most goals, and how many. */
  private example: { readonly goals: number; readonly schedule: Schedule } | null = null;

  constructor(makeProgram: () => Program, options: CheckOptions) {
    this.options = options;
    this.program = this.noticingStart(makeProgram());
    this.bench = {
      program: makeProgram(),
      watches: allDetectors(),
      earlierOf: (finding) =>
        this.detectors.flatMap((detector) => detector.earlierOf?.(finding) ?? []),
    };
  }

  run(): ExploreResult {
    const { sampling } = this.options;
    for (;;) {
      const result = this.search();
      this.collectUnfinished();
      const hidden = this.detectors
        .flatMap((detector) => [...(detector.unorderedMemory ?? [])])
        .filter((name) => !this.visibleMemory.has(name));
      if (hidden.length === 0 || this.bound !== null) {
        if (sampling !== undefined) {
          this.bound ??= { kind: 'samples', limit: sampling.samples, isRequested: true };
        }
        const limit = result.isComplete ? null : (this.made?.boundReached() ?? null);
        if (limit !== null) this.bound ??= { kind: 'preemptions', limit, isRequested: true };
        if (this.givenUp !== null) {
          this.bound ??= { kind: 'rounds', limit: this.givenUp, isRequested: false };
        }
        this.minimise();
        return result;
      }
      for (const name of hidden) this.visibleMemory.add(name);
      this.detectors = allDetectors();
      this.progress.executions = 0;
    }
  }

  /** Makes what was found as easy to follow as it can be. */
  private minimise(): void {
    const { visibleMemory, options } = this;
    const kind = this.bound?.kind;
    const all = [...this.collected.values()].map(({ best }) => best);
    const leastPreemptions = options.shortest === true ? (this.made?.boundReached() ?? 0) : 0;
    this.minimal = minimise(
      all.filter(({ finding }) => !isCovered(finding, all)),
      this.bench,
      {
        visibleMemory,
        leastPreemptions,
        ...(options.stepCountMax === undefined ? {} : { stepCountMax: options.stepCountMax }),
        // Whoever has interrupted the search does not want another one; nor would it get beyond an
        // execution that does not end.
        ...(kind === 'interrupted' || kind === 'steps' ? { executionCountMax: 0 } : {}),
      },
    );
  }

  private search(): ExploreResult {
    const { executionCountMax, sampling } = this.options;
    const explorer = this.makeExplorer();
    for (const detector of this.detectors) {
      if (detector.scheduleSoFar !== undefined) detector.scheduleSoFar = () => explorer.schedule;
    }
    try {
      const result = explorer.run();
      if (!result.isComplete && sampling === undefined && this.made?.boundReached() === null) {
        this.bound ??= { kind: 'executions', limit: executionCountMax ?? 0, isRequested: true };
      }
      return result;
    } catch (error) {
      return this.failed(explorer, error);
    }
  }

  private makeExplorer(): Explorer {
    const { executionCountMax, stepCountMax, onStep, sampling } = this.options;
    const options = {
      watches: this.detectors,
      ...(this.visibleMemory.size === 0 ? {} : { visibleMemory: this.visibleMemory }),
      onExecution: (run: Execution) => this.onExecution(run),
      ...(executionCountMax === undefined ? {} : { executionCountMax }),
      ...(stepCountMax === undefined ? {} : { stepCountMax }),
      ...(onStep === undefined ? {} : { onStep }),
    };
    this.hasFound = false;
    const plan = boundPlanOf(this.options, () => this.hasFound);
    this.made = makeExplorer(this.program, options, sampling ?? plan);
    return this.made.explorer;
  }

  /** What belongs to some results only. */
  extras(
    violations: readonly Violation[],
    goals: readonly GoalResult[],
  ): Pick<VariantResult, 'sampling' | 'example' | 'rounds'> {
    const { example } = this;
    const sampling = this.made?.figures() ?? null;
    const rounds = this.made?.rounds() ?? [];
    const isInVain = violations.length === 0 && goals.some((goal) => !goal.reached);
    return {
      ...(sampling === null ? {} : { sampling }),
      ...(rounds.length === 0 ? {} : { rounds }),
      ...(isInVain && example !== null ? { example: example.schedule } : {}),
    };
  }

  /** The distinct ones, the easiest to follow first. */
  violations(): Violation[] {
    const found = this.minimal.toSorted(
      ({ counterexample: { cost: a }, ...one }, { counterexample: { cost: b }, ...other }) =>
        one.preemptions - other.preemptions || a.switches - b.switches || a.steps - b.steps,
    );
    return found.map(({ counterexample: { finding, schedule, cost }, preemptions, isFewest }) => ({
      kind: finding.kind,
      object: finding.object,
      message: finding.message,
      invariant: finding.invariant,
      places: finding.places,
      schedule,
      preemptions,
      isFewest,
      switches: cost.switches,
    }));
  }

  suspicions(): Suspicion[] {
    const confirmed = new Set(this.violations().map((violation) => identityOf(violation)));
    return this.detectors
      .flatMap((detector) => detector.suspicions ?? [])
      .filter((suspicion) => !confirmed.has(identityOf(suspicion)));
  }

  private noticingStart(program: Program): Program {
    return {
      ...program,
      start: (watches, tracer) => {
        this.isStarting = true;
        const kernel = program.start(watches, tracer);
        this.isStarting = false;
        return kernel;
      },
    };
  }

  private onExecution(run: Execution): boolean {
    const { kernel } = run;
    this.progress.executions += 1;
    this.progress.depth = kernel.stepCount;
    this.hasFound ||= kernel.findings.length > 0;
    for (const goal of kernel.goals) this.goals.add(goal);
    if (kernel.goals.size > (this.example?.goals ?? -1)) {
      this.example = { goals: kernel.goals.size, schedule: run.schedule };
    }
    if (kernel.cut !== null && this.givenUp === null) {
      this.givenUp = kernel.cut.limit;
      this.collectLivelock(run.schedule);
    }
    if (run.isCut === true && !this.hasCut) {
      this.hasCut = true;
      this.collectLivelock(run.schedule);
    }
    const known = new Set<string>();
    for (const finding of kernel.findings) {
      const identity = identityOf(finding);
      if (known.has(identity)) continue;
      known.add(identity);
      this.collect(identity, finding, run);
    }
    if (this.options.bail === true && this.collected.size > 0) {
      this.bound = { kind: 'first-violation', limit: 1, isRequested: true };
      return true;
    }
    this.progress.violations = this.collected.size;
    this.bound = this.options.boundReached?.(this.progress) ?? null;
    return this.bound !== null;
  }

  /** What was found in runs that were then abandoned, and is said only once. */
  private collectUnfinished(): void {
    for (const { finding, schedule } of this.detectors.flatMap((one) => one.unfinished ?? [])) {
      const identity = identityOf(finding);
      if (this.collected.has(identity)) continue;
      const best = repeatLocking(schedule, finding, this.bench);
      if (best !== null) this.collected.set(identity, { best, attempts: 1 });
    }
  }

  private collect(identity: string, finding: Finding, run: Execution): void {
    const known = this.collected.get(identity);
    if (known === undefined) {
      const best = shorten(run, finding, this.bench);
      if (best === null) throw cannotBeRepeated(finding);
      this.collected.set(identity, { best, attempts: 1 });
      return;
    }
    if (known.attempts >= SHORTENING_COUNT_MAX) return;
    const better = shorten(run, finding, this.bench, known.best.cost);
    this.collected.set(identity, { best: better ?? known.best, attempts: known.attempts + 1 });
  }

  /** Whether a livelock begins as an execution does that did not come to its end. */
  private collectLivelock(endless: Schedule): boolean {
    const { program, watches } = this.bench;
    const schedule = findLivelock(program, endless, this.options.onStep);
    if (schedule === null) return false;
    const { findings } = replay(program, schedule, { watches }).kernel;
    const finding = findings.find(({ kind }) => kind === 'livelock');
    if (finding === undefined) return false;
    const best = { schedule, cost: costOf(schedule), finding };
    this.collected.set(identityOf(finding), { best, attempts: SHORTENING_COUNT_MAX });
    return true;
  }

  /** An error ends the search; in order only a livelock, or the bound on steps that was asked for. */
  private failed(explorer: Explorer, error: unknown): ExploreResult {
    if (!this.isStarting && error instanceof UsageError && error.code === 'MN205') {
      const { stepCountMax: limit = STEP_COUNT_MAX_DEFAULT } = this.options;
      const isRequested = this.options.stepCountMax !== undefined;
      if (this.collectLivelock(explorer.schedule) || isRequested) {
        this.bound = { kind: 'steps', limit, isRequested };
        return explorer.result(false);
      }
    }
    if (!this.isStarting && typeof error === 'object' && error !== null) {
      Object.assign(error, { schedule: explorer.schedule } satisfies WithSchedule);
    }
    throw error;
  }
}

function cannotBeRepeated(finding: Finding): UsageError {
  return new UsageError(
    'MN204',
    `a violation was found (${finding.message}), but the same schedule did not lead to it again. ` +
      'Something keeps state between executions: a variable of the module that set-up does not ' +
      'make anew, the clock, or a random number.',
  );
}
