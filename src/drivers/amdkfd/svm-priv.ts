/**
 * Shared virtual memory of amdkfd: ranges of a program's addresses that the GPU uses by the same addresses.
 *
 * Each range has an interval notifier. Its callback takes the pages from the GPU; what else munmap asks for (the range
 * shrinks, is split, goes) needs mmap_sem, which a callback cannot take: the range is put on a deferred list, and a work
 * does it later.
 *
 *     munmap                               work
 *     callback: range's lock
 *       takes the pages from the GPU
 *       puts the range on the list
 *     unmaps                               mmap_sem for write, svms.lock
 *                                            removes the notifier, or inserts it anew; frees the range
 *
 * What keeps the mm for the work is what the versions differ in.
 *
 * Modelled: registration, splitting, the list and its work, faults of the GPU, the end of the process. Simplified: the
 * ranges are on a list, without a tree; a range that is asked for again is left as it is. Left out: migration to the
 * GPU's memory, attributes, eviction of queues where the GPU cannot try again, the drain of faults.
 *
 * Order of locks: mmap_sem, svms.lock, svm_range.lock, deferred_list_lock. Callbacks take the last two.
 */
import type { KernelCallable } from '../../kernel/call.ts';
import { listHead } from '../../kernel/list.ts';
import { mutex } from '../../kernel/mutex.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { embed, ptr, struct, type InstanceOf, type StructObject } from '../../kernel/struct.ts';
import { workStruct } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';

/** What the work is to do with a range. */
export type SvmWorkListOp = 'none' | 'unmap' | 'update notifier' | 'add';

export const SvmRange = struct('svm_range', {
  svms: ptr<StructObject>(),
  /** Pages [start, last]. Changed under `lock`. */
  start: 0,
  last: 0,
  /** Taken by callbacks; not by who allocates with reclaim. */
  lock: mutex(),
  /** Its `mm` is NULL while it is not inserted. */
  notifier: embed(MmuIntervalNotifier),
  /** In `svms.list`. Under svms.lock. */
  list: listHead(),
  /** In `svms.deferredRangeList`. Under deferredListLock. */
  deferredList: listHead(),
  /** Under deferredListLock. */
  workOp: ptr<SvmWorkListOp>(),
  workMm: ptr<MmStruct>(),
  /** Ranges that were split from this one. Under `lock`. */
  childList: listHead(),
  childNode: listHead(),
});
export type SvmRange = InstanceOf<typeof SvmRange>;

export const SvmRangeList = struct('svm_range_list', {
  /** Protects the list of ranges. */
  lock: mutex(),
  list: listHead(),
  deferredListLock: spinlock(),
  deferredRangeList: listHead(),
  deferredListWork: workStruct(),
});
export type SvmRangeList = InstanceOf<typeof SvmRangeList>;

/** What AMDKFD_IOC_SVM is given, in bytes. */
export interface SvmAttributes {
  readonly start: number;
  readonly size: number;
}

/** How a version keeps the mm, and what else it does otherwise: all in which versions differ. */
export interface SvmPinning {
  /** Who takes the mm into use for the work: the work itself, when it begins; or who puts a range on the list. */
  readonly pinnedBy: 'work' | 'list';
  /** Whether a callback takes it into use for as long as it runs. */
  readonly usesInCallback: boolean;
  /** Whether a callback that must not sleep says so, instead of waiting for the range's lock. */
  readonly asksWhetherBlockable: boolean;
  /** Whether the GPU loses a range for as long as the range has no notifier, while that is inserted anew. */
  readonly unmapsToUpdate: boolean;
}

/** What the rest of the driver knows of SVM. */
export interface SvmOps {
  /** AMDKFD_IOC_SVM: 0 or -errno. */
  readonly setAttr: KernelCallable<[StructObject, SvmAttributes], number>;
  /** A process is made, and nobody knows it yet. */
  readonly listInit: (process: StructObject) => void;
  /** Its queues are off the hardware: nothing that the GPU would still do for it gets through. */
  readonly stop: KernelCallable<[StructObject], void>;
  /** The process ends: nobody finds it any more. */
  readonly listFini: KernelCallable<[StructObject], void>;
  readonly pinning: SvmPinning;
}
