/**
 * The weighted walk (after URW and SURW: Zhao, Wolff, Mathur, Roychoudhury, ASPLOS 2025): a task is
 * chosen with a probability in proportion to the steps it has left, those of the tasks it will start
 * included.
 *
 * If the counts are right and nobody ever waits, each interleaving then comes out with the same
 * probability, the long way round as often as the short one. Where tasks wait, or take other courses
 * than before, it is so only roughly. Each interleaving is not each class of them: a class with many
 * interleavings still comes out often.
 *
 * The counts are the means of the executions so far; the first one is a random walk.
 */
import type { Random } from '../../base/random.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import { TaskNames } from './task-names.ts';
import type { Sampler } from './sampler.ts';

interface Mean {
  sum: number;
  count: number;
}

export class Weighted implements Sampler {
  private readonly random: Random;
  private readonly names = new TaskNames();
  /** By name of a task: how many steps it and all that come from it took. */
  private readonly means = new Map<number, Mean>();
  private kernel!: Kernel;
  private isFirst = true;
  /** By task: steps that it and the tasks it has yet to start are expected to take. */
  private readonly left: number[] = [];
  /** By task: steps that it has taken itself. */
  private readonly done: number[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  begin(kernel: Kernel): void {
    this.kernel = kernel;
    this.names.clear();
    this.left.length = 0;
    this.done.length = 0;
    this.addTasks();
  }

  choose(enabled: readonly Task[]): Task {
    if (this.isFirst) return enabled[this.random.below(enabled.length)] as Task;
    let sum = 0;
    for (const task of enabled) sum += this.weightOf(task);
    let point = this.random.unit() * sum;
    for (const task of enabled) {
      point -= this.weightOf(task);
      if (point < 0) return task;
    }
    return enabled.at(-1) as Task;
  }

  taken(task: Task): void {
    const { index } = task;
    this.left[index] = (this.left[index] as number) - 1;
    this.done[index] = (this.done[index] as number) + 1;
    this.addTasks();
  }

  end(): void {
    const { tasks } = this.kernel;
    const totals = this.done.slice();
    // Children come after their parents.
    for (let index = tasks.length - 1; index >= 0; index -= 1) {
      const { parent } = tasks[index] as Task;
      const total = totals[index] as number;
      if (parent !== null) totals[parent.index] = (totals[parent.index] as number) + total;
      const name = this.names.of(index);
      const mean = this.means.get(name) ?? { sum: 0, count: 0 };
      this.means.set(name, { sum: mean.sum + total, count: mean.count + 1 });
    }
    this.isFirst = false;
  }

  private addTasks(): void {
    const { tasks } = this.kernel;
    const known = this.left.length;
    this.names.add(tasks);
    for (let index = known; index < tasks.length; index += 1) {
      const mean = this.means.get(this.names.of(index));
      const expected = mean === undefined ? 1 : mean.sum / mean.count;
      const { parent } = tasks[index] as Task;
      this.done.push(0);
      this.left.push(expected);
      if (parent !== null) {
        this.left[parent.index] = (this.left[parent.index] as number) - expected;
      }
    }
  }

  /** At least 1: that it can go on shows that it has a step left. */
  private weightOf(task: Task): number {
    return Math.max(this.left[task.index] as number, 1);
  }
}
