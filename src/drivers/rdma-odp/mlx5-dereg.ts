/**
 * The end of mlx5's memory regions up to v5.4: faults are shut out and waited for, the adapter's entries are taken away,
 * the ib_umem_odp goes, then the key and the region.
 */
import { warnOn } from '../../kernel/assertion.ts';
import { atomicRead } from '../../kernel/atomic.ts';
import { smpStoreRelease } from '../../kernel/field.ts';
import { kfree } from '../../kernel/slab.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../../kernel/srcu.ts';
import { flushWorkqueue } from '../../kernel/workqueue.ts';
import { ibUmemEnd, ibUmemStart, umemVersion, type IbMr } from './ib-priv.ts';
import {
  mlx5IbFreeImplicitMr,
  mlx5IbInvalidateRange,
  pagefaultSingleDataSegment,
  prefetchDec,
  prefetchInc,
} from './mlx5-odp.ts';
import {
  globals,
  mlx5Ib,
  toIbUmemOdp,
  toMmr,
  type Mlx5IbMr,
  type Mlx5Paging,
} from './mlx5-priv.ts';
import { destroyMkeyOf, hideKey } from './mlx5-xlt.ts';
import { ibUmemRelease } from './umem.ts';

const { fn } = mlx5Ib;

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

/** Paging by SRCU: v5.3 to v5.4. */
export const pagingBySrcu: Mlx5Paging = {
  ops: { deregMr: mlx5IbDeregMr, invalidateRange: mlx5IbInvalidateRange },
  *readLock() {
    return yield* srcuReadLock(globals().mrSrcu);
  },
  *readUnlock(section) {
    yield* srcuReadUnlock(globals().mrSrcu, section);
  },
  pagefault: pagefaultSingleDataSegment,
  prefetchInc,
  prefetchDec,
};
