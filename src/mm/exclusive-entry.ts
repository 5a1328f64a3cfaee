/**
 * Page-table entries that keep CPUs out while a device has the page for itself; see device-exclusive.ts. An entry that is
 * present and permits nothing, though its VMA does.
 */
import { fn } from '../kernel/call.ts';
import { dataRace } from '../kernel/field.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Page } from '../mm-types/page.ts';
import {
  PTE_ACCESSED,
  PTE_PROTNONE,
  PTE_WRITE,
  pteModify,
  ptePfn,
  pteSpecial,
  setPteAt,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { getPage, pfnToPage, putPage } from './frames.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { lockPage, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { isAccessible, vmPageProt } from './pte-rights.ts';
import type { VmFault } from './vm-fault.ts';

/** Whether an entry keeps CPUs out for a device's sake: nothing is permitted though the VMA does. */
export function isDeviceExclusive(pte: Pte, vma: VmArea): boolean {
  return (pte & PTE_PROTNONE) !== 0 && !pteSpecial(pte) && isAccessible(vma.vmFlags);
}

/** The rights that the entry had: those of the VMA, and to write if the page is the process's own. */
const restored = fn(
  function* restored(vma: VmArea, pte: Pte, page: Page) {
    const isOwn = page.isAnon && (yield* dataRace(page, 'isAnonExclusive'));
    const write = isOwn && (vma.vmFlags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
    return pteModify(pte, vmPageProt(vma.vmFlags) | write | PTE_ACCESSED, PTE_PROTNONE);
  },
  { name: 'restore_exclusive_pte' },
);

/**
 * `remove_device_exclusive_entry(vmf)`: gives the page back to the CPUs. With the table locked, which it unlocks. Tells
 * notifiers. May sleep.
 */
export const removeDeviceExclusiveEntry = fn(function* removeDeviceExclusiveEntry(
  vmf: VmFault,
  table: PageTable,
  pte: Pte,
) {
  const { vma, mm, address } = vmf;
  const page = pfnToPage(ptePfn(pte))!;
  yield* getPage(page);
  yield* spinUnlock(table.ptl);
  yield* lockPage(page);
  const event = MMU_NOTIFY_CLEAR;
  const range: MmuNotifierRange = { mm, vma, start: address, end: address + 4096, event, flags: 0 };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* spinLock(table.ptl);
  const index = pteIndex(address);
  if (table.ptes[index] === pte) {
    yield* setPteAt(table, index, yield* restored(vma, pte, page));
  }
  yield* spinUnlock(table.ptl);
  yield* invalidateRangeEnd(range);
  yield* unlockPage(page);
  yield* putPage(page);
  return 0;
});
