/** What an explorer says when it cannot go on. */
import { assert } from '../base/assert.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Kernel } from '../kernel/kernel.ts';

/** An execution has become too long: says who is busy, and where. */
export function tooManySteps(kernel: Kernel, steps: readonly { task: number }[]): UsageError {
  const counts = new Map<number, number>();
  for (const { task } of steps.slice(0, kernel.stepCount)) {
    counts.set(task, (counts.get(task) ?? 0) + 1);
  }
  const [busiest, count] = [...counts].toSorted((a, b) => b[1] - a[1])[0] as [number, number];
  const task = kernel.tasks[busiest];
  assert(task !== undefined, 'the busiest task exists');
  return new UsageError(
    'MN205',
    `an execution did not end within ${kernel.stepCount} steps: task '${task.name}' took ` +
      `${count} of them, now in ${task.functionName} at ${task.pending?.describe(task) ?? 'its end'}. ` +
      'A loop that waits for another task must block instead of asking again.',
  );
}

/** Task number `index` cannot take the step that it took after the same steps before. */
export function tookAnotherCourse(kernel: Kernel, index: number): UsageError {
  const task = kernel.tasks[index];
  let what = 'other tasks can go on than before';
  if (task === undefined) what = `task ${index} is not there`;
  else if (!kernel.isEnabled(task)) what = `task '${task.name}' cannot go on`;
  return new UsageError(
    'MN204',
    `after ${kernel.stepCount} steps the same schedule took another course: ${what}. ` +
      'Something keeps state between executions: a variable of the module that set-up does not ' +
      'make anew, the clock, or a random number.',
  );
}
