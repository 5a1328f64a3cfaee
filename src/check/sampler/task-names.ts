/**
 * Names of tasks that do not depend on the interleaving, as hashes. The index of a task that another
 * one starts does; that it is the third one which that task started does not.
 */
import { mixIn } from '../../base/hash.ts';
import type { Task } from '../../kernel/task.ts';

export class TaskNames {
  private readonly names: number[] = [];
  private readonly childCounts: number[] = [];

  /** A new execution begins. */
  clear(): void {
    this.names.length = 0;
    this.childCounts.length = 0;
  }

  /** Gives names to the tasks that have none; call with all tasks, in the order of their index. */
  add(tasks: readonly Task[]): void {
    for (let index = this.names.length; index < tasks.length; index += 1) {
      const { parent } = tasks[index] as Task;
      this.childCounts[index] = 0;
      if (parent === null) {
        this.names[index] = mixIn(0, index);
        continue;
      }
      const ordinal = (this.childCounts[parent.index] as number) + 1;
      this.childCounts[parent.index] = ordinal;
      this.names[index] = mixIn(this.of(parent.index), ordinal);
    }
  }

  /** The name of the task with the given index. */
  of(index: number): number {
    return this.names[index] as number;
  }
}
