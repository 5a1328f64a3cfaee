/**
 * hmm, the mirror API: its structures.
 *
 * One struct hmm for each mm that is mirrored. It has the notifier, and hands what the mm says on to the mirrors of
 * drivers. A driver that wants to know what is mapped in a range registers the range, and is told whether what it
 * read is still true:
 *
 *     driver                                   mm, through the notifier
 *     hmm_range_register()
 *     hmm_range_wait_until_valid()
 *     hmm_range_fault()  reads the pages
 *                                              start: notifiers++, ranges that overlap become invalid,
 *                                                mirror->ops->sync_cpu_device_pagetables() takes the
 *                                                driver's lock, and drops what the device has
 *     takes its lock; is the range valid?      page tables change
 *       programs the device                    end: notifiers--, at zero all ranges are valid, wakes
 *
 * Modelled: mirrors, ranges, and all four versions of who keeps struct hmm alive. Simplified: a range has one right
 * for all its pages. Left out: huge pages, device memory, DMA mapping, snapshots.
 */
import type { KernelCallable } from '../../kernel/call.ts';
import { kref } from '../../kernel/kref.ts';
import { listHead } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { rwsem } from '../../kernel/rwsem.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { rcuHead } from '../../kernel/srcu.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { waitQueueHead } from '../../kernel/wait.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../mmu-notifier/mmu-notifier.ts';

/** struct hmm: what the mirrors of one mm share. */
export const Hmm = struct('hmm', {
  mmuNotifier: embed(MmuNotifier),
  /** Protects `ranges`, whether they are valid, and `notifiers`. */
  rangesLock: spinlock(),
  ranges: listHead(),
  /** Invalidations between start and end. */
  notifiers: 0,
  /** Who waits for a range to be valid. */
  wq: waitQueueHead(),
  /** Read: by callbacks, which call the mirrors. Write: mirrors come and go. */
  mirrorsSem: rwsem(),
  mirrors: listHead(),
  /** v5.3 only: the mm, pinned; the references of mirrors, ranges and callbacks; how it is freed late. */
  mm: ptr<MmStruct>(),
  kref: kref(),
  rcu: rcuHead(),
});
export type Hmm = InstanceOf<typeof Hmm>;

/** What a driver is told. */
export interface HmmMirrorOps {
  /**
   * The range is about to change: drops what the device has of it, under the lock that the driver programs it under.
   * Returns 0, or -EAGAIN if the range is not blockable and this would sleep. Inside an SRCU read section.
   */
  readonly syncCpuDevicePagetables: KernelCallable<[HmmMirror, MmuNotifierRange], number>;
  /** The mm ends. Must not unregister the mirror: that would wait for this call. May sleep. */
  readonly release?: KernelCallable<[HmmMirror], void>;
}

/** struct hmm_mirror: embedded in what a driver has for an mm. */
export const HmmMirror = struct('hmm_mirror', {
  /** Pinned from registration to unregistration. */
  hmm: ptr<Hmm>(),
  ops: ptr<HmmMirrorOps>(),
  /** In `hmm.mirrors`. */
  list: listHead(),
});
export type HmmMirror = InstanceOf<typeof HmmMirror>;

/** What a page of a range translates to. */
export interface HmmPfn {
  readonly pfn: number;
  readonly isWritable: boolean;
}

/** struct hmm_range: pages [start, end), in bytes, and what was found there. */
export const HmmRange = struct('hmm_range', {
  hmm: ptr<Hmm>(),
  /** In `hmm.ranges`. */
  list: listHead(),
  start: 0,
  end: 0,
  /** Whether the pages are wanted for writing. */
  isWrite: field(false),
  /** By hmm_range_fault, a page each; nobody has a reference to them. */
  pfns: ptr<readonly HmmPfn[]>(),
  /** False from the start of an invalidation that overlaps. Written under `hmm.rangesLock`. */
  valid: field(false),
  /** v5.5 on, instead of `hmm` and `valid`: an interval notifier of the driver, and the sequence read from it. */
  notifier: ptr<MmuIntervalNotifier>(),
  notifierSeq: 0,
});
export type HmmRange = InstanceOf<typeof HmmRange>;

/** Who keeps struct hmm: all in which the versions of the mirror API differ. */
export interface HmmVersion {
  /** The hmm of the mm, or a new one, with one more reference; or -errno. mmap_sem is held for write. May sleep. */
  readonly get: (mm: MmStruct) => Body<Hmm | number>;
  /** Drops a reference. */
  readonly put: KernelCallable<[Hmm], void>;
  /** The mm, as long as there is a reference. */
  readonly mmOf: (hmm: Hmm) => MmStruct;
  /** Whether a range has a reference of its own, besides that of its mirror. */
  readonly rangesHold: boolean;
  /** Whether the end of the last invalidation makes ranges valid again; else who waits for one does. */
  readonly endMakesValid: boolean;
}
