/**
 * What the adapter translates by: entries of a region's pages (MTT) and of an implicit region's children (KLM), and the
 * commands that write them (`mlx5_ib_update_xlt`).
 *
 * A command is put together first and posted afterwards: two that overlap can arrive in the other order than they were
 * put together, unless something keeps them apart (B-12).
 */
import { ENOMEM } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { readOnce } from '../../kernel/field.ts';
import { GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import type { Body, Operation } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { xaErase, xaErr, xaStore } from '../../kernel/xarray.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ODP_DMA_UNIT,
  ODP_WRITE_ALLOWED_BIT,
  type IbPd,
  type UmemOdp,
} from './ib-priv.ts';
import { globals, Mlx5IbMr, mlx5Ib, privateOf, toIbUmemOdp } from './mlx5-priv.ts';
import { createMkey, destroyMkey, MLX5_IMR_MTT_SIZE, umrStatus, type MkeyContext } from './nic.ts';
import { dmaAddressOf, umemsInRange } from './umem-odp.ts';

const { fn } = mlx5Ib;

/**
 * A command on the entries of a key that is gone leaves the queue of such commands in error. Up to v5.4 nobody sends one:
 * a region leaves the notifier before its key goes.
 */
export const expectKey = fn(
  function* expectKey(mr: Mlx5IbMr) {
    if (globals().counted === null) return;
    warnOn((yield* umrStatus(mr.mkey!)) !== 0, 'reg umr failed');
  },
  { name: 'mlx5r_umr_update_xlt' },
);

/** Writes the entries of pages [first, first + count) as `dma_list` has them. umem_mutex is held. */
export const updateMtt = fn(
  function* updateMtt(mr: Mlx5IbMr, first: number, count: number) {
    const odp = toIbUmemOdp(mr.umem!);
    yield* expectKey(mr);
    for (let page = first; page < first + count; page += 1) {
      const dma = yield* dmaAddressOf(odp, page, true);
      const pfn = Math.floor(dma / ODP_DMA_UNIT);
      const isWritable = (dma & ODP_WRITE_ALLOWED_BIT) !== 0;
      yield* setDeviceEntry(mr.mkey!.mtt, page, dma === 0 ? null : { pfn, isWritable });
    }
  },
  { name: 'mlx5_ib_update_xlt' },
);

/** MLX5_IB_UPD_XLT_ZAP: takes the entry of a page away. When it has returned, the adapter uses it no more. */
const zapMtt = fn(
  function* zapMtt(mr: Mlx5IbMr, page: number) {
    yield* expectKey(mr);
    yield* setDeviceEntry(mr.mkey!.mtt, page, null);
  },
  { name: 'mlx5_ib_update_xlt' },
);

/** Takes entries of mapped pages of [start, end) away. */
export const zapRange = fn(
  function* zapRange(odp: UmemOdp, mr: Mlx5IbMr, start: number, end: number) {
    const isLocked = globals().version!.locksDeath;
    const from = Math.max(start, ibUmemStart(odp));
    const to = Math.min(end, ibUmemEnd(odp));
    for (let address = from; address < to; address += PAGE_SIZE) {
      const page = (address - ibUmemStart(odp)) / PAGE_SIZE;
      if ((yield* dmaAddressOf(odp, page, isLocked)) !== 0) yield* zapMtt(mr, page);
    }
  },
  { name: 'mlx5_ib_invalidate_range' },
);

/** Whether `odp` is a child of `parent` that can be used. umem_rwsem is held. */
const checkParent = fn(function* checkParent(odp: UmemOdp, parent: Mlx5IbMr) {
  const mr = yield* privateOf(odp);
  if (mr === null || (yield* readOnce(mr, 'parent')) !== parent) return false;
  return !(yield* readOnce(odp, 'dying'));
});

