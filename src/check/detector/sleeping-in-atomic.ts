/**
 * Sleeping in atomic context: an operation that may sleep is about to run, or `might_sleep()` does,
 * where the task must not be put to sleep. Whether it would have slept this time does not matter.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds operations that may sleep in atomic context. */
export function sleepingInAtomic(): Watch {
  return { onMaySleep };
}

function onMaySleep(kernel: Kernel, task: Task, what: string): void {
  kernel.report({
    kind: 'sleeping-in-atomic',
    object: what,
    message: `${kernel.place()} calls ${what}, which may sleep, ${task.atomicReason() ?? ''}`,
  });
}
