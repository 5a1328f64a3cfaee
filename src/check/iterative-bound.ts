/**
 * One bounded search after the other: with no preemption, with one, with two, …, up to where nothing is
 * left out any more. What is found first then needs the fewest preemptions; and of a search that has to
 * be ended, everything is known up to some number of them.
 */
import { BoundedDpor } from './bounded-dpor.ts';
import type { Explorer, ExploreOptions, ExploreResult } from './exploration.ts';
import type { Program, Schedule } from './program.ts';

export interface BoundPlan {
  /** The first bound, and the last one that is searched; Infinity for none. */
  readonly from: number;
  readonly to: number;
  /** Asked after each search: true if no larger bound is wanted. */
  readonly isEnough: () => boolean;
  /** True if the whole is to be searched after the last bound, if that has left something out. */
  readonly thenWhole: boolean;
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
  private executions = 0;
  private blocked = 0;
  private steps = 0;

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
    this.explorer = new BoundedDpor(program, plan.from, options);
  }

  /** `isComplete` says that nothing was left out, whatever the number of preemptions. */
  run(): ExploreResult {
    const { from, to, isEnough, thenWhole } = this.plan;
    for (let bound = from; bound <= to; bound += 1) {
      const explorer = new BoundedDpor(this.program, bound, this.left());
      this.explorer = explorer;
      const { executions, isComplete, wasCut } = this.add(explorer.run());
      this.rounds.push({ preemptions: bound, executions, isComplete });
      if (!isComplete || !wasCut) return this.total(isComplete);
      if (isEnough() || (bound === to && !thenWhole)) {
        this.reached = bound;
        return this.total(false);
      }
    }
    this.explorer = this.makeWhole(this.left());
    return this.total(this.add(this.explorer.run()).isComplete);
  }

  result(isComplete: boolean): ExploreResult {
    const present = this.explorer.result(isComplete);
    return {
      executions: this.executions + present.executions,
      blocked: this.blocked + present.blocked,
      steps: this.steps + present.steps,
      isComplete,
    };
  }

  get schedule(): Schedule {
    return this.explorer.schedule;
  }

  private add<T extends ExploreResult>(result: T): T {
    this.executions += result.executions;
    this.blocked += result.blocked;
    this.steps += result.steps;
    return result;
  }

  private total(isComplete: boolean): ExploreResult {
    const { executions, blocked, steps } = this;
    return { executions, blocked, steps, isComplete };
  }

  private left(): ExploreOptions {
    const { executionCountMax } = this.options;
    if (executionCountMax === undefined) return this.options;
    const done = this.executions + this.blocked;
    return { ...this.options, executionCountMax: Math.max(1, executionCountMax - done) };
  }
}
