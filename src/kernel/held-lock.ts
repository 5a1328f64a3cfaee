/**
 * Which locks a task holds: what lockdep assertions, lock-order checks and pictures ask for.
 *
 * Bookkeeping only: nothing here decides whether a lock may be taken.
 */
import type { LockClass } from './lock-class.ts';
import type { KernelObject } from './memory.ts';
import { running } from './running.ts';
import { NONE_HELD, type Frame, type HeldLock, type Task } from './task.ts';

/** How a lock is taken; the fields are those of {@link HeldLock}. */
export type Manner = Pick<HeldLock, 'isTry' | 'subclass' | 'nest'>;

/** The usual manner: waited for, at the outermost level. */
export const PLAINLY: Manner = { isTry: false, subclass: 0, nest: null };
export const BY_TRYLOCK: Manner = { ...PLAINLY, isTry: true };

/** For the second of two locks of one class that are taken one inside the other. */
export const SINGLE_DEPTH_NESTING = 1;

/**
 * What a task notes while it holds `lock` in the given mode. For an exclusive hold made once for each
 * lock, since there is one at a time.
 */
export function heldAs(lock: KernelObject, mode: 'read' | 'write', lockClass: LockClass): HeldLock {
  return {
    path: lock.path,
    mode,
    lock,
    lockClass,
    subclass: 0,
    isTry: false,
    nest: null,
    step: -1,
    frame: null,
  };
}

/** Notes that `task` takes a lock, as part of the present step, and tells lockdep. */
export function noteHeld(task: Task, held: HeldLock, manner: Manner): void {
  held.isTry = manner.isTry;
  held.subclass = manner.subclass;
  held.nest = manner.nest;
  held.step = running.now;
  held.frame = topFrame(task);
  running.lockTaken(task, held);
  task.heldLocks = task.heldLocks.length === 0 ? [held] : [...task.heldLocks, held];
}

/** The innermost function that `task` is in. */
export function topFrame({ frames }: Task): Frame | null {
  return frames[frames.length - 1] ?? null;
}

/** The names of the functions of a stack, outermost first. */
export function stackNames(top: Frame | null): string[] {
  const names: string[] = [];
  for (let frame = top; frame !== null; frame = frame.caller) names.push(frame.callee.name);
  return names.toReversed();
}

/** Forgets the innermost hold that `task` has on `lock` and returns it; null if it has none. */
export function dropHeld(task: Task, lock: KernelObject): HeldLock | null {
  for (let at = task.heldLocks.length - 1; at >= 0; at -= 1) {
    const held = task.heldLocks[at] as HeldLock;
    if (held.lock !== lock) continue;
    task.heldLocks = task.heldLocks.length === 1 ? NONE_HELD : task.heldLocks.toSpliced(at, 1);
    return held;
  }
  return null;
}

/** How `task` holds `lock`, or null. */
export function heldMode(task: Task, lock: KernelObject): 'read' | 'write' | null {
  for (const held of task.heldLocks) if (held.lock === lock) return held.mode;
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
