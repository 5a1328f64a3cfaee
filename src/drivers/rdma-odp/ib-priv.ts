/**
 * The RDMA core as far as on-demand paging needs it: its structures and globals (drivers/infiniband/core).
 *
 * An RDMA program registers memory regions, which an adapter then reads and writes for a remote side. With on-demand
 * paging (ODP) the region's pages are not pinned: the adapter faults, the driver maps pages of the process, and a
 * notifier takes the mapping away when the CPU's page tables change.
 *
 *   ib_uverbs_file ──> ib_ucontext ──> ib_device            one for each open of /dev/infiniband/uverbs0
 *        │ regions
 *        v
 *   ib_mr ──> ib_umem (pinned)
 *         └─> ib_umem_odp { page_list, dma_list, umem_mutex } ──> ib_ucontext_per_mm { mn, umem_tree, umem_rwsem }
 *               explicit: [address, address + length) in umem_tree
 *               implicit: the whole address space; not in the tree itself, but its children are, made by faults
 *
 * From v5.5 on there is no ib_ucontext_per_mm: each ib_umem_odp but the implicit one has an interval notifier.
 *
 * Lock order: mmap_sem, then umem_rwsem, then umem_mutex. umem_rwsem is held for read from invalidate_range_start to
 * invalidate_range_end, by the task that invalidates. From v5.5 on: mmap_sem, then umem_mutex.
 *
 * Simplified: one protection domain for each context; a region has at most {@link ODP_PAGES_MAX} pages; a DMA address
 * is a frame number (no IOMMU); struct pid is the task_struct of the group leader.
 * Left out: huge pages, device memory, hot unplug of the adapter, queue pairs and everything else that is no memory.
 */
