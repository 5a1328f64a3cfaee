/**
 * radeon_mn.c as the series makes it (patch 8, v3), as v5.4 has it, and as it would have to be.
 *
 * One radeon_mn for an mm, whatever the number of devices, with one get for each buffer that is registered. `release`
 * does itself what an invalidation of everything does, and module exit waits for notifiers that were put.
 *
 * What is left of defects: see the differences below.
 *
 *                                        series        v5.4          fixed
 *     unregister of what never was       NULL (D8-1)   looks         looks
 *     release's range may block          no (D8-2)     no            yes
 *     no memory for a node               keeps get (D8-3)  keeps get     puts
 *     a node is allocated under lock     yes (D8-4)    yes           before
 *     a busy buffer is unregistered      at once       at once       when it is idle
 */
import { ULONG_MAX } from '../../base/ulong.ts';
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import {
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_UNMAP,
  type MmuNotifier,
  type MmuNotifierOps,
} from '../../mmu-notifier/mmu-notifier.ts';
import { radeonMnInsert, radeonMnInvalidateRangeStart, radeonMnRemove } from './radeon-mn.ts';
import { radeon, RadeonMn, type RadeonBo, type UserptrVersion } from './radeon.ts';

const { fn } = radeon;

interface Differences {
  readonly looksBeforeUnregister: boolean;
  readonly releaseFlags: number;
  readonly putsOnError: boolean;
}

/** `alloc_notifier`: mmap_sem is held for write. */
const radeonMnAllocNotifier = fn(function* radeonMnAllocNotifier(_mm: MmStruct) {
  const rmn = yield* kzalloc(RadeonMn, GFP_KERNEL);
  return rmn === null ? errPtr(-ENOMEM) : rmn.mn;
});

/** From an SRCU callback: must not sleep. */
const radeonMnFreeNotifier = fn(function* radeonMnFreeNotifier(mn: MmuNotifier) {
  yield* kfree(containerOf(mn, RadeonMn, 'mn'));
});

function opsWith(releaseFlags: number): MmuNotifierOps {
  /** The mm ends: all that an invalidation of everything does. What it returns is not looked at. */
  const radeonMnRelease = fn(
    function* radeonMnRelease(mn: MmuNotifier, mm: MmStruct) {
      yield* radeonMnInvalidateRangeStart(mn, {
        mm,
        vma: null,
        start: 0,
        end: ULONG_MAX,
        event: MMU_NOTIFY_UNMAP,
        flags: releaseFlags,
      });
    },
    { name: 'radeon_mn_release' },
  );
  return {
    release: radeonMnRelease,
    invalidateRangeStart: radeonMnInvalidateRangeStart,
    allocNotifier: radeonMnAllocNotifier,
    freeNotifier: radeonMnFreeNotifier,
  };
}

function version(differences: Differences): UserptrVersion {
  const { looksBeforeUnregister, releaseFlags, putsOnError } = differences;
  const radeonMnOps = opsWith(releaseFlags);

  const radeonMnRegister = fn(
    function* radeonMnRegister(bo: RadeonBo) {
      const mn = yield* mmuNotifierGet(radeonMnOps, current().mm as MmStruct);
      if (isErr(mn)) return ptrErr(mn);
      const error = yield* radeonMnInsert(containerOf(mn, RadeonMn, 'mn'), bo);
      if (error !== 0 && putsOnError) yield* mmuNotifierPut(mn);
      return error;
    },
    { name: 'radeon_mn_register' },
  );

  const radeonMnUnregister = fn(
    function* radeonMnUnregister(bo: RadeonBo) {
      const rmn = bo.mn;
      if (looksBeforeUnregister && rmn === null) return;
      yield* mutexLock(rmn!.lock);
      yield* radeonMnRemove(rmn!, bo);
      yield* mutexUnlock(rmn!.lock);
      yield* mmuNotifierPut(rmn!.mn);
      bo.mn = null;
    },
    { name: 'radeon_mn_unregister' },
  );

  return { register: radeonMnRegister, unregister: radeonMnUnregister };
}

/** Patch 8 as it was mailed. */
export const userptrSeries = version({
  looksBeforeUnregister: false,
  releaseFlags: 0,
  putsOnError: false,
});

/** With "guard against calling an unpaired radeon_mn_unregister()". */
export const userptrV54 = version({
  looksBeforeUnregister: true,
  releaseFlags: 0,
  putsOnError: false,
});

/** The same form without D8-2, D8-3 and D8-4's allocation, and with busy buffers watched to the end. No kernel had it. */
export const userptrFixed: UserptrVersion = {
  ...version({
    looksBeforeUnregister: true,
    releaseFlags: MMU_NOTIFIER_RANGE_BLOCKABLE,
    putsOnError: true,
  }),
  allocatesFirst: true,
  unregistersLast: true,
};
