/** A depth of the explorer's search. */
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import { conflicts, modeOf, variableOf, type Access, type PastHold } from '../kernel/operation.ts';

/** The step taken at one depth, and what else is to be tried instead. */
export interface Node {
  task: number;
  outcome: number;
  arity: number;
  /** Bit masks over tasks. */
  enabled: number;
  backtrack: number;
  done: number;
  sleep: number;
  footprint: Access[];
  /** The steps that it comes after without a conflict. */
  after: number[];
  /** For each of those the step that began what it ended, or -1; see `kernel.after`. */
  since: number[];
  /** All times, over by then, in which it would have had to wait; only valid while it is taken. */
  past: readonly PastHold[];
  /** PAUSE if the plain code behind the operation is a step of its own, otherwise 0. */
  pause: number;
  /** True if the step is plain code. */
  isPlain: boolean;
  /** What the next step of each task would touch here: for each task from where to where. */
  pending: Access[];
  pendingStart: number[];
  /** For each sleeping task what its step touched when it was taken, however it turned out. */
  slept: (readonly Access[])[];
}

/** A node of which nothing is known but whose step it is. */
export function nodeOf(task: number): Node {
  return {
    task,
    outcome: 0,
    arity: 1,
    enabled: 0,
    backtrack: 0,
    done: 0,
    sleep: 0,
    footprint: [],
    after: [],
    since: [],
    past: [],
    pause: 0,
    isPlain: false,
    pending: [],
    pendingStart: [],
    slept: [],
  };
}

/** The tasks that can go on now: a bit mask. */
export function enabledTasks(kernel: Kernel): number {
  const { tasks } = kernel;
  let mask = 0;
  for (let index = 0; index < tasks.length; index += 1) {
    const task = tasks[index] as Task;
    if (task.pending !== null && kernel.isEnabled(task)) mask |= 1 << index;
  }
  return mask;
}

/** Notes what the next step of each task would touch in the present state. */
export function notePending(node: Node, kernel: Kernel): void {
  for (const task of kernel.tasks) {
    node.pendingStart[task.index] = node.pending.length;
    if (task.pending !== null) kernel.footprint(task, node.pending);
  }
  node.pendingStart[kernel.tasks.length] = node.pending.length;
}

/** What was noted of `task`; nothing if it was not there yet. */
export function pendingFootprint(node: Node, task: number): readonly Access[] {
  const start = node.pendingStart[task];
  return start === undefined ? [] : node.pending.slice(start, node.pendingStart[task + 1]);
}

/** True if the two footprints have conflicting accesses. */
export function doConflict(a: readonly Access[], b: readonly Access[]): boolean {
  for (let at = 0; at < a.length; at += 1) {
    const one = a[at] as Access;
    for (let beside = 0; beside < b.length; beside += 1) {
      const other = b[beside] as Access;
      if (variableOf(one) === variableOf(other) && conflicts(modeOf(one), modeOf(other))) {
        return true;
      }
    }
  }
  return false;
}
