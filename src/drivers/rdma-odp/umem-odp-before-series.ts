/**
 * umem_odp.c before the series (v5.3): each context has its own ib_ucontext_per_mm for each mm.
 *
 * It is found in a list of the context, counted by odp_mrs_count, and registered while that list's mutex is held. When
 * the last region goes, `active` is cleared under umem_rwsem, so that a start that comes later does nothing and its end
 * can tell; then the notifier is unlinked without waiting for anybody, and freed after an SRCU grace period.
 *
 * A child of an implicit region takes the ib_ucontext_per_mm of its parent, without any registration.
 */
import { EAGAIN, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { completeAll, initCompletion } from '../../kernel/completion.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import {
  intervalTreeEmpty,
  intervalTreeInsert,
  intervalTreeRemove,
} from '../../kernel/interval-tree.ts';
import { listAdd, listDel, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, downReadTrylock, downWrite, upRead, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import type { RcuHead } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import {
  currentThread,
  getTaskMm,
  getTaskStruct,
  groupLeaderOf,
  putTaskStruct,
} from '../../mm-types/task-struct.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
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
  type IbUcontext,
  type UmemRequest,
  type UmemVersion,
} from './ib-priv.ts';
import {
  ibUmemNotifierEndAccount,
  ibUmemOdpUnmapDmaPages,
  keepForEnd,
  releaseAll,
  startInRange,
  umemsInRange,
} from './umem-odp.ts';

const { fn } = ibUverbs;

function perMmOf(mn: MmuNotifier): PerMm {
  return containerOf(mn, PerMm, 'mn');
}

const ibUmemNotifierRelease = fn(function* ibUmemNotifierRelease(mn: MmuNotifier, _mm: MmStruct) {
  const perMm = perMmOf(mn);
  yield* downRead(perMm.umemRwsem);
  if (perMm.active) yield* releaseAll(perMm);
  yield* upRead(perMm.umemRwsem);
});

/** @param unlocksOnRefusal 7608bf40cf24: a start that refuses the range gives umem_rwsem back: nobody says the end. */
function rangeStart(
  unlocksOnRefusal: boolean,
): NonNullable<MmuNotifierOps['invalidateRangeStart']> {
  return fn(function* ibUmemNotifierInvalidateRangeStart(mn: MmuNotifier, range: MmuNotifierRange) {
    const perMm = perMmOf(mn);
    const isBlockable = mmuNotifierRangeBlockable(range);
    if (isBlockable) yield* downRead(perMm.umemRwsem);
    else if (!(yield* downReadTrylock(perMm.umemRwsem))) return -EAGAIN;
    if (!perMm.active) {
      // It stays so, which the end relies on.
      yield* upRead(perMm.umemRwsem);
      return 0;
    }
    keepForEnd(perMm);
    const error = yield* startInRange(perMm, range, isBlockable);
    if (error !== 0 && unlocksOnRefusal) yield* upRead(perMm.umemRwsem);
    return error;
  });
}

/**
 * Between `active` being cleared and the unlinking, the notifier is called and does nothing.
 *
 * @param rechecks whether it looks at `active` again; without that it gives back what start did not keep (B-47).
 */
function rangeEnd(rechecks: boolean): NonNullable<MmuNotifierOps['invalidateRangeEnd']> {
  return fn(function* ibUmemNotifierInvalidateRangeEnd(mn: MmuNotifier, range: MmuNotifierRange) {
    const perMm = perMmOf(mn);
    if (rechecks && !perMm.active) return;
    for (const odp of umemsInRange(perMm, range.start, range.end)) {
      yield* ibUmemNotifierEndAccount(odp);
    }
    yield* upRead(perMm.umemRwsem);
  });
}

const freePerMm = fn(function* freePerMm(rcu: RcuHead) {
  yield* kfree(containerOf(rcu, PerMm, 'rcu'));
});

