/**
 * Writing where there is a page that may not be written (do_wp_page): the page is reused if it belongs to
 * this process alone, otherwise copied.
 *
 * Copying tells notifiers, one page, after the copy was made and before the entry changes:
 *
 *   allocate, copy; start; lock; same entry as before? clear it and flush, invalidate_range; count the new page;
 *   set the new entry; uncount the old page; unlock; only_end; drop the old page
 *
 * Start and end come even if the entry was found changed. Left out: waiting for other CPUs' LRU batches,
 * which lets the kernel copy now and then where it need not.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { pageToPfn, PG_DIRTY, setPageFlag, type Page } from '../mm-types/page.ts';
import { copyContents } from '../mm-types/page-contents.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  pteModify,
  ptepGetAndClear,
  ptePfn,
  pteSpecial,
  setPteAt,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import {
  mmuNotifierChangePte,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeOnlyEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mmu-notifier/invalidate.ts';
import { mmuNotifierInvalidateRange } from '../mmu-notifier/invalidate-range.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { behaviourOf } from './behaviour.ts';
import { allocPage, getPage, pfnToPage, putPage } from './frames.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { faultPte, writtenPte } from './pte-rights.ts';
import { pageAddNewAnonRmap, pageRemoveRmap } from './rmap.ts';
import { dropSwapCache, isInSwapCache } from './swap-cache.ts';
import { flushTlbRange } from './tlb.ts';
import { FAULT_FLAG_UNSHARE, VM_FAULT_OOM, type VmFault } from './vm-fault.ts';

/** `wp_page_reuse(vmf)`: the entry becomes writable. Unlocks the table. */
const wpPageReuse = fn(function* wpPageReuse(vmf: VmFault, table: PageTable, pte: Pte) {
  const write = (vmf.vma.vmFlags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  const marks = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY;
  yield* setPteAt(table, pteIndex(vmf.address), pteModify(pte, marks | write, 0));
  if (behaviourOf(running).upgradesFlush)
    yield* flushTlbRange(vmf.mm, vmf.address, vmf.address + 4096);
  yield* spinUnlock(table.ptl);
  return 0;
});

/**
 * `wp_can_reuse_anon_folio(page, vma)`: whether nobody else refers to an anonymous page that is not marked
 * as exclusive, a swap slot aside, which is given up. The table is locked.
 */
const canReuse = fn(
  function* canReuse(page: Page, vma: VmArea) {
    if (yield* dataRace(page, 'isKsm')) return false;
    const isCached = yield* isInSwapCache(page);
    if ((yield* atomicRead(page.refCount)) > (isCached ? 2 : 1)) return false;
    if (!(yield* trylockPage(page))) return false;
    if (isCached) yield* dropSwapCache(page);
    const isAlone = !page.isKsm && (yield* atomicRead(page.refCount)) === 1;
    // From now on it belongs to the VMA's own anon_vma, not to an ancestor's.
    if (isAlone) page.mapping = vma.anonVma;
    yield* unlockPage(page);
    return isAlone;
  },
  { name: 'wp_can_reuse_anon_folio' },
);

/** `do_wp_page(vmf)`: with the table locked, which it unlocks. `pte` is what is there. */
export const doWpPage = fn(function* doWpPage(vmf: VmFault, table: PageTable, pte: Pte) {
  const { vma } = vmf;
  const page = pteSpecial(pte) ? null : pfnToPage(ptePfn(pte));
  if ((vma.vmFlags & VM_SHARED) !== 0) {
    if (page !== null) yield* setPageFlag(page, PG_DIRTY);
    return yield* wpPageReuse(vmf, table, pte);
  }
  // PG_anon_exclusive is a bit that is tested and set atomically: another process that has the page mapped
  // may look at it under the lock of its own table.
  const isExclusive = page !== null && page.isAnon && (yield* dataRace(page, 'isAnonExclusive'));
  if (isExclusive || (page !== null && page.isAnon && (yield* canReuse(page, vma)))) {
    if (!isExclusive) yield* dataRaceWrite(page!, 'isAnonExclusive', true);
    if ((vmf.flags & FAULT_FLAG_UNSHARE) === 0) return yield* wpPageReuse(vmf, table, pte);
    yield* spinUnlock(table.ptl);
    return 0;
  }
  // Keeps the page from being freed, or from being another one, while it is copied.
  if (page !== null) yield* getPage(page);
  yield* spinUnlock(table.ptl);
  const result = yield* wpPageCopy(vmf, table, { pte, page });
  if (page !== null) yield* putPage(page);
  return result;
});

interface OldPage {
  readonly pte: Pte;
  /** NULL for the zero page. */
  readonly page: Page | null;
}

const wpPageCopy = fn(function* wpPageCopy(vmf: VmFault, table: PageTable, old: OldPage) {
  const { vma, mm, address } = vmf;
  if ((yield* anonVmaPrepare(vma)) !== 0) return VM_FAULT_OOM;
  const fresh = yield* allocPage(GFP_KERNEL);
  if (fresh === null) return VM_FAULT_OOM;
  if (old.page !== null) yield* copyContents(fresh.contents, old.page.contents);
  const range: MmuNotifierRange = {
    mm,
    vma,
    start: address,
    end: address + 4096,
    event: MMU_NOTIFY_CLEAR,
    flags: 0,
  };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* spinLock(table.ptl);
  const index = pteIndex(address);
  const isSame = table.ptes[index] === old.pte;
  if (isSame) yield* replacePage(vmf, table, old, fresh);
  yield* spinUnlock(table.ptl);
  const isTold = behaviourOf(running).copyTellsHardware === 'locked';
  if (isTold) yield* mmuNotifierInvalidateRangeOnlyEnd(range);
  else yield* mmuNotifierInvalidateRangeEnd(range);
  // The reference of the old entry, or the page that nobody needs.
  if (!isSame) yield* putPage(fresh);
  else if (old.page !== null) yield* putPage(old.page);
  return 0;
});

/** The entry changes from the old page to the new one. The table is locked. */
const replacePage = fn(
  function* replacePage(vmf: VmFault, table: PageTable, old: OldPage, fresh: Page) {
    const { vma, mm, address } = vmf;
    const index = pteIndex(address);
    const pfn = pageToPfn(fresh);
    const isUnshare = (vmf.flags & FAULT_FLAG_UNSHARE) !== 0;
    yield* ptepGetAndClear(table, index);
    yield* flushTlbRange(mm, address, address + 4096);
    // Hardware that walks this table must not go on with the old page once others have the new one.
    const { invalidateRange, copyTellsHardware } = behaviourOf(running);
    if (invalidateRange === 'end' && copyTellsHardware === 'locked') {
      yield* mmuNotifierInvalidateRange(mm, address, address + 4096);
    }
    yield* pageAddNewAnonRmap(fresh, vma, address);
    const entry = isUnshare ? faultPte(pfn, vma.vmFlags) : writtenPte(pfn, vma.vmFlags);
    if (behaviourOf(running).changePte) yield* mmuNotifierChangePte(mm, address, entry);
    yield* setPteAt(table, index, entry);
    // Only now: who sees the old page uncounted must not find an entry that maps it.
    if (old.page !== null) yield* pageRemoveRmap(old.page);
  },
  { name: 'ptep_clear_flush' },
);
