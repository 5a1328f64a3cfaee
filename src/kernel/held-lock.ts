/**
 * Which locks a task holds: what lockdep assertions, lock-order checks and pictures ask for.
 *
 * Bookkeeping only: nothing here decides whether a lock may be taken.
 */
import type { KernelObject } from './memory.ts';
import { running } from './running.ts';
import type { HeldLock, Task } from './task.ts';

/** What a task notes while it holds `lock` in the given mode. Made once for each lock and mode. */
export function heldAs(lock: KernelObject, mode: 'read' | 'write'): HeldLock {
  return { path: lock.path, mode, lock };
}

/** Forgets the innermost hold that `task` has on `lock`; false if it has none. */
export function dropHeld(task: Task, lock: KernelObject): boolean {
  for (let at = task.heldLocks.length - 1; at >= 0; at -= 1) {
    if (task.heldLocks[at]?.lock !== lock) continue;
    task.heldLocks.splice(at, 1);
    return true;
  }
  return false;
}

/** How `task` holds `lock`, or null. */
export function heldMode(task: Task, lock: KernelObject): 'read' | 'write' | null {
  for (const held of task.heldLocks) if (held.lock === lock) return held.mode ?? 'write';
  return null;
}

/**
 * Reports an unlock of `lock` by a task that is not its owner. The lock is released all the same,
 * as in Linux, where nothing looks at the owner unless debugging is on.
 */
export function checkOwner(lock: KernelObject, owner: Task | null, task: Task): void {
  if (owner === task) return;
  running.lockMisuse(
    lock.path,
    owner === null
      ? 'unlocked while nobody held it'
      : `unlocked by a task that does not hold it ('${owner.name}' does)`,
  );
}
