/**
 * umem_odp.c from v5.5 on: each region that is not implicit has an interval notifier of its own. ib_ucontext_per_mm, its
 * tree and umem_rwsem are gone, and with them all that counted ranges: a fault asks the notifier's sequence.
 *
 *   fault                                      invalidate, for this region only
 *   seq = read_begin           (waits for a range in progress)
 *   get_user_pages
 *                                              umem_mutex { set_seq; zaps the adapter's entries, unmaps }
 *   umem_mutex { read_retry: once more
 *                page_list, dma_list
 *   ... and it stays held until the adapter has its entries }
 *
 * Simplified: get_user_pages is in the place of hmm_range_fault, whose range v5.11 looks up without references; the time
 * for trying again is never over; mmput_async in a fault is an mmput after umem_mutex was given back, since the end of the
 * mm takes it.
 */
import { EFAULT, EINVAL, ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree } from '../../kernel/slab.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgetNotZero, mmgrab, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
} from '../../mmu-notifier/interval.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ibUverbs,
  ODP_WRITE_ALLOWED_BIT,
  type IbUcontext,
  type UmemOdp,
  type UmemRequest,
  type UmemVersion,
} from './ib-priv.ts';
import { allocLists, freeLists, newUmem } from './umem-odp-core.ts';
import { ibUmemOdpUnmapDmaPages, storePage, type MapRequest } from './umem-odp.ts';

const { fn } = ibUverbs;

/** Gives a region its notifier: 0 or -errno. The caller keeps the mm in use. May sleep. */
const ibInitUmemOdp = fn(function* ibInitUmemOdp(odp: UmemOdp) {
  const mm = odp.umem.owningMm!;
  let error = yield* allocLists(odp);
  if (error === 0) {
    const interval = { start: ibUmemStart(odp), length: odp.umem.length };
    const { mnOps } = odp.umem.ibdev!.ops!;
    error = yield* mmuIntervalNotifierInsert(odp.notifier, mm, interval, mnOps!);
    if (error === 0) return 0;
  }
  yield* freeLists(odp);
  return error;
});

const make = fn(
  function* make(context: IbUcontext, request: UmemRequest | null): Body<UmemOdp | ErrPtr> {
    const mm = current().mm as MmStruct;
    const odp = yield* newUmem(context.device!, mm, request);
    if (odp === null) return errPtr(-ENOMEM);
    if (request === null) {
      // It has no notifier that would.
      yield* mmgrab(mm);
      return odp;
    }
    const error = yield* ibInitUmemOdp(odp);
    if (error === 0) return odp;
    yield* kfree(odp);
    return errPtr(error);
  },
  { name: 'ib_umem_odp_get' },
);

/** A child of an implicit region; or ERR_PTR(-ENOMEM, -EINTR), or -EFAULT once the mm has ended. May sleep. */
const ibUmemOdpAllocChild = fn(function* ibUmemOdpAllocChild(
  root: UmemOdp,
  address: number,
  size: number,
): Body<UmemOdp | ErrPtr> {
  const owningMm = root.umem.owningMm!;
  const request = { address, length: size, isWritable: root.umem.isWritable };
  const odp = yield* newUmem(root.umem.ibdev!, owningMm, request);
  if (odp === null) return errPtr(-ENOMEM);
  let error = -EFAULT;
  if (yield* mmgetNotZero(owningMm)) {
    error = yield* ibInitUmemOdp(odp);
    yield* mmput(owningMm);
  }
  if (error === 0) return odp;
  yield* kfree(odp);
  return errPtr(error);
});

const ibUmemOdpRelease = fn(function* ibUmemOdpRelease(odp: UmemOdp) {
  if (odp.isImplicitOdp) {
    yield* mmdrop(odp.umem.owningMm!);
  } else {
    yield* mutexLock(odp.umemMutex);
    yield* ibUmemOdpUnmapDmaPages(odp, ibUmemStart(odp), ibUmemEnd(odp));
    yield* mutexUnlock(odp.umemMutex);
    yield* mmuIntervalNotifierRemove(odp.notifier);
    yield* freeLists(odp);
  }
  yield* kfree(odp);
});

/** Looks pages up: them, or -errno. */
const lookUp = fn(
  function* lookUp(mm: MmStruct, { address, pages, accessMask }: MapRequest) {
    const isWrite = (accessMask & ODP_WRITE_ALLOWED_BIT) !== 0;
    yield* downRead(mm.mmapSem);
    const found = yield* getUserPages(mm, address, pages, isWrite);
    yield* upRead(mm.mmapSem);
    return found;
  },
  { name: 'hmm_range_fault' },
);

/** Until no range comes in between: pages with umem_mutex held, or -errno without. */
const lookUpAndLock = fn(
  function* lookUpAndLock(odp: UmemOdp, request: MapRequest): Body<readonly Page[] | number> {
    for (;;) {
      const seq = yield* mmuIntervalReadBegin(odp.notifier);
      const found = yield* lookUp(odp.umem.owningMm!, request);
      if (typeof found === 'number') return found;
      yield* mutexLock(odp.umemMutex);
      if (!mmuIntervalReadRetry(odp.notifier, seq)) return found;
      yield* mutexUnlock(odp.umemMutex);
      for (const page of found) yield* putUserPage(page);
    }
  },
  { name: 'ib_umem_odp_map_dma_and_lock' },
);

/**
 * Gets pages of the process and maps them for the adapter: how many, and then umem_mutex is held and the mm in use until
 * {@link ibUmemOdpUnlock}; or -EINVAL once the mm has ended, -EFAULT, -ENOMEM. Takes mmap_sem, then umem_mutex. May sleep.
 */
export const ibUmemOdpMapDmaAndLock = fn(function* ibUmemOdpMapDmaAndLock(
  odp: UmemOdp,
  request: MapRequest,
) {
  const { address, pages, accessMask } = request;
  const owningMm = odp.umem.owningMm!;
  if (address < ibUmemStart(odp) || address + pages * PAGE_SIZE > ibUmemEnd(odp)) return -EFAULT;
  if (!(yield* mmgetNotZero(owningMm))) return -EINVAL;
  const found = yield* lookUpAndLock(odp, request);
  if (typeof found === 'number') {
    yield* mmput(owningMm);
    return found;
  }
  const first = (address - ibUmemStart(odp)) / PAGE_SIZE;
  for (const [at, page] of found.entries()) {
    storePage(odp, first + at, page, accessMask);
    // Not pinned: the notifier will say when it goes.
    yield* putUserPage(page);
  }
  return pages;
});

/** The adapter has its entries. Perhaps the last use of the mm: then it ends here, and regions are told. May sleep. */
export const ibUmemOdpUnlock = fn(
  function* ibUmemOdpUnlock(odp: UmemOdp) {
    yield* mutexUnlock(odp.umemMutex);
    yield* mmput(odp.umem.owningMm!);
  },
  { name: 'ib_umem_odp_map_dma_and_lock' },
);

export const umemInterval: UmemVersion = {
  make,
  allocChild: ibUmemOdpAllocChild,
  release: ibUmemOdpRelease,
  ibdevOf: (umem) => umem.ibdev!,
  getMm: fn(function* getOwningMm({ umem }: UmemOdp): Body<MmStruct | null> {
    return (yield* mmgetNotZero(umem.owningMm!)) ? umem.owningMm : null;
  }),
  locksUnmap: true,
  isAnnotated: true,
};
