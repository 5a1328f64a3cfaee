/**
 * Faults in mappings of files: reading maps what is cached around the page too (fault-around), writing to a
 * private mapping copies at once, writing to a shared one maps the page itself.
 *
 * Modelled: pages are locked while they are put into page tables, so truncation either comes before and the
 * fault finds the size changed, or waits for the lock and unmaps afterwards.
 */
import { EINVAL } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { readOnce } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE } from '../mm-types/mm-struct.ts';
import { pageToPfn, PG_DIRTY, setPageFlag, type Page } from '../mm-types/page.ts';
import { copyContents } from '../mm-types/page-contents.ts';
import { PTRS_PER_TABLE, ptepGet, setPteAt, type PageTable } from '../mm-types/page-table.ts';
import { VM_SHARED } from '../mm-types/vm-flags.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { allocPage, getPage, putPage } from './frames.ts';
import { findNextPage, trylockPage, unlockPage } from './page-cache.ts';
import { pteIndex, tableAlloc } from './page-table-walk.ts';
import { faultPte, writtenPte } from './pte-rights.ts';
import { linearPageIndex, pageAddNewAnonRmap, pageAddRmap } from './rmap.ts';
import { shmemGetPage } from './shmem.ts';
import {
  checkStableAddressSpace,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  type VmFault,
} from './vm-fault.ts';

/** Pages that a read fault looks at: fault_around_bytes. */
const FAULT_AROUND_PAGES = 16;

/** `do_fault(vmf)`. */
export const doFault = fn(function* doFault(vmf: VmFault) {
  if ((vmf.flags & FAULT_FLAG_WRITE) === 0) return yield* doReadFault(vmf);
  return (vmf.vma.vmFlags & VM_SHARED) === 0 ? yield* doCowFault(vmf) : yield* doSharedFault(vmf);
});

const doReadFault = fn(function* doReadFault(vmf: VmFault) {
  const around = yield* doFaultAround(vmf);
  if (around !== 0) return around;
  const page = yield* getFilePage(vmf);
  if (typeof page === 'number') return page;
  const result = yield* finishFault(vmf, page, false);
  yield* unlockPage(page);
  if (result !== 0) yield* putPage(page);
  return result & VM_FAULT_ERROR;
});

const doCowFault = fn(function* doCowFault(vmf: VmFault) {
  if ((yield* anonVmaPrepare(vmf.vma)) !== 0) return VM_FAULT_OOM;
  const copy = yield* allocPage(GFP_KERNEL);
  if (copy === null) return VM_FAULT_OOM;
  const page = yield* getFilePage(vmf);
  if (typeof page === 'number') {
    yield* putPage(copy);
    return page;
  }
  yield* copyContents(copy.contents, page.contents);
  const result = yield* finishFault(vmf, copy, true);
  yield* unlockPage(page);
  yield* putPage(page);
  if (result !== 0) yield* putPage(copy);
  return result & VM_FAULT_ERROR;
});

const doSharedFault = fn(function* doSharedFault(vmf: VmFault) {
  const page = yield* getFilePage(vmf);
  if (typeof page === 'number') return page;
  const result = yield* finishFault(vmf, page, false);
  if (result === 0) yield* setPageFlag(page, PG_DIRTY);
  yield* unlockPage(page);
  if (result !== 0) yield* putPage(page);
  return result & VM_FAULT_ERROR;
});

/** `__do_fault(vmf)`: the page of the file, with a reference and locked, or VM_FAULT_*. */
const getFilePage = fn(
  function* getFilePage(vmf: VmFault) {
    const mapping = vmf.vma.mapping as AddressSpace;
    const page = yield* shmemGetPage(mapping, linearPageIndex(vmf.vma, vmf.address));
    if (typeof page !== 'number') return page;
    return page === -EINVAL ? VM_FAULT_SIGBUS : VM_FAULT_OOM;
  },
  { name: '__do_fault' },
);

/**
 * `finish_fault(vmf)`: maps the locked page, with the caller's reference, if nothing is mapped yet; otherwise
 * VM_FAULT_NOPAGE.
 */
