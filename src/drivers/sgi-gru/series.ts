/**
 * The GMS as patch 4 makes it: the core finds, counts and frees it. There is no release: when the mm goes its list is
 * emptied, and the last put, by the end of the last mapping, frees the GMS after a grace period.
 */
import { ENOMEM } from '../../base/errno.ts';
import { ULONG_MAX } from '../../base/ulong.ts';
import { atomicInc } from '../../kernel/atomic.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGetLocked, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { GruMmStruct, sgiGru, type GruMmStruct as Gms } from './gru-priv.ts';
import {
  gruFlushTlbRange,
  gruInvalidateRangeEnd,
  gruInvalidateRangeStart,
} from './gru-tlb-purge.ts';

const { fn } = sgiGru;

const gruAllocNotifier = fn(function* gruAllocNotifier(_mm: MmStruct): Body<MmuNotifier | ErrPtr> {
  const gms = yield* kzalloc(GruMmStruct, GFP_KERNEL);
  return gms === null ? errPtr(-ENOMEM) : gms.msNotifier;
});

/** No callback runs any more. Must not sleep. */
const gruFreeNotifier = fn(function* gruFreeNotifier(mn: MmuNotifier) {
  yield* kfree(containerOf(mn, GruMmStruct, 'msNotifier'));
});

const gruMmuops: MmuNotifierOps = {
  invalidateRangeStart: gruInvalidateRangeStart,
  invalidateRangeEnd: gruInvalidateRangeEnd,
  allocNotifier: gruAllocNotifier,
  freeNotifier: gruFreeNotifier,
};

/** The GMS of current's mm with one more user, or ERR_PTR(-ENOMEM, -EINTR). May sleep. */
export const gruRegisterMmuNotifier = fn(function* gruRegisterMmuNotifier(): Body<Gms | ErrPtr> {
  const mn = yield* mmuNotifierGetLocked(gruMmuops, current().mm as MmStruct);
  return isErr(mn) ? mn : containerOf(mn, GruMmStruct, 'msNotifier');
});

/** What mends A-41 (ours): the mm is about to free its pages, and nothing may be dropped in any more. */
const gruReleaseStopping = fn(
  function* gruReleaseStopping(mn: MmuNotifier, _mm: MmStruct) {
    const gms = containerOf(mn, GruMmStruct, 'msNotifier');
    // Never taken back.
    yield* atomicInc(gms.msRangeActive);
    yield* gruFlushTlbRange(gms, 0, ULONG_MAX);
  },
  { name: 'gru_release' },
);

const gruStoppingOps: MmuNotifierOps = { ...gruMmuops, release: gruReleaseStopping };

/** As {@link gruRegisterMmuNotifier}, with that release. */
export const gruRegisterStopping = fn(
  function* gruRegisterStopping(): Body<Gms | ErrPtr> {
    const mn = yield* mmuNotifierGetLocked(gruStoppingOps, current().mm as MmStruct);
    return isErr(mn) ? mn : containerOf(mn, GruMmStruct, 'msNotifier');
  },
  { name: 'gru_register_mmu_notifier' },
);

/** One user less. Never sleeps. */
export const gruDropMmuNotifier = fn(function* gruDropMmuNotifier(gms: Gms) {
  yield* mmuNotifierPut(gms.msNotifier);
});
