/**
 * A file's tree of mappings (`i_mmap`): which VMAs map which of its pages, for truncation and the reverse
 * map. In the order of their first page of the file; equal ones in the order in which they were put in.
 *
 * Plain functions for callers that hold i_mmap_rwsem for write, and calls that take it.
 */
import { fn } from '../kernel/call.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
} from '../kernel/interval-tree.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `vma_interval_tree_insert`: puts the VMA in. i_mmap_rwsem is held for write. */
export function vmaIntervalTreeInsert(vma: VmArea, mapping: AddressSpace): void {
  vma.shared.start = vma.vmPgoff;
  vma.shared.last = vma.vmPgoff + (vma.vmEnd - vma.vmStart) / PAGE_SIZE - 1;
  intervalTreeInsert(vma.shared, mapping.iMmap);
}

/** `vma_interval_tree_remove`: takes it out. i_mmap_rwsem is held for write. */
export function vmaIntervalTreeRemove(vma: VmArea, mapping: AddressSpace): void {
  intervalTreeRemove(vma.shared, mapping.iMmap);
}

/** The first VMA that maps a page of [first, last] of the file, or NULL. i_mmap_rwsem is held. */
export function vmaIntervalTreeFirst(
  mapping: AddressSpace,
  first: number,
  last: number,
): VmArea | null {
  const node = intervalTreeIterFirst(mapping.iMmap, first, last);
  return node === null ? null : (node.container as VmArea);
}

/** The next one after `vma`, or NULL. i_mmap_rwsem is held. */
export function vmaIntervalTreeNext(vma: VmArea, first: number, last: number): VmArea | null {
  const node = intervalTreeIterNext(vma.shared, first, last);
  return node === null ? null : (node.container as VmArea);
}

/** `vma_link_file(vma)`: truncation finds it from here on. Takes i_mmap_rwsem. */
export const vmaLinkFile = fn(function* vmaLinkFile(vma: VmArea) {
  const { mapping } = vma;
  if (mapping === null) return;
  yield* downWrite(mapping.iMmapRwsem);
  vmaIntervalTreeInsert(vma, mapping);
  yield* upWrite(mapping.iMmapRwsem);
});

/** `unlink_file_vma(vma)`: truncation finds it no longer. Takes i_mmap_rwsem. */
export const unlinkFileVma = fn(function* unlinkFileVma(vma: VmArea) {
  const { mapping } = vma;
  if (mapping === null) return;
  yield* downWrite(mapping.iMmapRwsem);
  vmaIntervalTreeRemove(vma, mapping);
  yield* upWrite(mapping.iMmapRwsem);
});
