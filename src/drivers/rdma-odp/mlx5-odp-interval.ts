/**
 * mlx5's paging on demand as of v6.13: interval notifiers, counts in the place of SRCU, an array of an implicit region's
 * children.
 *
 *   notifier  mlx5_ib_invalidate_range          umem_mutex { a mapped page? takes entries away; a child without pages dies }
 *   fault     find_odp_mkey                       usecount of the region
 *               pagefault_implicit_mr             usecount of the child, which is made if need be
 *                 pagefault_real_mr                 see umem-odp-interval.ts
 *               mlx5r_deref_odp_mkey
 *   child     destroy_unused_implicit_child_mr  takes it out of the array, queues its end, which uses the parent
 *   work      free_implicit_child_mr_work         waits until nobody uses it; the parent's entry; its end; the parent's count
 *   end       __mlx5_ib_dereg_mr                out of the table, waits until nobody uses it; the key; the memory; children
 *
 * A fault that has found a child goes on with it after it was taken out: it maps a page again, and an invalidation finds
 * it without pages a second time (B-15). The key goes before the memory leaves the notifier (B-16).
 *
 * Simplified: a lock is taken in the place of the arrays' own, where a load and a count belong together; a queued prefetch
 * looks its key up again.
 * Left out: mapping what is there when a region is made; that a key goes back to a cache.
 */
