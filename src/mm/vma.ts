/**
 * Making, finding and freeing mappings. All of it under mmap_sem held for write, but for freeing,
 * which needs only that nobody can find them any more.
 */
import { fn } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { listAddTail, listDel } from '../kernel/list.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { AnonVma, VmArea } from '../mm-types/vma.ts';

export const PAGE_SIZE = 4096;
/** Where mappings go whose address nobody asked for. */
export const MMAP_BASE = 0x10_0000;

/** `length` bytes, rounded up to whole pages. */
export function pageAlign(length: number): number {
  return Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
}

/** The mappings that overlap [start, end). */
export function findOverlaps(mm: MmStruct, start: number, end: number): VmArea[] {
  return vmas(mm).filter((vma) => vma.vmStart < end && vma.vmEnd > start);
}

/** An address at which `length` bytes are free. */
export function unmappedArea(mm: MmStruct, length: number): number {
  let start = MMAP_BASE;
  for (const vma of vmas(mm)) {
    if (vma.vmStart >= start + length) break;
    start = Math.max(start, vma.vmEnd);
  }
  return start;
}

/** A new anonymous mapping of [start, end), not linked yet, or NULL without memory. May sleep. */
export const vmAreaAlloc = fn(function* vmAreaAlloc(start: number, end: number) {
  const vma = yield* kzalloc(VmArea, GFP_KERNEL);
  if (vma === null) return null;
  vma.vmStart = start;
  vma.vmEnd = end;
  vma.anonVma = yield* kzalloc(AnonVma, GFP_KERNEL);
  if (vma.anonVma !== null) return vma;
  yield* kfree(vma);
  return null;
});

/** Puts it in its place by address. */
export function vmaLink(mm: MmStruct, vma: VmArea): void {
  const next = vmas(mm).find((other) => other.vmStart >= vma.vmEnd);
  listAddTail(vma.node, next === undefined ? mm.mmap : next.node);
}

/** Takes it out: nobody finds it by address any more. */
export function vmaUnlink(vma: VmArea): void {
  listDel(vma.node);
}

/** Frees a mapping that was unlinked. */
export const vmAreaFree = fn(function* vmAreaFree(vma: VmArea) {
  yield* kfree(vma.anonVma);
  yield* kfree(vma);
});
