/**
 * PCT, probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010):
 * finds every bug of depth d with a probability that is known beforehand.
 *
 * The depth of a bug is the least number of orders between steps that bring it about, whatever else
 * happens: 1 for one that needs A before B, 2 for one that needs B between A and C. Tasks get random
 * priorities, and the one with the highest that can go on does. d - 1 times, after a step whose number
 * was drawn beforehand, the task that took it falls below all others: the one drawn first lowest. With
 * n tasks and at most k steps, one execution finds the bug with a probability of at least
 * 1 / (n · k^(d-1)).
 *
 * How many steps there will be is taken from the executions so far; the first one is a random walk. It
 * holds for tasks that do not wait for each other by asking again and again. Tasks that are started on
 * the way count as tasks and get a random priority then.
 */
import type { Random } from '../../base/random.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import type { Sampler } from './sampler.ts';

export class Pct implements Sampler {
  private readonly random: Random;
  private readonly changeCount: number;
  /** The longest execution so far, in steps; 0 before the first. */
  private stepCountMax = 0;
  private stepCount = 0;
  /** By task. Above 0: as drawn; below: lowered, the lowest to -changeCount. */
  private readonly priorities: number[] = [];
  /** Entry i: after how many steps the task at work falls to priority i - changeCount. */
  private readonly changes: number[] = [];

  /** @param depth of the bugs that are looked for; at least 1. */
  constructor(random: Random, depth: number) {
    this.random = random;
    this.changeCount = depth - 1;
  }

  begin(kernel: Kernel): void {
    this.stepCount = 0;
    this.priorities.length = 0;
    this.changes.length = 0;
    for (const task of kernel.tasks) this.priorityOf(task);
    for (let change = 0; change < this.changeCount; change += 1) {
      this.changes.push(1 + this.random.below(Math.max(this.stepCountMax, 1)));
    }
  }

  choose(enabled: readonly Task[]): Task {
    if (this.stepCountMax === 0) return enabled[this.random.below(enabled.length)] as Task;
    let best = enabled[0] as Task;
    for (const task of enabled) {
      if (this.priorityOf(task) > this.priorityOf(best)) best = task;
    }
    return best;
  }

  taken(task: Task): void {
    this.stepCount += 1;
    for (let change = 0; change < this.changes.length; change += 1) {
      if (this.changes[change] !== this.stepCount) continue;
      this.priorities[task.index] = change - this.changeCount;
    }
  }

  end(): void {
    this.stepCountMax = Math.max(this.stepCountMax, this.stepCount);
  }

  private priorityOf(task: Task): number {
    // Real numbers are as good as a random order, and a new one fits in anywhere.
    return (this.priorities[task.index] ??= this.random.unit());
  }
}