import { EFAULT, EINVAL, ENOENT, EPERM } from '../../base/errno.ts';
import { complete, waitForCompletion } from '../../kernel/completion.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { smpLoadAcquire } from '../../kernel/field.ts';
import { GFP_ATOMIC, GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import {
  refcountDecAndTest,
  refcountInc,
  refcountIncNotZero,
  refcountRead,
} from '../../kernel/refcount.ts';
import { kfree } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { waitEvent, wakeUp } from '../../kernel/wait.ts';
import { initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { xaCmpxchg, xaErase, xaErr, xaFind, xaLoad, xaStore } from '../../kernel/xarray.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import {
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ODP_READ_ALLOWED_BIT,
  ODP_WRITE_ALLOWED_BIT,
  UmemOdp,
  umemVersion,
  type IbMr,
  type IbPd,
} from './ib-priv.ts';
import {
  globals,
  mlx5Ib,
  Mlx5IbMr,
  MLX5_PF_FLAGS_DOWNGRADE,
  MLX5_PF_FLAGS_PREFETCH,
  publishPrivate,
  toIbUmemOdp,
  toMmr,
  type FaultRange,
  type Mlx5Paging,
} from './mlx5-priv.ts';
import {
  declare,
  destroyMkeyOf,
  expectKey,
  hideKey,
  implicitMrAlloc,
  updateMtt,
  zapRange,
} from './mlx5-xlt.ts';
import { MLX5_IMR_MTT_SIZE } from './nic.ts';
import { ibUmemOdpMapDmaAndLock, ibUmemOdpUnlock } from './umem-odp-interval.ts';
import { ibUmemOdpUnmapDmaPages } from './umem-odp.ts';
import { ibUmemRelease } from './umem.ts';

const { fn } = mlx5Ib;

// ---- who uses a region ------------------------------------------------------------------------------

/** Gives a use up. */
const mlx5rDerefOdpMkey = fn(function* mlx5rDerefOdpMkey(mr: Mlx5IbMr) {
  if (!(yield* refcountDecAndTest(mr.usecount))) return;
  // Whoever waits may have looked by itself, and have freed the region with its wait queue.
  yield* globals().version!.wakesLocked ? complete(mr.unused) : wakeUp(mr.wait);
});

/** Gives the table's or the array's use up, and waits for all others. May sleep. */
const mlx5rDerefWaitOdpMkey = fn(function* mlx5rDerefWaitOdpMkey(mr: Mlx5IbMr) {
  yield* mlx5rDerefOdpMkey(mr);
  if (globals().version!.wakesLocked) {
    yield* waitForCompletion(mr.unused);
    return;
  }
  yield* waitEvent(mr.wait, function* nobodyUsesIt() {
    return (yield* refcountRead(mr.usecount)) === 0;
  });
});

/** The region of a key with one more user, -ENOENT, or -EFAULT for one that cannot be used. */
const findOdpMkey = fn(function* findOdpMkey(key: number): Body<Mlx5IbMr | number> {
  const { mkeyLock, mkeyTable } = globals();
  yield* spinLock(mkeyLock);
  const mr = yield* xaLoad(mkeyTable, key);
  const isLive = mr !== null && (yield* smpLoadAcquire(mr, 'live'));
  if (isLive) yield* refcountInc(mr.usecount);
  yield* spinUnlock(mkeyLock);
  if (mr === null) return -ENOENT;
  return isLive ? mr : -EFAULT;
});

// ---- invalidation -----------------------------------------------------------------------------------

/** A child without pages: its end is left to a work. Its umem_mutex is held. */
const destroyUnusedImplicitChildMr = fn(function* destroyUnusedImplicitChildMr(mr: Mlx5IbMr) {
  const { exchangesChild, putsParent } = globals().counted!;
  const imr = mr.parent as Mlx5IbMr;
  const index = ibUmemStart(toIbUmemOdp(mr.umem!)) / MLX5_IMR_MTT_SIZE;
  // The parent is being destroyed, and will destroy its children.
  if (!(yield* refcountIncNotZero(imr.usecount))) return;
  yield* spinLock(imr.childrenLock);
  const erased = exchangesChild
    ? yield* xaCmpxchg(imr.implicitChildren, index, { old: mr, entry: null }, GFP_ATOMIC)
    : yield* xaErase(imr.implicitChildren, index);
  yield* spinUnlock(imr.childrenLock);
  if (exchangesChild && erased !== mr) {
    if (putsParent) yield* mlx5rDerefOdpMkey(imr);
    return;
  }
  initWork(mr.odpDestroyWork, freeImplicitChildMrWork);
  yield* queueWork(globals().systemUnboundWq!, mr.odpDestroyWork);
});

/** What is under umem_mutex. */
const invalidateLocked = fn(
  function* invalidateLocked(odp: UmemOdp, start: number, end: number) {
    // Without a page the region may not be made yet, and there is nothing to do.
    if (odp.npages === 0) return;
    const mr = odp.private as Mlx5IbMr | null;
    if (mr === null) {
      if (globals().counted!.unmapsRevoked) yield* ibUmemOdpUnmapDmaPages(odp, start, end);
      return;
    }
    yield* zapRange(odp, mr, start, end);
    yield* ibUmemOdpUnmapDmaPages(odp, start, end);
    if (odp.npages === 0 && mr.parent !== null) yield* destroyUnusedImplicitChildMr(mr);
  },
  { name: 'mlx5_ib_invalidate_range' },
);

/** Takes what the adapter has of a range away. False, and nothing done, if it must not block. */
const mlx5IbInvalidateRange = fn(function* mlx5IbInvalidateRange(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
  seq: number,
) {
  if (!mmuNotifierRangeBlockable(range)) return false;
  const odp = containerOf(mni, UmemOdp, 'notifier');
  yield* mutexLock(odp.umemMutex);
  yield* mmuIntervalSetSeq(mni, seq);
  yield* invalidateLocked(odp, range.start, range.end);
  yield* mutexUnlock(odp.umemMutex);
  return true;
});

const mlx5MnOps: MmuIntervalNotifierOps = { invalidate: mlx5IbInvalidateRange };

// ---- children of implicit regions -------------------------------------------------------------------

/** Rewrites an implicit region's entry for the child at `index` as its array has it. Takes the parent's umem_mutex. */
const updateKlm = fn(
  function* updateKlm(imr: Mlx5IbMr, index: number) {
    const root = toIbUmemOdp(imr.umem!);
    yield* mutexLock(root.umemMutex);
    yield* expectKey(imr);
    const child = (yield* xaLoad(imr.implicitChildren, index)) as Mlx5IbMr | null;
    const { klm } = imr.mkey!;
    // Keys stay valid until the entry was rewritten.
    if (child === null) yield* xaErase(klm, index);
    else yield* xaStore(klm, index, child.ibmr.lkey, GFP_KERNEL | GFP_NOFAIL);
    yield* mutexUnlock(root.umemMutex);
  },
  { name: 'mlx5r_umr_update_xlt' },
);

/** Destroys a child that was taken out of the array. The parent has a use of its own for this. */
const freeImplicitChildMrWork = fn(function* freeImplicitChildMrWork(work: WorkStruct) {
  const mr = containerOf(work, Mlx5IbMr, 'odpDestroyWork');
  const imr = mr.parent as Mlx5IbMr;
  const index = ibUmemStart(toIbUmemOdp(mr.umem!)) / MLX5_IMR_MTT_SIZE;
  yield* hideKey(mr);
  yield* mlx5rDerefWaitOdpMkey(mr);
  yield* updateKlm(imr, index);
  yield* destroyMr(mr);
  yield* mlx5rDerefOdpMkey(imr);
});

/** Makes the child at `index`, used by the array and by the caller; or another was faster, and is used. May sleep. */
const implicitGetChildMr = fn(function* implicitGetChildMr(
  imr: Mlx5IbMr,
  index: number,
): Body<Mlx5IbMr | ErrPtr> {
  const root = toIbUmemOdp(imr.umem!);
  const address = index * MLX5_IMR_MTT_SIZE;
  const odp = yield* umemVersion().allocChild(root, address, MLX5_IMR_MTT_SIZE);
  if (isErr(odp)) return odp;
  const { access } = imr.mkey!;
  const mr = yield* implicitMrAlloc(imr.ibmr.pd!, odp, { access, hasKeys: false });
  if (isErr(mr)) {
    yield* umemVersion().release(odp);
    return mr;
  }
  declare(mr, root.umem.owningMm!, 'start');
  mr.parent = imr;
  yield* publishPrivate(odp, mr);
  yield* refcountInc(mr.usecount);
  const exchange = { old: null, entry: mr };
  yield* spinLock(imr.childrenLock);
  const found = yield* xaCmpxchg(imr.implicitChildren, index, exchange, GFP_ATOMIC);
  const error = xaErr(found);
  if (found !== null && error === 0) yield* refcountInc((found as Mlx5IbMr).usecount);
  yield* spinUnlock(imr.childrenLock);
  if (found === null) return mr;
  yield* hideKey(mr);
  yield* destroyMr(mr);
  return error === 0 ? (found as Mlx5IbMr) : errPtr(error);
});

/** The child at `index` with one more user, or NULL. */
const loadChild = fn(
  function* loadChild(imr: Mlx5IbMr, index: number) {
    yield* spinLock(imr.childrenLock);
    const mr = (yield* xaLoad(imr.implicitChildren, index)) as Mlx5IbMr | null;
    if (mr !== null) yield* refcountInc(mr.usecount);
    yield* spinUnlock(imr.childrenLock);
    return mr;
  },
  { name: 'pagefault_implicit_mr' },
);

// ---- page faults ------------------------------------------------------------------------------------

/** Maps pages of a region that is not implicit and tells the adapter: how many, or -errno. */
const pagefaultRealMr = fn(function* pagefaultRealMr(mr: Mlx5IbMr, range: FaultRange) {
  const { ioVirt, bcnt, flags } = range;
  const odp = toIbUmemOdp(mr.umem!);
  const isWritable = odp.umem.isWritable && (flags & MLX5_PF_FLAGS_DOWNGRADE) === 0;
  const accessMask = ODP_READ_ALLOWED_BIT | (isWritable ? ODP_WRITE_ALLOWED_BIT : 0);
  const address = ioVirt - (ioVirt % PAGE_SIZE);
  const pages = Math.ceil((ioVirt + bcnt - address) / PAGE_SIZE);
  const count = yield* ibUmemOdpMapDmaAndLock(odp, { address, pages, accessMask });
  if (count < 0) return count;
  yield* updateMtt(mr, (address - ibUmemStart(odp)) / PAGE_SIZE, count);
  yield* ibUmemOdpUnlock(odp);
  return count;
});

const pagefaultImplicitMr = fn(function* pagefaultImplicitMr(imr: Mlx5IbMr, range: FaultRange) {
  const made: number[] = [];
  let { ioVirt, bcnt } = range;
  let total = 0;
  while (bcnt > 0 && total >= 0) {
    const index = Math.floor(ioVirt / MLX5_IMR_MTT_SIZE);
    let mr: Mlx5IbMr | ErrPtr | null = yield* loadChild(imr, index);
    if (mr === null) {
      mr = yield* implicitGetChildMr(imr, index);
      if (!isErr(mr)) made.push(index);
    }
    if (isErr(mr)) {
      total = ptrErr(mr);
      break;
    }
    const size = Math.min(bcnt, (index + 1) * MLX5_IMR_MTT_SIZE - ioVirt);
    const count: number = yield* pagefaultRealMr(mr, { ...range, ioVirt, bcnt: size });
    yield* mlx5rDerefOdpMkey(mr);
    total = count < 0 ? count : total + count;
    ioVirt += size;
    bcnt -= size;
  }
  // The adapter and the array agree again, whatever was made or has gone meanwhile.
  for (const index of made) yield* updateKlm(imr, index);
  return total;
});

const pagefaultMr = fn(function* pagefaultMr(mr: Mlx5IbMr, range: FaultRange) {
  const { flags, ioVirt, bcnt } = range;
  const odp = toIbUmemOdp(mr.umem!);
  const isPrefetch = (flags & MLX5_PF_FLAGS_PREFETCH) !== 0;
  const isWrite = (flags & MLX5_PF_FLAGS_DOWNGRADE) === 0;
  if (isPrefetch && isWrite && !odp.umem.isWritable) return -EPERM;
  if (odp.isImplicitOdp) return yield* pagefaultImplicitMr(mr, range);
  if (ioVirt < ibUmemStart(odp) || ioVirt + bcnt > ibUmemEnd(odp)) return -EFAULT;
  return yield* pagefaultRealMr(mr, range);
});

/** The region of a key, if it can be paged for `pd`, with one more user; or -errno. */
const getPageable = fn(
  function* getPageable(key: number, pd: IbPd | null): Body<Mlx5IbMr | number> {
    const mr = yield* findOdpMkey(key);
    if (typeof mr === 'number') return pd === null ? -EFAULT : mr;
    if (mr.umem!.isOdp && (pd === null || mr.ibmr.pd === pd)) return mr;
    yield* mlx5rDerefOdpMkey(mr);
    return -EINVAL;
  },
  { name: 'find_odp_mkey' },
);

/** Finds the region of a key and makes pages available: how many, or -errno. May sleep. */
const pagefaultSingleDataSegment = fn(function* pagefaultSingleDataSegment(
  key: number,
  range: FaultRange,
  pd: IbPd | null,
) {
  const mr = yield* getPageable(key, pd);
  if (typeof mr === 'number') return mr;
  const result = yield* pagefaultMr(mr, range);
  yield* mlx5rDerefOdpMkey(mr);
  return result;
});

// ---- the end ----------------------------------------------------------------------------------------

/** The adapter's key goes: whatever it was doing is over. */
const mlx5RevokeMr = fn(function* mlx5RevokeMr(mr: Mlx5IbMr) {
  const { isOdp } = mr.umem!;
  const odp = isOdp && globals().counted!.locksRevoke ? toIbUmemOdp(mr.umem!) : null;
  if (odp !== null) yield* mutexLock(odp.umemMutex);
  yield* destroyMkeyOf(mr);
  if (odp === null) return;
  // No entry of this key is written any more.
  odp.private = null;
  yield* mutexUnlock(odp.umemMutex);
});

/** Ends a region that nobody uses: key, memory, children. May sleep. */
const destroyMr = fn(
  function* destroyMr(mr: Mlx5IbMr): Body<void> {
    const umem = mr.umem!;
    const { isOdp } = umem;
    yield* mlx5RevokeMr(mr);
    if (!isOdp) yield* ibUmemRelease(umem);
    else {
      yield* umemVersion().release(toIbUmemOdp(umem));
      yield* mlx5IbFreeOdpMr(mr);
    }
    yield* kfree(mr);
  },
  { name: 'mlx5_ib_dereg_mr' },
);

/** An implicit region's key is gone, so the adapter does not get to its children any more. */
const mlx5IbFreeOdpMr = fn(function* mlx5IbFreeOdpMr(imr: Mlx5IbMr) {
  const { implicitChildren } = imr;
  for (let at = yield* xaFind(implicitChildren, 0); at !== null;) {
    yield* xaErase(implicitChildren, at.index);
    yield* hideKey(at.entry as Mlx5IbMr);
    yield* destroyMr(at.entry as Mlx5IbMr);
    at = yield* xaFind(implicitChildren, 0);
  }
});

/** Destroys a region that nobody else can destroy. May sleep. */
const mlx5IbDeregMr = fn(function* mlx5IbDeregMr(ibmr: IbMr) {
  const mr = toMmr(ibmr);
  yield* spinLock(globals().mkeyLock);
  yield* hideKey(mr);
  yield* spinUnlock(globals().mkeyLock);
  yield* mlx5rDerefWaitOdpMkey(mr);
  yield* destroyMr(mr);
});

/** Paging by counts and interval notifiers: v5.13 and later. */
export const pagingByCounts: Mlx5Paging = {
  ops: { deregMr: mlx5IbDeregMr, mnOps: mlx5MnOps },
  // A count of its own keeps each region.
  *readLock() {
    return 0;
  },
  *readUnlock() {},
  pagefault: pagefaultSingleDataSegment,
  prefetchInc: getPageable,
  prefetchDec: mlx5rDerefOdpMkey,
};
