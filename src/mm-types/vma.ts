/**
 * VMAs and the reverse-map locks that hang on them: data and locks, no behaviour.
 *
 * Modelled so far: what registering a notifier and unmapping whole mappings need: bounds, and the
 * `anon_vma` and `i_mmap` rw-semaphores that `mm_take_all_locks` takes.
 * Not modelled yet: flags, pages, page tables, splitting and merging.
 */
import { listHead } from '../kernel/list.ts';
import { rwsem } from '../kernel/rwsem.ts';
import { ptr, struct, type InstanceOf } from '../kernel/struct.ts';

/** Reverse map of anonymous memory. `rwsem` stands for the root's lock. */
export const AnonVma = struct('anon_vma', {
  rwsem: rwsem(),
  /** Set while `mm_take_all_locks` holds `rwsem`. Under mm_all_locks_mutex. */
  isTaken: false,
});
export type AnonVma = InstanceOf<typeof AnonVma>;

/** The pages and mappings of one file. */
export const AddressSpace = struct('address_space', {
  iMmapRwsem: rwsem(),
  /** AS_MM_ALL_LOCKS: set while `mm_take_all_locks` holds `iMmapRwsem`. Under mm_all_locks_mutex. */
  isTaken: false,
});
export type AddressSpace = InstanceOf<typeof AddressSpace>;

/** One mapping, [vmStart, vmEnd) in bytes. Its fields are stable under mmap_sem. */
export const VmArea = struct('vm_area_struct', {
  vmStart: 0,
  vmEnd: 0,
  /** In `mm->mmap`, sorted by address. Under mmap_sem, held for write. */
  node: listHead(),
  anonVma: ptr<AnonVma>(),
  /** The file's mapping, or NULL for anonymous memory. */
  mapping: ptr<AddressSpace>(),
});
export type VmArea = InstanceOf<typeof VmArea>;
