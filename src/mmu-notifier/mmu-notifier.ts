/**
 * The structures of the notifier core: those of v5.4, and what interval notifiers (v5.5) add to them.
 *
 * A *secondary MMU* (a device or a hypervisor with page tables of its own) embeds a `mmu_notifier` in
 * its per-mm object and puts it on the mm's list; the mm then calls its `ops` around every change of
 * the CPU's page tables.
 *
 *   mm_struct ──mmu_notifier_mm──> mmu_notifier_mm { list, lock }
 *                                        │ list, newest first
 *                                        v
 *                                  mmu_notifier { hlist, ops, mm, users, rcu }   each pins mm_count
 *
 * Readers walk the list under SRCU: callbacks may sleep. One SRCU domain serves all mms. Writers hold
 * `lock`. Who is on the list is not called after it was unlinked *and* an SRCU grace period has
 * passed; both are needed before its memory may go.
 */
import type { KernelCallable } from '../kernel/call.ts';
import type { ErrPtr } from '../kernel/err-ptr.ts';
import { hlistHead, hlistNode } from '../kernel/hlist.ts';
import { intervalTreeRoot } from '../kernel/interval-tree.ts';
import { LockMap } from '../kernel/lock-map.ts';
import { running } from '../kernel/running.ts';
import { staticObject } from '../kernel/slab.ts';
import { spinlock } from '../kernel/spinlock.ts';
import { rcuHead, srcuStruct, type SrcuStruct } from '../kernel/srcu.ts';
import { ptr, struct, type InstanceOf } from '../kernel/struct.ts';
import { waitQueueHead } from '../kernel/wait.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { VM_READ } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** Why a range is invalidated. */
export const MMU_NOTIFY_UNMAP = 'MMU_NOTIFY_UNMAP';
export const MMU_NOTIFY_CLEAR = 'MMU_NOTIFY_CLEAR';
export const MMU_NOTIFY_PROTECTION_VMA = 'MMU_NOTIFY_PROTECTION_VMA';
export const MMU_NOTIFY_PROTECTION_PAGE = 'MMU_NOTIFY_PROTECTION_PAGE';
export const MMU_NOTIFY_SOFT_DIRTY = 'MMU_NOTIFY_SOFT_DIRTY';
/** The mm ends. Interval notifiers only, from exit_mmap (v5.5). */
export const MMU_NOTIFY_RELEASE = 'MMU_NOTIFY_RELEASE';
/** Pages move between the CPU and the device that `owner` says (v5.9). */
export const MMU_NOTIFY_MIGRATE = 'MMU_NOTIFY_MIGRATE';
/** The device that `owner` says gets a page for itself (v5.14). */
export const MMU_NOTIFY_EXCLUSIVE = 'MMU_NOTIFY_EXCLUSIVE';
/** Why a range is invalidated: MMU_NOTIFY_*. */
export type MmuNotifierEvent =
  | typeof MMU_NOTIFY_UNMAP
  | typeof MMU_NOTIFY_CLEAR
  | typeof MMU_NOTIFY_PROTECTION_VMA
  | typeof MMU_NOTIFY_PROTECTION_PAGE
  | typeof MMU_NOTIFY_SOFT_DIRTY
  | typeof MMU_NOTIFY_RELEASE
  | typeof MMU_NOTIFY_MIGRATE
  | typeof MMU_NOTIFY_EXCLUSIVE;

/** Callbacks may sleep. */
export const MMU_NOTIFIER_RANGE_BLOCKABLE = 1;

/** What is invalidated: [start, end) in bytes, page aligned. Lives on the invalidator's stack. */
export interface MmuNotifierRange {
  readonly mm: MmStruct;
  /** NULL when the range is not that of one mapping. */
  readonly vma: VmArea | null;
  readonly start: number;
  readonly end: number;
  readonly event: MmuNotifierEvent;
  flags: number;
  /** With MMU_NOTIFY_MIGRATE and MMU_NOTIFY_EXCLUSIVE: on whose behalf, so that it can ignore them. */
  readonly owner?: unknown;
}

/** `mmu_notifier_range_blockable(range)`. */
export function mmuNotifierRangeBlockable(range: MmuNotifierRange): boolean {
  return (range.flags & MMU_NOTIFIER_RANGE_BLOCKABLE) !== 0;
}

/**
 * `mmu_notifier_range_update_to_read_only(range)`: whether all that changes is that writing is not allowed any
 * more, so that a translation may stay if it is made read-only. The caller's context is that of the callback.
 *
 * @kernel mmu_notifier_range_update_to_read_only
 */
export function mmuNotifierRangeUpdateToReadOnly(range: MmuNotifierRange): boolean {
  if (range.vma === null || range.event !== MMU_NOTIFY_PROTECTION_VMA) return false;
  return (range.vma.vmFlags & VM_READ) !== 0;
}

/**
 * The callbacks. All of them run inside an SRCU read section, on any task's behalf: never use
 * `current->mm`.
 */
