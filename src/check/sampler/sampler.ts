/**
 * A sampler: chooses, step by step, which task goes on, where there are too many interleavings to
 * execute one of each class.
 *
 * Each of them is a way of drawing interleavings at random. They differ in which come out often: see
 * the heads of their files. What a step's outcome is, where it can turn out in several ways, is drawn
 * elsewhere (outcomes.ts).
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Access } from '../../kernel/operation.ts';
import type { Task } from '../../kernel/task.ts';

export interface Sampler {
  /** An execution begins: the tasks of the scenario are there, no step has been taken. */
  begin(kernel: Kernel): void;
  /** Which of `enabled`, which has at least one task and is ordered by index, goes on. */
  choose(enabled: readonly Task[]): Task;
  /** The task has taken its step, which touched `footprint`. New tasks may be there. */
  taken(task: Task, footprint: readonly Access[]): void;
  /** The execution has ended, or was cut. */
  end(): void;
}

/** The names of the samplers, as the command line has them. */
export const SAMPLER_NAMES = ['random', 'pct', 'pos', 'weighted'] as const;
export type SamplerName = (typeof SAMPLER_NAMES)[number];
