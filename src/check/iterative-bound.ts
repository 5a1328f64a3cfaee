/**
 * One bounded search after the other: with no preemption, with one, with two, …, up to where nothing is
 * left out any more. What is found first then needs the fewest preemptions; and of a search that has to
 * be ended, everything is known up to some number of them.
 */
import type { Explorer, ExploreOptions, ExploreResult } from './exploration.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Program, Schedule } from './program.ts';
import { ResumableBound, type SavedBound } from './resumable-bound.ts';

export interface BoundPlan {
  /** The first bound, and the last one that is searched; Infinity for none. */
  readonly from: number;
  readonly to: number;
  /** Asked after each search: true if no larger bound is wanted. */
  readonly isEnough: () => boolean;
  /** True if the whole is to be searched after the last bound, if that has left something out. */
  readonly thenWhole: boolean;
  /** Where to go on; begins anew if left out. */
  readonly resume?: SavedBounds | null;
}

/** How far it has come, as plain data. What comes after the last bound is not saved. */
export interface SavedBounds {
  readonly bound: number;
  /** Whether what is wanted was found already, see {@link BoundPlan}. */
  readonly isEnough: boolean;
  /** The searches that are over. */
  readonly rounds: readonly BoundRound[];
  /** What they have done together. */
  readonly done: { readonly executions: number; readonly steps: number };
  /** The one with the present bound. */
  readonly search: SavedBound;
}

/** A search with one bound. */
export interface BoundRound {
  readonly preemptions: number;
  readonly executions: number;
  /** False if something else ended it. */
  readonly isComplete: boolean;
}

export class IterativeBound implements Explorer {
  /** The searches with a bound that are over. */
  readonly rounds: BoundRound[] = [];
  /** The bound that ended the search: all within it was explored, and there is more. Null if none did. */
  reached: number | null = null;
  private readonly program: Program;
  private readonly plan: BoundPlan;
  private readonly options: ExploreOptions;
  private readonly makeWhole: (options: ExploreOptions) => Explorer;
  private explorer: Explorer;
  private bounded: ResumableBound;
  private bound: number;
  /** Of the searches that are over. */
  private done = { executions: 0, blocked: 0, steps: 0 };

  /** @param makeWhole the explorer for what no bound limits. */
  constructor(
    program: Program,
    plan: BoundPlan,
    makeWhole: (options: ExploreOptions) => Explorer,
    options: ExploreOptions = {},
  ) {
    this.program = program;
    this.plan = plan;
    this.options = options;
    this.makeWhole = makeWhole;
    const { resume = null } = plan;
    this.bound = resume?.bound ?? plan.from;
    if (this.bound < plan.from || this.bound > plan.to) throw otherBound(this.bound, plan);
    if (resume !== null) {
      this.rounds.push(...resume.rounds);
      this.done = { ...resume.done, blocked: 0 };
    }
    this.bounded = new ResumableBound(program, this.bound, this.left(), resume?.search ?? null);
    this.explorer = this.bounded;
  }

  /** `isComplete` says that nothing was left out, whatever the number of preemptions. */
  run(): ExploreResult {
    const { to, isEnough, thenWhole } = this.plan;
    for (;;) {
      const { executions, isComplete, wasCut } = this.bounded.run();
      this.rounds.push({ preemptions: this.bound, executions, isComplete });
      if (!isComplete || !wasCut) return this.result(isComplete);
      if (isEnough() || (this.bound === to && !thenWhole)) {
        this.reached = this.bound;
        return this.result(false);
      }
      this.done = this.result(true);
      if (this.bound === to) break;
      this.bound += 1;
      this.bounded = new ResumableBound(this.program, this.bound, this.left(), null);
      this.explorer = this.bounded;
    }
    this.explorer = this.makeWhole(this.left());
    return this.result(this.explorer.run().isComplete);
  }

  /** Call between executions. */
  save(): SavedBounds {
    const { bound, rounds, bounded, done } = this;
    return {
      bound,
      isEnough: this.plan.isEnough(),
      rounds: rounds.filter(({ preemptions }) => preemptions < bound),
      done: { executions: done.executions, steps: done.steps },
      search: bounded.save(),
    };
  }

  result(isComplete: boolean): ExploreResult {
    const present = this.explorer.result(isComplete);
    return {
      executions: this.done.executions + present.executions,
      blocked: this.done.blocked + present.blocked,
      steps: this.done.steps + present.steps,
      isComplete,
    };
  }

  get schedule(): Schedule {
    return this.explorer.schedule;
  }

  private left(): ExploreOptions {
    const { executionCountMax } = this.options;
    if (executionCountMax === undefined) return this.options;
    const done = this.done.executions + this.done.blocked;
    return { ...this.options, executionCountMax: Math.max(1, executionCountMax - done) };
  }
}

function otherBound(bound: number, { from, to }: BoundPlan): UsageError {
  return new UsageError(
    'MN303',
    `the search cannot be resumed: it was one with ${bound} preemptions, and what is asked for is ` +
      `${from === to ? `one with ${to}` : `one with ${from} and more`}. Begin anew, without --resume.`,
  );
}
