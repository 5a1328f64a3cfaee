/**
 * get_user_pages and pins: pages of a process for who is not a CPU of it.
 *
 * Modelled: the walk under the table's lock, faults where something is missing, and that a pin for reading
 * makes a private page the process's own first (unsharing), so that the process goes on seeing what the
 * device writes, and the device what the process writes. FOLL_FORCE as populating needs it.
 * Simplified: a pin is 1,024 references, never a count of its own. Left out: the lockless fast walk,
 * FOLL_LONGTERM's migration, huge pages.
 */
import { EFAULT, ENOMEM, EINVAL } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { dataRace } from '../kernel/field.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import {
  PTE_PROTNONE,
  ptePfn,
  ptePresent,
  pteWrite,
  tableOffset,
  type Pte,
} from '../mm-types/page-table.ts';
import {
  isCowMapping,
  VM_IO,
  VM_MAYREAD,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
} from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { handleMmFault } from './fault.ts';
import { frames, getPage, pfnToPage, pinPage, putPage, unpinPage } from './frames.ts';
import { pteIndex } from './page-table-walk.ts';
import {
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
} from './vm-fault.ts';
import { findVma } from './vma.ts';

export const FOLL_WRITE = 0x01;
/** Take references. */
export const FOLL_GET = 0x02;
/** Take pins. */
export const FOLL_PIN = 0x04;
/** In spite of the VMA's rights, as far as the file's permit. */
export const FOLL_FORCE = 0x08;

