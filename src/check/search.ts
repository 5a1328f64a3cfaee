/**
 * The search of {@link checkVariant}: explores, collects what is found and makes it easy to follow. It can
 * be one of several that explore one variant, and can be saved and gone on with; see search-parts.ts.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { CheckOptions, WithSchedule } from './check-variant.ts';
import type { Execution, Explorer, ExploreOptions, ExploreResult } from './exploration.ts';
import { Knowledge } from './knowledge.ts';
import type { SavedBounds } from './iterative-bound.ts';
import { boundPlanOf, madeOf, makeExplorer, type MadeExplorer } from './make-explorer.ts';
import type { Program, Schedule } from './program.ts';
import type { Bound, GoalResult, Suspicion, VariantResult, Violation } from './result.ts';
import {
  addUp,
  boundsOf,
  NOTHING,
  roundOf,
  sees,
  type SavedVariant,
  type Summary,
} from './search-parts.ts';
import type { Shard } from './shared-tree.ts';
import { identityOf } from './shorten.ts';
import { TeamSearch } from './team.ts';

export class Search {
  bound: Bound | null = null;
  private readonly options: CheckOptions;
  readonly program: Program;
  private readonly knowledge: Knowledge;
  private readonly visibleMemory = new Set<string>();
  /** Whether the present search has found anything. */
  private hasFound = false;
  private isStarting = false;
  /** What the next search goes on with. */
  private resumed: SavedVariant | null = null;
  /** The part that is being explored again. */
  private shard: Shard | null = null;
  private made: MadeExplorer | null = null;
  private readonly progress = {
    executions: 0,
    violations: 0,
    depth: 0,
    estimate: () => this.made?.remaining(this.progress.executions) ?? { low: 0, high: Infinity },
  };

  constructor(makeProgram: () => Program, options: CheckOptions) {
    this.options = options;
    this.program = this.noticingStart(makeProgram());
    this.knowledge = new Knowledge(makeProgram(), options.onStep);
  }

  run(): ExploreResult {
    const { sampling, parts } = this.options;
    const { merged, shard = null } = parts ?? {};
    const isBounded = boundPlanOf(this.options, () => false) !== undefined;
    // A search with a bound is no tree that could be parted: the first shard explores it, whole.
    this.resume((isBounded ? merged?.[0] : undefined) ?? parts?.resume ?? null);
    if (merged !== undefined && !isBounded) return this.merge(merged);
    if (isBounded && shard !== null && shard.index > 0) return this.leaveToFirst(shard);
    for (;;) {
      const result = this.search();
      this.knowledge.learnFromOthers(this.program);
      this.knowledge.noticeUnfinished();
      const hidden = this.hidden();
      if (hidden.length === 0 || this.bound !== null) {
        if (sampling !== undefined) {
          this.bound ??= { kind: 'samples', limit: sampling.samples, isRequested: true };
        }
        const limit = result.isComplete ? null : (this.made?.boundReached() ?? null);
        if (limit !== null) this.bound ??= { kind: 'preemptions', limit, isRequested: true };
        if (this.knowledge.givenUp !== null) {
          this.bound ??= { kind: 'rounds', limit: this.knowledge.givenUp, isRequested: false };
        }
        if (shard !== null) {
          this.bound ??= { kind: 'shard', limit: shard.count, isRequested: true };
        }
        this.minimise();
        return result;
      }
      for (const name of hidden) this.visibleMemory.add(name);
      this.knowledge.forgetOrders();
      this.progress.executions = 0;
    }
  }

  private leaveToFirst(shard: Shard): ExploreResult {
    this.makeExplorer();
    this.restBounded(NOTHING);
    this.bound = { kind: 'shard', limit: shard.count, isRequested: true };
    return NOTHING;
  }

  /** Memory that must become visible. */
  private hidden(): string[] {
    return [...this.knowledge.unordered()].filter((name) => !this.visibleMemory.has(name));
  }

  /** Makes what was found as easy to follow as it can be. */
  private minimise(): void {
    const { visibleMemory, options } = this;
    const kind = this.bound?.kind;
    const leastPreemptions = options.shortest === true ? (this.made?.boundReached() ?? 0) : 0;
    this.knowledge.found.minimise({
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
    this.knowledge.setSchedule(scheduleSoFar);
  }

  private search(): ExploreResult {
    const { executionCountMax, sampling } = this.options;
    const explorer = this.makeExplorer();
    this.setSchedule(() => explorer.schedule);
    try {
      const result = explorer.run();
      const isOver = result.isComplete || this.made?.boundReached() !== null;
      this.restBounded({ ...result, isComplete: isOver });
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
    if (plan === undefined && sampling === undefined) {
      this.made = this.makeTeam(options) ?? makeExplorer(this.program, options, undefined);
    } else {
      const bounded = plan === undefined ? plan : { ...plan, resume: this.takeResumedBounds() };
      const resting = { ...options, onRest: () => this.restBounded(null) };
      this.made = makeExplorer(this.program, resting, sampling ?? bounded);
    }
    return this.made.explorer;
  }

  /** How to explore, with everything noticed that is found. */
  exploreOptions(): ExploreOptions {
    const { executionCountMax, stepCountMax, onStep } = this.options;
    return {
      watches: this.knowledge.detectors,
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
    const { team, isRestWanted, atRest } = parts;
    const shard = this.shard ?? parts.shard ?? null;
    team?.beginRound([...this.visibleMemory]);
    this.knowledge.learnFromOthers(this.program);
    const explorer = new TeamSearch(this.program, {
      ...options,
      shard,
      resume: this.resumed === null ? null : roundOf(this.resumed),
      ...(team === undefined ? {} : { team }),
      ...(isRestWanted === undefined ? {} : { isRestWanted }),
      atRest: (search) => {
        for (const summary of team?.takeSummaries() ?? []) this.absorb(summary);
        this.progress.executions = search.result(false).executions;
        const isEnough = this.isEnough();
        const save = (): SavedVariant =>
          this.savedAs(search.save(), search.result(search.isFinished));
        atRest?.(save, isEnough || search.isEnding);
        return isEnough;
      },
    });
    this.resumed = null;
    return madeOf(explorer);
  }

  /** Where a search with a bound goes on. */
  private takeResumedBounds(): SavedBounds | null {
    const { resumed } = this;
    this.resumed = null;
    if (resumed === null) return null;
    const bounds = boundsOf(resumed);
    this.knowledge.learnFromOthers(this.program);
    this.hasFound = bounds.isEnough;
    this.progress.executions = resumed.result.executions;
    return bounds;
  }

  /** Saves a search with a bound, if somebody wants that. `result` is null before its end. */
  private restBounded(result: ExploreResult | null): void {
    const { isRestWanted, atRest } = this.options.parts ?? {};
    if (atRest === undefined || this.made === null) return;
    const { saveBounds, explorer } = this.made;
    const isLast = result !== null;
    if (saveBounds === null || (!isLast && isRestWanted?.() !== true)) return;
    atRest(() => this.savedAs(saveBounds(), result ?? explorer.result(false)), isLast);
  }

  /** What is known so far, and what is left, as plain data. */
  private savedAs(round: SavedVariant['round'], result: ExploreResult): SavedVariant {
    const { executions, blocked, steps, isComplete } = result;
    return {
      visibleMemory: [...this.visibleMemory],
      round,
      summary: this.knowledge.summary(),
      result: { executions, blocked, steps, isComplete },
    };
  }

  private resume(saved: SavedVariant | null): void {
    if (saved === null) return;
    for (const name of saved.visibleMemory) this.visibleMemory.add(name);
    this.absorb(saved.summary);
    this.resumed = saved;
  }

  /**
   * The result of a search that others have done in parts. Parts in which less memory was visible than in
   * others are explored again: their classes of interleavings are not those of the others.
   */
  private merge(parts: readonly SavedVariant[]): ExploreResult {
    for (const part of parts) this.resume(part);
    this.resumed = null;
    const results = parts.map((part) => (sees(part, this.visibleMemory) ? part.result : null));
    for (;;) {
      for (const index of results.keys()) {
        if (results[index] !== null || this.bound !== null) continue;
        this.shard = { index, count: parts.length };
        results[index] = this.search();
      }
      this.knowledge.learnFromOthers(this.program);
      this.knowledge.noticeUnfinished();
      const hidden = this.hidden();
      if (hidden.length === 0 || this.bound !== null) break;
      this.see(hidden);
      results.fill(null);
      this.knowledge.forgetOrders();
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
    return this.knowledge.summary();
  }

  /** Takes over what another search of the same variant has found. */
  private absorb(summary: Summary): void {
    this.knowledge.absorb(summary);
    this.hasFound ||= summary.found.length > 0;
    this.progress.violations = this.knowledge.found.size;
  }

  /** Whether to stop, asked between executions. */
  private isEnough(): boolean {
    if (this.options.bail === true && this.knowledge.found.size > 0) {
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
    const { example } = this.knowledge;
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
    return this.knowledge.found.violations();
  }

  suspicions(): Suspicion[] {
    const confirmed = new Set(this.violations().map((violation) => identityOf(violation)));
    return this.knowledge.suspicions().filter((one) => !confirmed.has(identityOf(one)));
  }

  get goals(): ReadonlySet<string> {
    return this.knowledge.goals;
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
    this.knowledge.notice(run);
    this.progress.violations = this.knowledge.found.size;
    return this.isEnough();
  }

  /** An error ends the search; in order only a livelock, or the bound on steps that was asked for. */
  private failed(explorer: Explorer, error: unknown): ExploreResult {
    if (!this.isStarting && error instanceof UsageError && error.code === 'MN205') {
      const { stepCountMax: limit = STEP_COUNT_MAX_DEFAULT, onStep } = this.options;
      const isRequested = this.options.stepCountMax !== undefined;
      if (this.knowledge.found.takeLivelock(explorer.schedule, onStep) || isRequested) {
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
