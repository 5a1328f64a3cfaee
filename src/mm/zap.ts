/**
 * Taking pages out of page tables: munmap, exit, MADV_DONTNEED, truncation; and freeing page tables.
 *
 * Modelled: one notification for the whole of a munmap, one for each VMA of the others; entries are cleared
 * under their table's lock, dirty pages of files are flushed from the TLBs under it, everything else is
 * flushed by the gather, after the end of the notification as in the kernel, and freed after that. A page
 * table goes when no VMA before or after could use it.
 */
import { warnOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import type { Body } from '../kernel/operation.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { PG_DIRTY, setPageFlag, type Page } from '../mm-types/page.ts';
import {
  linkTable,
  PMD_SIZE,
  PTE_DIRTY,
  PTE_MIGRATION,
  PTE_SWAP,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  tableOffset,
  type Pte,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_UNMAP,
  type MmuNotifierRange,
} from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { pfnToPage } from './frames.ts';
import {
  tlbFinishMmu,
  tlbFlushMmu,
  tlbFlushRmaps,
  tlbFlushTlbOnly,
  tlbGatherMmu,
  tlbNoteRange,
  type MmuGather,
} from './mmu-gather.ts';
import { freeTable, nextLeaf, pteIndex, tableSpan, type LeafRange } from './page-table-walk.ts';
import { pageRemoveRmap } from './rmap.ts';
import { freeSwap } from './swap-cache.ts';

/** Which pages go. */
export interface ZapDetails {
  /** Private copies too, not only pages of the file. */
  readonly evenCows: boolean;
  /** Only this page, if it is set. */
  readonly single?: Page;
}

const ZAP_ALL: ZapDetails = { evenCows: true };

/** Takes one present entry out; whether its page is dirty and of a file. */
const zapPresent = fn(
  function* zapPresent(tlb: MmuGather, leaf: LeafRange, address: number, page: Page) {
    const pte = yield* ptepGetAndClear(leaf.table, pteIndex(address));
    tlbNoteRange(tlb, address, address + 4096);
    tlb.pages.push(page);
    const isSpecial = pteSpecial(pte);
    if (page.isAnon || isSpecial || (pte & PTE_DIRTY) === 0) {
      yield* pageRemoveRmap(page);
      // A driver's, of which a map was never counted: print_bad_pte.
      if (isSpecial) warnOn(page.mapCount.value < 0, 'page_mapcount(page) < 0');
      return false;
    }
    yield* setPageFlag(page, PG_DIRTY);
    tlb.delayedRmaps.push(page);
    return true;
  },
  { name: 'zap_present_ptes' },
);

/** Takes one entry out that is not present. */
const zapNonpresent = fn(
  function* zapNonpresent(leaf: LeafRange, address: number) {
    const pte = yield* ptepGetAndClear(leaf.table, pteIndex(address));
    if ((pte & PTE_SWAP) !== 0) yield* freeSwap(ptePfn(pte));
  },
  { name: 'zap_nonpresent_ptes' },
);

/** Whether the page of a present entry is to stay. `should_zap_folio`, the other way round. */
function isKept(page: Page | null, details: ZapDetails): boolean {
  if (details.single !== undefined) return page !== details.single;
  return !details.evenCows && page !== null && page.isAnon;
}

function isEntryKept(pte: Pte, details: ZapDetails): boolean {
  if (details.evenCows) return false;
  // A swap entry is a private copy; a page that is being migrated may be one.
  return (pte & (PTE_SWAP | PTE_MIGRATION)) !== 0;
}

/** `vm_normal_page`: the page of a present entry that is counted, or NULL. */
function normalPage(vma: VmArea, address: number, pte: Pte): Page | null {
  if (!pteSpecial(pte)) return pfnToPage(ptePfn(pte));
  return vma.vmOps?.findSpecialPage?.(vma, address) ?? null;
}

/** What is taken out, and of which VMA. */
interface Zap {
  readonly vma: VmArea;
  readonly leaf: LeafRange;
  readonly details: ZapDetails;
}

const zapPteRange = fn(function* zapPteRange(tlb: MmuGather, { vma, leaf, details }: Zap) {
  const { table } = leaf;
  yield* spinLock(table.ptl);
  let mustFlush = false;
  for (let address = leaf.start; address < leaf.end; address += 4096) {
    const pte = table.ptes[pteIndex(address)] as number;
    if (pte === 0) continue;
    if (!ptePresent(pte)) {
      if (!isEntryKept(pte, details)) yield* zapNonpresent(leaf, address);
      continue;
    }
    const page = normalPage(vma, address, pte);
    if (isKept(page, details)) continue;
    if (page === null) {
      yield* ptepGetAndClear(table, pteIndex(address));
      tlbNoteRange(tlb, address, address + 4096);
    } else if (yield* zapPresent(tlb, leaf, address, page)) {
      mustFlush = true;
    }
  }
  if (mustFlush) {
    // Who cleans the page next must find no CPU that still writes to it.
    yield* tlbFlushTlbOnly(tlb);
    yield* tlbFlushRmaps(tlb);
  }
  yield* spinUnlock(table.ptl);
  if (mustFlush) yield* tlbFlushMmu(tlb);
});

/** Takes the pages of [start, end) out of one VMA, without telling notifiers. */
export const unmapSingleVma = fn(function* unmapSingleVma(
  tlb: MmuGather,
  vma: VmArea,
  bounds: { readonly start: number; readonly end: number },
  details: ZapDetails = ZAP_ALL,
) {
  const start = Math.max(vma.vmStart, bounds.start);
  const end = Math.min(vma.vmEnd, bounds.end);
  let leaf = yield* nextLeaf(tlb.mm, start, end);
  while (leaf !== null) {
    yield* zapPteRange(tlb, { vma, leaf, details });
    leaf = yield* nextLeaf(tlb.mm, leaf.end, end);
  }
});

/**
 * `unmap_vmas(&tlb, …)`: takes the pages of [start, end) out of the VMAs, which are sorted and may lie partly
 * outside; one start and end (MMU_NOTIFY_UNMAP) for the whole range. The VMAs can no longer be found, or
 * mmap_sem is held for write. May sleep.
 */
export const unmapVmas = fn(function* unmapVmas(
  tlb: MmuGather,
  vmas: readonly VmArea[],
  start: number,
  end: number,
) {
  const range: MmuNotifierRange = {
    mm: tlb.mm,
    vma: null,
    start,
    end,
    event: MMU_NOTIFY_UNMAP,
    flags: 0,
  };
  yield* mmuNotifierInvalidateRangeStart(range);
  for (const vma of vmas) yield* unmapSingleVma(tlb, vma, { start, end });
  yield* invalidateRangeEnd(range);
});

/**
 * `zap_page_range_single(vma, …)`: MADV_DONTNEED and truncation: a start and end (MMU_NOTIFY_CLEAR) and a
 * gather of its own. mmap_sem or the lock of the file's mappings is held. May sleep.
 */
export const zapPageRangeSingle = fn(function* zapPageRangeSingle(
  vma: VmArea,
  start: number,
  end: number,
  details: ZapDetails = ZAP_ALL,
) {
  const mm = vma.vmMm as MmStruct;
  const tlb = yield* tlbGatherMmu(mm);
  const range: MmuNotifierRange = { mm, vma, start, end, event: MMU_NOTIFY_CLEAR, flags: 0 };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* unmapSingleVma(tlb, vma, { start, end }, details);
  yield* invalidateRangeEnd(range);
  yield* tlbFinishMmu(tlb);
});

/** What page tables may be freed: those that only addresses from `floor` to below `ceiling` use. */
interface FreeBounds {
  readonly start: number;
  readonly end: number;
  readonly floor: number;
  /** Infinity for none. */
  readonly ceiling: number;
}

/** Frees the tables of a level and below that lie in [floor, ceiling) and map any of [start, end). */
const freeTables = fn(
  function* freeTables(tlb: MmuGather, level: number, bounds: FreeBounds): Body<void> {
    const { mm } = tlb;
    const span = tableSpan(level);
    let base = Math.floor(bounds.start / span) * span;
    while (base < bounds.end) {
      const probe = Math.max(base, bounds.start);
      const table = yield* tableOffset(mm.pageTables, probe, level);
      const stop = base + span;
      if (table !== null) {
        if (level > 1) {
          const end = Math.min(bounds.end, stop);
          yield* freeTables(tlb, level - 1, { ...bounds, start: probe, end });
        }
        if (base >= bounds.floor && stop <= bounds.ceiling) {
          yield* linkTable(mm.pageTables, {
            parentLevel: level + 1,
            address: probe,
            table: null,
          });
          tlb.tables.push(table);
          // Paging-structure caches of the CPUs know the table too.
          tlbNoteRange(tlb, probe, Math.min(bounds.end, stop));
        }
      }
      base = stop;
    }
  },
  { name: 'free_pgd_range' },
);

/**
 * `free_pgtables(&tlb, …)`: frees the page tables that only [floor, ceiling) could use. `floor` is the end of
 * the VMA before or 0, `ceiling` the start of the one after or 0 for none. The VMAs have been unlinked: from
 * the tree, the files, and the anon_vmas.
 */
export const freePgtables = fn(function* freePgtables(
  tlb: MmuGather,
  vmas: readonly VmArea[],
  floor: number,
  ceiling: number,
) {
  if (tlb.mm.pageTables.pgd === null) return;
  for (let at = 0; at < vmas.length; at += 1) {
    const first = vmas[at] as VmArea;
    let last = first;
    // Neighbours in one table are done together: none of them alone would free it.
    while (at + 1 < vmas.length && (vmas[at + 1] as VmArea).vmStart <= last.vmEnd + PMD_SIZE) {
      at += 1;
      last = vmas[at] as VmArea;
    }
    const next = vmas[at + 1];
    yield* freeTables(tlb, 3, {
      start: first.vmStart,
      end: last.vmEnd,
      floor,
      ceiling: next?.vmStart ?? (ceiling === 0 ? Infinity : ceiling),
    });
  }
});

/** Frees the top page table, when exit_mmap has freed all others and flushed. */
export const pgdFree = fn(function* pgdFree(mm: MmStruct) {
  const { pgd } = mm.pageTables;
  if (pgd === null) return;
  yield* linkTable(mm.pageTables, { parentLevel: 5, address: 0, table: null });
  yield* freeTable(pgd);
});
