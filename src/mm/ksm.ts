/**
 * KSM: equal anonymous pages become one, which is copied when somebody writes.
 *
 * Two notifications for each page that is merged: the first when it is made read-only, so that it cannot change
 * while it is compared, the second when the entry changes to the page it is equal to. Between the two anything
 * may happen; the second step looks whether the entry is still the one that the first one left.
 *
 * Modelled: write_protect_page and replace_page with their locks and order, change_pte where the kernel has it.
 * Simplified: who looks for equal pages is the scenario; there are no trees. A KSM page has no reverse map here, so
 * reclaim and migration leave it alone. Merging with the zero page is left out.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { access, made, Operation, READ, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { downRead, upRead } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { pageToPfn, PG_DIRTY, setPageFlag, type Page } from '../mm-types/page.ts';
import {
  mkPte,
  PTE_DIRTY,
  PTE_WRITE,
  pteFlags,
  pteModify,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  setPteAt,
  tableOffset,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import {
  mmuNotifierChangePte,
  mmuNotifierInvalidateRangeStart,
} from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { behaviourOf } from './behaviour.ts';
import { getPage, pfnToPage, putPage } from './frames.ts';
import { followPage, FOLL_GET } from './gup.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { pageAddRmap, pageRemoveRmap } from './rmap.ts';
import { dropSwapCache } from './swap-cache.ts';
import { flushTlbRange } from './tlb.ts';
import { findVma } from './vma.ts';

/** One page of a process that may be merged. */
export interface KsmPlace {
  readonly mm: MmStruct;
  /** Page aligned. */
  readonly address: number;
}

/** Whether two pages have the same bytes; the argument is the pair. */
class PagesIdentical extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    for (const page of task.argument as readonly Page[]) {
      out.push(access(page.contents.variable, READ));
    }
  }

  perform(task: Task): boolean {
    const [one, other] = task.argument as readonly [Page, Page];
    for (const page of [one, other]) running.touch(page.memory, 'page contents', 'read');
    return one.contents.equals(other.contents);
  }

  describe(): string {
    return 'pages_identical(page, kpage)';
  }
}

const pagesIdentical = new PagesIdentical(null);

function rangeAt(vma: VmArea, address: number): MmuNotifierRange {
  const mm = vma.vmMm!;
  return { mm, vma, start: address, end: address + 4096, event: MMU_NOTIFY_CLEAR, flags: 0 };
}

/** `set_pte_at_notify`: where the kernel has change_pte, secondary MMUs hear of the new entry. */
const setPteAtNotify = fn(function* setPteAtNotify(
  mm: MmStruct,
  table: PageTable,
  address: number,
  pte: Pte,
) {
  if (behaviourOf(running).changePte) yield* mmuNotifierChangePte(mm, address, pte);
  yield* setPteAt(table, pteIndex(address), pte);
});

/** Makes the locked entry read-only if nobody else refers to the page; the entry afterwards, or 0. */
const protectLocked = fn(
  function* protectLocked(vma: VmArea, table: PageTable, address: number, page: Page) {
    const index = pteIndex(address);
    const pte = table.ptes[index] as number;
    if (!ptePresent(pte) || pteSpecial(pte) || ptePfn(pte) !== pageToPfn(page)) return 0;
    const isExclusive = yield* dataRace(page, 'isAnonExclusive');
    if ((pte & (PTE_WRITE | PTE_DIRTY)) === 0 && !isExclusive) return pte;
    const before = yield* ptepGetAndClear(table, index);
    yield* flushTlbRange(vma.vmMm!, address, address + 4096);
    // Somebody who has a reference may write to it without asking: its mappings and this task are all.
    const references = yield* atomicRead(page.refCount);
    if (references !== (yield* atomicRead(page.mapCount)) + 1) {
      yield* setPteAt(table, index, before);
      return 0;
    }
    yield* dataRaceWrite(page, 'isAnonExclusive', false);
    if ((before & PTE_DIRTY) !== 0) yield* setPageFlag(page, PG_DIRTY);
    const after = pteModify(before, 0, PTE_WRITE | PTE_DIRTY);
    yield* setPteAtNotify(vma.vmMm!, table, address, after);
    return after;
  },
  { name: 'write_protect_page' },
);

