/**
 * Sleeping in atomic context: an operation that may sleep is about to run, or `might_sleep()` does,
 * where the task must not be put to sleep. Whether it would have slept this time does not matter.
 */
import { stackNames } from '../../kernel/held-lock.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { Spinlock } from '../../kernel/spinlock.ts';
import type { Frame, Task, TaskKind } from '../../kernel/task.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds operations that may sleep in atomic context. */
export function sleepingInAtomic(): Watch {
  return { onMaySleep };
}

function onMaySleep(kernel: Kernel, task: Task, what: string): void {
  const origin = originOf(task);
  const since = origin === null ? '' : `, since ${origin.what} in ${origin.place}`;
  kernel.report({
    kind: 'sleeping-in-atomic',
    object: what,
    message: `${kernel.place()} calls ${what}, which may sleep, ${task.atomicReason() ?? ''}${since}`,
    otherPlace: origin?.place ?? '',
    witnesses: origin === null || origin.step < 0 ? [] : [origin.step],
  });
}

interface Origin {
  readonly what: string;
  readonly place: string;
  readonly step: number;
}

/**
 * What made the context atomic; null for a handler or callback, which is so from its beginning. The
 * first lock may have been given back since: then it is the oldest spinlock that is still held.
 */
function originOf(task: Task): Origin | null {
  const { atomicOrigin } = task;
  const isAtomic = task.preemptCount + task.irqDisableCount + task.nonBlockCount > 0;
  if (atomicOrigin === null || !isAtomic || ALWAYS_ATOMIC.has(task.kind)) return null;
  const { operation, step, frame } = atomicOrigin;
  const isLock = operation !== null && 'lock' in operation;
  const spins = task.heldLocks.filter(({ lock }) => lock instanceof Spinlock);
  const isOver = isLock && !spins.some(({ lock }) => lock === operation.lock);
  const oldest = isOver ? spins[0] : undefined;
  if (oldest !== undefined) {
    return { what: `spin_lock(&${oldest.path})`, place: nameOf(oldest.frame), step: oldest.step };
  }
  const what = operation === null ? 'non_block_start()' : operation.describe(task);
  return { what, place: nameOf(frame), step };
}

const ALWAYS_ATOMIC: ReadonlySet<TaskKind> = new Set<TaskKind>(['interrupt', 'timer', 'callback']);

function nameOf(frame: Frame | null): string {
  return stackNames(frame).at(-1) ?? '';
}
