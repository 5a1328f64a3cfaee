/**
 * ibv_advise_mr: pages are made available to the adapter before it asks for them, at once or by a work.
 *
 * A prefetch is best effort: one that races with a notifier gives up. A queued one counts on each region that it is
 * about, and a region that is destroyed waits for those.
 * Simplified: errors are those of the manual page; v5.3 and v5.4 say -EINVAL for some of them.
 */
import { EAGAIN, EINVAL, ENOMEM } from '../../base/errno.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import {
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
  IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
  type AdviseMrArgs,
  type IbPd,
  type IbSge,
  type IbUcontext,
} from './ib-priv.ts';
import {
  globals,
  mlx5Ib,
  MLX5_PF_FLAGS_DOWNGRADE,
  MLX5_PF_FLAGS_PREFETCH,
  PrefetchMrWork,
  type Mlx5IbMr,
} from './mlx5-priv.ts';

const { fn } = mlx5Ib;

/** Prefetches the ranges, until one fails: 0 or -errno. May sleep. */
const mlx5IbPrefetchSgList = fn(function* mlx5IbPrefetchSgList(
  pd: IbPd,
  flags: number,
  sgList: readonly IbSge[],
) {
  const { pagefault, readLock, readUnlock } = globals().version!.paging;
  const section = yield* readLock();
  let error = 0;
  for (const { address, length, lkey } of sgList) {
    const range = { ioVirt: address, bcnt: length, flags };
    const result: number = yield* pagefault(lkey, range, pd);
    if (result >= 0) continue;
    error = result;
    break;
  }
  yield* readUnlock(section);
  return error;
});

/** Counts a queued prefetch on each region, or, if one of them cannot be used, on none: the regions, or -errno. */
const numPendingPrefetchInc = fn(function* numPendingPrefetchInc(
  pd: IbPd,
  sgList: readonly IbSge[],
): Body<readonly Mlx5IbMr[] | number> {
  const { prefetchInc, readLock, readUnlock } = globals().version!.paging;
  const section = yield* readLock();
  const counted: Mlx5IbMr[] = [];
  let error = 0;
  for (const { lkey } of sgList) {
    const mr = yield* prefetchInc(lkey, pd);
    if (typeof mr !== 'number') counted.push(mr);
    else {
      error = mr;
      break;
    }
  }
  if (error !== 0) yield* numPendingPrefetchDec(counted);
  yield* readUnlock(section);
  return error === 0 ? counted : error;
});

/** Takes the count back. The regions are still there: whoever destroys one waits for it. */
const numPendingPrefetchDec = fn(function* numPendingPrefetchDec(regions: readonly Mlx5IbMr[]) {
  const { prefetchDec } = globals().version!.paging;
  for (const mr of regions) yield* prefetchDec(mr);
});

const mlx5IbPrefetchMrWork = fn(function* mlx5IbPrefetchMrWork(work: WorkStruct) {
  const w = containerOf(work, PrefetchMrWork, 'work');
  // The program does not hear of it.
  yield* mlx5IbPrefetchSgList(w.pd!, w.pfFlags, w.sgList!);
  yield* numPendingPrefetchDec(w.regions as readonly Mlx5IbMr[]);
  yield* kfree(w);
});

/**
 * Prefetches, or queues a prefetch: 0; -EINVAL, -EOPNOTSUPP for other advice; with FLUSH also -EFAULT outside the region
 * or the address space, -EPERM to write to what may only be read, -ENOENT for an unknown key. May sleep.
 */
export const mlx5IbAdviseMr = fn(function* mlx5IbAdviseMr(
  context: IbUcontext,
  { advice, flags, sgList }: AdviseMrArgs,
) {
  const isWrite = advice === IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;
  if (!isWrite && advice !== IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH) return -EINVAL;
  if ((flags & ~IB_UVERBS_ADVISE_MR_FLAG_FLUSH) !== 0 || sgList.length === 0) return -EINVAL;
  const pfFlags = MLX5_PF_FLAGS_PREFETCH | (isWrite ? 0 : MLX5_PF_FLAGS_DOWNGRADE);
  if ((flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH) !== 0) {
    const error = yield* mlx5IbPrefetchSgList(context.pd, pfFlags, sgList);
    // Raced with a notifier: the adapter will fault when it comes to it.
    return error === -EAGAIN ? 0 : error;
  }
  const work = yield* kzalloc(PrefetchMrWork, GFP_KERNEL);
  if (work === null) return -ENOMEM;
  const regions = yield* numPendingPrefetchInc(context.pd, sgList);
  if (typeof regions === 'number') {
    yield* kfree(work);
    return regions;
  }
  work.regions = regions;
  work.pd = context.pd;
  work.pfFlags = pfFlags;
  work.sgList = sgList;
  initWork(work.work, mlx5IbPrefetchMrWork);
  yield* queueWork(globals().systemUnboundWq!, work.work);
  return 0;
});
