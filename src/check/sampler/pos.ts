/**
 * POS, partial order sampling (Yuan, Yang, Gu, CAV 2018): draws the order of steps that depend on each
 * other, not the order of all steps.
 *
 * Each task's next step has a random priority, and the highest that can be taken is. A step that is
 * taken draws the priorities of all waiting steps that it conflicts with anew: the order in which those
 * two came says nothing about whether the other will come early. So a step that depends on nothing does
 * not hold up what comes after it, and rare classes of interleavings come out far more often than in a
 * random walk.
 */
import type { Random } from '../../base/random.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Access } from '../../kernel/operation.ts';
import type { Task } from '../../kernel/task.ts';
import { doConflict } from '../search-node.ts';
import type { Sampler } from './sampler.ts';

export class Pos implements Sampler {
  private readonly random: Random;
  private kernel!: Kernel;
  /** By task: the priority of its next step. */
  private readonly priorities: number[] = [];
  private readonly footprint: Access[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  begin(kernel: Kernel): void {
    this.kernel = kernel;
    this.priorities.length = 0;
    for (const task of kernel.tasks) this.priorityOf(task);
  }

  choose(enabled: readonly Task[]): Task {
    let best = enabled[0] as Task;
    for (const task of enabled) {
      if (this.priorityOf(task) > this.priorityOf(best)) best = task;
    }
    return best;
  }

  taken(task: Task, footprint: readonly Access[]): void {
    for (const other of this.kernel.tasks) {
      if (other !== task && !this.isRacing(other, footprint)) continue;
      this.priorities[other.index] = this.random.unit();
    }
  }

  end(): void {
    // Executions have nothing to do with each other.
  }

  private isRacing(task: Task, footprint: readonly Access[]): boolean {
    if (footprint.length === 0 || task.pending === null || task.isDone) return false;
    this.footprint.length = 0;
    this.kernel.footprint(task, this.footprint);
    return doConflict(this.footprint, footprint);
  }

  private priorityOf(task: Task): number {
    return (this.priorities[task.index] ??= this.random.unit());
  }
}
