/**
 * hmm before it waited for a grace period, in two forms.
 *
 * Before 6d7c3cde93c1 (B-3): struct hmm is freed as soon as the notifier is unlinked, while another CPU may be on
 * its way into a callback. In 2018 (B-4): callbacks ask mm->hmm, and the last mirror takes that away before it
 * unlinks the notifier, so that a callback in between finds nothing.
 *
 *     CPU0 unregister                        CPU1 invalidate
 *     mm->hmm = NULL
 *                                            start: mm->hmm?  BUG_ON(!hmm)                       [B-4]
 *                                            mn = the next on the list
 *     unlink the notifier
 *     kfree(hmm)
 *                                            start(mn): uses hmm                                 [B-3]
 */
import { EFAULT, EINVAL, ENOMEM } from '../../base/errno.ts';
import { bugOn } from '../../kernel/assertion.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefGet, krefGetUnlessZero, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmgetNotZero, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import {
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

/** How a callback finds struct hmm. */
type Find = KernelCallable<[MmuNotifier, MmStruct], Hmm>;

const byNotifier = fn(
  function* byNotifier(mn: MmuNotifier, _mm: MmStruct) {
    return containerOf(mn, Hmm, 'mmuNotifier');
  },
  { name: 'hmm_of_notifier' },
);

const byMm = fn(
  function* byMm(_mn: MmuNotifier, mm: MmStruct) {
    // Without page_table_lock: callbacks are called with locks that are taken inside it.
    const hmm = (yield* dataRace(mm, 'hmm')) as Hmm | null;
    bugOn(hmm === null, '!hmm');
    return hmm!;
  },
  { name: 'mm_get_hmm' },
);

function opsWith(find: Find): MmuNotifierOps {
  const release = fn(function* hmmRelease(mn: MmuNotifier, mm: MmStruct) {
    yield* hmmReleaseMirrors(yield* find(mn, mm));
  });
  const invalidateRangeStart = fn(function* hmmInvalidateRangeStart(
    mn: MmuNotifier,
    update: MmuNotifierRange,
  ) {
    return yield* hmmStart(yield* find(mn, update.mm), update);
  });
  const invalidateRangeEnd = fn(function* hmmInvalidateRangeEnd(
    mn: MmuNotifier,
    update: MmuNotifierRange,
  ) {
    yield* notifiersDecrement(yield* find(mn, update.mm));
  });
  return { release, invalidateRangeStart, invalidateRangeEnd };
}

/** Nobody waits for those who walk the list. */
const hmmFree = fn(function* hmmFree(ref: Kref) {
  const hmm = containerOf(ref, Hmm, 'kref');
  const mm = hmm.mm!;
  yield* spinLock(mm.pageTableLock);
  if (mm.hmm === hmm) yield* dataRaceWrite(mm, 'hmm', null);
  yield* spinUnlock(mm.pageTableLock);
  yield* mmuNotifierUnregisterNoRelease(hmm.mmuNotifier, mm);
  yield* kfree(hmm);
});

const hmmPut = fn(function* hmmPut(hmm: Hmm) {
  yield* krefPut(hmm.kref, hmmFree);
});

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

const hmmGetOrCreate = fn(function* hmmGetOrCreate(mm: MmStruct, ops: MmuNotifierOps) {
  const found = yield* hmmGet(mm);
  if (found !== null) return found;
  const hmm = yield* kzalloc(Hmm, GFP_KERNEL);
  if (hmm === null) return null;
  krefInit(hmm.kref);
  hmm.mm = mm;
  hmm.mmuNotifier.ops = ops;
  // Before the first callback, which asks for it.
  yield* spinLock(mm.pageTableLock);
  yield* dataRaceWrite(mm, 'hmm', hmm);
  yield* spinUnlock(mm.pageTableLock);
  if ((yield* mmuNotifierRegisterLockedV53(hmm.mmuNotifier, mm)) === 0) return hmm;
  yield* spinLock(mm.pageTableLock);
  yield* dataRaceWrite(mm, 'hmm', null);
  yield* spinUnlock(mm.pageTableLock);
  yield* kfree(hmm);
  return null;
});

const hmmMirrorUnregister = fn(function* hmmMirrorUnregister(mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  yield* removeMirror(hmm, mirror);
  yield* hmmPut(hmm);
});

const hmmRangeRegister = fn(function* hmmRangeRegister(range: HmmRange, mirror: HmmMirror) {
  const hmm = mirror.hmm!;
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

function version(find: Find): HmmVersion {
  const ops = opsWith(find);
  const mirrorRegister = fn(function* hmmMirrorRegister(mirror: HmmMirror, mm: MmStruct) {
    if (checkMirror(mirror, mm) !== 0) return -EINVAL;
    const hmm = yield* hmmGetOrCreate(mm, ops);
    if (hmm === null) return -ENOMEM;
    yield* addMirror(hmm, mirror);
    return 0;
  });
  return {
    mirrorRegister,
    mirrorUnregister: hmmMirrorUnregister,
    rangeRegister: hmmRangeRegister,
    rangeUnregister: hmmRangeUnregister,
    endMakesValid: true,
  };
}

/** Before 6d7c3cde93c1. */
export const hmmBeforeGracePeriod = version(byNotifier);

/** As in 2018: callbacks go by mm->hmm. */
export const hmmByMm = version(byMm);
