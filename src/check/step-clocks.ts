/**
 * The order of an execution's steps as vector clocks: for each step, and each task, up to which of the
 * task's steps it comes after. Kept for each depth, so that a repeated prefix need not be computed again.
 */
import { TASK_COUNT_MAX } from '../base/limits.ts';

/** Entries of a clock: one for each task. */
export const CLOCK_LENGTH = TASK_COUNT_MAX + 1;

export class StepClocks {
  /** An entry is a step index + 1, or 0 for none. */
  private readonly rows: Int32Array[] = [];
  /** Entries that are in use: tasks are only added. */
  private taskCount = 0;
  /** The most that were ever in use; all beyond are 0 in every row. */
  private width = 0;

  row(step: number): Int32Array {
    return (this.rows[step] ??= new Int32Array(CLOCK_LENGTH));
  }

  /**
   * The row of a new step, holding what step `previous` knew; -1 for nothing.
   *
   * @param taskCount tasks that there are after the step.
   */
  open(step: number, previous: number, taskCount: number): Int32Array {
    this.taskCount = taskCount;
    if (taskCount > this.width) this.width = taskCount;
    const row = this.row(step);
    if (previous < 0) for (let task = 0; task < this.width; task += 1) row[task] = 0;
    else this.copyRow(step, this.rows[previous] as Int32Array);
    return row;
  }

  /** The row of `step` becomes a copy of `from`, another row of this table or one of its width. */
  copyRow(step: number, from: Int32Array, width = this.width): void {
    if (width > this.width) this.width = width;
    const row = this.row(step);
    for (let task = 0; task < this.width; task += 1) row[task] = from[task] as number;
  }

  /** Adds to `row` what step `step` knew; -1 is ignored. */
  join(row: Int32Array, step: number): void {
    if (step < 0) return;
    const other = this.rows[step] as Int32Array;
    for (let task = 0; task < this.taskCount; task += 1) {
      const value = other[task] as number;
      if (value > (row[task] as number)) row[task] = value;
    }
  }

  /** Whether `step` comes after step `earlier`, which `task` took. */
  knows(step: number, task: number, earlier: number): boolean {
    return ((this.rows[step] as Int32Array)[task] as number) > earlier;
  }
}

/** Whether a step of `task` with this clock comes after one of `steps`, which has a step or -1 a task. */
export function followsAny(clock: Int32Array, task: number, steps: Int32Array): boolean {
  for (let other = 0; other < CLOCK_LENGTH; other += 1) {
    const step = steps[other] as number;
    if (other !== task && step >= 0 && (clock[other] as number) > step) return true;
  }
  return false;
}
