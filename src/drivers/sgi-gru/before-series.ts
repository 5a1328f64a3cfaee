/**
 * The GMS before the series (v5.3): found by searching the mm's list of notifiers, counted by the driver.
 *
 *   CPU0 register                            CPU1 drop
 *   finds the GMS on the list
 *                                            ms_refcnt becomes 0
 *                                            unregister, kfree
 *   ms_refcnt++                              [of what is freed]
 *
 * The list is read under RCU, though what protects it is SRCU and a lock; the count is raised whatever it was. What
 * keeps the two apart is mmap_sem alone, which the callers hold; nothing says so, or checks it (B-6). `release` only
 * says that the mm has let go of the notifier: then drop must not unregister it, and frees it at once. That drop comes
 * after the exit has waited for all callbacks rests on the mapping, whose reference to its GTS goes last. The mm's
 * reference that registration took is forgotten in that case.
 */
import { EAGAIN, ENOMEM } from '../../base/errno.ts';
import { atomicDecReturn, atomicInc, atomicSet } from '../../kernel/atomic.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hlistFirstRcu, hlistNextRcu } from '../../kernel/hlist.ts';
import type { Body } from '../../kernel/operation.ts';
import { rcuReadLock, rcuReadUnlock } from '../../kernel/rcu.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierRegisterLockedV53 } from '../../mmu-notifier/before-series.ts';
import {
  MmuNotifier,
  mmuNotifierMmOf,
  type MmuNotifierOps,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { GruMmStruct, sgiGru, type GruMmStruct as Gms } from './gru-priv.ts';
import { gruInvalidateRangeEnd, gruInvalidateRangeStart } from './gru-tlb-purge.ts';

const { fn } = sgiGru;

/** The mm lets go: of the notifier, not of the memory that it is in. */
const gruRelease = fn(function* gruRelease(mn: MmuNotifier, _mm: MmStruct) {
  containerOf(mn, GruMmStruct, 'msNotifier').msReleased = true;
});

const gruMmuops: MmuNotifierOps = {
  invalidateRangeStart: gruInvalidateRangeStart,
  invalidateRangeEnd: gruInvalidateRangeEnd,
  release: gruRelease,
};

/** The mm's notifier with these ops, or NULL. Nothing keeps it when this has returned. */
const mmuFindOps = fn(function* mmuFindOps(mm: MmStruct, ops: MmuNotifierOps) {
  const notifiers = mmuNotifierMmOf(mm);
  if (notifiers === null) return null;
  let found: MmuNotifier | null = null;
  yield* rcuReadLock();
  let node = yield* hlistFirstRcu(notifiers.list);
  while (node !== null && found === null) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    if (mn.ops === ops) found = mn;
    else node = yield* hlistNextRcu(node);
  }
  yield* rcuReadUnlock();
  return found;
});

/** The GMS of current's mm with one more reference, or ERR_PTR(-ENOMEM, -EINTR). May sleep. */
export const gruRegisterMmuNotifier = fn(function* gruRegisterMmuNotifier(
  mayOnlyFind?: true,
): Body<Gms | ErrPtr> {
  const mm = current().mm as MmStruct;
  const mn = yield* mmuFindOps(mm, gruMmuops);
  if (mn !== null) {
    const found = containerOf(mn, GruMmStruct, 'msNotifier');
    yield* atomicInc(found.msRefcnt);
    return found;
  }
  if (mayOnlyFind) return errPtr(-EAGAIN);
  const gms = yield* kzalloc(GruMmStruct, GFP_KERNEL);
  if (gms === null) return errPtr(-ENOMEM);
  gms.msNotifier.ops = gruMmuops;
  yield* atomicSet(gms.msRefcnt, 1);
  const error = yield* mmuNotifierRegisterLockedV53(gms.msNotifier, mm);
  if (error === 0) return gms;
  yield* kfree(gms);
  return errPtr(error);
});

/** One reference less. The last unregisters, with current's mm for the notifier's own. May sleep. */
export const gruDropMmuNotifier = fn(function* gruDropMmuNotifier(gms: Gms) {
  if ((yield* atomicDecReturn(gms.msRefcnt)) !== 0) return;
  if (!gms.msReleased) yield* mmuNotifierUnregister(gms.msNotifier, current().mm as MmStruct);
  yield* kfree(gms);
});
