/**
 * hmm as the series makes it (patch 5): get finds struct hmm by its ops, the last put frees it when no callback can
 * see it. No counter of its own, no pointer in the mm. A range keeps the mm in use, and with it the mirror.
 */
import { ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listEmpty } from '../../kernel/list.ts';
import { lockdepAssertHeldWrite } from '../../kernel/lockdep.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGetLocked, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { hmmCallbacks } from './hmm.ts';
import { Hmm, type HmmVersion } from './hmm-types.ts';

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

const hmmMmuNotifierOps: MmuNotifierOps = {
  ...hmmCallbacks({
    *enter(mn) {
      return containerOf(mn, Hmm, 'mmuNotifier');
    },
    *leave() {},
  }),
  allocNotifier: hmmAllocNotifier,
  freeNotifier: hmmFreeNotifier,
};

/** As patch 5 makes it. */
export const hmmSeries: HmmVersion = {
  *get(mm) {
    lockdepAssertHeldWrite(mm.mmapSem);
    const mn = yield* mmuNotifierGetLocked(hmmMmuNotifierOps, mm);
    return isErr(mn) ? ptrErr(mn) : containerOf(mn, Hmm, 'mmuNotifier');
  },
  put: fn(function* hmmPut(hmm: Hmm) {
    yield* mmuNotifierPut(hmm.mmuNotifier);
  }),
  mmOf: (hmm) => hmm.mmuNotifier.mm!,
  rangesHold: false,
  endMakesValid: true,
};

/**
 * The same, but a range that was invalidated stays so until its owner has waited for it again. What v5.5 does by
 * counting invalidations (99cb252f5e68) in as few words as possible.
 */
export const hmmFixed: HmmVersion = { ...hmmSeries, endMakesValid: false };
