/**
 * A device has a page for itself: while it does, the process's CPUs fault (make_device_exclusive, v5.14). For atomic
 * operations of devices that cannot lock the bus.
 *
 *   get the page, writable; lock it; start (EXCLUSIVE, with the device's owner, which ignores its own); the entry
 *   permits nothing any more, flush; end. The device sets up its translation and unlocks the page.
 *   A CPU's access: lock the page; start (CLEAR: the device lets go); the entry is as before; end; unlock
 *
 * Simplified: where the kernel has an entry of its own for it, this is one that is present and permits nothing; fork
 * copies it (the kernel gives the page back first), and mprotect gives it back, after telling everybody.
 */
import { EBUSY, EFAULT, EOPNOTSUPP } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import {
  PTE_PROTNONE,
  PTE_WRITE,
  pteModify,
  ptepGetAndClear,
  pteWrite,
  setPteAt,
  tableOffset,
  type PageTable,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_EXCLUSIVE, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';
import { isDeviceExclusive } from './exclusive-entry.ts';
import { putPage } from './frames.ts';
import { checkVmaFlags, faultinPage, FOLL_GET, FOLL_WRITE } from './gup.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { lockPage, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { mapsPage } from './rmap.ts';
import { flushTlbRange } from './tlb.ts';
import { findVma } from './vma.ts';

/** Whether the locked page is still there, writable, and CPUs are kept out now. */
const takeEntry = fn(
  function* takeEntry(vma: VmArea, table: PageTable, address: number, page: Page) {
    const mm = vma.vmMm as MmStruct;
    const index = pteIndex(address);
    yield* spinLock(table.ptl);
    const pte = table.ptes[index] as number;
    const isThere = mapsPage(pte, page) && (pteWrite(pte) || isDeviceExclusive(pte, vma));
    if (isThere) {
      const before = yield* ptepGetAndClear(table, index);
      yield* flushTlbRange(mm, address, address + 4096);
      yield* setPteAt(table, index, pteModify(before, PTE_PROTNONE, PTE_WRITE));
    }
    yield* spinUnlock(table.ptl);
    return isThere;
  },
  { name: 'make_device_exclusive' },
);

/**
 * `make_device_exclusive(mm, address, owner)`: the page, locked and with a reference; whoever called sets up the
 * device's translation, then unlocks the page and drops the reference. -EFAULT, -ENOMEM as GUP; -EOPNOTSUPP for pages
 * of files and kernels without it; -EBUSY if the page changed meanwhile. mmap_sem held for read. Tells notifiers. May
 * sleep.
 */
export const makeDeviceExclusive = fn(function* makeDeviceExclusive(
  mm: MmStruct,
  address: number,
  owner: unknown,
) {
  if (!behaviourOf(running).deviceExclusive) return -EOPNOTSUPP;
  const vma = findVma(mm, address);
  const isMapped = vma !== null && vma.vmStart <= address;
  const flags = FOLL_GET | FOLL_WRITE;
  const error = isMapped ? checkVmaFlags(vma, flags) : -EFAULT;
  if (error !== 0) return error;
  const page = yield* faultinPage(vma!, address, flags);
  if (typeof page === 'number') return page;
  if (!page.isAnon) {
    yield* putPage(page);
    return -EOPNOTSUPP;
  }
  yield* lockPage(page);
  const event = MMU_NOTIFY_EXCLUSIVE;
  const range: MmuNotifierRange = {
    mm,
    vma,
    start: address,
    end: address + 4096,
    event,
    flags: 0,
    owner,
  };
  yield* mmuNotifierInvalidateRangeStart(range);
  const table = yield* tableOffset(mm.pageTables, address, 1);
  const isTaken = table !== null && (yield* takeEntry(vma!, table, address, page));
  yield* invalidateRangeEnd(range);
  if (isTaken) return page;
  yield* unlockPage(page);
  yield* putPage(page);
  return -EBUSY;
});
