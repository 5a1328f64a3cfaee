/** What an explorer is asked for, and what comes out. */
import type { Kernel } from '../kernel/kernel.ts';
import type { Watch } from '../kernel/watch.ts';
import type { Schedule } from './program.ts';

export interface ExploreOptions {
  readonly watches?: readonly Watch[];
  /** Steps of one execution; reaching it ends the search with an error that says where. */
  readonly stepCountMax?: number;
  /**
   * Names of memory whose plain accesses are steps that others can come before or after. Then all
   * plain code is a step of its own; without it, plain code belongs to the operation before it.
   */
  readonly visibleMemory?: ReadonlySet<string>;
  /** Executions, abandoned ones included, after which the search stops. */
  readonly executionCountMax?: number;
  /** Called at the end of each execution that was not abandoned. Returns true to stop the search. */
  readonly onExecution?: (run: Execution) => boolean;
  /** Called after each step, for a sign of life. */
  readonly onStep?: () => void;
  /** Called between the executions of a search with a bound, where it can be saved. */
  readonly onRest?: () => void;
}

/** An execution that has just ended; valid until the callback that is told of it returns. */
export interface Execution {
  readonly kernel: Kernel;
  readonly schedule: Schedule;
  /** For each step, the step + 1 up to which it comes after each task: row `step`, see `clockOf`. */
  readonly clockOf: (step: number) => Int32Array;
  /** True for a sample that was cut: it has not come to its end, nor may it ever. */
  readonly isCut?: boolean;
}

export interface ExploreResult {
  /** Executions that ended, deadlocked ones included. */
  readonly executions: number;
  /** Runs that were abandoned because they only repeat what is known. */
  readonly blocked: number;
  /** Steps taken, repeated prefixes not counted. */
  readonly steps: number;
  /** True if every trace was executed. */
  readonly isComplete: boolean;
}

/** Something that executes a program again and again. */
export interface Explorer {
  run(): ExploreResult;
  /** What has been done so far. */
  result(isComplete: boolean): ExploreResult;
  /** The steps of the present execution so far, to be replayed. */
  readonly schedule: Schedule;
}
