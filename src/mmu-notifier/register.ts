/**
 * Registration and unregistration, as the series leaves them (patches 1, 2, 3 and 11).
 *
 * Publication. A notifier is added while mmap_sem is held for write and every lock of
 * `mm_take_all_locks` is taken, so no invalidation of this mm is in progress: nobody sees an end
 * without its start. The `mmu_notifier_mm` is allocated before those locks are taken, because an
 * allocation may enter reclaim, and reclaim takes them; deciding early whether it is needed is safe,
 * because whoever stores the pointer holds mmap_sem for write. v5.4 stores it plainly; the store-release is v5.5's,
 * for the insertion of interval notifiers, which reads it without a lock.
 *
 * Unregistration against exit. Both call release and both unlink; either may come first:
 *
 *   CPU0 unregister                          CPU1 exit_mmap
 *   still hashed? yes
 *   srcu_read_lock
 *                                            release()
 *   release()     <- a second time, so release must bear that
 *   srcu_read_unlock                         unlink all
 *                                            synchronize_srcu   [waits for CPU0's release]
 *   unlink (nothing left to do)
 *   synchronize_srcu                         frees the pages
 *   [no callback runs from here on]
 */
import { EINTR, ENOMEM } from '../base/errno.ts';
import { bugOn } from '../kernel/assertion.ts';
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRaceWrite, smpStoreRelease } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { hlistAddHeadRcu, hlistDelInitRcu, hlistUnhashedLockless } from '../kernel/hlist.ts';
import {
  fsReclaimAcquire,
  fsReclaimRelease,
  lockMapAcquire,
  lockMapRelease,
} from '../kernel/lock-map.ts';
import { lockdepAssertHeldWrite } from '../kernel/lockdep.ts';
import type { Body } from '../kernel/operation.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../kernel/srcu.ts';
import { mmdrop, mmgrab, type MmStruct } from '../mm-types/mm-struct.ts';
import { mmDropAllLocks, mmTakeAllLocks } from '../mm-types/mm-take-all-locks.ts';
import {
  MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP,
  MmuNotifierMm,
  mmuNotifierMmOf,
  notifierSrcu,
  type MmuNotifier,
} from './mmu-notifier.ts';

/** Teaches lockdep that reclaim calls invalidate_range_start. */
function primeLockdep(): void {
  fsReclaimAcquire(GFP_KERNEL);
  lockMapAcquire(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
  lockMapRelease(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
  fsReclaimRelease(GFP_KERNEL);
}

/** Puts `mn` on the list. All locks of the mm are held. */
function* addToList(mn: MmuNotifier, mm: MmStruct, notifiers: MmuNotifierMm): Body<void> {
  // Pairs with the mmdrop in unregister or in the SRCU callback of put.
  yield* mmgrab(mm);
  yield* spinLock(notifiers.lock);
  yield* hlistAddHeadRcu(mn.hlist, notifiers.list);
  yield* spinUnlock(notifiers.lock);
}

/**
 * Registers `mn` (its `ops` are set) on `mm`; or, with NULL, makes the mm ready for interval notifiers. The caller
 * holds mmap_sem for write and keeps mm_users above zero throughout. Returns 0 and, for a notifier, holds a pin on
 * mm_count; or -ENOMEM, or -EINTR when a signal came, with nothing changed. May sleep.
 *
 * @kernel __mmu_notifier_register
 */
export const mmuNotifierRegisterLocked = fn(
  function* mmuNotifierRegisterLocked(mn: MmuNotifier | null, mm: MmStruct) {
    lockdepAssertHeldWrite(mm.mmapSem);
    primeLockdep();
    bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0');
    if (mn !== null) {
      mn.mm = mm;
      mn.users = 1;
    }
    let fresh: MmuNotifierMm | null = null;
    if (mmuNotifierMmOf(mm) === null) {
      fresh = yield* kzalloc(MmuNotifierMm, GFP_KERNEL);
      if (fresh === null) return -ENOMEM;
    }
    if ((yield* mmTakeAllLocks(mm)) !== 0) {
      yield* kfree(fresh);
      return -EINTR;
    }
    // Holders of any of the locks read it plainly; who inserts an interval notifier holds none.
    if (fresh !== null) yield* smpStoreRelease(mm, 'mmuNotifierMm', fresh);
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    if (mn !== null) yield* addToList(mn, mm, notifiers);
    else if (!notifiers.hasItree) yield* dataRaceWrite(notifiers, 'hasItree', true);
    yield* mmDropAllLocks(mm);
    bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0');
    return 0;
  },
  { name: '__mmu_notifier_register' },
);

/**
 * As {@link mmuNotifierRegisterLocked}, taking mmap_sem itself. Never call it with mmap_sem held.
 *
 * @kernel mmu_notifier_register
 */
export const mmuNotifierRegister = fn(function* mmuNotifierRegister(
  mn: MmuNotifier | null,
  mm: MmStruct,
) {
  yield* downWrite(mm.mmapSem);
  const error = yield* mmuNotifierRegisterLocked(mn, mm);
  yield* upWrite(mm.mmapSem);
  return error;
});

/**
 * Takes `mn` off the list; when it returns, no callback of it is running or will run, and its pin on
 * the mm is gone, so the caller may free it. Calls release if the mm has not. Sleeps; must not be
 * called from a callback, nor with a lock held that a callback takes.
 *
 * @kernel mmu_notifier_unregister
 */
export const mmuNotifierUnregister = fn(function* mmuNotifierUnregister(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  bugOn((yield* atomicRead(mm.mmCount)) <= 0, 'atomic_read(&mm->mm_count) <= 0');
  // Tested without the lock, on purpose: exit may unlink at the same time, see above.
  if (!(yield* hlistUnhashedLockless(mn.hlist))) {
    // Exit waits for this section before it frees pages, so release has returned by then.
    const index = yield* srcuReadLock(notifierSrcu());
    const release = mn.ops!.release;
    if (release !== undefined) yield* release(mn, mm);
    yield* srcuReadUnlock(notifierSrcu(), index);
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    yield* spinLock(notifiers.lock);
    yield* hlistDelInitRcu(mn.hlist);
    yield* spinUnlock(notifiers.lock);
  }
  yield* synchronizeSrcu(notifierSrcu());
  bugOn((yield* atomicRead(mm.mmCount)) <= 0, 'atomic_read(&mm->mm_count) <= 0');
  yield* mmdrop(mm);
});