/** A new ib_ucontext_per_mm of current, or an ERR_PTR. per_mm_list_lock is held. May sleep. */
function allocPerMmWith(ops: MmuNotifierOps) {
  return fn(function* allocPerMm(context: IbUcontext, mm: MmStruct): Body<PerMm | ErrPtr> {
    const perMm = yield* kzalloc(PerMm, GFP_KERNEL);
    if (perMm === null) return errPtr(-ENOMEM);
    perMm.context = context;
    perMm.mm = mm;
    perMm.active = true;
    const thread = currentThread();
    perMm.tgid = thread === null ? null : groupLeaderOf(thread);
    if (perMm.tgid !== null) yield* getTaskStruct(perMm.tgid);
    warnOn(mm !== current().mm, 'mm != current->mm');
    perMm.mn.ops = ops;
    const error = yield* mmuNotifierRegisterV53(perMm.mn, mm);
    if (error !== 0) {
      if (perMm.tgid !== null) yield* putTaskStruct(perMm.tgid);
      yield* kfree(perMm);
      return errPtr(error);
    }
    listAdd(perMm.ucontextList, context.perMmList);
    return perMm;
  });
}

/** Gives the region's ib_ucontext_per_mm back; the last one ends it. May sleep. */
const putPerMm = fn(function* putPerMm(odp: UmemOdp) {
  const perMm = odp.perMm!;
  const context = odp.umem.context!;
  yield* mutexLock(context.perMmListLock);
  odp.perMm = null;
  perMm.odpMrsCount -= 1;
  const isLast = perMm.odpMrsCount === 0;
  if (isLast) listDel(perMm.ucontextList);
  yield* mutexUnlock(context.perMmListLock);
  if (!isLast) return;
  // The notifier may go between a start and its end. No start is past its test of `active` once this is done.
  yield* downWrite(perMm.umemRwsem);
  perMm.active = false;
  yield* upWrite(perMm.umemRwsem);
  warnOn(!intervalTreeEmpty(perMm.umemTree), '!RB_EMPTY_ROOT(&per_mm->umem_tree)');
  yield* mmuNotifierUnregisterNoRelease(perMm.mn, perMm.mm!);
  if (perMm.tgid !== null) yield* putTaskStruct(perMm.tgid);
  yield* mmuNotifierCallSrcu(perMm.rcu, freePerMm);
});

const addUmemToPerMm = fn(function* addUmemToPerMm(odp: UmemOdp) {
  if (odp.isImplicitOdp) return;
  odp.intervalTree.start = ibUmemStart(odp);
  odp.intervalTree.last = ibUmemEnd(odp) - 1;
  yield* downWrite(odp.perMm!.umemRwsem);
  intervalTreeInsert(odp.intervalTree, odp.perMm!.umemTree);
  yield* upWrite(odp.perMm!.umemRwsem);
});

const removeUmemFromPerMm = fn(function* removeUmemFromPerMm(odp: UmemOdp) {
  if (odp.isImplicitOdp) return;
  yield* downWrite(odp.perMm!.umemRwsem);
  intervalTreeRemove(odp.intervalTree, odp.perMm!.umemTree);
  yield* completeAll(odp.notifierCompletion);
  yield* upWrite(odp.perMm!.umemRwsem);
});

/** The lists of a region that is not implicit: 0 or -ENOMEM. */
const allocLists = fn(
  function* allocLists(odp: UmemOdp) {
    odp.pageList = yield* kzalloc(PageList, GFP_KERNEL);
    if (odp.pageList === null) return -ENOMEM;
    odp.dmaList = yield* kzalloc(DmaList, GFP_KERNEL);
    return odp.dmaList === null ? -ENOMEM : 0;
  },
  { name: 'ib_umem_odp_get' },
);

const freeUmem = fn(
  function* freeUmem(odp: UmemOdp) {
    yield* kfree(odp.dmaList);
    yield* kfree(odp.pageList);
    // Pairs with the mmgrab at its making.
    yield* mmdrop(odp.umem.owningMm!);
    yield* kfree(odp);
  },
  { name: '__ib_umem_release_tail' },
);

/** A region that nobody knows yet, or NULL without memory. */
const newUmem = fn(
  function* newUmem(context: IbUcontext, mm: MmStruct, request: UmemRequest | null) {
    const odp = yield* kzalloc(UmemOdp, GFP_KERNEL);
    if (odp === null) return null;
    odp.umem.context = context;
    odp.umem.ibdev = context.device;
    odp.umem.owningMm = mm;
    odp.umem.isOdp = true;
    odp.isImplicitOdp = request === null;
    if (request !== null) Object.assign(odp.umem, request);
    yield* mmgrab(mm);
    initCompletion(odp.notifierCompletion);
    if (request === null || (yield* allocLists(odp)) === 0) return odp;
    yield* freeUmem(odp);
    return null;
  },
  { name: 'ib_umem_odp_get' },
);

