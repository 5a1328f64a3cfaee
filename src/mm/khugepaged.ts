/**
 * khugepaged, and huge pages that are split, as far as notifiers see them.
 *
 * There are no huge entries here. A collapsed block is 512 entries of a page table that was taken out and put back
 * with every page replaced by a copy: notifiers are told what they are told when a huge page takes the place of
 * small ones, and whoever still knows a small page reaches one that was freed.
 *
 *   anonymous: mmap_sem for write, anon_vma for write; start; take the page table out and flush; end; copy the pages
 *   and put the table back (nobody is told: nothing can have been looked up meanwhile, mmap_sem is held)
 *
 * The end comes before the new pages are there. A page that somebody refers to besides its entry ends the attempt, and
 * everything is put back. Simplified: holes stay holes, where the kernel fills them with zeroes; the copies
 * are allocated with mmap_sem held. Pages of files are in collapse-file.ts.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRace } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { downRead, downWrite, upRead, upWrite } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { rootOf } from '../mm-types/anon-vma.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { pageToPfn, type Page } from '../mm-types/page.ts';
import { copyContents } from '../mm-types/page-contents.ts';
import {
  linkTable,
  mkPte,
  PMD_SIZE,
  PTE_ACCESSED,
  pteFlags,
  ptePfn,
  ptePresent,
  pteSpecial,
  setPteAt,
  tableOffset,
  type PageTable,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierTestYoung } from '../mmu-notifier/young.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { allocPage, pfnToPage, putPage } from './frames.ts';
import { pageAddNewAnonRmap, pageRemoveRmap } from './rmap.ts';
import { flushTlbRange } from './tlb.ts';
import { findVma } from './vma.ts';

/** One page of the block: where it is, and the one that replaces it. */
interface Piece {
  readonly index: number;
  readonly page: Page;
  readonly copy: Page;
}

/** Whether a CPU or a secondary MMU has used any page of the block lately. Under the table's lock. */
const wasUsed = fn(
  function* wasUsed(mm: MmStruct, table: PageTable) {
    for (const [index, pte] of table.ptes.entries()) {
      if (!ptePresent(pte)) continue;
      if ((pte & PTE_ACCESSED) !== 0) return true;
      if (yield* mmuNotifierTestYoung(mm, table.base + index * 4096)) return true;
    }
    return false;
  },
  { name: 'hpage_collapse_scan_pmd' },
);

/**
 * `hpage_collapse_scan_pmd`: whether the 2 MiB around `address` are worth collapsing: some page of them was used
 * lately. Takes mmap_sem for read. The caller keeps mm_users above zero. May sleep.
 */
export const scanHugePage = fn(
  function* scanHugePage(mm: MmStruct, address: number) {
    yield* downRead(mm.mmapSem);
    const table = yield* tableOffset(mm.pageTables, address, 1);
    let isWorth = false;
    if (table !== null) {
      yield* spinLock(table.ptl);
      isWorth = yield* wasUsed(mm, table);
      yield* spinUnlock(table.ptl);
    }
    yield* upRead(mm.mmapSem);
    return isWorth;
  },
  { name: 'hpage_collapse_scan_pmd' },
);

/** Whether all that is in the block can be collapsed: private pages that nobody else maps or refers to. */
const areCollapsible = fn(
  function* areCollapsible(table: PageTable) {
    for (const pte of table.ptes) {
      if (pte === 0 || pteSpecial(pte)) continue;
      const page = ptePresent(pte) ? pfnToPage(ptePfn(pte)) : null;
      if (page === null || !page.isAnon) return false;
      if (yield* dataRace(page, 'isKsm')) return false;
      if ((yield* atomicRead(page.refCount)) !== 1) return false;
    }
    return true;
  },
  { name: '__collapse_huge_page_isolate' },
);