const finishFault = fn(function* finishFault(vmf: VmFault, page: Page, isCopy: boolean) {
  const { vma, mm, address } = vmf;
  const table = yield* tableAlloc(mm, address, 1);
  if (table === null) return VM_FAULT_OOM;
  yield* spinLock(table.ptl);
  const isPrivate = (vma.vmFlags & VM_SHARED) === 0;
  let error = isPrivate ? yield* checkStableAddressSpace(mm) : 0;
  if (error === 0 && table.ptes[pteIndex(address)] !== 0) error = VM_FAULT_NOPAGE;
  if (error !== 0) {
    yield* spinUnlock(table.ptl);
    return error;
  }
  const isWrite = (vmf.flags & FAULT_FLAG_WRITE) !== 0;
  const pfn = pageToPfn(page);
  if (isCopy) yield* pageAddNewAnonRmap(page, vma, address);
  else yield* pageAddRmap(page);
  const pte = isWrite ? writtenPte(pfn, vma.vmFlags) : faultPte(pfn, vma.vmFlags);
  yield* setPteAt(table, pteIndex(address), pte);
  yield* spinUnlock(table.ptl);
  return 0;
});

/** Which pages a read fault at `address` looks at: addresses of the first and behind the last. */
export function faultAroundWindow(
  vma: { readonly vmStart: number; readonly vmEnd: number },
  address: number,
): readonly [number, number] {
  const at = pteIndex(address);
  const before = Math.min(at, (address - vma.vmStart) / PAGE_SIZE);
  const from = Math.max(at - (at % FAULT_AROUND_PAGES), at - before);
  const after = (vma.vmEnd - address) / PAGE_SIZE;
  // Not the end of the aligned window: one that the VMA begins in is as long as any other.
  const to = Math.min(from + FAULT_AROUND_PAGES, PTRS_PER_TABLE, at + after);
  const base = address - at * PAGE_SIZE;
  return [base + from * PAGE_SIZE, base + to * PAGE_SIZE];
}

/** `do_fault_around(vmf)`: maps cached pages; VM_FAULT_NOPAGE if that of the fault is mapped then. */
const doFaultAround = fn(function* doFaultAround(vmf: VmFault) {
  const { vma, mm, address } = vmf;
  const mapping = vma.mapping as AddressSpace;
  const [start, end] = faultAroundWindow(vma, address);
  const table = yield* tableAlloc(mm, address, 1);
  if (table === null) return VM_FAULT_OOM;
  const last = linearPageIndex(vma, end) - 1;
  let page: Page | null = yield* findNextPage(mapping, linearPageIndex(vma, start), last);
  if (page === null) return 0;
  yield* spinLock(table.ptl);
  while (page !== null) {
    const index: number = page.index;
    yield* mapAround(vmf, table, page);
    page = index === last ? null : yield* findNextPage(mapping, index + 1, last);
  }
  const isDone = table.ptes[pteIndex(address)] !== 0;
  yield* spinUnlock(table.ptl);
  return isDone ? VM_FAULT_NOPAGE : 0;
});

/** Maps one cached page if its lock is free, it is still in the file and nothing is mapped there. */
const mapAround = fn(
  function* mapAround(vmf: VmFault, table: PageTable, page: Page) {
    const { vma } = vmf;
    if (!(yield* trylockPage(page))) {
      yield* putPage(page);
      return;
    }
    const mapping = vma.mapping as AddressSpace;
    const isThere = page.mapping === mapping;
    const isInside = isThere && page.index * PAGE_SIZE < (yield* readOnce(mapping, 'size'));
    const address = vma.vmStart + (page.index - vma.vmPgoff) * PAGE_SIZE;
    const index = pteIndex(address);
    if (isInside && (yield* ptepGet(table, index)) === 0) {
      yield* getPage(page);
      yield* pageAddRmap(page);
      yield* setPteAt(table, index, faultPte(pageToPfn(page), vma.vmFlags));
    }
    yield* unlockPage(page);
    yield* putPage(page);
  },
  { name: 'filemap_map_pages' },
);
