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
}

/** A search with one bound. */
export interface BoundRound {
  readonly preemptions: number;
  readonly executions: number;
  /** False if something else ended it. */
  readonly isComplete: boolean;
}

export class IterativeBound implements Explorer {
  /** The searches so far, the present one last. */
  readonly rounds: BoundRound[] = [];
  private readonly program: Program;
  private readonly plan: BoundPlan;
  private readonly options: ExploreOptions;
  private explorer: BoundedDpor;
  private executions = 0;
  private steps = 0;

  constructor(program: Program, plan: BoundPlan, options: ExploreOptions = {}) {
    this.program = program;
    this.plan = plan;
    this.options = options;
    this.explorer = new BoundedDpor(program, plan.from, options);
  }

  /** `isComplete` says that nothing was left out, whatever the number of preemptions. */
  run(): ExploreResult {
    for (let bound = this.plan.from; ; bound += 1) {
      this.explorer = new BoundedDpor(this.program, bound, this.left());
      const { executions, steps, isComplete, wasCut } = this.explorer.run();
      this.executions += executions;
      this.steps += steps;
      this.rounds.push({ preemptions: bound, executions, isComplete });
      const isLast = !isComplete || !wasCut || bound >= this.plan.to || this.plan.isEnough();
      if (isLast) return this.total(isComplete && !wasCut);
    }
  }

  /** The bound that ended the search: all within it was explored, and there is more. Null if none did. */
  get reached(): number | null {
    const last = this.rounds.at(-1);
    return last?.isComplete === true ? last.preemptions : null;
  }

  result(isComplete: boolean): ExploreResult {
    const present = this.explorer.result(isComplete);
    return {
      executions: this.executions + present.executions,
      blocked: 0,
      steps: this.steps + present.steps,
      isComplete,
    };
  }

  get schedule(): Schedule {
    return this.explorer.schedule;
  }

  private total(isComplete: boolean): ExploreResult {
    return { executions: this.executions, blocked: 0, steps: this.steps, isComplete };
  }

  private left(): ExploreOptions {
    const { executionCountMax } = this.options;
    if (executionCountMax === undefined) return this.options;
    return { ...this.options, executionCountMax: Math.max(1, executionCountMax - this.executions) };
  }
}
