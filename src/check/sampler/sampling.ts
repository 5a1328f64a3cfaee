/**
 * Sampling: executes a program many times, each time along an interleaving that a sampler draws, where
 * there are too many to execute one of each class. Equal seeds give equal executions.
 *
 * It never is complete. What it can say is how many classes it has seen: each execution's trace is
 * hashed, and the different hashes are counted in a fixed amount of memory.
 */
import { unreachable } from '../../base/assert.ts';
import { DistinctCounter } from '../../base/distinct-counter.ts';
import {
  CUT_SAMPLE_COUNT_MAX,
  PCT_DEPTH_DEFAULT,
  STEP_COUNT_MAX_DEFAULT,
} from '../../base/limits.ts';
import { Random } from '../../base/random.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { running, setRunning } from '../../kernel/running.ts';
import type { Task } from '../../kernel/task.ts';
import { tooManySteps } from '../explore-error.ts';
import type { Execution, ExploreOptions, ExploreResult } from '../exploration.ts';
import type { Program, Schedule } from '../program.ts';
import type { SamplingFigures } from '../result.ts';
import { Outcomes } from './outcomes.ts';
import { Pct } from './pct.ts';
import { Pos } from './pos.ts';
import { RandomWalk } from './random-walk.ts';
import { SampledOrder } from './sampled-order.ts';
import type { Sampler, SamplerName } from './sampler.ts';
import { Weighted } from './weighted.ts';

/** How to sample. */
export interface SamplingPlan {
  readonly method: SamplerName;
  /** Executions. */
  readonly samples: number;
  readonly seed: number;
  /** The depth of the bugs that `pct` looks for; at least 1. Of no use to the others. */
  readonly depth?: number;
}

export class Sampling {
  private readonly program: Program;
  private readonly plan: SamplingPlan;
  private readonly options: ExploreOptions;
  private readonly stepCountMax: number;
  private readonly sampler: Sampler;
  private readonly outcomes: Outcomes;
  private readonly order = new SampledOrder();
  private readonly traces = new DistinctCounter();
  private readonly enabled: Task[] = [];
  private kernel!: Kernel;
  private ended = 0;
  private cut = 0;
  private steps = 0;

  /** Of `options`, `executionCountMax` is not looked at. */
  constructor(program: Program, plan: SamplingPlan, options: ExploreOptions = {}) {
    this.program = program;
    this.plan = plan;
    this.options = options;
    this.stepCountMax = options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
    const random = new Random(plan.seed);
    this.sampler = makeSampler(plan, random);
    this.outcomes = new Outcomes(random);
  }

  /**
   * @throws UsageError MN205 if none of the first executions comes to its end.
   */
  run(): ExploreResult {
    const before = running;
    try {
      while (this.ended + this.cut < this.plan.samples) {
        if (this.runOnce()) break;
      }
      return this.result(false);
    } finally {
      setRunning(before);
    }
  }

  /** What has been done so far. An execution that was cut counts as well. */
  result(isComplete: boolean): ExploreResult {
    return { executions: this.ended + this.cut, blocked: 0, steps: this.steps, isComplete };
  }

  /** What has been done so far in the present execution. */
  get schedule(): Schedule {
    return this.order.schedule;
  }

  /** Executions that are left to be taken. */
  get left(): number {
    return this.plan.samples - this.ended - this.cut;
  }

  /** The figures so far. */
  figures(): SamplingFigures {
    const { method, samples, seed } = this.plan;
    const { count, standardError, isExact, onceShare } = this.traces;
    return {
      method,
      samples,
      seed,
      depth: method === 'pct' ? depthOf(this.plan) : null,
      traces: count,
      tracesError: standardError,
      isExact,
      // Good and Turing: what is new next time is about as frequent as what came only once.
      newNext: this.ended === 0 ? 1 : Math.min(1, (count * onceShare) / this.ended),
      cut: this.cut,
      stepCountMax: this.stepCountMax,
    };
  }

  private runOnce(): boolean {
    const { sampler, options } = this;
    const { visibleMemory } = options;
    this.kernel = this.program.start(options.watches ?? [], null);
    const { kernel } = this;
    kernel.visibleMemory = visibleMemory ?? null;
    setRunning(kernel);
    this.order.begin(kernel);
    sampler.begin(kernel);
    this.outcomes.begin();
    const isCut = !this.walk(visibleMemory !== undefined);
    sampler.end();
    if (isCut) {
      this.cut += 1;
      if (this.ended === 0 && this.cut >= CUT_SAMPLE_COUNT_MAX) {
        throw tooManySteps(
          kernel,
          this.schedule.tasks.map((task) => ({ task })),
        );
      }
    } else {
      this.ended += 1;
      this.traces.add(this.order.hash);
      kernel.finish();
      this.program.finish(kernel);
      kernel.end();
    }
    return options.onExecution?.(this.execution(isCut)) ?? false;
  }

  /** Takes steps until no task can; false if there are too many. */
  private walk(pauses: boolean): boolean {
    const { kernel, sampler, enabled } = this;
    for (;;) {
      enabled.length = 0;
      for (const task of kernel.tasks) if (kernel.isEnabled(task)) enabled.push(task);
      if (enabled.length === 0) return true;
      if (kernel.stepCount >= this.stepCountMax) return false;
      const task = sampler.choose(enabled);
      const outcome = this.outcomes.draw(task.pending?.arity(task) ?? 1);
      const footprint = this.order.take(task, outcome, pauses);
      this.steps += 1;
      this.options.onStep?.();
      sampler.taken(task, footprint);
    }
  }

  private execution(isCut: boolean): Execution {
    const { kernel, order } = this;
    return {
      kernel,
      // Hardly anybody asks for it.
      get schedule() {
        return order.schedule;
      },
      clockOf: (step) => order.clockOf(step),
      isCut,
    };
  }
}

function makeSampler(plan: SamplingPlan, random: Random): Sampler {
  switch (plan.method) {
    case 'random':
      return new RandomWalk(random);
    case 'pct':
      return new Pct(random, depthOf(plan));
    case 'pos':
      return new Pos(random);
    case 'weighted':
      return new Weighted(random);
    default:
      return unreachable(plan.method);
  }
}

function depthOf({ depth }: SamplingPlan): number {
  return depth ?? PCT_DEPTH_DEFAULT;
}
