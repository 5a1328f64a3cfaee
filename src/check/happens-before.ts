/**
 * Happens-before by synchronisation: what the code under test may rely on, as opposed to the trace
 * order of the explorer, which orders every conflicting pair and so can never show a race.
 *
 * Code gets labels, counted for each task. A label covers what a task does from just after one of
 * its operations to the end of the next one; a step publishes, to whoever synchronises with it, all
 * that its task did up to and including its operation and all that had been published to the task
 * by then. What follows the operation in the same step has the next label and is not covered: it
 * runs after the release.
 *
 *   task A                          task B
 *   p->x = 1;          label 5
 *   mutex_unlock(&m);  label 5      mutex_lock(&m);    comes after the unlock
 *   p->y = 1;          label 6      r = p->x;          ordered
 *                                   r = p->y;          not ordered: a race
 *
 * A new task sees what its spawner did before the spawn; what the spawner does from then on runs
 * beside it, the code before the task's first operation included. The tasks of a scenario come after
 * the set-up and are not ordered with each other, from their first line on. Set-up and `finally` are
 * ordered with everything and have no labels.
 */
import { TASK_COUNT_MAX } from '../base/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { Order, Watch } from '../kernel/watch.ts';

const STRIDE = TASK_COUNT_MAX + 1;

/**
 * The clocks of one execution; a watch that must come before those that ask it. All tables are
 * reused from one execution to the next.
 */
export class HappensBefore implements Watch, Order {
  readonly knownOrder: Order = this;
  /** The label of what each task does now; the first is 1. */
  readonly labels = new Int32Array(STRIDE);
  /** Row `t`, column `u`: labels of `u` below this one happened before what `t` does now. */
  private readonly known = new Int32Array(STRIDE * STRIDE);
  /** The same for what each step published, with the number of columns that are valid. */
  private published = new Int32Array(256 * STRIDE);
  private publishedWidths = new Int32Array(256);
  private publishedEnd = 0;
  /** 1 for tasks that have not taken a step. */
  private readonly isNew = new Uint8Array(STRIDE);

  onStart(): void {
    // A step that ends in an oops publishes nothing; it must not be taken for an older one.
    this.publishedWidths.fill(0, 0, this.publishedEnd);
    this.publishedEnd = 0;
  }

  onSpawn(kernel: Kernel, task: Task): void {
    const { index, parent } = task;
    const base = index * STRIDE;
    this.known.fill(0, base, base + STRIDE);
    this.labels[index] = 1;
    this.isNew[index] = 1;
    if (parent === null) return;
    const from = parent.index * STRIDE;
    for (let other = 0; other < index; other += 1) {
      this.known[base + other] = this.known[from + other] as number;
    }
    // What the operation that spawns has acquired so far counts as known to its task.
    for (const step of kernel.afterSteps) this.join(base, step);
    this.labels[parent.index] = (this.labels[parent.index] as number) + 1;
    this.known[base + parent.index] = this.labels[parent.index] as number;
  }

  onOrdered(kernel: Kernel, task: Task, after: readonly number[]): void {
    const { index } = task;
    const base = index * STRIDE;
    // A spawning operation may have acquired more after the spawn than before it.
    if (this.isNew[index] === 1 && task.spawnedAt >= 0) this.join(base, task.spawnedAt);
    this.isNew[index] = 0;
    for (const step of after) this.join(base, step);
    this.labels[index] = (this.labels[index] as number) + 1;
    this.known[base + index] = this.labels[index] as number;
    this.publish(base, kernel.now, kernel.tasks.length);
  }

  /** Whether what `owner` did under `label` happened before what `task` (an index, too) does now. */
  isOrdered(label: number, owner: number, task: number): boolean {
    return owner === task || label < (this.known[task * STRIDE + owner] as number);
  }

  private join(base: number, step: number): void {
    const from = step * STRIDE;
    const width = this.publishedWidths[step] as number;
    for (let other = 0; other < width; other += 1) {
      const label = this.published[from + other] as number;
      if (label > (this.known[base + other] as number)) this.known[base + other] = label;
    }
  }

  private publish(base: number, step: number, width: number): void {
    if (step >= this.publishedWidths.length) this.grow();
    const to = step * STRIDE;
    for (let other = 0; other < width; other += 1) {
      this.published[to + other] = this.known[base + other] as number;
    }
    this.publishedWidths[step] = width;
    this.publishedEnd = step + 1;
  }

  private grow(): void {
    const rows = new Int32Array(this.published.length * 2);
    rows.set(this.published);
    this.published = rows;
    const widths = new Int32Array(this.publishedWidths.length * 2);
    widths.set(this.publishedWidths);
    this.publishedWidths = widths;
  }
}
