/**
 * struct anon_vma and struct anon_vma_chain: the reverse map of anonymous memory, data and locks.
 *
 * A page of anonymous memory points to an anon_vma; its tree has a chain link for every VMA that may map
 * the page. A VMA is linked to its own anon_vma and, after fork, to those of its ancestors, whose pages it
 * may still map. All anon_vmas of a family have one root, whose rw-semaphore is the lock of all of them.
 *
 *     page ──> anon_vma ──tree──> link ──> vma (parent)
 *                         └─────> link ──> vma (child) ──list──> links of the child
 *
 * Simplified: `refcount` is all that keeps one alive for who does not hold the lock; it stands for the
 * slab's type-safe RCU too.
 */
import { atomic } from '../kernel/atomic.ts';
import { intervalTreeNode, intervalTreeRoot } from '../kernel/interval-tree.ts';
import { listNode } from '../kernel/list.ts';
import { rwsem } from '../kernel/rwsem.ts';
import { ptr, struct, type InstanceOf, type StructObject } from '../kernel/struct.ts';

export const AnonVma = struct('anon_vma', {
  /** The oldest of the family, itself if it has no ancestor; constant. See {@link rootOf}. */
  root: ptr<StructObject>(),
  /** Used in the root only. Protects the trees of the family. */
  rwsem: rwsem(),
  /** One for its tree while that has links, one for each anon_vma of which it is the root. */
  refcount: atomic(1),
  /** The anon_vma of the VMA that this one's was forked from, or itself. */
  parent: ptr<StructObject>(),
  /** Anon_vmas whose parent it is, itself included for a root. Under the root's lock. */
  numChildren: 0,
  /** VMAs whose `anonVma` it is. Under the root's lock. */
  numActiveVmas: 0,
  /** Chain links by their VMA's range of page offsets. Under the root's lock. */
  rbRoot: intervalTreeRoot(),
  /** Of a root: set while `mm_take_all_locks` holds `rwsem`. Under mm_all_locks_mutex. */
  isTaken: false,
});
export type AnonVma = InstanceOf<typeof AnonVma>;

/** One VMA in the tree of one anon_vma. */
export const AnonVmaChain = struct('anon_vma_chain', {
  /** See `vmaOf` in mm/rmap-chain.ts; a VmArea. Constant. */
  vma: ptr<StructObject>(),
  anonVma: ptr<AnonVma>(),
  /** In the VMA's `anonVmaChain`. Under mmap_sem for write, or for read with page_table_lock. */
  sameVma: listNode(),
  /** In the anon_vma's `rbRoot`: the VMA's first and last page offset. */
  rb: intervalTreeNode(),
});
export type AnonVmaChain = InstanceOf<typeof AnonVmaChain>;

/** `anon_vma->root`, which has the lock. */
export function rootOf(anonVma: AnonVma): AnonVma {
  return anonVma.root as AnonVma;
}
