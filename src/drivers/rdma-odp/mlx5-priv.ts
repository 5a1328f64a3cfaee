/**
 * mlx5_ib, the driver of the adapter, as far as memory regions go: structures and globals.
 *
 * Who keeps a region: it is in `mkey_table` until it is destroyed, and whoever finds it there is in a read section of
 * `mr_srcu`. `live` says whether faults may use it; destroying clears it and then waits for that SRCU domain, which is
 * the driver's own and not the notifiers'.
 * From v5.13 on `usecount` takes the place of SRCU: 1 for being in the table, which destroying gives back and then waits
 * for the rest. Both ways are the same to registration, prefetches and events, see {@link Mlx5Paging}.
 * Simplified: a region that is destroyed leaves `mkey_table` before that wait, as from v5.5 on.
 * Left out: the cache of memory keys, memory windows, indirect keys of programs, device memory.
 */
import { atomic } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { completion } from '../../kernel/completion.ts';
import { readOnce, smpLoadAcquire, smpStoreRelease, writeOnce } from '../../kernel/field.ts';
import { moduleText } from '../../kernel/module.ts';
import type { Body, Operation } from '../../kernel/operation.ts';
import { refcount } from '../../kernel/refcount.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { srcuStruct } from '../../kernel/srcu.ts';
import {
  containerOf,
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { waitQueueHead } from '../../kernel/wait.ts';
import { workStruct, type Workqueue } from '../../kernel/workqueue.ts';
import { xarray } from '../../kernel/xarray.ts';
import {
  IbDevice,
  IbMr,
  UmemOdp,
  type IbDeviceOps,
  type IbPd,
  type IbSge,
  type IbUmem,
} from './ib-priv.ts';
import type { Mkey, Nic } from './nic.ts';

export const mlx5Ib = moduleText('mlx5_ib');

export const Mlx5IbMr = struct('mlx5_ib_mr', {
  ibmr: embed(IbMr),
  mkey: ptr<Mkey>(),
  umem: ptr<IbUmem>(),
  /** Whether faults may use it. Published by smp_store_release. */
  live: field(false),
  /** A child's implicit region; up to v5.4 NULL once the child is being destroyed. */
  parent: ptr<StructObject>(),
  // Up to v5.4:
  /** Of an implicit region: children whose destruction is under way. */
  numLeafFree: atomic(0),
  qLeafFree: waitQueueHead(),
  /** Prefetches that are queued. */
  numPendingPrefetch: atomic(0),
  // From v5.13 on:
  /** Who uses the region: faults, prefetches, works, and the table that it is found by. */
  usecount: refcount(1),
  /** Where whoever destroys it waits for the others: in the source a wait queue. See {@link Mlx5Version.wakesLocked}. */
  unused: completion(),
  wait: waitQueueHead(),
  /** The children of an implicit region by address / MLX5_IMR_MTT_SIZE, and the lock of that array. */
  implicitChildren: xarray<StructObject>(),
  childrenLock: spinlock(),
  odpDestroyWork: workStruct(),
});
export type Mlx5IbMr = InstanceOf<typeof Mlx5IbMr>;

/** One page fault, from its event to its answer. */
export const Mlx5IbPfault = struct('mlx5_pagefault', {
  work: workStruct(),
  fault: ptr<object>(),
  key: 0,
  address: 0,
});
export type Mlx5IbPfault = InstanceOf<typeof Mlx5IbPfault>;

/** A prefetch that the program does not wait for. */
export const PrefetchMrWork = struct('prefetch_mr_work', {
  work: workStruct(),
  pd: ptr<IbPd>(),
  pfFlags: 0,
  sgList: ptr<readonly IbSge[]>(),
  /** What it counts on. */
  regions: ptr<readonly StructObject[]>(),
});
export type PrefetchMrWork = InstanceOf<typeof PrefetchMrWork>;

/** Only reading is asked for. */
export const MLX5_PF_FLAGS_DOWNGRADE = 1;
/** The program asks, not the adapter. */
export const MLX5_PF_FLAGS_PREFETCH = 2;

/** What a fault wants: bytes. */
export interface FaultRange {
  readonly ioVirt: number;
  readonly bcnt: number;
  readonly flags: number;
}

/** How regions are paged and ended: by SRCU, or by counts and interval notifiers. */
export interface Mlx5Paging {
  readonly ops: Pick<IbDeviceOps, 'deregMr' | 'invalidateRange' | 'mnOps'>;
  /** Keeps regions that are looked up; what it returns is for `readUnlock`. */
  readonly readLock: () => Body<number>;
  readonly readUnlock: (section: number) => Body<void>;
  /** Finds the region of a key and makes pages available: how many, or -errno. Under `readLock`. May sleep. */
  readonly pagefault: KernelCallable<[number, FaultRange, IbPd | null], number>;
  /** Keeps a region for a queued prefetch: it, -ENOENT, -EFAULT or -EINVAL. Under `readLock`. */
  readonly prefetchInc: KernelCallable<[number, IbPd | null], Mlx5IbMr | number>;
  /** Gives that up. The region is still there. */
  readonly prefetchDec: KernelCallable<[Mlx5IbMr], void>;
}

/** Where versions of the driver differ. */
export interface Mlx5Version {
  readonly paging: Mlx5Paging;
  /** 9dc775e7f550: invalidation decides under umem_mutex whether a child dies (B-11). */
  readonly locksDeath: boolean;
  /** Whoever rewrites the parent's table holds the parent's umem_mutex (B-12). */
  readonly locksParent: boolean;
  /**
   * What a region has is stored before it can be found, and whoever finds it sees that. False: as it is up to v5.4, see
   * B-14.
   */
  readonly publishes: boolean;
  /** v5.5: without a mapped page there is nothing to invalidate, and the region is not looked at (B-14). */
  readonly skipsUnmapped: boolean;
  /** A child of a region that is destroyed loses its entries before its pages are forgotten. */
  readonly zapsChildren: boolean;
  /** Who gives up the last use wakes whoever destroys the region under a lock that this one takes, too. */
  readonly wakesLocked: boolean;
}

/** Where versions of the form of v5.13 and later differ besides. */
export interface CountedVersion {
  /** d3d930411ce3: whoever takes a child out of the array destroys it, and nobody else (B-15). */
  readonly exchangesChild: boolean;
  /** What mended that: who finds the child taken gives the parent back. */
  readonly putsParent: boolean;
  /** abb604a1a9c8: a key goes under umem_mutex, and the memory forgets its region (B-16). */
  readonly locksRevoke: boolean;
  /** Memory that has lost its region is still unmapped. */
  readonly unmapsRevoked: boolean;
}

export const globals = mlx5Ib.data({
  ibDev: embed(IbDevice),
  nic: ptr<Nic>(),
  version: ptr<Mlx5Version>(),
  /** From v5.13 on. */
  counted: ptr<CountedVersion>(),
  /** By key; the lock is that of the array. */
  mkeyTable: xarray<Mlx5IbMr>(),
  mkeyLock: spinlock(),
  mrSrcu: srcuStruct(),
  /** Page faults. */
  pageFaultWq: ptr<Workqueue>(),
  /** Prefetches. */
  systemUnboundWq: ptr<Workqueue>(),
});

/** Lets invalidations and faults find the region: `umem_odp->private = mr`. */
export function publishPrivate(odp: UmemOdp, mr: Mlx5IbMr): Operation<void> {
  return globals().version!.publishes
    ? smpStoreRelease(odp, 'private', mr)
    : writeOnce(odp, 'private', mr);
}

/** The region of memory, NULL while it has none. */
export function privateOf(odp: UmemOdp): Operation<Mlx5IbMr | null> {
  const read = globals().version!.publishes
    ? smpLoadAcquire(odp, 'private')
    : readOnce(odp, 'private');
  return read as Operation<Mlx5IbMr | null>;
}

/** The region that a program knows as `ibmr`. */
export function toMmr(ibmr: IbMr): Mlx5IbMr {
  return containerOf(ibmr, Mlx5IbMr, 'ibmr');
}

/** The region's memory, of a region that is paged on demand. */
export function toIbUmemOdp(umem: IbUmem): UmemOdp {
  return containerOf(umem, UmemOdp, 'umem');
}
