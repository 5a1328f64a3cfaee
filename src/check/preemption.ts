/**
 * What a preemption is: the one definition that the explorer, the shortening and the reports share.
 *
 * A task is preempted when another one steps although the turn is its own and it could go on. Nobody
 * is preempted when a task goes on, when it comes in because the one whose turn it was is blocked or has
 * ended, or when an interrupt handler begins; nor by going back to what a handler has interrupted once
 * the handler has ended.
 *
 *   turn of A          B comes in      a handler begins
 *   A could go on      preemption      none; it is still A's turn, with the handler before it
 *   A blocked, ended   none            none
 *
 * An interrupt does not end the turn of the task it interrupts: a third task that comes in before that
 * one goes on preempts it, and the handler too if that has not ended: two preemptions in one step.
 * Otherwise an interrupt would be a change for nothing, and would be put anywhere to save a
 * preemption. That a handler which goes on shuts out the task from its CPU does not count; while the
 * handler has to wait, the task cannot go on either. How a step turns out, and whether the plain code behind an
 * operation is a step of its own, makes no difference.
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

/** Whether the task at `at` could go on, if only the handlers behind it were out of its way. */
function couldGoOn(kernel: Kernel, turn: Turn, at: number): boolean {
  const task = kernel.tasks[turn[at] as number];
  if (task === undefined || task.pending === null) return false;
  if (kernel.isEnabled(task)) return true;
  const innermost = kernel.tasks[turn.at(-1) as number];
  return innermost !== undefined && kernel.isEnabled(innermost) && task.pending.isEnabled(task);
}

/** How many tasks are preempted if `task` steps now. */
export function preemptionsBy(task: Task, turn: Turn, kernel: Kernel): number {
  if (isInterruptEntry(task)) return 0;
  let count = 0;
  for (let at = turn.length - 1; at >= 0; at -= 1) {
    if (turn[at] === task.index) break;
    if (couldGoOn(kernel, turn, at)) count += 1;
  }
  return count;
}

/** Whose turn it is once `task` has stepped; to be asked before it does. */
export function turnAfter(task: Task, turn: Turn, kernel: Kernel): Turn {
  const { index } = task;
  if (isInterruptEntry(task)) {
    const interrupted = turn.findLastIndex((_, at) => couldGoOn(kernel, turn, at));
    return [...turn.slice(0, interrupted + 1), index];
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
    this.count += preemptionsBy(task, this.turn, kernel);
    this.turn = turnAfter(task, this.turn, kernel);
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
