/**
 * Marks: by what the tasks and steps of a schedule are known again when the code has changed since.
 *
 * A schedule names tasks by their index and steps by their number, which an edit shifts. A mark is a hash,
 * because tokens are to stay short: of a task's name, and of what a step does without what it does it to, so
 * that a variable may be renamed. Two that differ have the same mark once in 65,536 and once in 16 cases.
 */
import { mixIn } from '../base/hash.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Program, Schedule } from './program.ts';

/** The marks of a schedule. */
export interface StepMarks {
  /** For each task, by its index, up to the last that takes a step. */
  readonly tasks: readonly number[];
  /** For each step. */
  readonly steps: readonly number[];
}

/** Marks of tasks are below this. */
export const TASK_MARK_RADIX = 1 << 16;
/** Marks of steps are below this. */
export const STEP_MARK_RADIX = 1 << 4;

/** The mark of a task called `name`. */
export function taskMark(name: string): number {
  return hashOf(name) % TASK_MARK_RADIX;
}

/** The mark of what `task` will do next; it has not ended. */
export function stepMark(task: Task): number {
  return hashOf(kindOf(task.pending?.describe(task) ?? '')) % STEP_MARK_RADIX;
}

/** The same schedule, with marks. `program` is the one it was made with; it is run along it. */
export function withMarks(program: Program, schedule: Schedule): Schedule {
  const { earlier } = schedule;
  return {
    tasks: schedule.tasks,
    outcomes: schedule.outcomes,
    marks: marksOf(program, schedule),
    ...(earlier === undefined ? {} : { earlier: earlier.map((one) => withMarks(program, one)) }),
  };
}

function marksOf(program: Program, { tasks, outcomes }: Schedule): StepMarks {
  const kernel = program.start([], null);
  const before = setRunning(kernel);
  try {
    const steps = tasks.map((index, at) => {
      const task = kernel.tasks[index] as Task;
      const mark = stepMark(task);
      kernel.step(task, outcomes[at] ?? 0);
      return mark;
    });
    return { tasks: taskMarksOf(kernel, Math.max(-1, ...new Set(tasks)) + 1), steps };
  } finally {
    setRunning(before);
  }
}

function taskMarksOf({ tasks }: Kernel, count: number): number[] {
  return tasks.slice(0, count).map(({ name }) => taskMark(name));
}

/**
 * `mutex_lock` of `mutex_lock(&p->mutex)`, and `begins a command` of `gpu.ring: begins a command`: names
 * of variables have dots, digits or underscores, or stand in brackets.
 */
function kindOf(description: string): string {
  const called = /^\w+(?=\()/.exec(description);
  if (called !== null) return called[0];
  return (description.match(/(?<![\w.])[a-z]+(?![\w.(])/gi) ?? []).join(' ');
}

function hashOf(text: string): number {
  let hash = text.length;
  for (let at = 0; at < text.length; at += 1) hash = mixIn(hash, text.charCodeAt(at));
  return hash >>> 0;
}
