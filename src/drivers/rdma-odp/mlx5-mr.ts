/**
 * mlx5's memory regions (drivers/infiniband/hw/mlx5/mr.c): registration and its end.
 *
 * An explicit or implicit region is in reach of the notifier as soon as its ib_umem_odp is made, which is before the
 * region itself exists (B-14). It ends in the other order: faults are shut out, the adapter's entries are taken away,
 * the ib_umem_odp goes, then the key and the region.
 */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { atomicRead } from '../../kernel/atomic.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { smpStoreRelease } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree } from '../../kernel/slab.ts';
import { synchronizeSrcu } from '../../kernel/srcu.ts';
import { flushWorkqueue } from '../../kernel/workqueue.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ODP_PAGES_MAX,
  umemVersion,
  type IbMr,
  type IbUcontext,
  type IbUmem,
  type RegMrArgs,
} from './ib-priv.ts';
import { globals, mlx5Ib, publishPrivate, toIbUmemOdp, toMmr, type Mlx5IbMr } from './mlx5-priv.ts';
import { implicitMrAlloc, mlx5IbFreeImplicitMr, mlx5IbInvalidateRange } from './mlx5-odp.ts';
import { declare, destroyMkeyOf, hideKey, regCreate } from './mlx5-xlt.ts';
import {
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_ON_DEMAND,
  IB_ACCESS_REMOTE_ATOMIC,
  IB_ACCESS_REMOTE_WRITE,
} from './nic.ts';
import { ibUmemGet, ibUmemRelease } from './umem.ts';

const { fn } = mlx5Ib;

/** `ib_access_writable(access)`. */
function isWritable(access: number): boolean {
  const any = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC;
  return (access & any) !== 0;
}

/** One for all memory of the process: children are made by faults. */
const mlx5IbAllocImplicitMr = fn(function* mlx5IbAllocImplicitMr(
  context: IbUcontext,
  access: number,
): Body<IbMr | ErrPtr> {
  const odp = yield* umemVersion().allocImplicit(context, isWritable(access));
  if (isErr(odp)) return odp;
  const imr = yield* implicitMrAlloc(context.pd, odp, { access, hasKeys: true });
  if (isErr(imr)) {
    yield* umemVersion().release(odp);
    return imr;
  }
  yield* publishPrivate(odp, imr);
  yield* smpStoreRelease(imr, 'live', true);
  return imr.ibmr;
});

/** A region whose pages come on demand. */
const regOdpMr = fn(
  function* regOdpMr(context: IbUcontext, args: RegMrArgs): Body<IbMr | ErrPtr> {
    const { start: address, length, access } = args;
    const request = { address, length, isWritable: isWritable(access) };
    const odp = yield* umemVersion().get(context, request);
    if (isErr(odp)) return odp;
    // The notifier may call from here on.
    const mr = yield* regCreate({ ...args, isOnDemand: true, hasKeys: false });
    if (mr === null) {
      yield* umemVersion().release(odp);
      return errPtr(-ENOMEM);
    }
    declare(mr, odp.umem.owningMm!, 'start');
    mr.ibmr.pd = context.pd;
    mr.umem = odp.umem;
    yield* publishPrivate(odp, mr);
    yield* smpStoreRelease(mr, 'live', true);
    return mr.ibmr;
  },
  { name: 'mlx5_ib_reg_user_mr' },
);

/** Writes all entries of a region whose pages are pinned. */
const populate = fn(
  function* populate(mr: Mlx5IbMr, umem: IbUmem) {
    for (let page = 0; page < umem.length / PAGE_SIZE; page += 1) {
      const pfn = pageToPfn(umem.pageList!.at.get(page).page!);
      yield* setDeviceEntry(mr.mkey!.mtt, page, { pfn, isWritable: umem.isWritable });
    }
  },
  { name: 'mlx5_ib_populate_pas' },
);

/** A region whose pages are pinned. */
const regPinnedMr = fn(
  function* regPinnedMr(context: IbUcontext, args: RegMrArgs): Body<IbMr | ErrPtr> {
    const { start: address, length, access } = args;
    const request = { address, length, isWritable: isWritable(access) };
    const umem = yield* ibUmemGet(context, request);
    if (isErr(umem)) return umem;
    const mr = yield* regCreate({ ...args, isOnDemand: false, hasKeys: false });
    if (mr === null) {
      yield* ibUmemRelease(umem);
      return errPtr(-ENOMEM);
    }
    declare(mr, umem.owningMm!, 'pinned');
    mr.ibmr.pd = context.pd;
    mr.umem = umem;
    yield* populate(mr, umem);
    yield* smpStoreRelease(mr, 'live', true);
    return mr.ibmr;
  },
  { name: 'mlx5_ib_reg_user_mr' },
);

/**
 * Registers memory of current: a region, or ERR_PTR(-EINVAL, -ENOMEM, -EFAULT, -EINTR). Length 0 from address 0 with
 * ON_DEMAND stands for all memory. May sleep.
 */
export const mlx5IbRegUserMr = fn(function* mlx5IbRegUserMr(
  context: IbUcontext,
  args: RegMrArgs,
): Body<IbMr | ErrPtr> {
  const { start, length, access } = args;
  const isOnDemand = (access & IB_ACCESS_ON_DEMAND) !== 0;
  if (isOnDemand && start === 0 && length === 0) {
    return yield* mlx5IbAllocImplicitMr(context, access);
  }
  const isAligned = start % PAGE_SIZE === 0 && length % PAGE_SIZE === 0;
  const isFitting = length > 0 && length <= ODP_PAGES_MAX * PAGE_SIZE;
  if (!isAligned || !isFitting) return errPtr(-EINVAL);
  return yield* (isOnDemand ? regOdpMr : regPinnedMr)(context, args);
});

/** No new faults and prefetches find the region, and those that are running are over. */
const shutOut = fn(
  function* shutOut(mr: Mlx5IbMr) {
    yield* smpStoreRelease(mr, 'live', false);
    yield* hideKey(mr);
    yield* synchronizeSrcu(globals().mrSrcu);
  },
  { name: 'dereg_mr' },
);

/** Ends paging of a region: when it has returned, the adapter has no entries, and no fault or notifier knows it. */
const endOdp = fn(
  function* endOdp(mr: Mlx5IbMr) {
    const odp = toIbUmemOdp(mr.umem!);
    // Prefetches that are queued.
    if ((yield* atomicRead(mr.numPendingPrefetch)) > 0) {
      yield* flushWorkqueue(globals().systemUnboundWq!);
    }
    const pending = yield* atomicRead(mr.numPendingPrefetch);
    warnOn(pending !== 0, 'atomic_read(&mr->num_pending_prefetch)');
    if (odp.isImplicitOdp) yield* mlx5IbFreeImplicitMr(mr);
    else yield* mlx5IbInvalidateRange(odp, ibUmemStart(odp), ibUmemEnd(odp));
    // Before the region, so that no notifier looks at it any more.
    yield* umemVersion().release(odp);
  },
  { name: 'dereg_mr' },
);

/** Destroys a region that nobody else can destroy. May sleep. */
export const mlx5IbDeregMr = fn(function* mlx5IbDeregMr(ibmr: IbMr) {
  const mr = toMmr(ibmr);
  const umem = mr.umem!;
  const { isOdp } = umem;
  yield* shutOut(mr);
  if (isOdp) yield* endOdp(mr);
  yield* destroyMkeyOf(mr);
  if (!isOdp) yield* ibUmemRelease(umem);
  yield* kfree(mr);
});
