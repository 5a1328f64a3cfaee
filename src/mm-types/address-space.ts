/**
 * struct address_space: the pages and mappings of one file, and what of its inode the mm needs. Every file
 * is one of tmpfs: a memfd, or what a shared anonymous mapping is made of.
 */
import { intervalTreeRoot } from '../kernel/interval-tree.ts';
import { refcount } from '../kernel/refcount.ts';
import { rwsem } from '../kernel/rwsem.ts';
import { struct, type InstanceOf } from '../kernel/struct.ts';
import { xarray } from '../kernel/xarray.ts';
import type { Page } from './page.ts';

/** struct address_space: the pages and mappings of one file. */
export const AddressSpace = struct('address_space', {
  /** Files that are open or mapped; the last one to go frees the inode. */
  iCount: refcount(1),
  /** Protects `iMmap`. */
  iMmapRwsem: rwsem(),
  /** `shared` of all VMAs that map the file, by page offset, then by time of insertion. */
  iMmap: intervalTreeRoot(),
  /** Bytes: `i_size`. Written under `inodeRwsem`, read with READ_ONCE. */
  size: 0,
  /** i_rwsem: write, fallocate and truncate take it for write. */
  inodeRwsem: rwsem(),
  /** The page cache: pages by index, each with a reference. A page is taken out under its lock. */
  pages: xarray<Page>(),
  /** AS_MM_ALL_LOCKS: set while `mm_take_all_locks` holds `iMmapRwsem`. Under mm_all_locks_mutex. */
  isTaken: false,
});
export type AddressSpace = InstanceOf<typeof AddressSpace>;
