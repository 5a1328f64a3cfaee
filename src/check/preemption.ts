/**
 * What a preemption is: the one definition that the explorer, the shortening and the reports share.
 *
 * A step is a preemption if its task comes in although the task whose turn it is could have gone on.
 * Free are: going on, coming in when that task is blocked or has ended (or is shut out from its CPU), the
 * first step of an interrupt handler, and going back to what a handler has interrupted once it has ended.
 *
 *   turn of A     B steps            B steps            handler steps     A steps
 *   A enabled     preemption                            free              free when the handler is done
 *   A disabled                       free               free              -
 *
 * An interrupt does not end the turn of the task it interrupts: a third task that comes in after the
 * handler, where the interrupted one could go on, preempts it. Without that an interrupt would be a
 * switch for nothing, and could be put anywhere to save a preemption. How a step turns out, and whether
 * the plain code behind an operation is a step of its own, makes no difference.
 */
import { isInterruptEntry } from '../kernel/kernel-state.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Program, Schedule } from './program.ts';

/** Whose turn it is: a task, and behind it the handlers that interrupted it, the innermost last. */
export type Turn = readonly number[];

/** Nobody's turn: an execution begins so. */
export const NO_TURN: Turn = [];

/** The task that a step of another one would preempt, or -1. `enabled` is a bit mask over tasks. */
export function occupantOf(turn: Turn, enabled: number): number {
  for (let at = turn.length - 1; at >= 0; at -= 1) {
    const task = turn[at] as number;
    if ((enabled & (1 << task)) !== 0) return task;
  }
  return -1;
}

/** Of the enabled tasks those whose step would be no preemption. */
export function freeTasks(turn: Turn, kernel: Kernel, enabled: number): number {
  const occupant = occupantOf(turn, enabled);
  if (occupant < 0) return enabled;
  let free = 1 << occupant;
  for (const task of kernel.tasks) {
    if (isInterruptEntry(task)) free |= enabled & (1 << task.index);
  }
  return free;
}

/** Whose turn it is once `task` has stepped; to be asked before it does. */
export function turnAfter(turn: Turn, task: Task, enabled: number): Turn {
  const { index } = task;
  if (isInterruptEntry(task)) {
    const occupant = occupantOf(turn, enabled);
    return occupant < 0 ? [index] : [...turn.slice(0, turn.indexOf(occupant) + 1), index];
  }
  const at = turn.indexOf(index);
  if (at < 0) return [index];
  return at === turn.length - 1 ? turn : turn.slice(0, at + 1);
}

/** Counts the preemptions of an execution that somebody else takes step by step. */
export class PreemptionCounter {
  count = 0;
  private turn: Turn = NO_TURN;

  /** Call before each step. */
  note(kernel: Kernel, task: Task): void {
    let enabled = 0;
    for (const other of kernel.tasks) if (kernel.isEnabled(other)) enabled |= 1 << other.index;
    if ((freeTasks(this.turn, kernel, enabled) & (1 << task.index)) === 0) this.count += 1;
    this.turn = turnAfter(this.turn, task, enabled);
  }
}

/** The preemptions of a schedule that `program` can follow; what it cannot follow is not counted. */
export function preemptionsOf(program: Program, schedule: Schedule): number {
  const kernel = program.start([], null);
  const counter = new PreemptionCounter();
  const before = setRunning(kernel);
  try {
    for (const [step, index] of schedule.tasks.entries()) {
      const task = kernel.tasks[index];
      if (task === undefined || !kernel.isEnabled(task)) break;
      counter.note(kernel, task);
      kernel.step(task, schedule.outcomes[step] ?? 0);
    }
    return counter.count;
  } finally {
    setRunning(before);
  }
}
