/**
 * umem_odp.c as the series makes it (patches 6 and 7), and as v5.4 has it.
 *
 * One ib_ucontext_per_mm for each mm, by mmu_notifier_get: all contexts and devices share it, and every region, implicit
 * ones and their children included, holds a get of its own. `users` takes the place of `active`: the last put happens
 * with umem_rwsem held for write, so a start that has taken umem_rwsem knows whether it is past that, and its end, too:
 *
 *   CPU0 munmap                                CPU1 the last region is released
 *   start: down_read(umem_rwsem)
 *          users > 0: holds on
 *                                              down_write(umem_rwsem)   [waits for CPU0's end]
 *   end:   up_read(umem_rwsem)
 *                                              mmu_notifier_put: users = 0, unlinked
 *                                              up_write(umem_rwsem)
 *   start: down_read, users == 0: up_read      on the way along the list, CPU0 may still come here
 *   end:   users == 0: nothing was taken
 *
 * Patch 7: a region knows its device, not the context it was made in.
 *
 * Versions differ in: v5.4 frees the lists of a region before it takes the region out of the tree (A-18), and gets the
 * mm by mmget_not_zero; v5.6 takes the mm into use while it makes a child (a4e63bce1414, B-13).
 */
import { EFAULT, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { peek } from '../../kernel/await.ts';
import { initCompletion } from '../../kernel/completion.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { intervalTreeEmpty } from '../../kernel/interval-tree.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { mmdrop, mmgetNotZero, mmgrab, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import {
  currentThread,
  getTaskMm,
  getTaskStruct,
  groupLeaderOf,
  putTaskStruct,
} from '../../mm-types/task-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import {
  notifierSrcu,
  type MmuNotifier,
  type MmuNotifierOps,
} from '../../mmu-notifier/mmu-notifier.ts';
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
  perMmOf,
  removeFromTree,
  umemNotifierOps,
} from './umem-odp-core.ts';
import { ibUmemOdpUnmapDmaPages } from './umem-odp.ts';

const { fn } = ibUverbs;

/**
 * Whether the last region has gone. Read without the lock of `users`, on purpose: it only matters whether it is 0, which
 * it becomes with umem_rwsem held for write, and stays.
 */
function isPut(perMm: PerMm): boolean {
  return peek(perMm.mn, 'users') === 0;
}

/** mmap_sem is held for write. May sleep. */
const ibUmemAllocNotifier = fn(function* ibUmemAllocNotifier(
  mm: MmStruct,
): Body<MmuNotifier | ErrPtr> {
  const perMm = yield* kzalloc(PerMm, GFP_KERNEL);
  if (perMm === null) return errPtr(-ENOMEM);
  warnOn(mm !== current().mm, 'mm != current->mm');
  const thread = currentThread();
  if (thread !== null) {
    perMm.tgid = groupLeaderOf(thread);
    yield* getTaskStruct(perMm.tgid);
  }
  return perMm.mn;
});

/** No callback runs any more. Must not sleep. */
const ibUmemFreeNotifier = fn(function* ibUmemFreeNotifier(mn: MmuNotifier) {
  const perMm = perMmOf(mn);
  warnOn(!intervalTreeEmpty(perMm.umemTree), '!RB_EMPTY_ROOT(&per_mm->umem_tree)');
  if (perMm.tgid !== null) yield* putTaskStruct(perMm.tgid);
  yield* kfree(perMm);
});

/** Gives the region its notifier and puts it into the tree: 0 or -errno. The caller keeps the mm in use. May sleep. */
function initUmemOdp(ops: MmuNotifierOps) {
  return fn(function* ibInitUmemOdp(odp: UmemOdp) {
    let error = odp.isImplicitOdp ? 0 : yield* allocLists(odp);
    if (error === 0) {
      const mn = yield* mmuNotifierGet(ops, odp.umem.owningMm!);
      if (!isErr(mn)) {
        odp.perMm = perMmOf(mn);
        initCompletion(odp.notifierCompletion);
        // Pairs with the mmdrop in release.
        yield* mmgrab(odp.umem.owningMm!);
        yield* addUmemToPerMm(odp);
        return 0;
      }
      error = ptrErr(mn);
    }
    yield* freeLists(odp);
    return error;
  });
}

/** Where versions of the series' code differ. */
interface Differences {
  /** 9dc775e7f550, which v5.4 has. */
  readonly locksUnmap: boolean;
  /** v5.4 frees the lists of a region before it leaves the tree, where invalidations find it. */
  readonly freesListsFirst: boolean;
  /** v5.4 goes by the mm that the region has; before, by the task that the pid leads to. */
  readonly getsOwningMm: boolean;
  /** a4e63bce1414: who makes a child takes the mm into use, or gives up (B-13). */
  readonly pinsForChild: boolean;
  /**
   * The end looks at `users` again. Without that nothing is lost: the put that makes it 0 has unlinked the notifier
   * before umem_rwsem is free again, so whoever finds it put in start does not come to the end (B-47).
   */
  readonly rechecks: boolean;
  /**
   * No grace period ends between mmu_notifier_put and the up_write of the lock that is freed after it: nothing in the
   * code sees to that, but it takes a task that is held up in just that place. False: it can.
   */
  readonly outlivesPut: boolean;
  /** As {@link UmemVersion} has it. */
  readonly isAnnotated: boolean;
}

