/**
 * umem_odp.c, as far as v5.3 and the series agree in how an mm's ib_ucontext_per_mm hears of ranges and how a region is
 * made: the patch changes what tells that nobody uses it any more, and who makes it.
 */
import { EAGAIN, ENOMEM } from '../../base/errno.ts';
import { completeAll } from '../../kernel/completion.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { intervalTreeInsert, intervalTreeRemove } from '../../kernel/interval-tree.ts';
import { downRead, downReadTrylock, downWrite, upRead, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  DmaList,
  ibUmemEnd,
  ibUmemStart,
  ibUverbs,
  PageList,
  PerMm,
  UmemOdp,
  type IbDevice,
  type UmemRequest,
} from './ib-priv.ts';
import {
  ibUmemNotifierEndAccount,
  keepForEnd,
  releaseAll,
  startInRange,
  umemsInRange,
} from './umem-odp.ts';

const { fn } = ibUverbs;

export function perMmOf(mn: MmuNotifier): PerMm {
  return containerOf(mn, PerMm, 'mn');
}

// ---- callbacks --------------------------------------------------------------------------------------

/** What the callbacks of a version differ in. */
export interface Callbacks {
  /** Whether the last region has gone. Under umem_rwsem; once it has, it stays so, which the end relies on. */
  readonly isOff: (perMm: PerMm) => boolean;
  /** 7608bf40cf24: a start that refuses the range gives umem_rwsem back: nobody says the end (B-10). */
  readonly unlocksOnRefusal: boolean;
  /** The end looks again whether the last region has gone (B-47). */
  readonly rechecks: boolean;
}

/** The callbacks that hear of ranges and of the mm's end. */
export function umemNotifierOps({ isOff, unlocksOnRefusal, rechecks }: Callbacks): MmuNotifierOps {
  return {
    release: fn(function* ibUmemNotifierRelease(mn: MmuNotifier, _mm: MmStruct) {
      const perMm = perMmOf(mn);
      yield* downRead(perMm.umemRwsem);
      if (!isOff(perMm)) yield* releaseAll(perMm);
      yield* upRead(perMm.umemRwsem);
    }),

    invalidateRangeStart: fn(function* ibUmemNotifierInvalidateRangeStart(
      mn: MmuNotifier,
      range: MmuNotifierRange,
    ) {
      const perMm = perMmOf(mn);
      const isBlockable = mmuNotifierRangeBlockable(range);
      if (isBlockable) yield* downRead(perMm.umemRwsem);
      else if (!(yield* downReadTrylock(perMm.umemRwsem))) return -EAGAIN;
      if (isOff(perMm)) {
        yield* upRead(perMm.umemRwsem);
        return 0;
      }
      keepForEnd(perMm);
      const error = yield* startInRange(perMm, range, isBlockable);
      if (error !== 0 && unlocksOnRefusal) yield* upRead(perMm.umemRwsem);
      return error;
    }),

    invalidateRangeEnd: fn(function* ibUmemNotifierInvalidateRangeEnd(
      mn: MmuNotifier,
      range: MmuNotifierRange,
    ) {
      const perMm = perMmOf(mn);
      if (rechecks && isOff(perMm)) return;
      for (const odp of umemsInRange(perMm, range.start, range.end)) {
        yield* ibUmemNotifierEndAccount(odp);
      }
      yield* upRead(perMm.umemRwsem);
    }),
  };
}

// ---- regions ----------------------------------------------------------------------------------------

/** A region that nobody knows yet, NULL without memory; `request` is NULL for an implicit one. */
export const newUmem = fn(
  function* newUmem(ibdev: IbDevice, mm: MmStruct, request: UmemRequest | null) {
    const odp = yield* kzalloc(UmemOdp, GFP_KERNEL);
    if (odp === null) return null;
    odp.umem.ibdev = ibdev;
    odp.umem.owningMm = mm;
    odp.umem.isOdp = true;
    odp.isImplicitOdp = request === null;
    if (request !== null) Object.assign(odp.umem, request);
    return odp;
  },
  { name: 'ib_umem_odp_get' },
);

/** The lists of a region that is not implicit: 0 or -ENOMEM. What there is, {@link freeLists} frees. */
export const allocLists = fn(
  function* allocLists(odp: UmemOdp) {
    odp.pageList = yield* kzalloc(PageList, GFP_KERNEL);
    if (odp.pageList === null) return -ENOMEM;
    odp.dmaList = yield* kzalloc(DmaList, GFP_KERNEL);
    return odp.dmaList === null ? -ENOMEM : 0;
  },
  { name: 'ib_init_umem_odp' },
);

export const freeLists = fn(
  function* freeLists(odp: UmemOdp) {
    yield* kfree(odp.dmaList);
    yield* kfree(odp.pageList);
  },
  { name: 'kvfree' },
);

/** Puts a region into the tree, unless it is implicit: from here on the notifier knows it. Takes umem_rwsem. */
export const addUmemToPerMm = fn(function* addUmemToPerMm(odp: UmemOdp) {
  if (odp.isImplicitOdp) return;
  const { umemRwsem, umemTree } = odp.perMm!;
  odp.intervalTree.start = ibUmemStart(odp);
  odp.intervalTree.last = ibUmemEnd(odp) - 1;
  yield* downWrite(umemRwsem);
  intervalTreeInsert(odp.intervalTree, umemTree);
  yield* upWrite(umemRwsem);
});

/** Takes a region out of the tree, unless it is implicit. umem_rwsem is held for write. */
export const removeFromTree = fn(
  function* removeFromTree(odp: UmemOdp) {
    if (odp.isImplicitOdp) return;
    intervalTreeRemove(odp.intervalTree, odp.perMm!.umemTree);
    yield* completeAll(odp.notifierCompletion);
  },
  { name: 'remove_umem_from_per_mm' },
);
