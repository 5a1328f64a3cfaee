/**
 * struct vm_area_struct: one mapping, [vmStart, vmEnd) in bytes. Data, no behaviour.
 *
 * Its fields are stable under mmap_sem held either way and change under mmap_sem held for write; bounds,
 * offset and the two trees of the reverse map also need the lock of those trees to change, so that a
 * reverse-map walk may read them. `anonVma` goes from NULL to something under mmap_sem for read and
 * page_table_lock.
 * Left out: the VMA's own lock (per-VMA locks of v6.4), NUMA policies, userfaultfd, names.
 */
import type { KernelCallable } from '../kernel/call.ts';
import { intervalTreeNode } from '../kernel/interval-tree.ts';
import { listHead } from '../kernel/list.ts';
import type { File } from '../kernel/open-file.ts';
import { ptr, struct, type InstanceOf, type StructObject } from '../kernel/struct.ts';
import type { AddressSpace } from './address-space.ts';
import type { AnonVma } from './anon-vma.ts';
import type { MmStruct } from './mm-struct.ts';
import type { Page } from './page.ts';
import { vmaNode } from './vma-tree.ts';

export { AddressSpace } from './address-space.ts';
export { AnonVma } from './anon-vma.ts';

/** struct vm_operations_struct: what a driver does about mappings of its device's file. */
export interface VmOperations {
  /** Nothing is there for `address` (page aligned): VM_FAULT_*. mmap_sem is held for read. May sleep. */
  readonly fault?: KernelCallable<[vma: VmArea, address: number, flags: number], number>;
  /** The mapping is a copy of one that is there: a split, a move, a child's. Not linked yet. May sleep. */
  readonly open?: KernelCallable<[vma: VmArea], void>;
  /** The mapping goes; nothing of it is in a page table any more. May sleep. */
  readonly close?: KernelCallable<[vma: VmArea], void>;
  /** The page behind a special entry at `address`, which then is counted as others are; NULL for none. Raw. */
  readonly findSpecialPage?: (vma: VmArea, address: number) => Page | null;
}

/** struct vm_area_struct: one mapping, [vmStart, vmEnd) in bytes. Stable under mmap_sem, held either way. */
export const VmArea = struct('vm_area_struct', {
  vmStart: 0,
  vmEnd: 0,
  /** VM_* of vm-flags.ts. Changed under mmap_sem held for write; walks of the reverse map read it without. */
  vmFlags: 0,
  /** Pages: offset in the file; of private anonymous memory the page number at which it began. */
  vmPgoff: 0,
  vmMm: ptr<MmStruct>(),
  /** The open file that is mapped, with a reference, or NULL for private anonymous memory. */
  vmFile: ptr<File>(),
  /** The pages of `vmFile` (shared anonymous memory has one too), or NULL. */
  mapping: ptr<AddressSpace>(),
  /** Where new anonymous pages of this mapping belong, or NULL before the first. */
  anonVma: ptr<AnonVma>(),
  /** Links to all anon_vmas whose pages it may map. */
  anonVmaChain: listHead(),
  /** In `mm->mmRb`. */
  node: vmaNode(),
  /** In `mapping->iMmap`: the first and last page of the file that it maps. */
  shared: intervalTreeNode(),
  /** The driver's, for mappings of device files; NULL of all others. */
  vmOps: ptr<VmOperations>(),
  /** The driver's, too. */
  vmPrivateData: ptr<StructObject>(),
});
export type VmArea = InstanceOf<typeof VmArea>;