function umemOdpRelease({ locksUnmap, freesListsFirst, outlivesPut }: Differences) {
  return fn(function* ibUmemOdpRelease(odp: UmemOdp) {
    const perMm = odp.perMm!;
    const { owningMm } = odp.umem;
    if (!odp.isImplicitOdp) {
      if (locksUnmap) yield* mutexLock(odp.umemMutex);
      yield* ibUmemOdpUnmapDmaPages(odp, ibUmemStart(odp), ibUmemEnd(odp));
      if (locksUnmap) yield* mutexUnlock(odp.umemMutex);
      if (freesListsFirst) yield* freeLists(odp);
    }
    yield* downWrite(perMm.umemRwsem);
    yield* removeFromTree(odp);
    const section = outlivesPut ? yield* srcuReadLock(notifierSrcu()) : 0;
    // With umem_rwsem held: the notifier may go between a start and its end, which tell by `users`.
    yield* mmuNotifierPut(perMm.mn);
    yield* upWrite(perMm.umemRwsem);
    if (outlivesPut) yield* srcuReadUnlock(notifierSrcu(), section);
    if (!freesListsFirst) yield* freeLists(odp);
    yield* mmdrop(owningMm!);
    yield* kfree(odp);
  });
}

type InitUmemOdp = ReturnType<typeof initUmemOdp>;

/** A region of current, or for NULL one for all its memory; or an ERR_PTR. */
function makeFor(init: InitUmemOdp) {
  return fn(
    function* make(context: IbUcontext, request: UmemRequest | null): Body<UmemOdp | ErrPtr> {
      const odp = yield* newUmem(context.device!, current().mm as MmStruct, request);
      if (odp === null) return errPtr(-ENOMEM);
      const error = yield* init(odp);
      if (error === 0) return odp;
      yield* kfree(odp);
      return errPtr(error);
    },
    { name: 'ib_umem_odp_get' },
  );
}

/** A child of an implicit region, or an ERR_PTR. The parent's umem_mutex is held. May sleep. */
function allocChildWith(init: InitUmemOdp, pinsForChild: boolean) {
  return fn(function* ibUmemOdpAllocChild(
    root: UmemOdp,
    address: number,
    size: number,
  ): Body<UmemOdp | ErrPtr> {
    const owningMm = root.umem.owningMm!;
    const request = { address, length: size, isWritable: root.umem.isWritable };
    const odp = yield* newUmem(root.umem.ibdev!, owningMm, request);
    if (odp === null) return errPtr(-ENOMEM);
    let error = -EFAULT;
    // Without it, nothing keeps the mm in use: a page fault of the device is nobody's system call.
    const isInUse = !pinsForChild || (yield* mmgetNotZero(owningMm));
    if (isInUse) {
      error = yield* init(odp);
      if (pinsForChild) yield* mmput(owningMm);
    }
    if (error === 0) return odp;
    yield* kfree(odp);
    return errPtr(error);
  });
}

function makeVersion(differences: Differences): UmemVersion {
  const { getsOwningMm, isAnnotated, locksUnmap, pinsForChild, rechecks } = differences;
  // The key by which mmu_notifier_get finds it: one table for all of RDMA.
  const ibUmemNotifiers: MmuNotifierOps = {
    ...umemNotifierOps({ isOff: isPut, unlocksOnRefusal: true, rechecks }),
    allocNotifier: ibUmemAllocNotifier,
    freeNotifier: ibUmemFreeNotifier,
  };
  const init = initUmemOdp(ibUmemNotifiers);
  return {
    make: makeFor(init),
    allocChild: allocChildWith(init, pinsForChild),
    release: umemOdpRelease(differences),
    ibdevOf: (umem) => umem.ibdev!,
    getMm: fn(function* getOwningMm(odp: UmemOdp): Body<MmStruct | null> {
      const { owningMm } = odp.umem;
      if (getsOwningMm) return (yield* mmgetNotZero(owningMm!)) ? owningMm : null;
      const { tgid } = odp.perMm!;
      return tgid === null ? null : yield* getTaskMm(tgid);
    }),
    locksUnmap,
    isAnnotated,
  };
}

const SERIES: Differences = {
  locksUnmap: false,
  freesListsFirst: false,
  getsOwningMm: false,
  pinsForChild: false,
  rechecks: true,
  outlivesPut: true,
  isAnnotated: true,
};
const V5_4: Differences = {
  ...SERIES,
  locksUnmap: true,
  freesListsFirst: true,
  getsOwningMm: true,
};

export const umemSeries = makeVersion(SERIES);
/** Where a grace period may be as short as it likes. */
export const umemSeriesShortGrace = makeVersion({ ...SERIES, outlivesPut: false });
/** Without the second look at `users` (B-47). */
export const umemSeriesNoRecheck = makeVersion({ ...SERIES, rechecks: false });
export const umemV54 = makeVersion(V5_4);
/** v5.4 where a region leaves the tree before its lists go. */
export const umemV54ListsLast = makeVersion({ ...V5_4, freesListsFirst: false });
/** That with a4e63bce1414 (B-13). */
export const umemFixed = makeVersion({ ...V5_4, freesListsFirst: false, pinsForChild: true });
/** The series as lockdep sees it. */
export const umemSeriesUnannotated = makeVersion({ ...SERIES, isAnnotated: false });
