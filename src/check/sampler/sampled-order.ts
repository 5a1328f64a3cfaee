/**
 * One sampled execution: its steps, the order of its trace as vector clocks, and a hash of the trace.
 *
 * Two steps of different tasks are ordered when they conflict, when the one synchronises with the other,
 * or by way of others. Executions that agree in this order, in the steps of each task and in their
 * outcomes are the same Mazurkiewicz trace. So the hash is made of, for each step: its task, its number
 * within the task, its outcome, and how many steps of each other task come before it. All sums are
 * commutative, and tasks go by names that do not depend on the interleaving.
 */
import { mixIn } from '../../base/hash.ts';
import { PAUSE, type Kernel } from '../../kernel/kernel.ts';
import type { Access } from '../../kernel/operation.ts';
import { PLAIN_CODE } from '../../kernel/plain-code.ts';
import type { Task } from '../../kernel/task.ts';
import { LastAccess } from '../last-access.ts';
import type { Schedule } from '../program.ts';
import { StepClocks } from '../step-clocks.ts';
import { TaskNames } from './task-names.ts';

/** Two hashes of 32 bits are made with these beginnings, and put together to one of 53. */
const SALTS = [0x3c6ef372, 0x78dde6e4] as const;
const TWO_POW_21 = 2 ** 21;

export class SampledOrder {
  private kernel!: Kernel;
  private readonly clocks = new StepClocks();
  private readonly last = new LastAccess();
  private readonly names = new TaskNames();
  private readonly tasks: number[] = [];
  private readonly outcomes: number[] = [];
  /** For each step how many of its task there are up to it. */
  private readonly ordinals: number[] = [];
  /** By task: steps that it has taken. */
  private readonly counts: number[] = [];
  private readonly touched: Access[] = [];
  private low = 0;
  private high = 0;

  /** A new execution begins. */
  begin(kernel: Kernel): void {
    this.kernel = kernel;
    this.last.rollBack(0);
    this.names.clear();
    for (const list of [this.tasks, this.outcomes, this.ordinals, this.counts]) list.length = 0;
    this.low = 0;
    this.high = 0;
  }

  /**
   * Takes the next step of `task`, and returns what it touched; valid until the next step.
   *
   * @param pauses true if the plain code behind the operation is to be a step of its own.
   */
  take(task: Task, outcome: number, pauses: boolean): readonly Access[] {
    const { kernel, touched } = this;
    const at = kernel.stepCount;
    const previous = task.lastStep >= 0 ? task.lastStep : task.spawnedAt;
    const pause = pauses && task.pending !== PLAIN_CODE ? PAUSE : 0;
    touched.length = 0;
    kernel.footprint(task, touched);
    // Noted first: should the step throw, it is the last one of the schedule.
    this.tasks.push(task.index);
    this.outcomes.push(outcome | pause);
    const ordinal = (this.counts[task.index] ?? 0) + 1;
    this.counts[task.index] = ordinal;
    this.ordinals.push(ordinal);
    kernel.step(task, outcome | pause);
    for (const item of kernel.plainAccesses) touched.push(item);
    this.order(task, at, previous);
    this.addToHash(task, at);
    return touched;
  }

  get schedule(): Schedule {
    return { tasks: this.tasks.slice(), outcomes: this.outcomes.slice() };
  }

  /** For each task the step + 1 up to which `step` comes after it. */
  clockOf(step: number): Int32Array {
    return this.clocks.row(step);
  }

  /** The hash of the trace so far: a whole number below 2^53. */
  get hash(): number {
    return (this.high >>> 0) * TWO_POW_21 + (this.low >>> 11);
  }

  private order(task: Task, at: number, previous: number): void {
    const { kernel, clocks, last, touched } = this;
    const { index } = task;
    const row = clocks.open(at, previous, kernel.tasks.length);
    for (const step of kernel.requiredSteps) clocks.join(row, step);
    for (const step of kernel.afterSteps) clocks.join(row, step);
    for (const item of touched) {
      for (let other = 0; other < kernel.tasks.length; other += 1) {
        if (other !== index) clocks.join(row, last.lastConflict(item, other));
      }
    }
    row[index] = at + 1;
    last.open(at);
    for (const item of touched) last.record(item, index, at);
  }

  private addToHash(task: Task, at: number): void {
    const { names, ordinals } = this;
    const row = this.clocks.row(at);
    names.add(this.kernel.tasks);
    const outcome = this.outcomes[at] as number;
    const own = mixIn(mixIn(names.of(task.index), ordinals[at] as number), outcome);
    let low = mixIn(SALTS[0], own);
    let high = mixIn(SALTS[1], own);
    for (let other = 0; other < this.kernel.tasks.length; other += 1) {
      const step = (row[other] as number) - 1;
      if (other === task.index || step < 0) continue;
      const before = mixIn(names.of(other), ordinals[step] as number);
      low = (low + mixIn(SALTS[0], before)) | 0;
      high = (high + mixIn(SALTS[1], before)) | 0;
    }
    // Mixed once more, so that what came before one step cannot make up for what came before another.
    this.low = (this.low + mixIn(low, own)) | 0;
    this.high = (this.high + mixIn(high, own)) | 0;
  }
}