/** A copy for each page, made before any lock is taken; NULL without memory. */
const allocateCopies = fn(
  function* allocateCopies(count: number) {
    const copies: Page[] = [];
    while (copies.length < count) {
      const copy = yield* allocPage(GFP_KERNEL);
      if (copy === null) {
        for (const spare of copies) yield* putPage(spare);
        return null;
      }
      copies.push(copy);
    }
    return copies;
  },
  { name: 'alloc_charge_folio' },
);

function pagesIn(table: PageTable): number {
  return table.ptes.filter((pte) => ptePresent(pte) && !pteSpecial(pte)).length;
}

/** Replaces every page; the table is linked nowhere. Returns what is left over of the copies. */
const replacePages = fn(
  function* replacePages(vma: VmArea, table: PageTable, copies: Page[]) {
    const old: Piece[] = [];
    for (const [index, pte] of table.ptes.entries()) {
      if (!ptePresent(pte) || pteSpecial(pte)) continue;
      const page = pfnToPage(ptePfn(pte))!;
      const copy = copies.pop()!;
      yield* copyContents(copy.contents, page.contents);
      yield* pageAddNewAnonRmap(copy, vma, table.base + index * 4096);
      yield* setPteAt(table, index, mkPte(pageToPfn(copy), pteFlags(pte)));
      old.push({ index, page, copy });
    }
    for (const { page } of old) yield* pageRemoveRmap(page);
    for (const { page } of old) yield* putPage(page);
  },
  { name: '__collapse_huge_page_copy' },
);

function link(mm: MmStruct, address: number, table: PageTable | null) {
  return linkTable(mm.pageTables, { parentLevel: 2, address, table });
}

/** With mmap_sem and the anon_vma held for write: whether the block was collapsed. */
const collapseLocked = fn(
  function* collapseLocked(vma: VmArea, table: PageTable, copies: Page[]) {
    const mm = vma.vmMm!;
    const start = table.base;
    const event = MMU_NOTIFY_CLEAR;
    const range: MmuNotifierRange = { mm, vma, start, end: start + PMD_SIZE, event, flags: 0 };
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* spinLock(mm.pageTableLock);
    yield* link(mm, start, null);
    yield* flushTlbRange(mm, start, start + PMD_SIZE);
    yield* spinUnlock(mm.pageTableLock);
    yield* invalidateRangeEnd(range);
    yield* spinLock(table.ptl);
    const isGood = (yield* areCollapsible(table)) && pagesIn(table) === copies.length;
    yield* spinUnlock(table.ptl);
    if (isGood) yield* replacePages(vma, table, copies);
    yield* spinLock(mm.pageTableLock);
    yield* link(mm, start, table);
    yield* spinUnlock(mm.pageTableLock);
    return isGood;
  },
  { name: 'collapse_huge_page' },
);

/**
 * `collapse_huge_page` for the 2 MiB around `address`, which must lie in one private anonymous mapping: whether it was
 * done. Takes mmap_sem and the anon_vma's lock for write. The caller keeps mm_users above zero. May sleep.
 */
export const collapseHugePage = fn(function* collapseHugePage(mm: MmStruct, address: number) {
  const start = Math.floor(address / PMD_SIZE) * PMD_SIZE;
  yield* downWrite(mm.mmapSem);
  const vma = findVma(mm, start);
  const isInside =
    vma !== null &&
    vma.vmStart <= start &&
    vma.vmEnd >= start + PMD_SIZE &&
    vma.mapping === null &&
    vma.anonVma !== null;
  const table = isInside ? yield* tableOffset(mm.pageTables, start, 1) : null;
  let isDone = false;
  if (isInside && table !== null) {
    const copies = yield* allocateCopies(pagesIn(table));
    if (copies !== null) {
      const { rwsem } = rootOf(vma.anonVma!);
      yield* downWrite(rwsem);
      isDone = yield* collapseLocked(vma, table, copies);
      yield* upWrite(rwsem);
      // Those that were not needed.
      if (!isDone) for (const copy of copies) yield* putPage(copy);
    }
  }
  yield* upWrite(mm.mmapSem);
  return isDone;
});