/** `check_vma_flags(vma, flags)`: 0 or -EFAULT. */
export function checkVmaFlags(vma: VmArea, flags: number): number {
  const { vmFlags } = vma;
  if ((vmFlags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT;
  const isForced = (flags & FOLL_FORCE) !== 0;
  if ((flags & FOLL_WRITE) !== 0) {
    if ((vmFlags & VM_WRITE) !== 0) return 0;
    return isForced && isCowMapping(vmFlags) ? 0 : -EFAULT;
  }
  if ((vmFlags & VM_READ) !== 0) return 0;
  return isForced && (vmFlags & VM_MAYREAD) !== 0 ? 0 : -EFAULT;
}

const FOLLOW_MISSING = 0;
const FOLLOW_UNSHARE = 1;

/** Whether a page may be written through its entry. `can_follow_write_pte`. */
const canWrite = fn(
  function* canWrite(vma: VmArea, pte: Pte, page: Page, flags: number) {
    if ((flags & FOLL_WRITE) === 0 || pteWrite(pte)) return true;
    if ((flags & FOLL_FORCE) === 0 || (vma.vmFlags & (VM_SHARED | VM_WRITE)) !== 0) return false;
    return page.isAnon && (yield* dataRace(page, 'isAnonExclusive'));
  },
  { name: 'can_follow_write_pte' },
);

/** Whether a pin for reading must make the page the process's own first. `gup_must_unshare`. */
const mustUnshare = fn(
  function* mustUnshare(vma: VmArea, page: Page, flags: number) {
    if ((flags & FOLL_WRITE) !== 0 || (flags & FOLL_PIN) === 0) return false;
    if (page.isAnon) return !(yield* dataRace(page, 'isAnonExclusive'));
    return isCowMapping(vma.vmFlags) && page === frames(running).zeroPage;
  },
  { name: 'gup_must_unshare' },
);

/** `follow_page_pte`: the page at `address`, referenced as `flags` say, or why not. */
export const followPage = fn(
  function* followPage(vma: VmArea, address: number, flags: number) {
    const mm = vma.vmMm as MmStruct;
    const table = yield* tableOffset(mm.pageTables, address, 1);
    if (table === null) return FOLLOW_MISSING;
    yield* spinLock(table.ptl);
    const pte = table.ptes[pteIndex(address)] as number;
    const isThere = ptePresent(pte) && ((pte & PTE_PROTNONE) === 0 || (flags & FOLL_FORCE) !== 0);
    const page = isThere ? pfnToPage(ptePfn(pte)) : null;
    let result: Page | number = FOLLOW_MISSING;
    if (page !== null && (yield* canWrite(vma, pte, page, flags))) {
      result = (yield* mustUnshare(vma, page, flags)) ? FOLLOW_UNSHARE : page;
    }
    // A driver's special entry is followed only where the driver knows the page: no VM_PFNMAP comes here.
    if (typeof result !== 'number' && result !== frames(running).zeroPage) {
      if ((flags & FOLL_PIN) !== 0) yield* pinPage(result);
      else if ((flags & FOLL_GET) !== 0) yield* getPage(result);
    }
    yield* spinUnlock(table.ptl);
    return result;
  },
  { name: 'follow_page_pte' },
);

/**
 * Faults one page in, as often as it takes, and follows it: the page, or -EFAULT or -ENOMEM. mmap_sem held for
 * read. May sleep.
 */
export const faultinPage = fn(
  function* faultinPage(vma: VmArea, address: number, flags: number) {
    for (;;) {
      const found = yield* followPage(vma, address, flags);
      if (typeof found !== 'number') return found;
      const unshare = found === FOLLOW_UNSHARE ? FAULT_FLAG_UNSHARE : 0;
      const write = (flags & FOLL_WRITE) !== 0 ? FAULT_FLAG_WRITE : 0;
      const result = yield* handleMmFault(vma, address, write | unshare | FAULT_FLAG_REMOTE);
      if ((result & VM_FAULT_OOM) !== 0) return -ENOMEM;
      if ((result & VM_FAULT_ERROR) !== 0) return -EFAULT;
    }
  },
  { name: 'faultin_page' },
);

const putAll = fn(
  function* putAll(pages: readonly Page[], flags: number) {
    for (const page of pages) {
      if ((flags & FOLL_PIN) !== 0) yield* unpinUserPage(page);
      else yield* putUserPage(page);
    }
  },
  { name: 'unpin_user_pages' },
);

/** `__get_user_pages`: all pages, or -errno with nothing taken. mmap_sem held. */
const getPages = fn(
  function* getPages(mm: MmStruct, start: number, count: number, flags: number) {
    if (start % PAGE_SIZE !== 0 || count < 0) return -EINVAL;
    const pages: Page[] = [];
    for (let at = 0; at < count; at += 1) {
      const address = start + at * PAGE_SIZE;
      const vma = findVma(mm, address);
      const isMapped = vma !== null && vma.vmStart <= address;
      const page =
        isMapped && checkVmaFlags(vma, flags) === 0
          ? yield* faultinPage(vma, address, flags)
          : -EFAULT;
      if (typeof page === 'number') {
        yield* putAll(pages, flags);
        return page;
      }
      pages.push(page);
    }
    return pages;
  },
  { name: '__get_user_pages' },
);

/**
 * `get_user_pages(start, count, FOLL_WRITE?)`: the pages with a reference each, or -EFAULT or -ENOMEM (all or
 * nothing, which is stricter than the kernel). mmap_sem held for read. May sleep. Pairs with
 * {@link putUserPage}.
 */
export const getUserPages = fn(function* getUserPages(
  mm: MmStruct,
  start: number,
  count: number,
  isWrite: boolean,
) {
  return yield* getPages(mm, start, count, FOLL_GET | (isWrite ? FOLL_WRITE : 0));
});

/**
 * `pin_user_pages(start, count, FOLL_WRITE?)`: the same with pins: fork copies such pages at once, and a page
 * that is pinned for reading is the process's own. Pairs with {@link unpinUserPage}.
 */
export const pinUserPages = fn(function* pinUserPages(
  mm: MmStruct,
  start: number,
  count: number,
  isWrite: boolean,
) {
  return yield* getPages(mm, start, count, FOLL_PIN | (isWrite ? FOLL_WRITE : 0));
});

/** `unpin_user_page(page)`. Never sleeps. */
export const unpinUserPage = fn(function* unpinUserPage(page: Page) {
  if (page !== frames(running).zeroPage) yield* unpinPage(page);
});

/** `put_page(page)` of a page that getUserPages returned. Never sleeps. */
export const putUserPage = fn(
  function* putUserPage(page: Page) {
    if (page !== frames(running).zeroPage) yield* putPage(page);
  },
  { name: 'put_user_page' },
);
