/**
 * hmm before the series (v5.3): mm->hmm says where struct hmm is, under page_table_lock, which is not what that lock
 * is for; a kref of its own keeps it, and every callback has to try for a reference first. It is freed a grace period
 * after the last one, since the end without release is no fence. The mm is pinned twice: by the registration, which
 * gives its pin back at once when the notifier is unlinked, and for the time until then.
 */
import { ENOMEM } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefGetUnlessZero, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { lockdepAssertHeldWrite } from '../../kernel/lockdep.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { RcuHead } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterLockedV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
import { hmmCallbacks } from './hmm.ts';
import { Hmm, type HmmVersion } from './hmm-types.ts';

/** No callback runs any more. Called from an SRCU callback: must not sleep. */
const hmmFreeRcu = fn(function* hmmFreeRcu(rcu: RcuHead) {
  const hmm = containerOf(rcu, Hmm, 'rcu');
  yield* mmdrop(hmm.mm!);
  yield* kfree(hmm);
});

const hmmFree = fn(function* hmmFree(ref: Kref) {
  const hmm = containerOf(ref, Hmm, 'kref');
  const mm = hmm.mm!;
  yield* spinLock(mm.pageTableLock);
  // Another may have come in its place, when its last reference was gone.
  if (mm.hmm === hmm) mm.hmm = null;
  yield* spinUnlock(mm.pageTableLock);
  yield* mmuNotifierUnregisterNoRelease(hmm.mmuNotifier, mm);
  yield* mmuNotifierCallSrcu(hmm.rcu, hmmFreeRcu);
});

/** Drops a reference. Never sleeps. */
const hmmPut = fn(function* hmmPut(hmm: Hmm) {
  yield* krefPut(hmm.kref, hmmFree);
});

const hmmMmuNotifierOps = hmmCallbacks({
  *enter(mn) {
    const hmm = containerOf(mn, Hmm, 'mmuNotifier');
    // Its memory is there, it is not.
    return (yield* krefGetUnlessZero(hmm.kref)) ? hmm : null;
  },
  *leave(hmm) {
    yield* hmmPut(hmm);
  },
});

/** The hmm of an mm that can still be had, with one more reference. */
export const hmmGet = fn(
  function* hmmGet(mm: MmStruct) {
    yield* spinLock(mm.pageTableLock);
    const there = mm.hmm as Hmm | null;
    const found = there !== null && (yield* krefGetUnlessZero(there.kref)) ? there : null;
    yield* spinUnlock(mm.pageTableLock);
    return found;
  },
  { name: 'hmm_get_or_create' },
);

/** The hmm of an mm, or a new one, with a reference; NULL whatever went wrong. mmap_sem held for write. May sleep. */
const hmmGetOrCreate = fn(function* hmmGetOrCreate(mm: MmStruct) {
  lockdepAssertHeldWrite(mm.mmapSem);
  const found = yield* hmmGet(mm);
  if (found !== null) return found;
  const hmm = yield* kzalloc(Hmm, GFP_KERNEL);
  if (hmm === null) return null;
  krefInit(hmm.kref);
  hmm.mm = mm;
  hmm.mmuNotifier.ops = hmmMmuNotifierOps;
  if ((yield* mmuNotifierRegisterLockedV53(hmm.mmuNotifier, mm)) !== 0) {
    yield* kfree(hmm);
    return null;
  }
  yield* mmgrab(mm);
  // mmap_sem is held: nobody has put another there meanwhile.
  yield* spinLock(mm.pageTableLock);
  mm.hmm = hmm;
  yield* spinUnlock(mm.pageTableLock);
  return hmm;
});

export const hmmV53: HmmVersion = {
  *get(mm) {
    return (yield* hmmGetOrCreate(mm)) ?? -ENOMEM;
  },
  put: hmmPut,
  mmOf: (hmm) => hmm.mm!,
  rangesHold: true,
  endMakesValid: true,
};
