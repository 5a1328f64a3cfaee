/**
 * The search of {@link checkVariant}: explores, collects what is found and makes it easy to follow. It can
 * be one of several that explore one variant, and can be saved and gone on with; see search-parts.ts.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { CheckOptions, WithSchedule } from './check-variant.ts';
import { allDetectors } from './detector/index.ts';
import type { Execution, Explorer, ExploreOptions, ExploreResult } from './exploration.ts';
import { Found } from './found.ts';
import { boundPlanOf, makeExplorer, type MadeExplorer } from './make-explorer.ts';
import type { Program, Schedule } from './program.ts';
import type { Bound, GoalResult, Suspicion, VariantResult, Violation } from './result.ts';
import { addUp, NOTHING, relearn, sees, type SavedVariant, type Summary } from './search-parts.ts';
import type { Shard } from './shared-tree.ts';
import { identityOf } from './shorten.ts';
import { TeamSearch } from './team.ts';

export class Search {
  readonly goals = new Set<string>();
  bound: Bound | null = null;
  private readonly options: CheckOptions;
  readonly program: Program;
  private detectors = allDetectors();
  private readonly visibleMemory = new Set<string>();
  private readonly found: Found;
  /** Rounds after which some loop was given up; null if none was. */
  private givenUp: number | null = null;
  /** Whether a sample was cut: what is true of one will be of others. */
  private hasCut = false;
  /** Whether the present search has found anything. */
  private hasFound = false;
  private isStarting = false;
  private isResumed = false;
  /** The part that is being explored again. */
  private shard: Shard | null = null;
  private made: MadeExplorer | null = null;
  private readonly progress = {
    executions: 0,
    violations: 0,
    depth: 0,
    estimate: () => this.made?.remaining(this.progress.executions) ?? { low: 0, high: Infinity },
  };
  /** What others have told besides what they found. */
  private readonly foreign = {
    unordered: new Set<string>(),
    suspicions: new Map<string, Suspicion>(),
    /** As JSON, so that each is there once. */
    learned: new Set<string>(),
  };
  /** The execution that reached most goals, and how many. */
  private example: { readonly goals: number; readonly schedule: Schedule } | null = null;

  constructor(makeProgram: () => Program, options: CheckOptions) {
    this.options = options;
    this.program = this.noticingStart(makeProgram());
    this.found = new Found({
      program: makeProgram(),
      watches: allDetectors(),
      earlierOf: (finding) =>
        this.detectors.flatMap((detector) => detector.earlierOf?.(finding) ?? []),
    });
  }

  run(): ExploreResult {
    const { sampling, parts } = this.options;
    this.resume(parts?.resume ?? null);
    if (parts?.merged !== undefined) return this.merge(parts.merged);
    for (;;) {
      const result = this.search();
      this.learnFromOthers();
      this.collectUnfinished();
      const hidden = [...this.unordered()].filter((name) => !this.visibleMemory.has(name));
      if (hidden.length === 0 || this.bound !== null) {
        if (sampling !== undefined) {
          this.bound ??= { kind: 'samples', limit: sampling.samples, isRequested: true };
        }
        const limit = result.isComplete ? null : (this.made?.boundReached() ?? null);
        if (limit !== null) this.bound ??= { kind: 'preemptions', limit, isRequested: true };
        if (this.givenUp !== null) {
          this.bound ??= { kind: 'rounds', limit: this.givenUp, isRequested: false };
        }
        const { shard = null } = parts ?? {};
        if (shard !== null) {
          this.bound ??= { kind: 'shard', limit: shard.count, isRequested: true };
        }
        this.minimise();
        return result;
      }
      for (const name of hidden) this.visibleMemory.add(name);
      this.detectors = allDetectors();
      this.foreign.learned.clear();
      this.progress.executions = 0;
    }
  }

  private unordered(): Set<string> {
    const own = this.detectors.flatMap((detector) => [...(detector.unorderedMemory ?? [])]);
    return new Set([...own, ...this.foreign.unordered]);
  }

  /** Makes what was found as easy to follow as it can be. */
  private minimise(): void {
    const { visibleMemory, options } = this;
    const kind = this.bound?.kind;
    const leastPreemptions = options.shortest === true ? (this.made?.boundReached() ?? 0) : 0;
    this.found.minimise({
      visibleMemory,
      leastPreemptions,
      ...(options.stepCountMax === undefined ? {} : { stepCountMax: options.stepCountMax }),
      // Whoever has interrupted the search does not want another one; nor would it get beyond an
      // execution that does not end.
      ...(kind === 'interrupted' || kind === 'steps' ? { executionCountMax: 0 } : {}),
    });
  }

  /** Makes memory visible, before the search begins. */
  see(names: readonly string[]): void {
    for (const name of names) this.visibleMemory.add(name);
  }

  /** Tells detectors who knows the steps of the present execution. */
  setSchedule(scheduleSoFar: () => Schedule): void {
    for (const detector of this.detectors) {
      if (detector.scheduleSoFar !== undefined) detector.scheduleSoFar = scheduleSoFar;
    }
  }

  private search(): ExploreResult {
    const { executionCountMax, sampling } = this.options;
    const explorer = this.makeExplorer();
    this.setSchedule(() => explorer.schedule);
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
    const { sampling } = this.options;
    const options = this.exploreOptions();
    this.hasFound = false;
    const plan = boundPlanOf(this.options, () => this.hasFound);
    const parted = plan === undefined && sampling === undefined ? this.makeTeam(options) : null;
    this.made = parted ?? makeExplorer(this.program, options, sampling ?? plan);
    return this.made.explorer;
  }

  /** How to explore, with everything noticed that is found. */
  exploreOptions(): ExploreOptions {
    const { executionCountMax, stepCountMax, onStep } = this.options;
    return {
      watches: this.detectors,
      ...(this.visibleMemory.size === 0 ? {} : { visibleMemory: this.visibleMemory }),
      onExecution: (run: Execution) => this.onExecution(run),
      ...(executionCountMax === undefined ? {} : { executionCountMax }),
      ...(stepCountMax === undefined ? {} : { stepCountMax }),
      ...(onStep === undefined ? {} : { onStep }),
    };
  }

  // ---- parts --------------------------------------------------------------------------------

  /** The explorer of a search that others take part in, or that can be saved; null if it is neither. */
  private makeTeam(options: ExploreOptions): MadeExplorer | null {
    const { parts } = this.options;
    if (parts === undefined) return null;
    const { resume, team, isRestWanted, atRest } = parts;
    const shard = this.shard ?? parts.shard ?? null;
    team?.beginRound([...this.visibleMemory]);
    this.learnFromOthers();
    const explorer = new TeamSearch(this.program, {
      ...options,
      shard,
      resume: this.isResumed ? (resume?.round ?? null) : null,
      ...(team === undefined ? {} : { team }),
      ...(isRestWanted === undefined ? {} : { isRestWanted }),
      atRest: (search) => {
        for (const summary of team?.takeSummaries() ?? []) this.absorb(summary);
        this.progress.executions = search.result(false).executions;
        const isEnough = this.isEnough();
        atRest?.(() => this.save(search), isEnough || search.isEnding);
        return isEnough;
      },
    });
    this.isResumed = false;
    return {
      explorer,
      remaining: () => ({ low: 0, high: Infinity }),
      figures: () => null,
      rounds: () => [],
      boundReached: () => null,
    };
  }

  /** What is known so far, and what is left, as plain data. */
  private save(search: TeamSearch): SavedVariant {
    const { executions, blocked, steps, isComplete } = search.result(search.isFinished);
    return {
      visibleMemory: [...this.visibleMemory],
      round: search.save(),
      summary: this.summary(),
      result: { executions, blocked, steps, isComplete },
    };
  }

  private resume(saved: SavedVariant | null): void {
    if (saved === null) return;
    for (const name of saved.visibleMemory) this.visibleMemory.add(name);
    this.absorb(saved.summary);
    this.isResumed = true;
  }

  /**
   * The result of a search that others have done in parts. Parts in which less memory was visible than in
   * others are explored again: their classes of interleavings are not those of the others.
   */
  private merge(parts: readonly SavedVariant[]): ExploreResult {
    for (const part of parts) this.resume(part);
    this.isResumed = false;
    const results = parts.map((part) => (sees(part, this.visibleMemory) ? part.result : null));
    for (;;) {
      for (const index of results.keys()) {
        if (results[index] !== null || this.bound !== null) continue;
        this.shard = { index, count: parts.length };
        results[index] = this.search();
      }
      this.learnFromOthers();
      this.collectUnfinished();
      const hidden = [...this.unordered()].filter((name) => !this.visibleMemory.has(name));
      if (hidden.length === 0 || this.bound !== null) break;
      this.see(hidden);
      results.fill(null);
      this.detectors = allDetectors();
    }
    const total = addUp(results.map((result) => result ?? NOTHING));
    if (!total.isComplete) {
      this.bound ??= { kind: 'shard', limit: parts.length, isRequested: true };
    }
    this.minimise();
    return total;
  }

  /** What was found and learnt so far, as plain data. */
  summary(): Summary {
    const { goals, givenUp, hasCut, example, foreign } = this;
    const schedules = this.detectors.flatMap((detector) => detector.learned ?? []);
    return {
      goals: [...goals],
      found: this.found.summary(),
      suspicions: this.allSuspicions(),
      unordered: [...this.unordered()],
      learned: [...foreign.learned, ...schedules.map((schedule) => JSON.stringify(schedule))].map(
        (text) => JSON.parse(text) as Schedule,
      ),
      givenUp,
      hasCut,
      example,
    };
  }

  /** Takes over what another search of the same variant has found. */
  absorb(summary: Summary): void {
    const { foreign } = this;
    for (const goal of summary.goals) this.goals.add(goal);
    for (const name of summary.unordered) foreign.unordered.add(name);
    for (const one of summary.suspicions) foreign.suspicions.set(identityOf(one), one);
    for (const schedule of summary.learned) foreign.learned.add(JSON.stringify(schedule));
    this.givenUp ??= summary.givenUp;
    this.hasCut ||= summary.hasCut;
    if ((summary.example?.goals ?? -1) > (this.example?.goals ?? -1)) {
      this.example = summary.example;
    }
    for (const one of summary.found) this.found.takeOver(one);
    this.hasFound ||= summary.found.length > 0;
    this.progress.violations = this.found.size;
  }

  /** Runs what others have learnt of locks, so that what they and we saw is seen together. */
  private learnFromOthers(): void {
    const schedules = [...this.foreign.learned].map((text) => JSON.parse(text) as Schedule);
    relearn(this.program, this.detectors, schedules);
  }

  /** Whether to stop, asked between executions. */
  private isEnough(): boolean {
    if (this.options.bail === true && this.found.size > 0) {
      this.bound = { kind: 'first-violation', limit: 1, isRequested: true };
    }
    this.bound ??= this.options.boundReached?.(this.progress) ?? null;
    return this.bound !== null;
  }

  // ---- results ------------------------------------------------------------------------------

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
    return this.found.violations();
  }

  suspicions(): Suspicion[] {
    const confirmed = new Set(this.violations().map((violation) => identityOf(violation)));
    return this.allSuspicions().filter((suspicion) => !confirmed.has(identityOf(suspicion)));
  }

  private allSuspicions(): Suspicion[] {
    const all = new Map(this.foreign.suspicions);
    for (const one of this.detectors.flatMap((detector) => detector.suspicions ?? [])) {
      all.set(identityOf(one), one);
    }
    return [...all.values()];
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
      this.found.takeLivelock(run.schedule, this.options.onStep);
    }
    if (run.isCut === true && !this.hasCut) {
      this.hasCut = true;
      this.found.takeLivelock(run.schedule, this.options.onStep);
    }
    this.found.take(run);
    this.progress.violations = this.found.size;
    return this.isEnough();
  }

  /** What was found in runs that were then abandoned, and is said only once. */
  private collectUnfinished(): void {
    for (const { finding, schedule } of this.detectors.flatMap((one) => one.unfinished ?? [])) {
      this.found.takeUnfinished(finding, schedule);
    }
  }

  /** An error ends the search; in order only a livelock, or the bound on steps that was asked for. */
  private failed(explorer: Explorer, error: unknown): ExploreResult {
    if (!this.isStarting && error instanceof UsageError && error.code === 'MN205') {
      const { stepCountMax: limit = STEP_COUNT_MAX_DEFAULT, onStep } = this.options;
      const isRequested = this.options.stepCountMax !== undefined;
      if (this.found.takeLivelock(explorer.schedule, onStep) || isRequested) {
        this.bound = { kind: 'steps', limit, isRequested };
        return explorer.result(false);
      }
    }
    const isResumed = (this.options.parts?.resume ?? null) !== null;
    if (isResumed && !(error instanceof UsageError)) {
      // Whoever made the file up did not think of everything; nor can we.
      throw new UsageError(
        'MN304',
        `the saved search cannot be gone on with: its parts do not fit together (${String(error)}). ` +
          'Begin anew, without --resume.',
      );
    }
    if (!this.isStarting && typeof error === 'object' && error !== null) {
      Object.assign(error, { schedule: explorer.schedule } satisfies WithSchedule);
    }
    throw error;
  }
}
