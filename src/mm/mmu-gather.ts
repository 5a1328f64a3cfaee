/**
 * struct mmu_gather: what is taken out of page tables is flushed from the TLBs first and freed afterwards.
 *
 *   CPU0 munmap                              CPU1
 *   clears the entry
 *                                            stores through its TLB: still the old page
 *   flushes the TLBs
 *   drops the page's reference
 *   [from here on the frame is somebody else's]
 *
 * Modelled: the range to flush, the pages and page tables to free, and how many of these are under way in an
 * mm: who ends while others have changed entries and not flushed yet flushes everything, for it may have
 * taken those changes for done. Simplified: a batch is never full; tables are freed like pages, without RCU.
 */
import { atomicDec, atomicInc, atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { glimpse } from '../kernel/field.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import type { PageTable } from '../mm-types/page-table.ts';
import { putPage } from './frames.ts';
import { freeTable } from './page-table-walk.ts';
import { pageRemoveRmap } from './rmap.ts';
import { freeSwapCache } from './swap-cache.ts';
import { flushTlbMm, flushTlbRange } from './tlb.ts';

/** Lives on the stack of who takes pages out. */
export interface MmuGather {
  readonly mm: MmStruct;
  /** The whole address space goes: nobody uses it any more. */
  readonly isFullMm: boolean;
  /** What is to be flushed, in bytes; empty if `end` is not above `start`. */
  start: number;
  end: number;
  /** Each with the reference that its entry had. */
  pages: Page[];
  /** Dirty pages of files: their map count goes down only after the flush. */
  delayedRmaps: Page[];
  tables: PageTable[];
}

function newGather(mm: MmStruct, isFullMm: boolean): MmuGather {
  return { mm, isFullMm, start: Infinity, end: 0, pages: [], delayedRmaps: [], tables: [] };
}

/** `tlb_gather_mmu(&tlb, mm)`. Pairs with {@link tlbFinishMmu}. Never sleeps. */
export const tlbGatherMmu = fn(function* tlbGatherMmu(mm: MmStruct) {
  yield* atomicInc(mm.tlb.flushPending);
  return newGather(mm, false);
});

/** `tlb_gather_mmu_fullmm(&tlb, mm)`, for exit. Pairs with {@link tlbFinishMmu}. */
export const tlbGatherMmuFullmm = fn(function* tlbGatherMmuFullmm(mm: MmStruct) {
  yield* atomicInc(mm.tlb.flushPending);
  return newGather(mm, true);
});

/** Notes that the entries of [start, end) have changed so that TLBs must forget them. */
export function tlbNoteRange(tlb: MmuGather, start: number, end: number): void {
  tlb.start = Math.min(tlb.start, start);
  tlb.end = Math.max(tlb.end, end);
}

/** `tlb_flush_mmu_tlbonly(tlb)`: flushes what was noted, without freeing. Never sleeps. */
export const tlbFlushTlbOnly = fn(
  function* tlbFlushTlbOnly(tlb: MmuGather) {
    if (tlb.end <= tlb.start) return;
    if (tlb.isFullMm) yield* flushTlbMm(tlb.mm);
    else yield* flushTlbRange(tlb.mm, tlb.start, tlb.end);
    tlb.start = Infinity;
    tlb.end = 0;
  },
  { name: 'tlb_flush_mmu_tlbonly' },
);

/** `tlb_flush_rmaps(tlb, vma)`: after the flush, under the page-table lock. */
export const tlbFlushRmaps = fn(function* tlbFlushRmaps(tlb: MmuGather) {
  for (const page of tlb.delayedRmaps) yield* pageRemoveRmap(page);
  tlb.delayedRmaps = [];
});

/** `tlb_flush_mmu(tlb)`: flushes, then frees. */
export const tlbFlushMmu = fn(function* tlbFlushMmu(tlb: MmuGather) {
  yield* tlbFlushTlbOnly(tlb);
  const { pages, tables } = tlb;
  if (pages.length > 0) {
    tlb.pages = [];
    for (const page of pages) {
      if (glimpse(page, 'swapSlot') !== 0) yield* freeSwapCache(page);
      yield* putPage(page);
    }
  }
  if (tables.length > 0) {
    tlb.tables = [];
    for (const table of tables) yield* freeTable(table);
  }
});

/** `tlb_finish_mmu(&tlb)`: flushes, then frees pages and tables. */
export const tlbFinishMmu = fn(function* tlbFinishMmu(tlb: MmuGather) {
  const { mm } = tlb;
  if (!tlb.isFullMm && (yield* atomicRead(mm.tlb.flushPending)) > 1) {
    // Another one may have cleared what this one then found empty, and may not have flushed it yet.
    tlbNoteRange(tlb, 0, Infinity);
  }
  yield* tlbFlushMmu(tlb);
  yield* atomicDec(mm.tlb.flushPending);
});
