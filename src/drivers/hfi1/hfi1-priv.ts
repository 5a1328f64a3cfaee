/**
 * hfi1: memory of programs that an Omni-Path adapter reads and writes without the kernel.
 *
 *     HFI1_IOCTL_ASSIGN_CTXT   the file gets a context of the adapter, and its caches their notifiers
 *     HFI1_IOCTL_TID_UPDATE    pins a page and has the adapter receive to it: a TID
 *     HFI1_IOCTL_TID_INVAL_READ  which TIDs are of no use any more, since the program has changed its mappings
 *     HFI1_IOCTL_TID_FREE      ends one
 *     writev                   sends memory by SDMA; what is pinned for that stays in a cache
 *
 * All pages that the adapter uses are pinned, so that a mapping that changes does no harm to others: the adapter goes on
 * with the old page. What the notifier is for is that the program is told (TIDs), and that the cache does not hand out
 * old pages (SDMA).
 *
 *     hfi1_filedata ── sdma ──> mmu_rb_handler ── root, lru_list ──> sdma_mmu_node ── page
 *           └──────── tids ──> mmu_rb_handler ── root ──> tid_rb_node ── page        (v5.3)
 *                                                        tid_rb_node { notifier }   (v5.5)
 *
 * Modelled: both caches, their handlers, the work that unpins, what is told to the program, who is charged for pins
 * (mm->pinned_vm), a file that is inherited, eviction from a cache that is full. Simplified: a node is of one page, and
 * so is a request; a file has one context; a cache is limited by its size only, not by RLIMIT_MEMLOCK. Left out:
 * contexts that are shared, TIDs without caching, the event page.
 *
 * Order of locks: mmap_sem, mmu_rb_handler.lock. Callbacks take that, then invalid_lock.
 */
import { array } from '../../kernel/array.ts';
import { atomic } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { intervalTreeNode, intervalTreeRoot } from '../../kernel/interval-tree.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { refcount } from '../../kernel/refcount.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import {
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { waitQueueHead } from '../../kernel/wait.ts';
import { workStruct, type Workqueue } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { TID_COUNT } from './hfi.ts';

export const hfi1 = moduleText('hfi1');

/** What a cache keeps for a range of a program's memory. */
export const MmuRbNode = struct('mmu_rb_node', {
  addr: 0,
  /** In `mmu_rb_handler.root`: first and last byte. */
  it: intervalTreeNode(),
  /** In `lru_list`, or `del_list`. */
  list: listHead(),
  /** v6.5: one for the tree, one for each request. */
  refcount: refcount(1),
});
export type MmuRbNode = InstanceOf<typeof MmuRbNode>;

/** A page that SDMA may read. */
export const SdmaMmuNode = struct('sdma_mmu_node', {
  rb: embed(MmuRbNode),
  page: ptr<Page>(),
  /** The file that it is charged to, a hfi1_filedata; there until its cache has ended. */
  pq: ptr<StructObject>(),
  /** Before v6.5: requests that use it. */
  refcount: atomic(0),
});
export type SdmaMmuNode = InstanceOf<typeof SdmaMmuNode>;

/** A page that the adapter may write to. */
export const TidRbNode = struct('tid_rb_node', {
  mmu: embed(MmuRbNode),
  page: ptr<Page>(),
  /** The entry of the RcvArray. */
  rcventry: 0,
  /** The file, a hfi1_filedata. */
  fdata: ptr<StructObject>(),
  /** From v5.5 on. */
  notifier: embed(MmuIntervalNotifier),
  invalidateMutex: mutex(),
  /** The program has been told. In v5.3 under the handler's lock, later under `invalidateMutex`. */
  freed: field(false),
});
export type TidRbNode = InstanceOf<typeof TidRbNode>;

/** From v6.2 on: what is being set up, with a notifier for all of it. */
export const TidUserBuf = struct('tid_user_buf', {
  notifier: embed(MmuIntervalNotifier),
  coverMutex: mutex(),
});
export type TidUserBuf = InstanceOf<typeof TidUserBuf>;

/** What a cache does about its nodes. */
export interface MmuRbOps {
  /** Nobody has the node any more: unpins, and frees it. May sleep. */
  readonly remove: KernelCallable<[MmuRbHandler, MmuRbNode], void>;
  /** The memory of the node changes: whether it is to leave the cache. Under the handler's lock: must not sleep. */
  readonly invalidate: KernelCallable<[MmuRbHandler, MmuRbNode], boolean>;
  /** Whether the node may make room for another; null if none ever has to. Under the lock: must not sleep. */
  readonly evict: KernelCallable<[MmuRbHandler, MmuRbNode], boolean> | null;
}

export const MmuRbHandler = struct('mmu_rb_handler', {
  mn: embed(MmuNotifier),
  root: intervalTreeRoot(),
  /** Protects all that follows, and the tree. Callbacks take it. */
  lock: spinlock(),
  ops: ptr<MmuRbOps>(),
  /** Whose the cache is; who pins it differs by version. */
  mm: ptr<MmStruct>(),
  /** Those that were used longest ago first. */
  lruList: listHead(),
  delWork: workStruct(),
  /** Nodes that the work is to remove. */
  delList: listHead(),
});
export type MmuRbHandler = InstanceOf<typeof MmuRbHandler>;

const TidEntry = struct('tid_entry', { node: ptr<TidRbNode>() });

/** An open file. */
export const Hfi1Filedata = struct('hfi1_filedata', {
  /** Serialises the calls that are about TIDs, and assigning a context: of the context in the kernel. */
  lock: mutex(),
  /** Before v5.10: current->mm at open. */
  mm: ptr<MmStruct>(),
  /** The caches; NULL without context. v5.5: none for TIDs. */
  sdma: ptr<MmuRbHandler>(),
  tids: ptr<MmuRbHandler>(),
  /** `entry_to_rb`: by entry of the RcvArray. */
  entryToRb: array(TID_COUNT, embed(TidEntry)),
  /** Protects `invalidTids`. */
  invalidLock: spinlock(),
  /** One bit for each TID that the program has to be told of. */
  invalidTids: 0,
  /** Pages that the cache for SDMA has pinned. */
  nLocked: atomic(0),
  /** SDMA requests that are not done. */
  nReqs: atomic(0),
  wait: waitQueueHead(),
  /** Simplified: who waits for the last request sees it only when whoever ended it has let go of the file. */
  reqLock: spinlock(),
});
export type Hfi1Filedata = InstanceOf<typeof Hfi1Filedata>;

/** What differs between versions. */
export interface Hfi1Version {
  /** Which mm pins are for: one that open has stored, with a pin (mm_count) or without; or the notifier's. */
  readonly mm: 'stored' | 'pinned' | 'of the notifier';
  /** Whether the mm is kept until all nodes of a cache are removed (2bbac98d0930). */
  readonly grabsAtUnregister: boolean;
  /** How TIDs are watched. */
  readonly tids: 'handler' | 'interval';
  /** Whether the whole of a set-up is watched (b3deec25847b). */
  readonly coversSetup: boolean;
  /** Whether a node goes with its last user, and an invalidation takes it out in any case (c9358de193ec). */
  readonly countsNodes: boolean;
  /** Ours: the mm is kept until TIDs are unpinned; and all events are acted on. */
  readonly isMended: boolean;
}

export const globals = hfi1.data({
  version: ptr<Hfi1Version>(),
  /** The module's parameter `cache_size`, for each file: pages. A cache in which all are used may have more. */
  cacheSize: 0,
  /** Runs the works of all handlers. */
  wq: ptr<Workqueue>(),
});

export function version(): Hfi1Version {
  return globals().version!;
}
