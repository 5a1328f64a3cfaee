/**
 * migrate_vma: a driver moves a range of a process to its device, as far as notifiers see it.
 *
 *   start of the whole range (MIGRATE, with the device's owner, which ignores its own; before v5.9 CLEAR); lock each
 *   page and replace its entry by a migration entry, flush; end
 *   each page: unmap it from others (a start and end each); the new one takes its place; copy; the entry comes back
 *   each hole: a new page; from the first hole on, one range to the end, opened once and closed (only_end) at the end
 *
 * Simplified: the device's memory is one that CPUs can map too (coherent), so entries come back at once; pages are
 * finished one by one. Pages that somebody else refers to, is busy with, or that fork has shared, stay.
 */
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { AnonVma } from '../mm-types/anon-vma.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { PG_DIRTY, pageToPfn, setPageFlag, type Page } from '../mm-types/page.ts';
import {
  mkPte,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_MIGRATION,
  PTE_MIGRATION_WRITE,
  PTE_SOFT_DIRTY,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  pteWrite,
  setPteAt,
  type Pte,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import {
  mmuNotifierInvalidateRangeOnlyEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mmu-notifier/invalidate.ts';
import { mmuNotifierInvalidateRange } from '../mmu-notifier/invalidate-range.ts';
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_MIGRATE,
  type MmuNotifierRange,
} from '../mmu-notifier/mmu-notifier.ts';
import { anonVmaPrepare, putAnonVma } from './anon-vma.ts';
import { behaviourOf } from './behaviour.ts';
import { allocPage, getPage, pfnToPage, putPage } from './frames.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { migrateLocked } from './migrate.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { nextLeaf, pteIndex, tableAlloc, type LeafRange } from './page-table-walk.ts';
import { faultPte } from './pte-rights.ts';
import { pageAddNewAnonRmap, pageGetAnonVma, pageRemoveRmap } from './rmap.ts';
import { flushTlbRange } from './tlb.ts';

/** What was collected at one address: a locked page with a reference, or a hole. */
interface Source {
  readonly address: number;
  /** Null for a hole. */
  readonly page: Page | null;
  readonly anonVma: AnonVma | null;
}

function rangeOf(vma: VmArea, start: number, end: number, owner: unknown): MmuNotifierRange {
  const mm = vma.vmMm as MmStruct;
  return behaviourOf(running).migrateEvent
    ? { mm, vma, start, end, event: MMU_NOTIFY_MIGRATE, flags: 0, owner }
    : { mm, vma, start, end, event: MMU_NOTIFY_CLEAR, flags: 0 };
}

/** Replaces the entry of a page that is this process's alone; null if it stays. The table is locked. */
const collectPage = fn(
  function* collectPage(leaf: LeafRange, address: number, page: Page) {
    if (!page.isAnon || !(yield* dataRace(page, 'isAnonExclusive'))) return null;
    if (!(yield* trylockPage(page))) return null;
    yield* getPage(page);
    const anonVma = yield* pageGetAnonVma(page);
    const pte = yield* ptepGetAndClear(leaf.table, pteIndex(address));
    yield* dataRaceWrite(page, 'isAnonExclusive', false);
    if ((pte & PTE_DIRTY) !== 0) yield* setPageFlag(page, PG_DIRTY);
    const marks =
      PTE_EXCLUSIVE | (pteWrite(pte) ? PTE_MIGRATION_WRITE : 0) | (pte & PTE_SOFT_DIRTY);
    yield* setPteAt(leaf.table, pteIndex(address), mkPte(ptePfn(pte), PTE_MIGRATION | marks));
    yield* pageRemoveRmap(page);
    yield* putPage(page);
    return { address, page, anonVma } as Source;
  },
  { name: 'migrate_vma_collect_pmd' },
);

const collectTable = fn(
  function* collectTable(mm: MmStruct, leaf: LeafRange, sources: Source[]) {
    yield* spinLock(leaf.table.ptl);
    let isChanged = false;
    for (let address = leaf.start; address < leaf.end; address += 4096) {
      const pte = leaf.table.ptes[pteIndex(address)] as number;
      if (pte === 0 || pteSpecial(pte)) {
        sources.push({ address, page: null, anonVma: null });
        continue;
      }
      const page = ptePresent(pte) ? pfnToPage(ptePfn(pte)) : null;
      const source = page === null ? null : yield* collectPage(leaf, address, page);
      if (source === null) continue;
      isChanged = true;
      sources.push(source);
    }
    // Before others can have the lock: they take the migration entries for flushed.
    if (isChanged) yield* flushTlbRange(mm, leaf.start, leaf.end);
    yield* spinUnlock(leaf.table.ptl);
  },
  { name: 'migrate_vma_collect_pmd' },
);

const collect = fn(
  function* collect(vma: VmArea, start: number, end: number, owner: unknown) {
    const mm = vma.vmMm as MmStruct;
    const sources: Source[] = [];
    const range = rangeOf(vma, start, end, owner);
    yield* mmuNotifierInvalidateRangeStart(range);
    let at = start;
    while (at < end) {
      const leaf: LeafRange | null = yield* nextLeaf(mm, at, end);
      const stop: number = leaf === null ? end : leaf.start;
      for (; at < stop; at += 4096) sources.push({ address: at, page: null, anonVma: null });
      if (leaf === null) break;
      yield* collectTable(mm, leaf, sources);
      at = leaf.end;
    }
    yield* invalidateRangeEnd(range);
    return sources;
  },
  { name: 'migrate_vma_collect' },
);

/** Puts a new page where there was none; whether it is there. */
const insertPage = fn(
  function* insertPage(vma: VmArea, address: number) {
    const mm = vma.vmMm as MmStruct;
    const table = yield* tableAlloc(mm, address, 1);
    if (table === null) return false;
    const fresh = yield* allocPage(GFP_KERNEL);
    if (fresh === null) return false;
    const index = pteIndex(address);
    yield* spinLock(table.ptl);
    const pte: Pte = table.ptes[index] as number;
    const isFree = pte === 0 || pteSpecial(pte);
    if (isFree) {
      if (pte !== 0) {
        yield* ptepGetAndClear(table, index);
        yield* flushTlbRange(mm, address, address + 4096);
        if (behaviourOf(running).invalidateRange === 'end') {
          yield* mmuNotifierInvalidateRange(mm, address, address + 4096);
        }
      }
      yield* pageAddNewAnonRmap(fresh, vma, address);
      yield* setPteAt(table, index, faultPte(pageToPfn(fresh), vma.vmFlags));
    }
    yield* spinUnlock(table.ptl);
    if (!isFree) yield* putPage(fresh);
    return isFree;
  },
  { name: 'migrate_vma_insert_page' },
);

/**
 * Migrates [start, end) of a private anonymous VMA, page aligned, to the device `owner`: how many pages are there
 * now. mmap_sem held for read. Tells notifiers. May sleep.
 *
 * @kernel migrate_vma_setup, migrate_vma_pages, migrate_vma_finalize
 */
export const migrateVma = fn(
  function* migrateVma(vma: VmArea, bounds: readonly [number, number], owner: unknown) {
    const [start, end] = bounds;
    if (vma.mapping !== null || (yield* anonVmaPrepare(vma)) !== 0) return 0;
    const sources = yield* collect(vma, start, end, owner);
    let hole: MmuNotifierRange | null = null;
    let moved = 0;
    for (const { address, page, anonVma } of sources) {
      let isMoved: boolean;
      if (page === null) {
        if (hole === null) {
          hole = rangeOf(vma, address, end, owner);
          yield* mmuNotifierInvalidateRangeStart(hole);
        }
        isMoved = yield* insertPage(vma, address);
      } else {
        isMoved = yield* migrateLocked(page);
        yield* unlockPage(page);
        if (anonVma !== null) yield* putAnonVma(anonVma);
        yield* putPage(page);
      }
      if (isMoved) moved += 1;
    }
    if (hole !== null) yield* mmuNotifierInvalidateRangeOnlyEnd(hole);
    return moved;
  },
  { name: 'migrate_vma_pages' },
);
