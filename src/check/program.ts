/**
 * What an explorer runs: something that can be started anew as often as it likes, and that takes
 * the same course whenever the same choices are made.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { Tracer, Watch } from '../kernel/watch.ts';
import type { StepMarks } from './step-marks.ts';

export interface Program {
  /** Boots a kernel, runs the set-up and starts the tasks. */
  start(watches: readonly Watch[], tracer: Tracer | null): Kernel;
  /** What is to happen after all tasks have ended, before the search for leaks. */
  finish(kernel: Kernel): void;
}

/**
 * A schedule: who steps, and how the step turns out if it can turn out in several ways. An outcome may
 * have `PAUSE` added: then the plain code behind the operation is the task's next step.
 */
export interface Schedule {
  readonly tasks: readonly number[];
  readonly outcomes: readonly number[];
  /**
   * What has to be run before, for what detectors remember of other executions: each leads to some
   * moment of one. None, if left out.
   */
  readonly earlier?: readonly Schedule[];
  /** By what its tasks and steps are known again after an edit; see `adaptSchedule`. Nothing else reads them. */
  readonly marks?: StepMarks;
}
