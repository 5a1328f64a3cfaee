/**
 * mlx5's paging on demand up to v5.4 (drivers/infiniband/hw/mlx5/odp.c): invalidation, page faults, children of implicit
 * regions. Who uses a region is in a read section of mr_srcu.
 *
 *   work      mlx5_ib_eqe_pf_action           mr_srcu { pagefault_single_data_segment }, then an answer
 *               pagefault_mr
 *                 implicit_mr_get_data          the child for the address; made if need be, under the parent's umem_mutex
 *                 ib_umem_odp_map_dma_pages     see umem-odp.ts
 *                 umem_mutex { again up to date? entries }
 *               -EAGAIN: waits until no range is in progress; the adapter is told to try again
 *   notifier  mlx5_ib_invalidate_range      takes entries away; a child without pages dies
 *   work      mr_leaf_free_action           waits for mr_srcu, then frees the child
 *
 * Simplified: a timed out wait is no event of its own.
 */
import { EAGAIN, EFAULT, EINVAL, ENOENT, EPERM } from '../../base/errno.ts';
import { atomicDec, atomicDecAndTest, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import { waitForCompletionTimeout } from '../../kernel/completion.ts';
import { isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import {
  dataRace,
  readOnce,
  smpLoadAcquire,
  smpStoreRelease,
  writeOnce,
} from '../../kernel/field.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree } from '../../kernel/slab.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import { waitEvent, wakeUp } from '../../kernel/wait.ts';
import { initWork, scheduleWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { xaLoad } from '../../kernel/xarray.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ODP_READ_ALLOWED_BIT,
  ODP_WRITE_ALLOWED_BIT,
  UmemOdp,
  umemVersion,
  type IbPd,
} from './ib-priv.ts';
import {
  globals,
  mlx5Ib,
  MLX5_PF_FLAGS_DOWNGRADE,
  MLX5_PF_FLAGS_PREFETCH,
  privateOf,
  publishPrivate,
  toIbUmemOdp,
  type FaultRange,
  type Mlx5IbMr,
} from './mlx5-priv.ts';
import {
  declare,
  destroyMkeyOf,
  hideKey,
  implicitMrAlloc,
  odpLookup,
  updateKlm,
  updateMtt,
  zapRange,
} from './mlx5-xlt.ts';
import { MLX5_IMR_MTT_SIZE } from './nic.ts';
import {
  ibUmemMmuNotifierRetry,
  ibUmemOdpMapDmaPages,
  ibUmemOdpUnmapDmaPages,
  lockParent,
  umemsInRange,
} from './umem-odp.ts';

const { fn } = mlx5Ib;

const MMU_NOTIFIER_RETRY_TIMEOUT = 1000;

// ---- invalidation -----------------------------------------------------------------------------------

/** A child without a mapped page dies: its destruction is left to a work. */
const killChild = fn(
  function* killChild(odp: UmemOdp, parent: Mlx5IbMr) {
    yield* writeOnce(odp, 'dying', true);
    yield* atomicInc(parent.numLeafFree);
    yield* scheduleWork(odp.work);
  },
  { name: 'mlx5_ib_invalidate_range' },
);

/** What is under umem_mutex from 9dc775e7f550 on. */
const invalidateLocked = fn(
  function* invalidateLocked(odp: UmemOdp, start: number, end: number) {
    if (globals().version!.skipsUnmapped && odp.npages === 0) return;
    const mr = yield* privateOf(odp);
    if (mr === null || mr.ibmr.pd === null) return;
    yield* zapRange(odp, mr, start, end);
    yield* ibUmemOdpUnmapDmaPages(odp, start, end);
    if (odp.npages > 0) return;
    const parent = (yield* readOnce(mr, 'parent')) as Mlx5IbMr | null;
    if (parent !== null && !(yield* readOnce(odp, 'dying'))) yield* killChild(odp, parent);
  },
  { name: 'mlx5_ib_invalidate_range' },
);

/**
 * Takes what the adapter has of [start, end) away. Called by the notifier, which has counted the range, so that no fault
 * maps anything meanwhile; and when the region is destroyed. May sleep.
 */
export const mlx5IbInvalidateRange = fn(function* mlx5IbInvalidateRange(
  odp: UmemOdp,
  start: number,
  end: number,
) {
  if (globals().version!.locksDeath) {
    yield* mutexLock(odp.umemMutex);
    yield* invalidateLocked(odp, start, end);
    yield* mutexUnlock(odp.umemMutex);
    return;
  }
  const mr = yield* privateOf(odp);
  if (mr === null || mr.ibmr.pd === null) return;
  // Others may do the same at the same time: they write nothing else.
  yield* zapRange(odp, mr, start, end);
  yield* ibUmemOdpUnmapDmaPages(odp, start, end);
  // Looked at without umem_mutex: two can both find that it is up to them.
  if ((yield* dataRace(odp, 'npages')) > 0) return;
  const parent = (yield* readOnce(mr, 'parent')) as Mlx5IbMr | null;
  if (parent !== null && !(yield* readOnce(odp, 'dying'))) yield* killChild(odp, parent);
});

// ---- children of implicit regions -------------------------------------------------------------------

/** The parent's entry for a dead child becomes the null key, or another child's. */
const dropFromParent = fn(
  function* dropFromParent(imr: Mlx5IbMr, index: number) {
    if (!(yield* smpLoadAcquire(imr, 'live'))) return;
    if (!globals().version!.locksParent) {
      yield* updateKlm(imr, index);
      return;
    }
    const root = toIbUmemOdp(imr.umem!);
    const section = yield* srcuReadLock(globals().mrSrcu);
    yield* lockParent(root);
    yield* updateKlm(imr, index);
    yield* mutexUnlock(root.umemMutex);
    yield* srcuReadUnlock(globals().mrSrcu, section);
  },
  { name: 'mr_leaf_free_action' },
);

/** One child less to wait for. */
const leafIsFree = fn(
  function* leafIsFree(imr: Mlx5IbMr) {
    const { mrSrcu, version } = globals();
    // Whoever waits for the last one may free the parent as soon as the counter says so.
    const section = version!.wakesLocked ? yield* srcuReadLock(mrSrcu) : 0;
    if (yield* atomicDecAndTest(imr.numLeafFree)) yield* wakeUp(imr.qLeafFree);
    if (version!.wakesLocked) yield* srcuReadUnlock(mrSrcu, section);
  },
  { name: 'mr_leaf_free_action' },
);

/** Destroys a child that is dying. */
const mrLeafFreeAction = fn(function* mrLeafFreeAction(work: WorkStruct) {
  const odp = containerOf(work, UmemOdp, 'work');
  const index = ibUmemStart(odp) / MLX5_IMR_MTT_SIZE;
  const mr = (yield* privateOf(odp))!;
  const imr = (yield* readOnce(mr, 'parent')) as Mlx5IbMr;
  // No fault that comes from now on finds it, and those that did are waited for.
  yield* writeOnce(mr, 'parent', null);
  yield* hideKey(mr);
  yield* synchronizeSrcu(globals().mrSrcu);
  if (globals().version!.locksParent) {
    yield* dropFromParent(imr, index);
    yield* umemVersion().release(odp);
  } else {
    yield* umemVersion().release(odp);
    yield* dropFromParent(imr, index);
  }
  yield* destroyMkeyOf(mr);
  yield* kfree(mr);
  yield* leafIsFree(imr);
});

/** Makes the child at `address`. The parent's umem_mutex is held. May sleep. */
const makeChild = fn(
  function* makeChild(imr: Mlx5IbMr, address: number): Body<UmemOdp | ErrPtr> {
    const root = toIbUmemOdp(imr.umem!);
    const odp = yield* umemVersion().allocChild(root, address, MLX5_IMR_MTT_SIZE);
    if (isErr(odp)) return odp;
    const { access } = imr.mkey!;
    const mtt = yield* implicitMrAlloc(imr.ibmr.pd!, odp, { access, hasKeys: false });
    if (isErr(mtt)) {
      yield* umemVersion().release(odp);
      return mtt;
    }
    declare(mtt, root.umem.owningMm!, 'start');
    initWork(odp.work, mrLeafFreeAction);
    const { publishes } = globals().version!;
    if (publishes) mtt.parent = imr;
    // From here on an invalidation looks at the child, which may still be being set up.
    yield* publishPrivate(odp, mtt);
    if (!publishes) mtt.parent = imr;
    yield* smpStoreRelease(mtt, 'live', true);
    return odp;
  },
  { name: 'implicit_mr_get_data' },
);

/** The child for [ioVirt, ioVirt + bcnt), the first one if there are several; all of them are made. mr_srcu is held. */
const implicitMrGetData = fn(function* implicitMrGetData(
  imr: Mlx5IbMr,
  ioVirt: number,
  bcnt: number,
): Body<UmemOdp | ErrPtr> {
  const root = toIbUmemOdp(imr.umem!);
  const first = Math.floor(ioVirt / MLX5_IMR_MTT_SIZE);
  const last = Math.floor((ioVirt + bcnt - 1) / MLX5_IMR_MTT_SIZE);
  const made: number[] = [];
  let result: UmemOdp | ErrPtr | null = null;
  yield* lockParent(root);
  for (let index = first; index <= last; index += 1) {
    const address = index * MLX5_IMR_MTT_SIZE;
    let odp: UmemOdp | ErrPtr | null = yield* odpLookup(address, 1, imr);
    if (odp === null) {
      odp = yield* makeChild(imr, address);
      if (!isErr(odp)) made.push(index);
    }
    if (isErr(odp)) {
      result = odp;
      break;
    }
    result ??= odp;
  }
  for (const index of made) yield* updateKlm(imr, index);
  yield* mutexUnlock(root.umemMutex);
  return result!;
});

/** Lets a child of an implicit region that is being destroyed die, unless it is dying already. umem_rwsem is held. */
const mrLeafFree = fn(function* mrLeafFree(odp: UmemOdp, imr: Mlx5IbMr) {
  const mr = yield* privateOf(odp);
  if (mr === null || (yield* readOnce(mr, 'parent')) !== imr) return;
  const isLocked = umemVersion().locksUnmap;
  if (isLocked) yield* mutexLock(odp.umemMutex);
  // Otherwise the adapter keeps them until the child's key goes, of which no notifier knows.
  if (globals().version!.zapsChildren) yield* zapRange(odp, mr, ibUmemStart(odp), ibUmemEnd(odp));
  yield* ibUmemOdpUnmapDmaPages(odp, ibUmemStart(odp), ibUmemEnd(odp));
  if (!(yield* readOnce(odp, 'dying'))) yield* killChild(odp, imr);
  if (isLocked) yield* mutexUnlock(odp.umemMutex);
});

/** Destroys the children of an implicit region, which faults cannot use any more, and waits for it. May sleep. */
export const mlx5IbFreeImplicitMr = fn(function* mlx5IbFreeImplicitMr(imr: Mlx5IbMr) {
  const perMm = toIbUmemOdp(imr.umem!).perMm!;
  yield* downRead(perMm.umemRwsem);
  for (const odp of umemsInRange(perMm, 0, Number.MAX_SAFE_INTEGER)) yield* mrLeafFree(odp, imr);
  yield* upRead(perMm.umemRwsem);
  yield* waitEvent(imr.qLeafFree, function* noLeafLeft() {
    return (yield* atomicRead(imr.numLeafFree)) === 0;
  });
  // Those that counted down are on their way to wake us.
  if (globals().version!.wakesLocked) yield* synchronizeSrcu(globals().mrSrcu);
});

// ---- page faults ------------------------------------------------------------------------------------

/** Maps pages of one region and tells the adapter: how many, or -errno. */
const faultInUmem = fn(
  function* faultInUmem(odp: UmemOdp, { ioVirt, bcnt, flags }: FaultRange) {
    const mr = (yield* privateOf(odp))!;
    const isDowngrade = (flags & MLX5_PF_FLAGS_DOWNGRADE) !== 0;
    const isWritable = odp.umem.isWritable && !isDowngrade;
    const accessMask = ODP_READ_ALLOWED_BIT | (isWritable ? ODP_WRITE_ALLOWED_BIT : 0);
    const address = ioVirt - (ioVirt % PAGE_SIZE);
    const pages = Math.ceil((ioVirt + bcnt - address) / PAGE_SIZE);
    // Before anything is looked up: a range that begins later is noticed by its count or its end.
    const currentSeq = yield* readOnce(odp, 'notifiersSeq');
    const request = { address, pages, accessMask, currentSeq };
    const count = yield* ibUmemOdpMapDmaPages(odp, request);
    if (count < 0) return count;
    const first = (address - ibUmemStart(odp)) / PAGE_SIZE;
    yield* mutexLock(odp.umemMutex);
    const isStale = ibUmemMmuNotifierRetry(odp, currentSeq);
    if (!isStale) yield* updateMtt(mr, first, count);
    yield* mutexUnlock(odp.umemMutex);
    return isStale ? -EAGAIN : count;
  },
  { name: 'pagefault_mr' },
);

/** The next child of the same implicit region, if it follows without a gap. */
const odpNext = fn(function* odpNext(odp: UmemOdp, imr: Mlx5IbMr) {
  return yield* odpLookup(ibUmemEnd(odp), 1, imr);
});

/** A range was in progress: waits until there is none. Returns what the caller is to say. */
const waitForNotifiers = fn(
  function* waitForNotifiers(odp: UmemOdp, isImplicit: boolean) {
    // The region is going away, and the queue pair with it.
    if (!isImplicit && (yield* readOnce(odp, 'dying'))) return -EFAULT;
    yield* waitForCompletionTimeout(odp.notifierCompletion, MMU_NOTIFIER_RETRY_TIMEOUT);
    return -EAGAIN;
  },
  { name: 'pagefault_mr' },
);

/** Makes pages of a region available to the adapter: how many, or -errno. mr_srcu is held. May sleep. */
export const pagefaultMr = fn(function* pagefaultMr(mr: Mlx5IbMr, range: FaultRange) {
  const root = toIbUmemOdp(mr.umem!);
  const { flags } = range;
  const isPrefetch = (flags & MLX5_PF_FLAGS_PREFETCH) !== 0;
  const isWrite = (flags & MLX5_PF_FLAGS_DOWNGRADE) === 0;
  if (isPrefetch && isWrite && !root.umem.isWritable) return -EPERM;
  let { ioVirt, bcnt } = range;
  let odp: UmemOdp | ErrPtr | null = root;
  if (root.isImplicitOdp) odp = yield* implicitMrGetData(mr, ioVirt, bcnt);
  if (isErr(odp)) return ptrErr(odp);
  let total = 0;
  while (odp !== null) {
    if (ioVirt < ibUmemStart(odp) || ioVirt >= ibUmemEnd(odp)) return -EFAULT;
    const isLonger = !root.isImplicitOdp && ioVirt + bcnt > ibUmemEnd(odp);
    if (isLonger) return -EFAULT;
    const size = Math.min(bcnt, ibUmemEnd(odp) - ioVirt);
    const count: number = yield* faultInUmem(odp, { ioVirt, bcnt: size, flags });
    if (count === -EAGAIN) return yield* waitForNotifiers(odp, root.isImplicitOdp);
    if (count < 0) return count;
    total += count;
    ioVirt += size;
    bcnt -= size;
    if (bcnt === 0) return total;
    odp = yield* odpNext(odp, mr);
  }
  // A child that was there a moment ago has died.
  return -EAGAIN;
});

/** Finds the region of a key and makes pages available: how many, or -errno. mr_srcu is held. May sleep. */
export const pagefaultSingleDataSegment = fn(function* pagefaultSingleDataSegment(
  key: number,
  range: FaultRange,
  pd: IbPd | null,
) {
  const mr = yield* xaLoad(globals().mkeyTable, key);
  if (mr === null) return pd === null ? -EFAULT : -ENOENT;
  if (!(yield* smpLoadAcquire(mr, 'live'))) return -EFAULT;
  if (!mr.umem!.isOdp || (pd !== null && mr.ibmr.pd !== pd)) return -EINVAL;
  return yield* pagefaultMr(mr, range);
});

// ---- prefetches -------------------------------------------------------------------------------------

/** Counts a queued prefetch on a region, which its destruction waits for. mr_srcu is held. */
export const prefetchInc = fn(
  function* prefetchInc(lkey: number, pd: IbPd | null): Body<Mlx5IbMr | number> {
    const mr = yield* xaLoad(globals().mkeyTable, lkey);
    if (mr === null) return -ENOENT;
    if (!(yield* smpLoadAcquire(mr, 'live'))) return -EFAULT;
    if (mr.ibmr.pd !== pd || !mr.umem!.isOdp) return -EINVAL;
    yield* atomicInc(mr.numPendingPrefetch);
    return mr;
  },
  { name: 'num_pending_prefetch_inc' },
);

export const prefetchDec = fn(
  function* prefetchDec(mr: Mlx5IbMr) {
    yield* atomicDec(mr.numPendingPrefetch);
  },
  { name: 'num_pending_prefetch_dec' },
);
