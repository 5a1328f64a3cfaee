/**
 * How the mm behaves where kernels differ. The default is Linux 6.18; each switch is an older (or newer)
 * behaviour that a scenario's variant sets: `bootMachine({ …, behaviour: { changePte: true } })`.
 *
 * Each switch names its source: a commit, a version, or "recordings": what a real 6.18 was seen to do.
 */
import { perKernel, type Kernel } from '../kernel/kernel.ts';

/** Where kernels differ: one switch for each difference. */
export interface Behaviour {
  /**
   * What mprotect tells notifiers: `vma`: one range for each VMA, if a page directory of it exists (6.18,
   * recordings); `pud`: one range for each GiB, from the first populated page-middle entry on (v5.4).
   */
  readonly mprotectRange: 'vma' | 'pud';
  /**
   * mremap with a fixed address and unchanged length moves a range with several VMAs (v6.17 on). Before,
   * -EFAULT.
   */
  readonly mremapSeveralVmas: boolean;
  /**
   * mremap with a fixed address unmaps the target, and the source's tail when it shrinks, before it looks
   * at the source: an -EFAULT comes too late for them (up to v6.16; gVisor's Fixed_ShrinkingAcrossVMAs).
   */
  readonly mremapUnmapsBeforeChecks: boolean;
  /**
   * mremap of nothing, which maps a shared range a second time, tells notifiers of an empty range (up to
   * 01e67e04c281, v5.18).
   */
  readonly emptyMoveNotifies: boolean;
  /** mremap flushes the CPU TLBs under the page-table lock (eb66ae030829, v4.19, CVE-2018-18281). */
  readonly mremapFlushesUnderLock: boolean;
  /**
   * MREMAP_DONTUNMAP of a part takes VM_LOCKED from that part only, which splits the source (after 6.18).
   * In 6.18 the whole source VMA loses it (recordings).
   */
  readonly dontunmapSplitsLocked: boolean;
  /** MREMAP_DONTUNMAP gives the empty source the page offset of its address (after 6.18). */
  readonly dontunmapResetsOffset: boolean;
  /**
   * A VMA without an anon_vma takes in a neighbour with one (v6.16 on). Before, changed flags merged only
   * if the VMA that stays had the anon_vma or neither had.
   */
  readonly mergesFaultedIntoUnfaulted: boolean;
  /** munmap goes on as a reader of mmap_sem once the VMAs are out of the tree (dd2283f2605e, v4.20). */
  readonly munmapDowngrades: boolean;
  /** The `change_pte` callback exists: a copy on write tells the new entry (f7842747d13d, up to v6.9). */
  readonly changePte: boolean;
  /**
   * `silent`: the OOM reaper tells no notifier (aac453635549, up to 4d4bbd8526a8); `skips`: it leaves mms with
   * notifiers alone (up to v4.18); `nonblock`: 93065ac753e4.
   */
  readonly oomReaper: 'nonblock' | 'skips' | 'silent';
  /**
   * How reclaim tells that it has unmapped a page. `range`: by start and end (v4.14). Before, by `invalidate_page`,
   * which is modelled by invalidate_range: `page-locked`: under the page-table lock (c7ab0d2fdc84, v4.12);
   * `page-after`: after that lock was dropped.
   */
  readonly unmapNotifies: 'range' | 'page-locked' | 'page-after';
  /**
   * Who tells hardware that walks the CPU's page tables: the end, and copies on write and reclaim under the
   * page-table lock before it (up to v6.5); or each flush of the CPUs' TLBs (6bbd42e2df8f, v6.6).
   */
  readonly invalidateRange: 'end' | 'flush';
  /**
   * Whether an entry that gets more rights is flushed from the TLBs (arm64's ptep_set_access_flags). Others leave an
   * entry with fewer rights where it is: the CPU faults on it and looks again.
   */
  readonly upgradesFlush: boolean;
  /**
   * When a copy on write tells hardware that walks the CPU's page tables, where flushes do not: under the
   * page-table lock, before the new entry is there (all kernels); or by the end, when others have used it already.
   */
  readonly copyTellsHardware: 'locked' | 'end';
  /**
   * khugepaged tells notifiers when it takes away a page table that maps a file's block (f268f6cf875f, v6.1).
   * Before, it was silent: a secondary MMU went on with pages that no page table mapped any more.
   */
  readonly fileCollapseNotifies: boolean;
  /** Migration to a device has an event with an owner, MIGRATE (v5.9). Before: CLEAR, without one. */
  readonly migrateEvent: boolean;
  /** A device may have a page for itself, with the event EXCLUSIVE (v5.14). Before: there is no such call. */
  readonly deviceExclusive: boolean;
  /**
   * Truncation and hole punching hold the lock of the file's mappings as writers while they unmap (v5.4): no
   * walk of the reverse map is under way at the same time. Later they are readers.
   */
  readonly unmapMappingLock: 'read' | 'write';
  /**
   * munmap flushes the TLBs of frames that a driver has mapped (VM_PFNMAP) before the driver can no longer find the
   * mapping (b67fbebd4cf9, v5.19, CVE-2022-39188). Before, unmap_mapping_range could find nothing to do and return
   * while CPUs still had translations.
   */
  readonly pfnmapFlushesBeforeUnlink: boolean;
  /** Clearing soft-dirty marks goes on as a reader of mmap_sem once the VMAs' flags are clear (up to v5.10). */
  readonly softDirtyDowngrades: boolean;
}

/** The default: the kernel of the recordings. */
export const LINUX_6_18: Behaviour = {
  mprotectRange: 'vma',
  mremapSeveralVmas: true,
  mremapUnmapsBeforeChecks: false,
  emptyMoveNotifies: false,
  mremapFlushesUnderLock: true,
  dontunmapSplitsLocked: false,
  dontunmapResetsOffset: false,
  mergesFaultedIntoUnfaulted: true,
  munmapDowngrades: true,
  changePte: false,
  oomReaper: 'nonblock',
  unmapNotifies: 'range',
  invalidateRange: 'flush',
  upgradesFlush: false,
  copyTellsHardware: 'locked',
  fileCollapseNotifies: true,
  migrateEvent: true,
  deviceExclusive: true,
  unmapMappingLock: 'read',
  pfnmapFlushesBeforeUnlink: true,
  softDirtyDowngrades: false,
};

/** The kernel of the series. */
export const LINUX_5_4: Behaviour = {
  ...LINUX_6_18,
  mprotectRange: 'pud',
  mremapSeveralVmas: false,
  mremapUnmapsBeforeChecks: true,
  emptyMoveNotifies: true,
  mergesFaultedIntoUnfaulted: false,
  changePte: true,
  invalidateRange: 'end',
  fileCollapseNotifies: false,
  migrateEvent: false,
  deviceExclusive: false,
  unmapMappingLock: 'write',
  pfnmapFlushesBeforeUnlink: false,
  softDirtyDowngrades: true,
};

class BehaviourSlot {
  value: Behaviour = LINUX_6_18;
}

const slot = perKernel(() => new BehaviourSlot());

/** The behaviour of a machine. */
export function behaviourOf(kernel: Kernel): Behaviour {
  return slot(kernel).value;
}

/** Sets some switches; the others are those of 6.18. For booting. */
export function setBehaviour(kernel: Kernel, switches: Partial<Behaviour>): void {
  slot(kernel).value = { ...LINUX_6_18, ...switches };
}
