/**
 * struct address_space: the pages and mappings of one file, and what of its inode the mm needs.
 */
import { intervalTreeRoot } from '../kernel/interval-tree.ts';
import { rwsem } from '../kernel/rwsem.ts';
import { struct, type InstanceOf } from '../kernel/struct.ts';

export const AddressSpace = struct('address_space', {
  /** Protects `iMmap`. */
  iMmapRwsem: rwsem(),
  /** `shared` of all VMAs that map the file, by page offset, then by time of insertion. */
  iMmap: intervalTreeRoot(),
  /** Bytes: `i_size`. */
  size: 0,
  /** AS_MM_ALL_LOCKS: set while `mm_take_all_locks` holds `iMmapRwsem`. Under mm_all_locks_mutex. */
  isTaken: false,
});
export type AddressSpace = InstanceOf<typeof AddressSpace>;