/** `write_protect_page(vma, page, &orig_pte)`: the read-only entry, or 0. The page is locked. */
const writeProtectPage = fn(function* writeProtectPage(vma: VmArea, address: number, page: Page) {
  const mm = vma.vmMm!;
  const range = rangeAt(vma, address);
  yield* mmuNotifierInvalidateRangeStart(range);
  const table = yield* tableOffset(mm.pageTables, address, 1);
  let pte: Pte = 0;
  if (table !== null) {
    yield* spinLock(table.ptl);
    pte = yield* protectLocked(vma, table, address, page);
    yield* spinUnlock(table.ptl);
  }
  yield* invalidateRangeEnd(range);
  return pte;
});

interface Replacement {
  readonly page: Page;
  readonly kpage: Page;
  /** What must be there still. */
  readonly pte: Pte;
}

/** `replace_page(vma, page, kpage, orig_pte)`: whether the entry maps `kpage` now. */
const replacePage = fn(function* replacePage(vma: VmArea, address: number, what: Replacement) {
  const { page, kpage, pte } = what;
  const mm = vma.vmMm!;
  const range = rangeAt(vma, address);
  yield* mmuNotifierInvalidateRangeStart(range);
  const table = yield* tableOffset(mm.pageTables, address, 1);
  let isReplaced = false;
  if (table !== null) {
    const index = pteIndex(address);
    yield* spinLock(table.ptl);
    if (table.ptes[index] === pte) {
      yield* getPage(kpage);
      yield* pageAddRmap(kpage);
      yield* ptepGetAndClear(table, index);
      yield* flushTlbRange(mm, address, address + 4096);
      yield* setPteAtNotify(mm, table, address, mkPte(pageToPfn(kpage), pteFlags(pte)));
      yield* pageRemoveRmap(page);
      isReplaced = true;
    }
    yield* spinUnlock(table.ptl);
  }
  yield* invalidateRangeEnd(range);
  if (isReplaced) yield* putPage(page);
  return isReplaced;
});

/** The anonymous page at a place with a reference, and its VMA. mmap_sem held for read. */
const mergeablePage = fn(
  function* mergeablePage({ mm, address }: KsmPlace) {
    const vma = findVma(mm, address);
    if (vma === null || vma.vmStart > address || vma.mapping !== null) return null;
    const page = yield* followPage(vma, address, FOLL_GET);
    if (typeof page === 'number' || pfnToPage(pageToPfn(page)) !== page) return null;
    if (page.isAnon) return { vma, page };
    return null;
  },
  { name: 'get_mergeable_page' },
);

/**
 * Makes the page at a place a KSM page (`stable_tree_insert`): read-only for everybody, for others to be merged with. The
 * page with a reference, which keeps it, or NULL. Takes mmap_sem for read. May sleep.
 *
 * @kernel try_to_merge_with_ksm_page
 */
export const ksmStabilize = fn(
  function* ksmStabilize(place: KsmPlace) {
    yield* downRead(place.mm.mmapSem);
    const found = yield* mergeablePage(place);
    let stable: Page | null = null;
    if (found !== null && (yield* trylockPage(found.page))) {
      yield* dropSwapCache(found.page);
      const pte = yield* writeProtectPage(found.vma, place.address, found.page);
      if (pte !== 0) {
        yield* dataRaceWrite(found.page, 'isKsm', true);
        stable = found.page;
      }
      yield* unlockPage(found.page);
    }
    if (found !== null && stable === null) yield* putPage(found.page);
    yield* upRead(place.mm.mmapSem);
    return stable;
  },
  { name: 'try_to_merge_with_ksm_page' },
);

/**
 * Merges the page at a place with a KSM page of the same bytes: whether it did. Takes mmap_sem for read. May sleep.
 *
 * @kernel try_to_merge_one_page
 */
export const ksmMerge = fn(
  function* ksmMerge(place: KsmPlace, kpage: Page) {
    yield* downRead(place.mm.mmapSem);
    const found = yield* mergeablePage(place);
    let isMerged = false;
    if (found !== null && found.page !== kpage && (yield* trylockPage(found.page))) {
      const { vma, page } = found;
      yield* dropSwapCache(page);
      const pte = yield* writeProtectPage(vma, place.address, page);
      if (pte !== 0 && (yield* made(pagesIdentical, [page, kpage]))) {
        isMerged = yield* replacePage(vma, place.address, { page, kpage, pte });
      }
      yield* unlockPage(page);
    }
    if (found !== null) yield* putPage(found.page);
    yield* upRead(place.mm.mmapSem);
    return isMerged;
  },
  { name: 'try_to_merge_one_page' },
);
