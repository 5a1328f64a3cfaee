/** RDMA on-demand paging by version: what a scenario can load, and how a program and the remote side use it. */
import type { ModuleType } from '../../kernel/module.ts';
import type { UmemVersion } from './ib-priv.ts';
import { pagingBySrcu } from './mlx5-dereg.ts';
import { mlx5Module } from './mlx5-main.ts';
import { pagingByCounts } from './mlx5-odp-interval.ts';
import type { CountedVersion, Mlx5Version } from './mlx5-priv.ts';
import {
  umemV53,
  umemV53NoRecheck,
  umemV53Unannotated,
  umemV53Unlocking,
} from './umem-odp-before-series.ts';
import { umemInterval } from './umem-odp-interval.ts';
import {
  umemFixed,
  umemSeries,
  umemSeriesNoRecheck,
  umemSeriesShortGrace,
  umemSeriesUnannotated,
  umemV54,
  umemV54ListsLast,
} from './umem-odp-series.ts';
import { uverbsModule } from './uverbs.ts';

export {
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
  IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
  ibUverbs,
} from './ib-priv.ts';
export { mlx5Ib } from './mlx5-priv.ts';
export {
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_ON_DEMAND,
  IB_ACCESS_REMOTE_ATOMIC,
  IB_ACCESS_REMOTE_READ,
  IB_ACCESS_REMOTE_WRITE,
  MLX5_IMR_MTT_SIZE,
  plugNic,
  rdmaCompareSwap,
  rdmaFetchAdd,
  rdmaRead,
  rdmaReadUnpaged,
  rdmaWrite,
  sendReceive,
  type Nic,
} from './nic.ts';
export { ADVISE_MR, DEREG_MR, GET_CONTEXT, REG_MR, UVERBS_DEVICE } from './uverbs.ts';

/** The two modules of one version, in the order in which they are loaded. */
export type RdmaVersion = readonly [ModuleType, ModuleType];

function version(umem: UmemVersion, synchronizes: boolean, mlx5: Mlx5Version): RdmaVersion {
  return [uverbsModule(umem, synchronizes), mlx5Module(mlx5)];
}

const OLD: Mlx5Version = {
  paging: pagingBySrcu,
  locksDeath: false,
  locksParent: false,
  publishes: true,
  skipsUnmapped: false,
  zapsChildren: false,
  wakesLocked: true,
};
/** v5.4: 9dc775e7f550, and the parent's table under its lock. */
const NEWER: Mlx5Version = { ...OLD, locksDeath: true, locksParent: true };
/** v5.5: an invalidation without mapped pages does not look at the region. */
const NEWEST: Mlx5Version = { ...NEWER, publishes: false, skipsUnmapped: true };

/** v5.3. */
export const rdmaV53 = version(umemV53, false, OLD);
/** v5.3 with 7608bf40cf24 (B-10). */
export const rdmaV53Unlocking = version(umemV53Unlocking, false, OLD);
/** v5.3 without the second look at `active` (B-47). */
export const rdmaV53NoRecheck = version(umemV53NoRecheck, false, OLD);
/** As patches 6 and 7 make it. */
export const rdmaSeries = version(umemSeries, true, OLD);
/** The same, where a grace period may be as short as it likes. */
export const rdmaSeriesShortGrace = version(umemSeriesShortGrace, true, OLD);
/** The same, where the wake-up of a parent that is being destroyed may come too late. */
export const rdmaSeriesLateWake = version(umemSeries, true, { ...OLD, wakesLocked: false });
/** The same without the second look at `users` (B-47). */
export const rdmaSeriesNoRecheck = version(umemSeriesNoRecheck, true, OLD);
/** v5.4. */
export const rdmaV54 = version(umemV54, true, NEWER);
/** v5.4 where a region leaves the tree before its lists are freed. */
export const rdmaV54ListsLast = version(umemV54ListsLast, true, NEWER);
/** v5.4 with that, with a4e63bce1414 (B-13) and with v5.5's order in creation (B-14). */
export const rdmaFixed = version(umemFixed, true, NEWEST);
/** v5.3 and the series as lockdep sees them. */
export const rdmaV53Unannotated = version(umemV53Unannotated, false, OLD);
export const rdmaSeriesUnannotated = version(umemSeriesUnannotated, true, OLD);
/** The series and v5.4 where a region can be found before it is made (B-14). */
export const rdmaSeriesUnpublished = version(umemSeries, true, { ...OLD, publishes: false });
export const rdmaV54Unpublished = version(umemV54ListsLast, true, { ...NEWER, publishes: false });
/** The last, where the children of a region that is destroyed lose their entries first. */
export const rdmaFixedZapping = version(umemFixed, true, { ...NEWEST, zapsChildren: true });

/** By interval notifiers and counts; nobody waits at module exit, since removing an interval has. */
const COUNTED: Mlx5Version = { ...NEWEST, paging: pagingByCounts };
const V6_13: CountedVersion = {
  exchangesChild: false,
  putsParent: false,
  locksRevoke: false,
  unmapsRevoked: false,
};
const V6_14: CountedVersion = {
  exchangesChild: true,
  putsParent: true,
  locksRevoke: true,
  unmapsRevoked: false,
};

function later(counted: CountedVersion, mlx5: Mlx5Version = COUNTED): RdmaVersion {
  return [uverbsModule(umemInterval, false), mlx5Module(mlx5, counted)];
}

/** v6.13. */
export const rdmaV613 = later(V6_13);
/** v6.13 with abb604a1a9c8 (B-16). */
export const rdmaV613Revoking = later({ ...V6_13, locksRevoke: true });
/** v6.13 with all of those. */
export const rdmaV614 = later(V6_14);
/** The same, where memory that has lost its region is still unmapped. */
export const rdmaV614Unmapping = later({ ...V6_14, unmapsRevoked: true });
/** That without what mended d3d930411ce3 (B-15). */
export const rdmaV614Keeping = later({ ...V6_14, unmapsRevoked: true, putsParent: false });
/** v6.14 with wait queues as in the source. */
export const rdmaV614LateWake = later(
  { ...V6_14, unmapsRevoked: true },
  { ...COUNTED, wakesLocked: false },
);
