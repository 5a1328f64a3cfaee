/**
 * mmap, munmap, and the copy that fork makes.
 *
 * Modelled so far: the locks, and what notifiers are told in which order. Simplified: mappings are
 * anonymous, private, and counted as populated; munmap takes whole mappings. Not modelled yet: pages and
 * page tables, flags, merging and splitting.
 */
import { EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import { downgradeWrite, downWrite, downWriteKillable, upRead, upWrite } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mmu-notifier/invalidate.ts';
import {
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_UNMAP,
  type MmuNotifierRange,
} from '../mmu-notifier/mmu-notifier.ts';
import {
  findOverlaps,
  PAGE_SIZE,
  pageAlign,
  unmappedArea,
  vmAreaAlloc,
  vmAreaFree,
  vmaLink,
  vmaUnlink,
} from './vma.ts';

/**
 * Maps `length` bytes of anonymous memory, at `address` (page aligned, free) or anywhere if it is 0.
 * Returns the address, -EINVAL, -ENOMEM, or -EINTR if a fatal signal came. Takes mmap_sem.
 *
 * @kernel vm_mmap
 */
export const vmMmap = fn(function* vmMmap(mm: MmStruct, address: number, length: number) {
  const size = pageAlign(length);
  if (!(size > 0) || address < 0 || address % PAGE_SIZE !== 0) return -EINVAL;
  if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
  const start = address === 0 ? unmappedArea(mm, size) : address;
  let result = start;
  if (findOverlaps(mm, start, start + size).length > 0) {
    result = -EINVAL;
  } else {
    const vma = yield* vmAreaAlloc(mm, start, start + size);
    if (vma === null) result = -ENOMEM;
    else vmaLink(mm, vma);
  }
  yield* upWrite(mm.mmapSem);
  return result;
});

/**
 * Unmaps the mappings in [start, start + length). Returns 0, -EINVAL, or -EINTR if a fatal signal
 * came. Takes mmap_sem for write; once the mappings cannot be found any more it goes on as a reader.
 *
 * @kernel __vm_munmap
 */
export const vmMunmap = fn(
  function* vmMunmap(mm: MmStruct, start: number, length: number) {
    const end = start + pageAlign(length);
    if (!(end > start) || start < 0 || start % PAGE_SIZE !== 0) return -EINVAL;
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const found = findOverlaps(mm, start, end);
    if (found.length === 0) {
      yield* upWrite(mm.mmapSem);
      return 0;
    }
    for (const vma of found) {
      if (vma.vmStart < start || vma.vmEnd > end) {
        running.misuse('munmap of a part of a mapping is not modelled yet; unmap all of it');
      }
      vmaUnlink(mm, vma);
    }
    yield* downgradeWrite(mm.mmapSem);
    yield* unmapRegion(mm, start, end);
    for (const vma of found) yield* vmAreaFree(vma);
    yield* upRead(mm.mmapSem);
    return 0;
  },
  { name: '__vm_munmap' },
);

/** Takes the pages of [start, end) out of the page tables, between a start and an end. */
export const unmapRegion = fn(function* unmapRegion(mm: MmStruct, start: number, end: number) {
  const range: MmuNotifierRange = { mm, vma: null, start, end, event: MMU_NOTIFY_UNMAP, flags: 0 };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* mmuNotifierInvalidateRangeEnd(range);
});

/**
 * Copies the mappings of `source` into the new `target`, write-protecting the parent's pages. Returns
 * 0, -ENOMEM or -EINTR. Takes mmap_sem of both.
 *
 * @kernel dup_mmap
 */
export const dupMmap = fn(function* dupMmap(target: MmStruct, source: MmStruct) {
  if ((yield* downWriteKillable(source.mmapSem)) !== 0) return -EINTR;
  yield* downWrite(target.mmapSem);
  let result = 0;
  for (const vma of vmas(source)) {
    const copy = yield* vmAreaAlloc(target, vma.vmStart, vma.vmEnd);
    if (copy === null) {
      result = -ENOMEM;
      break;
    }
    vmaLink(target, copy);
    const range: MmuNotifierRange = {
      mm: source,
      vma,
      start: vma.vmStart,
      end: vma.vmEnd,
      event: MMU_NOTIFY_PROTECTION_PAGE,
      flags: 0,
    };
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
  }
  yield* upWrite(target.mmapSem);
  yield* upWrite(source.mmapSem);
  return result;
});
