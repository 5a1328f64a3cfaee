/**
 * hmm as the series makes it (patch 5): get finds struct hmm by its ops, the last put frees it when no callback can
 * see it. No counter of its own, no pointer in the mm. A range keeps the mm in use, and with it the mirror.
 */
import { EFAULT, EINVAL, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listEmpty } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { lockdepAssertHeldWrite } from '../../kernel/lockdep.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmgetNotZero, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGetLocked, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
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

const hmmAllocNotifier = fn(function* hmmAllocNotifier(_mm: MmStruct): Body<MmuNotifier | ErrPtr> {
  const hmm = yield* kzalloc(Hmm, GFP_KERNEL);
  return hmm === null ? errPtr(-ENOMEM) : hmm.mmuNotifier;
});

/** No callback runs any more. Called from an SRCU callback: must not sleep. */
const hmmFreeNotifier = fn(function* hmmFreeNotifier(mn: MmuNotifier) {
  const hmm = containerOf(mn, Hmm, 'mmuNotifier');
  warnOn(!listEmpty(hmm.ranges), '!list_empty(&hmm->ranges)');
  warnOn(!listEmpty(hmm.mirrors), '!list_empty(&hmm->mirrors)');
  yield* kfree(hmm);
});

const hmmRelease = fn(function* hmmRelease(mn: MmuNotifier, _mm: MmStruct) {
  yield* hmmReleaseMirrors(containerOf(mn, Hmm, 'mmuNotifier'));
});

const hmmInvalidateRangeStart = fn(function* hmmInvalidateRangeStart(
  mn: MmuNotifier,
  update: MmuNotifierRange,
) {
  return yield* hmmStart(containerOf(mn, Hmm, 'mmuNotifier'), update);
});

const hmmInvalidateRangeEnd = fn(function* hmmInvalidateRangeEnd(
  mn: MmuNotifier,
  _update: MmuNotifierRange,
) {
  yield* notifiersDecrement(containerOf(mn, Hmm, 'mmuNotifier'));
});

const hmmMmuNotifierOps: MmuNotifierOps = {
  release: hmmRelease,
  invalidateRangeStart: hmmInvalidateRangeStart,
  invalidateRangeEnd: hmmInvalidateRangeEnd,
  allocNotifier: hmmAllocNotifier,
  freeNotifier: hmmFreeNotifier,
};

const hmmMirrorRegister = fn(function* hmmMirrorRegister(mirror: HmmMirror, mm: MmStruct) {
  if (checkMirror(mirror, mm) !== 0) return -EINVAL;
  lockdepAssertHeldWrite(mm.mmapSem);
  const mn = yield* mmuNotifierGetLocked(hmmMmuNotifierOps, mm);
  if (isErr(mn)) return ptrErr(mn);
  yield* addMirror(containerOf(mn, Hmm, 'mmuNotifier'), mirror);
  return 0;
});

const hmmMirrorUnregister = fn(function* hmmMirrorUnregister(mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  yield* removeMirror(hmm, mirror);
  yield* mmuNotifierPut(hmm.mmuNotifier);
});

const hmmRangeRegister = fn(function* hmmRangeRegister(range: HmmRange, mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  // As long as the range is there, release does not run.
  if (!(yield* mmgetNotZero(hmm.mmuNotifier.mm!))) return -EFAULT;
  yield* addRange(hmm, range);
  return 0;
});

const hmmRangeUnregister = fn(function* hmmRangeUnregister(range: HmmRange) {
  const hmm = range.hmm!;
  yield* removeRange(hmm, range);
  yield* mmput(hmm.mmuNotifier.mm!);
});

/** As patch 5 makes it. */
export const hmmSeries: HmmVersion = {
  mirrorRegister: hmmMirrorRegister,
  mirrorUnregister: hmmMirrorUnregister,
  rangeRegister: hmmRangeRegister,
  rangeUnregister: hmmRangeUnregister,
  endMakesValid: true,
};

/**
 * The same, but a range that was invalidated stays so until its owner has waited for it again. What v5.5 does by
 * counting invalidations (99cb252f5e68) in as few words as possible.
 */
export const hmmFixed: HmmVersion = { ...hmmSeries, endMakesValid: false };
