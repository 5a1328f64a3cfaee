/**
 * Making, finding and freeing mappings. All of it under mmap_sem held for write, but for freeing,
 * which needs only that nobody can find them any more.
 */
import { fn } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VmArea } from '../mm-types/vma.ts';
import { noteHole } from './unmapped-area.ts';
import {
  vmaTreeFind,
  vmaTreeFindBelow,
  vmaTreeInsert,
  vmaTreeNext,
  vmaTreePrevious,
  vmaTreeRemove,
  type VmaNode,
} from '../mm-types/vma-tree.ts';

export { PAGE_SIZE };

/** VMAs of an mm: vm.max_map_count. */
export const MAP_COUNT_MAX = 65_530;

/** `length` bytes, rounded up to whole pages. */
export function pageAlign(length: number): number {
  return Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
}

/** A new mapping of [start, end), not linked yet, or NULL without memory. May sleep. */
export const vmAreaAlloc = fn(function* vmAreaAlloc(mm: MmStruct, start: number, end: number) {
  const vma = yield* kzalloc(VmArea, GFP_KERNEL);
  if (vma === null) return null;
  vma.vmMm = mm;
  vma.vmStart = start;
  vma.vmEnd = end;
  return vma;
});

/** Puts it in its place by address. */
export function vmaLink(mm: MmStruct, vma: VmArea): void {
  vmaTreeInsert(mm.mmRb, vma.node, vma.vmStart, vma.vmEnd);
  mm.mapCount += 1;
}

/** Takes it out: nobody finds it by address any more. */
export function vmaUnlink(mm: MmStruct, vma: VmArea): void {
  noteHole(mm, vma);
  vmaTreeRemove(mm.mmRb, vma.node);
  mm.mapCount -= 1;
}

/** Frees a mapping that was unlinked. */
export const vmAreaFree = fn(function* vmAreaFree(vma: VmArea) {
  yield* kfree(vma);
});

function vmaOf(node: VmaNode | null): VmArea | null {
  return node === null ? null : (node.container as VmArea);
}

/**
 * `find_vma(mm, address)`: the first VMA that ends above `address`, or NULL; it may start above it too.
 * The caller holds mmap_sem.
 */
export function findVma(mm: MmStruct, address: number): VmArea | null {
  return vmaOf(vmaTreeFind(mm.mmRb, address));
}

/** `vma_lookup(mm, address)`: the VMA that `address` lies in, or NULL. The caller holds mmap_sem. */
export function vmaLookup(mm: MmStruct, address: number): VmArea | null {
  const vma = findVma(mm, address);
  return vma !== null && vma.vmStart <= address ? vma : null;
}

/** `find_vma_intersection(mm, start, end)`: the first VMA that overlaps [start, end), or NULL. */
export function findVmaIntersection(mm: MmStruct, start: number, end: number): VmArea | null {
  const vma = findVma(mm, start);
  return vma !== null && vma.vmStart < end ? vma : null;
}

/** The last VMA that starts below `address`, or NULL. The caller holds mmap_sem. */
export function findVmaBelow(mm: MmStruct, address: number): VmArea | null {
  return vmaOf(vmaTreeFindBelow(mm.mmRb, address));
}

/** The VMA after a linked one, or NULL. */
export function vmaNext(vma: VmArea): VmArea | null {
  return vmaOf(vmaTreeNext(vma.node));
}

/** The VMA before a linked one, or NULL. */
export function vmaPrevious(vma: VmArea): VmArea | null {
  return vmaOf(vmaTreePrevious(vma.node));
}

/** Whether a VMA ends at `start` or begins at `end`. The caller holds mmap_sem. */
export function hasNeighbour(mm: MmStruct, start: number, end: number): boolean {
  const before = findVmaBelow(mm, start);
  if (before !== null && before.vmEnd === start) return true;
  const after = findVma(mm, end);
  return after !== null && after.vmStart === end;
}
