/**
 * Faults where the entry says that the page is elsewhere: in a swap slot, or on its way to another frame.
 *
 * Simplified: who meets a migration entry waits until the entry is another one, not for the page's lock.
 */
import { awaitCondition } from '../kernel/await.ts';
import { fn } from '../kernel/call.ts';
import { dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { KernelObject } from '../kernel/memory.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { pageToPfn, type Page } from '../mm-types/page.ts';
import {
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_MIGRATION,
  pteModify,
  ptePfn,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  setPteAt,
  tableOffset,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import { rootOf } from '../mm-types/anon-vma.ts';
import { VM_WRITE } from '../mm-types/vm-flags.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { allocPage, putPage } from './frames.ts';
import { lockPage, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { faultPte } from './pte-rights.ts';
import { pageAddNewAnonRmap, pageAddRmap } from './rmap.ts';
import { lookUpSwapCache, readSwapSlot, swapFree } from './swap.ts';
import { dropSwapCache } from './swap-cache.ts';
import { FAULT_FLAG_WRITE, VM_FAULT_OOM, type VmFault } from './vm-fault.ts';

/** One entry of a table, as something to wait for. */
class Entry extends KernelObject {}

/** `migration_entry_wait(mm, pmd, address)`. May sleep. */
export const migrationEntryWait = fn(function* migrationEntryWait(
  table: PageTable,
  index: number,
  pte: Pte,
) {
  const entry = new Entry({
    memory: table.memory,
    path: 'pte_t',
    variable: table.variableOf(index),
    container: table,
  });
  yield* awaitCondition('migration_entry_wait', () => table.ptes[index] !== pte, [entry]);
});

/** `do_swap_page(vmf)`: `pte` is what was there, and is not present. May sleep. */
export const doSwapPage = fn(function* doSwapPage(vmf: VmFault, pte: Pte) {
  const table = yield* tableOffset(vmf.mm.pageTables, vmf.address, 1);
  if (table === null) return 0;
  if ((pte & PTE_MIGRATION) !== 0) {
    yield* migrationEntryWait(table, pteIndex(vmf.address), pte);
    return 0;
  }
  if ((yield* anonVmaPrepare(vmf.vma)) !== 0) return VM_FAULT_OOM;
  const page = yield* swapIn(ptePfn(pte));
  if (typeof page === 'number') return page;
  yield* lockPage(page);
  // It may have lost the slot while this task waited for the lock.
  const isMapped = page.swapSlot === ptePfn(pte) && (yield* mapSwapped(vmf, table, pte, page));
  if (isMapped) return 0;
  yield* unlockPage(page);
  yield* putPage(page);
  return 0;
});

/** The page of a slot: cached, or read into a new one. With a reference; a number without memory. */
const swapIn = fn(
  function* swapIn(slot: number) {
    const cached = yield* lookUpSwapCache(slot);
    if (cached !== null) return cached;
    const fresh = yield* allocPage(GFP_KERNEL);
    if (fresh === null) return VM_FAULT_OOM;
    yield* lockPage(fresh);
    fresh.swapSlot = slot;
    const isRead = yield* readSwapSlot(slot, fresh);
    if (!isRead) fresh.swapSlot = 0;
    yield* unlockPage(fresh);
    if (isRead) return fresh;
    yield* putPage(fresh);
    // Somebody was faster, or nothing refers to the slot any more: the entry tells.
    return 0;
  },
  { name: 'swapin_readahead' },
);

/**
 * Puts the locked page, with the caller's reference, where the swap entry is, and unlocks it; false, with neither, if the
 * entry has changed.
 */
const mapSwapped = fn(
  function* mapSwapped(vmf: VmFault, table: PageTable, pte: Pte, page: Page) {
    const index = pteIndex(vmf.address);
    yield* spinLock(table.ptl);
    if (table.ptes[index] !== pte) {
      yield* spinUnlock(table.ptl);
      return false;
    }
    // The page is this one: no other is cached.
    const cached = yield* swapFree(ptePfn(pte));
    if (cached !== null) yield* putPage(cached);
    const isExclusive = (pte & PTE_EXCLUSIVE) !== 0;
    if (page.mapping === null) {
      yield* pageAddNewAnonRmap(page, vmf.vma, vmf.address);
      if (!isExclusive) {
        // Others may map it too, of whom the oldest anon_vma knows.
        yield* dataRaceWrite(page, 'isAnonExclusive', false);
        page.mapping = rootOf(vmf.vma.anonVma!);
      }
    } else {
      yield* pageAddRmap(page);
      if (isExclusive) yield* dataRaceWrite(page, 'isAnonExclusive', true);
    }
    let entry = faultPte(pageToPfn(page), vmf.vma.vmFlags);
    const isWrite = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
    if (isWrite && isExclusive && (vmf.vma.vmFlags & VM_WRITE) !== 0) {
      entry = pteModify(entry, PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY, 0);
    }
    yield* setPteAt(table, index, entry);
    // A page of this process alone does not need its slot any more.
    if (isExclusive) yield* dropSwapCache(page);
    // As soon as the entry can be zapped, nothing keeps the page.
    yield* unlockPage(page);
    yield* spinUnlock(table.ptl);
    return true;
  },
  { name: 'do_swap_page' },
);
