/**
 * hmm before the series (v5.3): mm->hmm says where struct hmm is, under page_table_lock, which is not what that lock
 * is for; a kref of its own keeps it, and every callback has to try for a reference first. It is freed a grace period
 * after the last one, since the end without release is no fence. The mm is pinned twice: by the registration, which
 * gives its pin back at once when the notifier is unlinked, and for the time until then.
 */
import { EFAULT, EINVAL, ENOMEM } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefGet, krefGetUnlessZero, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { lockdepAssertHeldWrite } from '../../kernel/lockdep.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { RcuHead } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmdrop, mmgetNotZero, mmgrab, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterLockedV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  addMirror,
  addRange,
  checkMirror,
  hmmReleaseMirrors,
  hmmStart,
  notifiersDecrement,
  removeMirror,
  removeRange,
} from './hmm.ts';
import { Hmm, type HmmMirror, type HmmRange, type HmmVersion } from './hmm-types.ts';

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

const hmmRelease = fn(function* hmmRelease(mn: MmuNotifier, _mm: MmStruct) {
  const hmm = containerOf(mn, Hmm, 'mmuNotifier');
  // Its memory is there, it is not.
  if (!(yield* krefGetUnlessZero(hmm.kref))) return;
  yield* hmmReleaseMirrors(hmm);
  yield* hmmPut(hmm);
});

const hmmInvalidateRangeStart = fn(function* hmmInvalidateRangeStart(
  mn: MmuNotifier,
  update: MmuNotifierRange,
) {
  const hmm = containerOf(mn, Hmm, 'mmuNotifier');
  if (!(yield* krefGetUnlessZero(hmm.kref))) return 0;
  const error = yield* hmmStart(hmm, update);
  yield* hmmPut(hmm);
  return error;
});

const hmmInvalidateRangeEnd = fn(function* hmmInvalidateRangeEnd(
  mn: MmuNotifier,
  _update: MmuNotifierRange,
) {
  const hmm = containerOf(mn, Hmm, 'mmuNotifier');
  if (!(yield* krefGetUnlessZero(hmm.kref))) return;
  yield* notifiersDecrement(hmm);
  yield* hmmPut(hmm);
});

const hmmMmuNotifierOps: MmuNotifierOps = {
  release: hmmRelease,
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
};

/** The hmm of an mm that can still be had, with one more reference. */
const hmmGet = fn(
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

const hmmMirrorRegister = fn(function* hmmMirrorRegister(mirror: HmmMirror, mm: MmStruct) {
  if (checkMirror(mirror, mm) !== 0) return -EINVAL;
  const hmm = yield* hmmGetOrCreate(mm);
  if (hmm === null) return -ENOMEM;
  yield* addMirror(hmm, mirror);
  return 0;
});

const hmmMirrorUnregister = fn(function* hmmMirrorUnregister(mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  yield* removeMirror(hmm, mirror);
  yield* hmmPut(hmm);
});

const hmmRangeRegister = fn(function* hmmRangeRegister(range: HmmRange, mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  // As long as the range is there, release does not run.
  if (!(yield* mmgetNotZero(hmm.mm!))) return -EFAULT;
  yield* krefGet(hmm.kref);
  yield* addRange(hmm, range);
  return 0;
});

const hmmRangeUnregister = fn(function* hmmRangeUnregister(range: HmmRange) {
  const hmm = range.hmm!;
  yield* removeRange(hmm, range);
  yield* mmput(hmm.mm!);
  yield* hmmPut(hmm);
});

export const hmmV53: HmmVersion = {
  mirrorRegister: hmmMirrorRegister,
  mirrorUnregister: hmmMirrorUnregister,
  rangeRegister: hmmRangeRegister,
  rangeUnregister: hmmRangeUnregister,
  endMakesValid: true,
};
