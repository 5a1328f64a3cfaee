/**
 * The notifier core before the series (v5.3), where it differs.
 *
 * - Registration allocates the `mmu_notifier_mm` every time, before any lock, and frees it when it was
 *   not needed; a boolean says whether to take mmap_sem, and nothing checks that the caller of the
 *   locked form holds it.
 * - `unregister_no_release` unlinks without waiting: another CPU may still be inside any callback with
 *   a pointer to the notifier. Its users must free late, by `mmu_notifier_call_srcu`.
 */
import { ENOMEM } from '../base/errno.ts';
import { bugOn } from '../kernel/assertion.ts';
import { atomicRead } from '../kernel/atomic.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { hlistAddHeadRcu, hlistDelInitRcu } from '../kernel/hlist.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { callSrcu, srcuBarrier, type RcuHead } from '../kernel/srcu.ts';
import { mmdrop, mmgrab, type MmStruct } from '../mm-types/mm-struct.ts';
import { mmDropAllLocks, mmTakeAllLocks } from '../mm-types/mm-take-all-locks.ts';
import { MmuNotifierMm, mmuNotifierMmOf, notifierSrcu, type MmuNotifier } from './mmu-notifier.ts';

const doMmuNotifierRegister = fn(function* doMmuNotifierRegister(
  mn: MmuNotifier,
  mm: MmStruct,
  takesMmapSem: boolean,
) {
  bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0');
  let spare = yield* kzalloc(MmuNotifierMm, GFP_KERNEL);
  if (spare === null) return -ENOMEM;
  if (takesMmapSem) yield* downWrite(mm.mmapSem);
  const error = yield* mmTakeAllLocks(mm);
  if (error === 0) {
    if (mmuNotifierMmOf(mm) === null) {
      mm.mmuNotifierMm = spare;
      spare = null;
    }
    yield* mmgrab(mm);
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    yield* spinLock(notifiers.lock);
    yield* hlistAddHeadRcu(mn.hlist, notifiers.list);
    yield* spinUnlock(notifiers.lock);
    yield* mmDropAllLocks(mm);
  }
  if (takesMmapSem) yield* upWrite(mm.mmapSem);
  if (spare !== null) yield* kfree(spare);
  bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0');
  return error;
});

/**
 * `mmu_notifier_register` of v5.3. Returns 0, -ENOMEM or -EINTR. May sleep; not with mmap_sem held.
 *
 * @kernel mmu_notifier_register
 */
export const mmuNotifierRegisterV53 = fn(
  function* mmuNotifierRegisterV53(mn: MmuNotifier, mm: MmStruct) {
    return yield* doMmuNotifierRegister(mn, mm, true);
  },
  { name: 'mmu_notifier_register' },
);

/**
 * `__mmu_notifier_register` of v5.3: the caller should hold mmap_sem for write; nobody checks.
 *
 * @kernel __mmu_notifier_register
 */
export const mmuNotifierRegisterLockedV53 = fn(
  function* mmuNotifierRegisterLockedV53(mn: MmuNotifier, mm: MmStruct) {
    return yield* doMmuNotifierRegister(mn, mm, false);
  },
  { name: '__mmu_notifier_register' },
);

/**
 * Unlinks `mn` and drops its pin: no callback, no wait. Callbacks may go on for a grace period, so
 * the caller frees `mn` by {@link mmuNotifierCallSrcu}. Removed by patch 11.
 *
 * @kernel mmu_notifier_unregister_no_release
 */
export const mmuNotifierUnregisterNoRelease = fn(function* mmuNotifierUnregisterNoRelease(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
  yield* spinLock(notifiers.lock);
  yield* hlistDelInitRcu(mn.hlist);
  yield* spinUnlock(notifiers.lock);
  bugOn((yield* atomicRead(mm.mmCount)) <= 0, 'atomic_read(&mm->mm_count) <= 0');
  yield* mmdrop(mm);
});

/**
 * Runs `func` after a grace period of the notifiers' SRCU domain. `func` must not sleep. Removed by
 * patch 11.
 *
 * @kernel mmu_notifier_call_srcu
 */
export const mmuNotifierCallSrcu = fn(function* mmuNotifierCallSrcu(
  rcu: RcuHead,
  func: KernelCallable<[RcuHead], void>,
) {
  yield* callSrcu(notifierSrcu(), rcu, func);
});

/**
 * `mmu_notifier_synchronize` as it was from v3.17 on (b972216e27d1), until it was removed as unused: waits until all
 * callbacks that were queued by then have run, whatever CPU queued them. Not for read sections that are open. The
 * name came back with patch 3, with the weaker meaning of {@link mmuNotifierSynchronize}. Sleeps.
 *
 * @kernel mmu_notifier_synchronize
 */
export const mmuNotifierSynchronizeV317 = fn(
  function* mmuNotifierSynchronizeV317() {
    yield* srcuBarrier(notifierSrcu());
  },
  { name: 'mmu_notifier_synchronize' },
);