export interface MmuNotifierOps {
  /**
   * The mm is going away (from exit_mmap, before a page is freed), or the notifier is being
   * unregistered. May run at the same time as any other callback, and twice. Drops all translations
   * and makes no new ones. May sleep; may put the notifier; must not unregister it.
   */
  readonly release?: KernelCallable<[MmuNotifier, MmStruct], void>;
  /**
   * The range is about to change. Returns 0, or -EAGAIN if the range is not blockable and the callback
   * would have to sleep. When it has returned, nothing translates the range until the end.
   */
  readonly invalidateRangeStart?: KernelCallable<[MmuNotifier, MmuNotifierRange], number>;
  /** The range has changed. As many ends as successful starts, over the time on the list. */
  readonly invalidateRangeEnd?: KernelCallable<[MmuNotifier, MmuNotifierRange], void>;
  /** For hardware that walks the CPU's page tables. [start, end) in bytes. Must not sleep. */
  readonly invalidateRange?: KernelCallable<[MmuNotifier, MmStruct, number, number], void>;
  /**
   * The entry of `address` is about to change from one page to another that is known already: what maps the
   * old one may map the new one instead. Up to v6.9, and only between a start and an end. Must not sleep.
   */
  readonly changePte?: KernelCallable<[MmuNotifier, MmStruct, number, number], void>;
  /**
   * Page aging: was [start, end) used through the secondary MMU since it was last asked? Forgets it, and
   * flushes what would hide the next use. Called under the page-table lock, without a start: must not sleep.
   */
  readonly clearFlushYoung?: KernelCallable<[MmuNotifier, MmStruct, number, number], boolean>;
  /** The same without the flush: some uses may be missed (idle page tracking). Must not sleep. */
  readonly clearYoung?: KernelCallable<[MmuNotifier, MmStruct, number, number], boolean>;
  /** The same for one address, without forgetting it (khugepaged). Must not sleep. */
  readonly testYoung?: KernelCallable<[MmuNotifier, MmStruct, number], boolean>;
  /**
   * Makes the notifier of `mmu_notifier_get` for an mm. Called with mmap_sem held for write; may
   * sleep. Returns it, or an ERR_PTR.
   */
  readonly allocNotifier?: KernelCallable<[MmStruct], MmuNotifier | ErrPtr>;
  /**
   * Frees it: the notifier is off the list and no callback is running. Called from an SRCU callback
   * after the last put (must not sleep), or directly when registering it failed.
   */
  readonly freeNotifier?: KernelCallable<[MmuNotifier], void>;
}

/** struct mmu_notifier: embedded in what a driver has for an mm. */
export const MmuNotifier = struct('mmu_notifier', {
  /** In `mmu_notifier_mm.list`. Changed under its lock, read under SRCU. */
  hlist: hlistNode(),
  ops: ptr<MmuNotifierOps>(),
  /** Valid, and pinned by mm_count, from registration until the notifier is freed. */
  mm: ptr<MmStruct>(),
  rcu: rcuHead(),
  /** Gets that were not put yet. Under `mmu_notifier_mm.lock`. */
  users: 0,
});
export type MmuNotifier = InstanceOf<typeof MmuNotifier>;

/** Later called notifier_subscriptions. Made by the first registration, freed with the mm_struct. */
export const MmuNotifierMm = struct('mmu_notifier_mm', {
  list: hlistHead(),
  /** Serialises the list, every notifier's `users`, and all that follows. */
  lock: spinlock(),
  /** Whether an interval notifier was ever inserted. Set with all locks of the mm held, never cleared. */
  hasItree: false,
  /** The interval notifiers. Does not change while `invalidateSeq` is odd. */
  itree: intervalTreeRoot(),
  /** Odd from the first start that hit the tree until no range is active any more; see interval.ts. */
  invalidateSeq: 2,
  /** Ranges between start and end. */
  activeInvalidateRanges: 0,
  /** Who waits for `invalidateSeq` to go on. */
  wq: waitQueueHead(),
  /** Interval notifiers that come or go while the tree must not change. */
  deferredList: hlistHead(),
});
export type MmuNotifierMm = InstanceOf<typeof MmuNotifierMm>;

/**
 * Held around every call of start and end, and primed by registration as something that reclaim takes: so a
 * callback that allocates with GFP_KERNEL is found, and a lock that callbacks take with an allocation under it
 * elsewhere, though neither reclaim nor a notifier is there. Touched by who waits for callbacks to return.
 *
 * @kernel __mmu_notifier_invalidate_range_start_map
 */
export const MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP = new LockMap(
  'mmu_notifier_invalidate_range_start',
);

const Globals = struct('mmu_notifier', { srcu: srcuStruct() });
const globals = staticObject(Globals);

/** The SRCU domain of all notifiers of all mms. */
export function notifierSrcu(): SrcuStruct {
  return globals(running).srcu;
}

/**
 * `mm->mmu_notifier_mm`, or NULL. The caller holds mmap_sem, a reverse-map lock of the mm or a
 * notifier's pin, or is the last user of the mm.
 */
export function mmuNotifierMmOf(mm: MmStruct): MmuNotifierMm | null {
  return mm.mmuNotifierMm as MmuNotifierMm | null;
}

/** `mm_has_notifiers(mm)`: whether the mm ever had one. See {@link mmuNotifierMmOf}. */
export function mmHasNotifiers(mm: MmStruct): boolean {
  return mm.mmuNotifierMm !== null;
}
