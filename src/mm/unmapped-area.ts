/**
 * Where a mapping goes whose address nobody asked for: as high as possible below `mm->mmapBase`.
 *
 * The search goes down hole by hole. It remembers up to where it has looked and the greatest hole it passed
 * (`free_area_cache` and `cached_hole_size` of old kernels), so that mapping again and again does not
 * search again; the result is that of a full search.
 * Left out: randomisation, guard gaps of stacks, alignment for huge pages.
 */
import { ENOMEM } from '../base/errno.ts';
import { MMAP_MIN_ADDR, PAGE_SIZE, TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';
import {
  vmaTreeFind,
  vmaTreeFindBelow,
  vmaTreeNext,
  vmaTreePrevious,
} from '../mm-types/vma-tree.ts';

/** Where holes are looked for if there is none below the base: TASK_UNMAPPED_BASE. */
const LEGACY_BASE = Math.floor(TASK_SIZE / 3 / PAGE_SIZE) * PAGE_SIZE;

/** The VMA is about to be taken out: the hole that comes of it must be looked at again. */
export function noteHole(mm: MmStruct, vma: VmArea): void {
  if (vma.vmEnd <= mm.freeAreaCache) return;
  const next = vmaTreeNext(vma.node);
  const top =
    next === null ? mm.mmapBase : Math.min((next.container as VmArea).vmStart, mm.mmapBase);
  if (top > mm.freeAreaCache) mm.freeAreaCache = top;
}

/** An address at which `length` bytes are free, or -ENOMEM. mmap_sem is held for write. */
export function unmappedArea(mm: MmStruct, length: number): number {
  if (length <= mm.cachedHoleSize) {
    mm.cachedHoleSize = 0;
    mm.freeAreaCache = mm.mmapBase;
  }
  let end = mm.freeAreaCache;
  let node = vmaTreeFindBelow(mm.mmRb, end);
  for (;;) {
    const below = node === null ? MMAP_MIN_ADDR : Math.max(node.high + 1, MMAP_MIN_ADDR);
    if (end - below >= length) {
      mm.freeAreaCache = end - length;
      return end - length;
    }
    if (end - below > mm.cachedHoleSize) mm.cachedHoleSize = end - below;
    if (node === null) return unmappedAreaAbove(mm, length);
    end = Math.min(end, node.low);
    node = vmaTreePrevious(node);
  }
}

/** The lowest address above the legacy base at which there is room. */
function unmappedAreaAbove(mm: MmStruct, length: number): number {
  let start = LEGACY_BASE;
  let node = vmaTreeFind(mm.mmRb, start);
  while (node !== null && node.low - start < length) {
    start = Math.max(start, node.high + 1);
    node = vmaTreeNext(node);
  }
  return TASK_SIZE - start >= length ? start : -ENOMEM;
}