/** Where versions of v5.3's code differ. */
interface Differences {
  /** 7608bf40cf24 (B-10). */
  readonly unlocksOnRefusal?: boolean;
  /** The end looks at `active` again (B-47); it does unless this is false. */
  readonly rechecks?: boolean;
  /** As {@link UmemVersion} has it; true if left out. */
  readonly isAnnotated?: boolean;
}

function makeVersion(differences: Differences): UmemVersion {
  const { unlocksOnRefusal = false, rechecks = true, isAnnotated = true } = differences;
  const ops: MmuNotifierOps = {
    release: ibUmemNotifierRelease,
    invalidateRangeStart: rangeStart(unlocksOnRefusal),
    invalidateRangeEnd: rangeEnd(rechecks),
  };
  const alloc = allocPerMmWith(ops);

  const getPerMm = fn(function* getPerMm(odp: UmemOdp) {
    const context = odp.umem.context!;
    yield* mutexLock(context.perMmListLock);
    let found: PerMm | ErrPtr | null = null;
    for (const perMm of listForEachEntry(context.perMmList, PerMm, 'ucontextList')) {
      if (perMm.mm === odp.umem.owningMm) found = perMm;
    }
    found ??= yield* alloc(context, odp.umem.owningMm!);
    if (!isErr(found)) {
      odp.perMm = found;
      found.odpMrsCount += 1;
    }
    yield* mutexUnlock(context.perMmListLock);
    return isErr(found) ? ptrErr(found) : 0;
  });

  const make = fn(
    function* make(context: IbUcontext, request: UmemRequest | null): Body<UmemOdp | ErrPtr> {
      const odp = yield* newUmem(context, current().mm as MmStruct, request);
      if (odp === null) return errPtr(-ENOMEM);
      const error = yield* getPerMm(odp);
      if (error !== 0) {
        yield* freeUmem(odp);
        return errPtr(error);
      }
      yield* addUmemToPerMm(odp);
      return odp;
    },
    { name: 'ib_umem_odp_get' },
  );

  return {
    get: fn(function* ibUmemOdpGet(context: IbUcontext, request: UmemRequest) {
      return yield* make(context, request);
    }),
    allocImplicit: fn(function* ibUmemOdpAllocImplicit(context: IbUcontext, isWritable: boolean) {
      const odp = yield* make(context, null);
      if (!isErr(odp)) odp.umem.isWritable = isWritable;
      return odp;
    }),
    allocChild: ibAllocOdpUmem,
    release: ibUmemOdpRelease,
    ibdevOf: (umem) => umem.context!.device!,
    getMm: fn(function* getOwningMm(odp: UmemOdp) {
      const { tgid } = odp.perMm!;
      return tgid === null ? null : yield* getTaskMm(tgid);
    }),
    locksUnmap: false,
    isAnnotated,
  };
}

/** A child of an implicit region, with its parent's ib_ucontext_per_mm; or ERR_PTR(-ENOMEM). May sleep. */
const ibAllocOdpUmem = fn(function* ibAllocOdpUmem(
  root: UmemOdp,
  address: number,
  size: number,
): Body<UmemOdp | ErrPtr> {
  const context = root.umem.context!;
  const request = { address, length: size, isWritable: root.umem.isWritable };
  const odp = yield* newUmem(context, root.umem.owningMm!, request);
  if (odp === null) return errPtr(-ENOMEM);
  yield* mutexLock(context.perMmListLock);
  odp.perMm = root.perMm;
  root.perMm!.odpMrsCount += 1;
  yield* mutexUnlock(context.perMmListLock);
  yield* addUmemToPerMm(odp);
  return odp;
});

const ibUmemOdpRelease = fn(function* ibUmemOdpRelease(odp: UmemOdp) {
  // Whoever is waiting for the device's pages: it does not reach them any more.
  if (!odp.isImplicitOdp) {
    yield* ibUmemOdpUnmapDmaPages(odp, ibUmemStart(odp), ibUmemEnd(odp));
  }
  yield* removeUmemFromPerMm(odp);
  yield* putPerMm(odp);
  yield* freeUmem(odp);
});

export const umemV53 = makeVersion({});
/** With 7608bf40cf24 (B-10). */
export const umemV53Unlocking = makeVersion({ unlocksOnRefusal: true });
/** Without the second look at `active` (B-47). */
export const umemV53NoRecheck = makeVersion({ rechecks: false });
/** v5.3 as lockdep sees it. */
export const umemV53Unannotated = makeVersion({ isAnnotated: false });
