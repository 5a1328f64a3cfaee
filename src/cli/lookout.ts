/**
 * Watches executions from inside the worker: a sign of life for each step, and who took the last one,
 * so that it can be told what was running when the signs stopped.
 */
import type { AnyScenario } from '../check/scenario.ts';
import type { Kernel, KernelOptions } from '../kernel/kernel.ts';
import type { Operation } from '../kernel/operation.ts';
import type { Task } from '../kernel/task.ts';
import type { Watch } from '../kernel/watch.ts';
import type { Counters } from './counters.ts';

/** What was going on, as plain data: it is read through the debugger. */
export interface Sighting {
  /** Null while no execution has begun. */
  readonly task: string | null;
  /** The innermost kernel function of the task. */
  readonly function: string | null;
  /** The last operation that the task ran. */
  readonly operation: string | null;
}

/** The name under which the watching thread finds the lookout in the worker. */
export const SIGHTING = '__mmulabSighting';

export class Lookout implements Watch {
  private readonly counters: Counters;
  private kernel: Kernel | null = null;
  private lastTask: Task | null = null;
  private lastOperation: Operation<unknown> | null = null;

  constructor(counters: Counters) {
    this.counters = counters;
    Object.assign(globalThis, { [SIGHTING]: () => this.sighting });
  }

  onStart(kernel: Kernel): void {
    this.kernel = kernel;
    this.lastTask = null;
    this.lastOperation = null;
    this.counters.beat();
  }

  onOrdered(_kernel: Kernel, task: Task): void {
    this.counters.beat();
    this.lastTask = task;
    this.lastOperation = task.pending;
  }

  get sighting(): Sighting {
    const task = this.kernel?.currentTask ?? null;
    const isSame = task !== null && task === this.lastTask;
    return {
      task: task?.name ?? null,
      function: task?.functionName ?? null,
      operation: isSame ? (this.lastOperation?.describe(task) ?? null) : null,
    };
  }

  /** The kernel of the present execution. */
  get presentKernel(): Kernel | null {
    return this.kernel;
  }

  /** The same scenario, with this lookout in each of its executions. */
  watch(scenario: AnyScenario): AnyScenario {
    const boot = scenario.boot as (options: KernelOptions) => never;
    return {
      ...scenario,
      boot: (options) => boot({ ...options, watches: [...options.watches, this] }),
    };
  }
}