/** The first child of an implicit region that [start, start + length) touches, or NULL. Takes umem_rwsem. */
export const odpLookup = fn(function* odpLookup(start: number, length: number, parent: Mlx5IbMr) {
  const perMm = toIbUmemOdp(parent.umem!).perMm!;
  let found: UmemOdp | null = null;
  yield* downRead(perMm.umemRwsem);
  for (const odp of umemsInRange(perMm, start, start + length)) {
    if (!(yield* checkParent(odp, parent))) continue;
    found = odp;
    break;
  }
  yield* upRead(perMm.umemRwsem);
  return found;
});

/** Rewrites an implicit region's entry for the child at `index`: its key, or the null key if there is none. */
export const updateKlm = fn(
  function* updateKlm(imr: Mlx5IbMr, index: number) {
    // mlx5_odp_populate_klm: what is there now.
    const odp = yield* odpLookup(index * MLX5_IMR_MTT_SIZE, MLX5_IMR_MTT_SIZE, imr);
    const child = odp === null ? null : yield* privateOf(odp);
    const { klm } = imr.mkey!;
    // mlx5_ib_post_send_wait: what the adapter is told.
    if (child === null) yield* xaErase(klm, index);
    else yield* xaStore(klm, index, child.ibmr.lkey, GFP_KERNEL | GFP_NOFAIL);
  },
  { name: 'mlx5_ib_update_xlt' },
);

// ---- keys -------------------------------------------------------------------------------------------

/** A region with its key, which faults cannot use yet; NULL without memory or keys. May sleep. */
export const regCreate = fn(function* regCreate(context: MkeyContext): Body<Mlx5IbMr | null> {
  const mr = yield* kzalloc(Mlx5IbMr, GFP_KERNEL);
  if (mr === null) return null;
  const mkey = yield* createMkey(globals().nic!, context);
  if (typeof mkey !== 'number') {
    mr.mkey = mkey;
    mr.ibmr.lkey = mkey.key;
    const error = xaErr(yield* xaStore(globals().mkeyTable, mkey.key, mr, GFP_KERNEL));
    if (error === 0) return mr;
    yield* destroyMkey(mkey);
  }
  yield* kfree(mr);
  return null;
});

/** A region for a child's memory, or for a whole implicit region; an ERR_PTR without memory. May sleep. */
export const implicitMrAlloc = fn(function* implicitMrAlloc(
  pd: IbPd,
  odp: UmemOdp,
  how: { readonly access: number; readonly hasKeys: boolean },
): Body<Mlx5IbMr | ErrPtr> {
  const start = how.hasKeys ? 0 : ibUmemStart(odp);
  const length = how.hasKeys ? Number.MAX_SAFE_INTEGER : odp.umem.length;
  const mr = yield* regCreate({ start, length, isOnDemand: true, ...how });
  if (mr === null) return errPtr(-ENOMEM);
  mr.ibmr.pd = pd;
  mr.umem = odp.umem;
  return mr;
});

/** Faults find the region no more; those that have are in mr_srcu. */
export function hideKey(mr: Mlx5IbMr): Operation<Mlx5IbMr | null> {
  return xaErase(globals().mkeyTable, mr.ibmr.lkey);
}

/** The adapter's key goes. */
export const destroyMkeyOf = fn(
  function* destroyMkeyOf(mr: Mlx5IbMr) {
    const mkey = mr.mkey!;
    yield* destroyMkey(mkey);
    withdrawCoherence(mkey.mtt, 0, mkey.length / PAGE_SIZE);
  },
  { name: 'destroy_mkey' },
);

/** How the pages of a region are kept: by the notifier, or by references. */
export function declare(mr: Mlx5IbMr, mm: MmStruct, by: 'start' | 'pinned'): void {
  const mkey = mr.mkey!;
  const pages = mkey.length / PAGE_SIZE;
  declareCoherence(mkey.mtt, { first: 0, end: pages, cpuPage: mkey.start / PAGE_SIZE, mm, by });
}
