/**
 * mlx5's memory regions (drivers/infiniband/hw/mlx5/mr.c): registration.
 *
 * An explicit or implicit region is in reach of the notifier as soon as its ib_umem_odp is made, which is before the
 * region itself exists (B-14).
 * Left out: that from v5.13 on what is mapped already is given to the adapter at once.
 */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { smpStoreRelease } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  ODP_PAGES_MAX,
  umemVersion,
  type IbMr,
  type IbUcontext,
  type IbUmem,
  type RegMrArgs,
} from './ib-priv.ts';
import { mlx5Ib, publishPrivate, type Mlx5IbMr } from './mlx5-priv.ts';
import { declare, implicitMrAlloc, regCreate } from './mlx5-xlt.ts';
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
  const odp = yield* umemVersion().make(context, null);
  if (isErr(odp)) return odp;
  odp.umem.isWritable = isWritable(access);
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
    const odp = yield* umemVersion().make(context, request);
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
