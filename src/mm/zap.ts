/**
 * Taking pages out of page tables.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';
import type { MmuGather } from './mmu-gather.ts';

/** `unmap_vmas(&tlb, …)`: takes the pages of [start, end) out of the VMAs, which are sorted and may lie partly outside; one start and end (MMU_NOTIFY_UNMAP) for the whole range. The VMAs can no longer be found, or mmap_sem is held for write. */
export const unmapVmas = fn(function* unmapVmas(
  _tlb: MmuGather,
  _vmas: readonly VmArea[],
  _start: number,
  _end: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});

/** `free_pgtables(&tlb, …)`: frees the page tables that only [floor, ceiling) could use, after unlinking is done by the caller. `floor` is the end of the VMA before or 0, `ceiling` the start of the one after or 0 for none. */
export const freePgtables = fn(function* freePgtables(
  _tlb: MmuGather,
  _vmas: readonly VmArea[],
  _floor: number,
  _ceiling: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});

/** `zap_page_range_single(vma, …)`: MADV_DONTNEED and truncation: start and end (MMU_NOTIFY_CLEAR) and a gather of its own. */
export const zapPageRangeSingle = fn(function* zapPageRangeSingle(
  _vma: VmArea,
  _start: number,
  _end: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});

/** Frees the top page table when exit_mmap has freed all others. */
export const pgdFree = fn(function* pgdFree(_mm: MmStruct): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
