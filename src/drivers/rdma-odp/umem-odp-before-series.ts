/**
 * umem_odp.c before the series (v5.3): each context has its own ib_ucontext_per_mm for each mm.
 *
 * It is found in a list of the context, counted by odp_mrs_count, and registered while that list's mutex is held. When
 * the last region goes, `active` is cleared under umem_rwsem, so that a start that comes later does nothing and its end
 * can tell; then the notifier is unlinked without waiting for anybody, and freed after an SRCU grace period.
 *
 * A child of an implicit region takes the ib_ucontext_per_mm of its parent, without any registration.
 */
import { ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { initCompletion } from '../../kernel/completion.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { intervalTreeEmpty } from '../../kernel/interval-tree.ts';
import { listAdd, listDel, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
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
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ibUverbs,
  PerMm,
  type IbUcontext,
  type UmemOdp,
  type UmemRequest,
  type UmemVersion,
} from './ib-priv.ts';
import {
  addUmemToPerMm,
  allocLists,
  freeLists,
  newUmem,
  removeFromTree,
  umemNotifierOps,
} from './umem-odp-core.ts';
import { ibUmemOdpUnmapDmaPages } from './umem-odp.ts';

const { fn } = ibUverbs;

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

const freeUmem = fn(
  function* freeUmem(odp: UmemOdp) {
    yield* freeLists(odp);
    // Pairs with the mmgrab at its making.
    yield* mmdrop(odp.umem.owningMm!);
    yield* kfree(odp);
  },
  { name: '__ib_umem_release_tail' },
);

/** A region with its lists that nobody knows yet, or NULL without memory. */
const newUmemOf = fn(
  function* newUmemOf(context: IbUcontext, mm: MmStruct, request: UmemRequest | null) {
    const odp = yield* newUmem(context.device!, mm, request);
    if (odp === null) return null;
    odp.umem.context = context;
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
  const alloc = allocPerMmWith(
    umemNotifierOps({ isOff: (perMm) => !perMm.active, unlocksOnRefusal, rechecks }),
  );

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
      const odp = yield* newUmemOf(context, current().mm as MmStruct, request);
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
    make,
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
  const odp = yield* newUmemOf(context, root.umem.owningMm!, request);
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
    yield* downWrite(odp.perMm!.umemRwsem);
    yield* removeFromTree(odp);
    yield* upWrite(odp.perMm!.umemRwsem);
  }
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
