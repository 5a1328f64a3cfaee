/**
 * khugepaged for pages of files: a block of a file gets other pages, and the page tables that map it go, so that a
 * huge entry can take their place when somebody faults.
 *
 *   each page: lock; unmap it from everybody (a start and an end for each VMA); the copy takes its place in the
 *   cache; unlock
 *   each VMA that maps the block: i_mmap for write, mmap_sem for write if it can be had at once; start; take the
 *   entries and the table out, flush; end; free
 *
 * Between the two a fault may map new pages through the old table. Up to v6.0 taking the table out was silent
 * (f268f6cf875f): who mirrors the page tables went on with pages that nothing mapped any more, and that reclaim and
 * migration then took for unmapped.
 *
 * Simplified: there are no huge entries; pages are replaced one by one, not as a whole with all of them locked; what
 * was replaced before one of them could not be, stays. VMAs with private copies are left alone.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { running } from '../kernel/running.ts';
import { downWrite, downWriteTrylock, upWrite } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import {
  linkTable,
  PMD_SIZE,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  PTRS_PER_TABLE,
  tableOffset,
  type PageTable,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';
import { vmaIntervalTreeFirst, vmaIntervalTreeNext } from './file-mapping.ts';
import { allocPage, pfnToPage, putPage } from './frames.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { replaceLocked } from './migrate.ts';
import { findNextPage, lockPage, lockPageNested, unlockPage } from './page-cache.ts';
import { freeTable } from './page-table-walk.ts';
import { pageRemoveRmap } from './rmap.ts';
import { flushTlbRange } from './tlb.ts';
import { unmapMappingPages } from './truncate.ts';

/** Gives one page of the cache, with the caller's reference, another frame. Whether it has one now. */
const replacePage = fn(
  function* replacePage(mapping: AddressSpace, page: Page) {
    const fresh = yield* allocPage(GFP_KERNEL);
    if (fresh === null) return false;
    yield* lockPage(page);
    let isReplaced = false;
    if (page.mapping === mapping) {
      if ((yield* atomicRead(page.mapCount)) > 0) {
        yield* unmapMappingPages(mapping, page.index, page.index, { evenCows: false });
      }
      yield* lockPageNested(fresh);
      isReplaced = yield* replaceLocked({ from: page, to: fresh });
      yield* unlockPage(fresh);
    }
    yield* unlockPage(page);
    yield* putPage(fresh);
    return isReplaced;
  },
  { name: 'collapse_file' },
);

/** Takes all entries out; the pages whose references they had. The table is locked by the caller. */
const clearTable = fn(
  function* clearTable(table: PageTable) {
    const pages: Page[] = [];
    for (let index = 0; index < PTRS_PER_TABLE; index += 1) {
      if (!ptePresent(table.ptes[index] as number)) continue;
      const page = pfnToPage(ptePfn(yield* ptepGetAndClear(table, index)))!;
      yield* pageRemoveRmap(page);
      pages.push(page);
    }
    return pages;
  },
  { name: 'collapse_pte_mapped_thp' },
);

/** With mmap_sem and i_mmap held for write. */
const retractTable = fn(
  function* retractTable(vma: VmArea, start: number) {
    const mm = vma.vmMm as MmStruct;
    const table = yield* tableOffset(mm.pageTables, start, 1);
    if (table === null) return;
    const isTold = behaviourOf(running).fileCollapseNotifies;
    const event = MMU_NOTIFY_CLEAR;
    const range: MmuNotifierRange = { mm, vma, start, end: start + PMD_SIZE, event, flags: 0 };
    if (isTold) yield* mmuNotifierInvalidateRangeStart(range);
    yield* spinLock(mm.pageTableLock);
    yield* spinLock(table.ptl);
    const pages = yield* clearTable(table);
    yield* linkTable(mm.pageTables, { parentLevel: 2, address: start, table: null });
    yield* flushTlbRange(mm, start, start + PMD_SIZE);
    yield* spinUnlock(table.ptl);
    yield* spinUnlock(mm.pageTableLock);
    if (isTold) yield* invalidateRangeEnd(range);
    yield* freeTable(table);
    for (const page of pages) yield* putPage(page);
  },
  { name: 'retract_page_tables' },
);

/** Where the VMA maps the block as a whole, in bytes; -1 if it does not, or has private copies. */
function blockAddress(vma: VmArea, first: number): number {
  const address = vma.vmStart + (first - vma.vmPgoff) * PAGE_SIZE;
  const isWhole = address >= vma.vmStart && address + PMD_SIZE <= vma.vmEnd;
  return isWhole && address % PMD_SIZE === 0 && vma.anonVma === null ? address : -1;
}

/**
 * `retract_page_tables(mapping, first)`: takes away the page tables that map the 512 pages from `first` on, where nothing
 * stands in the way. Takes i_mmap_rwsem for write, and mmap_sem of each mm by trylock. May sleep.
 */
export const retractPageTables = fn(function* retractPageTables(
  mapping: AddressSpace,
  first: number,
) {
  const last = first + PTRS_PER_TABLE - 1;
  yield* downWrite(mapping.iMmapRwsem);
  for (
    let vma = vmaIntervalTreeFirst(mapping, first, last);
    vma !== null;
    vma = vmaIntervalTreeNext(vma, first, last)
  ) {
    const start = blockAddress(vma, first);
    if (start < 0) continue;
    const { mmapSem } = vma.vmMm as MmStruct;
    if (!(yield* downWriteTrylock(mmapSem))) continue;
    yield* retractTable(vma, start);
    yield* upWrite(mmapSem);
  }
  yield* upWrite(mapping.iMmapRwsem);
});

/**
 * `collapse_file` for the 512 pages of a file from `first` on, which is a multiple of 512: whether every page that is
 * cached there was replaced and the page tables taken away. The caller keeps the file. May sleep.
 */
export const collapseFile = fn(function* collapseFile(mapping: AddressSpace, first: number) {
  const last = first + PTRS_PER_TABLE - 1;
  let page: Page | null = yield* findNextPage(mapping, first, last);
  while (page !== null) {
    const index: number = page.index;
    const isReplaced: boolean = yield* replacePage(mapping, page);
    yield* putPage(page);
    if (!isReplaced) return false;
    page = index < last ? yield* findNextPage(mapping, index + 1, last) : null;
  }
  yield* retractPageTables(mapping, first);
  return true;
});
