/**
 * Lock maps (struct lockdep_map without a lock): what tells lockdep that somebody waits, or is waited
 * for, where there is no lock.
 *
 *     a work function runs              holds the map of its item        lock_map_acquire … release
 *     flush_work()                      waits for who holds it           touches it
 *
 * A cycle of locks and maps is a deadlock like any other: who flushes an item while it holds a lock
 * that the function takes waits for itself.
 *
 * They are part of the present step, have no effect and touch nothing.
 *
 * `fs_reclaim`: held by what runs in direct reclaim, touched by each allocation that may enter it
 * (GFP_KERNEL; not GFP_NOFS, not GFP_ATOMIC). So an allocation under a lock that reclaim takes is found
 * even if no memory is ever short.
 */
import { GFP_DIRECT_RECLAIM, GFP_FS, type Gfp } from './gfp.ts';
import { topFrame } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { current, running } from './running.ts';
import type { HeldLock, Task } from './task.ts';

/** A map that is not part of any object. Make it once, at module level: it is a name and has no state. */
export class LockMap {
  readonly name: string;
  readonly lockClass: LockClass;

  constructor(name: string) {
    this.name = name;
    this.lockClass = new LockClass({ name, isLock: false });
  }
}

/** What a map is held or touched for: `path` is what a deadlock calls it. */
export interface Waitable {
  readonly path: string;
  readonly lock: object;
  readonly lockClass: LockClass;
}

function heldMap({ path, lock, lockClass }: Waitable, task: Task): HeldLock {
  return {
    path,
    mode: 'write',
    lock,
    lockClass,
    subclass: 0,
    isTry: false,
    nest: null,
    step: running.now,
    frame: topFrame(task),
  };
}

/** `task` is waited for as long as it holds this. */
export function holdMap(task: Task, of: Waitable): void {
  const held = heldMap(of, task);
  running.lockTaken(task, held);
  task.lockMaps = [...task.lockMaps, held];
}

/** Ends the innermost {@link holdMap} of `lock`. */
export function dropMap(task: Task, lock: object): void {
  const at = task.lockMaps.findLastIndex((held) => held.lock === lock);
  if (at >= 0) task.lockMaps = task.lockMaps.toSpliced(at, 1);
}

/** `task` waits for whoever holds this. Says nothing unless the task holds something. */
export function touchMap(task: Task, of: Waitable): void {
  const count = task.heldLocks.length + task.readSections.length + task.lockMaps.length;
  if (count > 0) running.lockTaken(task, heldMap(of, task));
}

function waitable(map: LockMap): Waitable {
  return { path: map.name, lock: map, lockClass: map.lockClass };
}

/** `lock_map_acquire(map)`, by the current task. Pairs with {@link lockMapRelease}. */
export function lockMapAcquire(map: LockMap): void {
  holdMap(current(), waitable(map));
}

/** `lock_map_release(map)`. */
export function lockMapRelease(map: LockMap): void {
  dropMap(current(), map);
}

const FS_RECLAIM = new LockMap('fs_reclaim');
const FS_RECLAIM_WAITABLE = waitable(FS_RECLAIM);
const RECLAIM_FLAGS = GFP_DIRECT_RECLAIM | GFP_FS;

function isInReclaim(task: Task): boolean {
  for (const held of task.lockMaps) if (held.lock === FS_RECLAIM) return true;
  return false;
}

/** `task` allocates with `gfp`: it may enter reclaim, unless it is in it already. */
export function mayReclaim(task: Task, gfp: Gfp): void {
  if ((gfp & RECLAIM_FLAGS) !== RECLAIM_FLAGS || isInReclaim(task)) return;
  touchMap(task, FS_RECLAIM_WAITABLE);
}

/**
 * `fs_reclaim_acquire(gfp)`: what follows runs in direct reclaim that was entered with `gfp`; nothing if
 * that does not enter the file system. Its own allocations do not enter it again. Pairs with
 * {@link fsReclaimRelease}, with the same flags.
 */
export function fsReclaimAcquire(gfp: Gfp): void {
  if ((gfp & RECLAIM_FLAGS) === RECLAIM_FLAGS) lockMapAcquire(FS_RECLAIM);
}

/** `fs_reclaim_release(gfp)`. */
export function fsReclaimRelease(gfp: Gfp): void {
  if ((gfp & RECLAIM_FLAGS) === RECLAIM_FLAGS) lockMapRelease(FS_RECLAIM);
}