import { completion } from '../../kernel/completion.ts';
import { array } from '../../kernel/array.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { intervalTreeNode, intervalTreeRoot } from '../../kernel/interval-tree.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { rwsem } from '../../kernel/rwsem.ts';
import { rcuHead } from '../../kernel/srcu.ts';
import {
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { workStruct } from '../../kernel/workqueue.ts';
import { xarray } from '../../kernel/xarray.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import type { TaskStruct } from '../../mm-types/task-struct.ts';
import { MmuIntervalNotifier, type MmuIntervalNotifierOps } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';

export const ibUverbs = moduleText('ib_uverbs');

/** Pages of a region, at most. */
export const ODP_PAGES_MAX = 4;

/** Bits of a DMA address that say what the adapter may do. */
export const ODP_READ_ALLOWED_BIT = 1;
export const ODP_WRITE_ALLOWED_BIT = 2;
/** A DMA address is frame number * 4 + these bits. */
export const ODP_DMA_UNIT = 4;

/** What a region is registered with: bytes, and IB_ACCESS_*. */
export interface RegMrArgs {
  readonly start: number;
  readonly length: number;
  readonly access: number;
}

/** One of the ranges that a program advises. */
export interface IbSge {
  readonly address: number;
  readonly length: number;
  readonly lkey: number;
}

/** What the program advises. */
export interface AdviseMrArgs {
  readonly advice: number;
  readonly flags: number;
  readonly sgList: readonly IbSge[];
}

export const IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH = 0;
export const IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE = 1;
export const IB_UVERBS_ADVISE_MR_FLAG_FLUSH = 1;

/** What a driver does for the core. All but `invalidateRange` are called by threads of the program. */
export interface IbDeviceOps {
  /** Up to v5.4: takes translations of [start, end) of a region away. From a notifier: locks and contexts as there. */
  readonly invalidateRange?: KernelCallable<[UmemOdp, number, number], void>;
  /** From v5.5 on: what each region's interval notifier calls. */
  readonly mnOps?: MmuIntervalNotifierOps;
  readonly regUserMr: KernelCallable<[IbUcontext, RegMrArgs], IbMr | ErrPtr>;
  readonly deregMr: KernelCallable<[IbMr], void>;
  readonly adviseMr: KernelCallable<[IbUcontext, AdviseMrArgs], number>;
}

export const IbDevice = struct('ib_device', { ops: ptr<IbDeviceOps>() });
export type IbDevice = InstanceOf<typeof IbDevice>;

export const IbPd = struct('ib_pd', { device: ptr<IbDevice>() });
export type IbPd = InstanceOf<typeof IbPd>;

export const IbUcontext = struct('ib_ucontext', {
  device: ptr<IbDevice>(),
  pd: embed(IbPd),
  /** Up to v5.3: the ib_ucontext_per_mm of this context, one for each mm. Under the mutex. */
  perMmListLock: mutex(),
  perMmList: listHead(),
});
export type IbUcontext = InstanceOf<typeof IbUcontext>;

export const IbUverbsFile = struct('ib_uverbs_file', {
  /** Serialises GET_CONTEXT. */
  ucontextLock: mutex(),
  /** Set once, published by smp_store_release. */
  ucontext: ptr<IbUcontext>(),
  /** Regions by handle, which here is the key. */
  idr: xarray<IbMr>(),
});
export type IbUverbsFile = InstanceOf<typeof IbUverbsFile>;

export const IbMr = struct('ib_mr', { pd: ptr<IbPd>(), lkey: 0 });
export type IbMr = InstanceOf<typeof IbMr>;

const PageSlot = struct('page_list[]', { page: ptr<Page>() });
export const PageList = struct('page_list', { at: array(ODP_PAGES_MAX, embed(PageSlot)) });
export type PageList = InstanceOf<typeof PageList>;
const DmaSlot = struct('dma_list[]', { address: 0 });
export const DmaList = struct('dma_list', { at: array(ODP_PAGES_MAX, embed(DmaSlot)) });
export type DmaList = InstanceOf<typeof DmaList>;

/** Memory of a process that a device uses. */
export const IbUmem = struct('ib_umem', {
  /** Up to v5.3: the context it was made in, which leads to the device. */
  context: ptr<IbUcontext>(),
  /** From patch 7 on: the device. */
  ibdev: ptr<IbDevice>(),
  /** Pinned by mmgrab. */
  owningMm: ptr<MmStruct>(),
  /** In bytes. */
  address: 0,
  length: 0,
  isWritable: field(false),
  isOdp: field(false),
  /** Pinned memory only: its pages. */
  pageList: ptr<PageList>(),
});
export type IbUmem = InstanceOf<typeof IbUmem>;

export const UmemOdp = struct('ib_umem_odp', {
  umem: embed(IbUmem),
  /** Up to v5.4. */
  perMm: ptr<PerMm>(),
  /** From v5.5 on, unless it is implicit. */
  notifier: embed(MmuIntervalNotifier),
  /** By page from its start on; NULL for an implicit region. Under umem_mutex. */
  pageList: ptr<PageList>(),
  dmaList: ptr<DmaList>(),
  umemMutex: mutex(),
  /** The driver's region. */
  private: ptr<StructObject>(),
  /** Ends of ranges so far, and ranges in progress. Changed under umem_mutex. */
  notifiersSeq: 0,
  notifiersCount: 0,
  /** Pages that are mapped for the device. Under umem_mutex. */
  npages: 0,
  /** In `umem_tree`, unless it is implicit. */
  intervalTree: intervalTreeNode(),
  isImplicitOdp: field(false),
  /** Done when no range is in progress. */
  notifierCompletion: completion(),
  /** A child that is being destroyed. */
  dying: field(false),
  work: workStruct(),
});
export type UmemOdp = InstanceOf<typeof UmemOdp>;

/** What the RDMA core has of an mm: up to v5.3 for each context, then one for all. */
export const PerMm = struct('ib_ucontext_per_mm', {
  mn: embed(MmuNotifier),
  /** The group leader's pid, which faults find the mm by. Pinned. */
  tgid: ptr<TaskStruct>(),
  /** The regions of the mm by address. Under umem_rwsem. */
  umemTree: intervalTreeRoot(),
  umemRwsem: rwsem({ fair: true }),
  // Up to v5.3:
  context: ptr<IbUcontext>(),
  /** Pinned by the notifier. */
  mm: ptr<MmStruct>(),
  /** Cleared, once and for all, under umem_rwsem held for write. */
  active: field(false),
  /** Regions that use it. Under per_mm_list_lock. */
  odpMrsCount: 0,
  ucontextList: listHead(),
  rcu: rcuHead(),
});
export type PerMm = InstanceOf<typeof PerMm>;

/** Where the region's first byte and the one behind its last are. */
export function ibUmemStart(odp: UmemOdp): number {
  return odp.umem.address;
}
export function ibUmemEnd(odp: UmemOdp): number {
  return odp.umem.address + odp.umem.length;
}

/** What is asked for when a region is made. */
export interface UmemRequest {
  readonly address: number;
  readonly length: number;
  readonly isWritable: boolean;
}

/** How a version makes and ends regions that are paged on demand. */
export interface UmemVersion {
  /**
   * `ib_umem_odp_get`: an explicit region of current, or for NULL (`ib_umem_odp_alloc_implicit`) one for all its memory;
   * or an ERR_PTR. May sleep.
   */
  readonly make: KernelCallable<[IbUcontext, UmemRequest | null], UmemOdp | ErrPtr>;
  /** `ib_umem_odp_alloc_child`: a piece of an implicit region. Its umem_mutex is held. May sleep. */
  readonly allocChild: KernelCallable<[UmemOdp, number, number], UmemOdp | ErrPtr>;
  /** `ib_umem_odp_release`: ends any of them. The adapter does not reach it any more. May sleep. */
  readonly release: KernelCallable<[UmemOdp], void>;
  /** The device of a region. */
  readonly ibdevOf: (umem: IbUmem) => IbDevice;
  /** The mm of a region with one more user, or NULL once it has none. May sleep. */
  readonly getMm: KernelCallable<[UmemOdp], MmStruct | null>;
  /** 9dc775e7f550: who unmaps pages holds umem_mutex from before it looks until it has decided what is left. */
  readonly locksUnmap: boolean;
  /**
   * Lockdep is told what nothing in these kernels tells it: that umem_rwsem is held from start to end on purpose, and that
   * an implicit region's umem_mutex is another than its children's. Without that it reports both.
   */
  readonly isAnnotated: boolean;
}

export const globals = ibUverbs.data({
  device: ptr<IbDevice>(),
  umem: ptr<UmemVersion>(),
});

/** The version that is loaded. */
export function umemVersion(): UmemVersion {
  return globals().umem!;
}
