/**
 * Lockdep's assertions: that the current task holds a lock.
 *
 * They are part of the present step and touch nothing: what a task holds is known to itself. One
 * that fails is a finding; the task goes on.
 */
import { heldMode } from './held-lock.ts';
import type { KernelObject } from './memory.ts';
import type { RwSemaphore } from './rwsem.ts';
import { current, running } from './running.ts';

/** `lockdep_assert_held(&lock)`: in either mode, if it has two. */
export function lockdepAssertHeld(lock: KernelObject): void {
  if (heldMode(current(), lock) !== null) return;
  running.assertion('lockdep', `lockdep_assert_held(&${lock.path})`);
}

/** `lockdep_assert_held_write(&sem)`: for writing. */
export function lockdepAssertHeldWrite(lock: RwSemaphore): void {
  if (heldMode(current(), lock) === 'write') return;
  running.assertion('lockdep', `lockdep_assert_held_write(&${lock.path})`);
}

/** `lockdep_assert_held_read(&sem)`: for reading, which holding it for writing is not. */
export function lockdepAssertHeldRead(lock: RwSemaphore): void {
  if (heldMode(current(), lock) === 'read') return;
  running.assertion('lockdep', `lockdep_assert_held_read(&${lock.path})`);
}

/** `lockdep_assert_not_held(&lock)`. */
export function lockdepAssertNotHeld(lock: KernelObject): void {
  if (heldMode(current(), lock) === null) return;
  running.assertion('lockdep', `lockdep_assert_not_held(&${lock.path})`);
}

export { SINGLE_DEPTH_NESTING } from './held-lock.ts';
export {
  fsReclaimAcquire,
  fsReclaimRelease,
  LockMap,
  lockMapAcquire,
  lockMapRelease,
} from './lock-map.ts';
