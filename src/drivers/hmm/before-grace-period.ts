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
import { ENOMEM } from '../../base/errno.ts';
import { bugOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierRegisterLockedV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { hmmGet, hmmV53 } from './before-series.ts';
import { hmmCallbacks, type Access } from './hmm.ts';
import { Hmm, type HmmVersion } from './hmm-types.ts';

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

function version(enter: Access['enter']): HmmVersion {
  // Callbacks have no reference.
  const ops = hmmCallbacks({ enter, *leave() {} });
  return {
    ...hmmV53,
    *get(mm) {
      return (yield* hmmGetOrCreate(mm, ops)) ?? -ENOMEM;
    },
    put: hmmPut,
  };
}

/** Before 6d7c3cde93c1. */
export const hmmBeforeGracePeriod = version(function* byNotifier(mn) {
  return containerOf(mn, Hmm, 'mmuNotifier');
});

/** As in 2018: callbacks go by mm->hmm. */
export const hmmByMm = version(function* byMm(_mn, mm) {
  // Without page_table_lock: callbacks are called with locks that are taken inside it.
  const hmm = (yield* dataRace(mm, 'hmm')) as Hmm | null;
  bugOn(hmm === null, '!hmm');
  return hmm;
});
