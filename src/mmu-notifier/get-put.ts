/**
 * mmu_notifier_get, put and synchronize: one refcounted notifier for each (mm, ops) (patch 3).
 *
 * `users` and being found on the list are both under `mmu_notifier_mm.lock`, so a get cannot revive
 * a notifier whose last put has unlinked it; it then makes a second one, while the first still waits
 * for its grace period. Two of one ops may be running at once, only one is on the list.
 *
 *   CPU0 put                                 CPU1 invalidate
 *                                            srcu_read_lock
 *                                            mn = the next on the list
 *   users becomes 0: unlink mn
 *   call_srcu(free)
 *                                            mn->ops->invalidate_range_start(mn)
 *                                            srcu_read_unlock
 *   [grace period]  free_notifier(mn); mmdrop
 */
import { EOVERFLOW } from '../base/errno.ts';
import { warnOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import { errPtr, isErr, type ErrPtr } from '../kernel/err-ptr.ts';
import { hlistDelInitRcu, hlistForEach } from '../kernel/hlist.ts';
import { lockdepAssertHeldWrite } from '../kernel/lockdep.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { callSrcu, synchronizeSrcu, type RcuHead } from '../kernel/srcu.ts';
import { containerOf } from '../kernel/struct.ts';
import { mmdrop, type MmStruct } from '../mm-types/mm-struct.ts';
import {
  MmuNotifier,
  mmuNotifierMmOf,
  notifierSrcu,
  type MmuNotifierMm,
  type MmuNotifierOps,
} from './mmu-notifier.ts';
import { mmuNotifierRegisterLocked } from './register.ts';

/** UINT_MAX: more gets than this at a time are refused. */
export const MMU_NOTIFIER_USERS_MAX = 2 ** 32 - 1;

/** The mm's notifier with these ops, with one more user; NULL if there is none; ERR_PTR(-EOVERFLOW). */
const findGetMmuNotifier = fn(function* findGetMmuNotifier(mm: MmStruct, ops: MmuNotifierOps) {
  const notifiers = mmuNotifierMmOf(mm);
  if (notifiers === null) return null;
  yield* spinLock(notifiers.lock);
  let found: MmuNotifier | ErrPtr | null = null;
  for (const node of hlistForEach(notifiers.list)) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    if (mn.ops !== ops) continue;
    if (mn.users === MMU_NOTIFIER_USERS_MAX) {
      found = errPtr(-EOVERFLOW);
    } else {
      mn.users += 1;
      found = mn;
    }
    break;
  }
  yield* spinUnlock(notifiers.lock);
  return found;
});

/**
 * The notifier of `ops` on `mm`: the one that is there, with one more user, or a new one from
 * `ops.allocNotifier`. Each get needs a put. The caller holds mmap_sem for write and keeps mm_users
 * above zero. Until the put, `mn->mm` is a valid pointer, to be promoted with mmget_not_zero.
 * Returns the notifier, or ERR_PTR: -EOVERFLOW, what `allocNotifier` returned, -ENOMEM, -EINTR. May
 * sleep.
 *
 * @kernel mmu_notifier_get_locked
 */
export const mmuNotifierGetLocked = fn(function* mmuNotifierGetLocked(
  ops: MmuNotifierOps,
  mm: MmStruct,
) {
  lockdepAssertHeldWrite(mm.mmapSem);
  const found = yield* findGetMmuNotifier(mm, ops);
  if (found !== null) return found;
  const mn = yield* ops.allocNotifier!(mm);
  if (isErr(mn)) return mn;
  mn.ops = ops;
  const error = yield* mmuNotifierRegisterLocked(mn, mm);
  if (error === 0) return mn;
  // It was never on the list: no grace period, and no pin to drop.
  yield* ops.freeNotifier!(mn);
  return errPtr(error);
});

/**
 * As {@link mmuNotifierGetLocked}, taking mmap_sem itself.
 *
 * @kernel mmu_notifier_get
 */
export const mmuNotifierGet = fn(function* mmuNotifierGet(ops: MmuNotifierOps, mm: MmStruct) {
  yield* downWrite(mm.mmapSem);
  const mn = yield* mmuNotifierGetLocked(ops, mm);
  yield* upWrite(mm.mmapSem);
  return mn;
});

/** Runs after the grace period, on the CPU of the put. Must not sleep. */
const mmuNotifierFreeRcu = fn(function* mmuNotifierFreeRcu(rcu: RcuHead) {
  const mn = containerOf(rcu, MmuNotifier, 'rcu');
  // The pin outlives the notifier: free_notifier may still look at the mm structure.
  const mm = mn.mm!;
  yield* mn.ops!.freeNotifier!(mn);
  // Pairs with the mmgrab in register.
  yield* mmdrop(mm);
});

/**
 * Gives a get back. The last put unlinks the notifier and frees it, through `ops.freeNotifier`, when
 * all callbacks that may see it have returned; it does not wait for that and does not call release,
 * so the caller has dropped all translations before. Never sleeps; may be called from release.
 *
 * @kernel mmu_notifier_put
 */
export const mmuNotifierPut = fn(function* mmuNotifierPut(mn: MmuNotifier) {
  const notifiers = mmuNotifierMmOf(mn.mm!) as MmuNotifierMm;
  yield* spinLock(notifiers.lock);
  const isOverPut = warnOn(mn.users === 0, '!mn->users');
  if (!isOverPut) mn.users -= 1;
  if (isOverPut || mn.users > 0) {
    yield* spinUnlock(notifiers.lock);
    return;
  }
  // Nothing to do if exit was first; readers that stand on the node can still go on from it.
  yield* hlistDelInitRcu(mn.hlist);
  yield* spinUnlock(notifiers.lock);
  yield* callSrcu(notifierSrcu(), mn.rcu, mmuNotifierFreeRcu);
});

/**
 * Waits until the ops of notifiers that were put are no longer called. For module exit. It waits for
 * a grace period, not for the callbacks queued on other CPUs: a free_notifier may still be pending
 * there. Sleeps. {@link mmuNotifierSynchronizeV317} waits for those, too.
 *
 * @kernel mmu_notifier_synchronize
 */
export const mmuNotifierSynchronize = fn(function* mmuNotifierSynchronize() {
  yield* synchronizeSrcu(notifierSrcu());
});
