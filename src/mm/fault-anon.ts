/**
 * Faults in private anonymous memory where nothing is: reading maps the zero page and needs no anon_vma,
 * writing makes a page.
 */
import { fn } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { pageToPfn } from '../mm-types/page.ts';
import { mkPte, PTE_ACCESSED, PTE_SPECIAL, setPteAt } from '../mm-types/page-table.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { allocPage, putPage, ZERO_PFN } from './frames.ts';
import { pteIndex, tableAlloc } from './page-table-walk.ts';
import { vmPageProt, writtenPte } from './pte-rights.ts';
import { pageAddNewAnonRmap } from './rmap.ts';
import {
  checkStableAddressSpace,
  FAULT_FLAG_WRITE,
  VM_FAULT_OOM,
  type VmFault,
} from './vm-fault.ts';

/** `do_anonymous_page(vmf)`. */
export const doAnonymousPage = fn(function* doAnonymousPage(vmf: VmFault) {
  const { vma, mm, address } = vmf;
  const table = yield* tableAlloc(mm, address, 1);
  if (table === null) return VM_FAULT_OOM;
  const index = pteIndex(address);
  if ((vmf.flags & FAULT_FLAG_WRITE) === 0) {
    yield* spinLock(table.ptl);
    const error = yield* checkStableAddressSpace(mm);
    if (error === 0 && table.ptes[index] === 0) {
      const rights = vmPageProt(vma.vmFlags) | PTE_ACCESSED | PTE_SPECIAL;
      yield* setPteAt(table, index, mkPte(ZERO_PFN, rights));
    }
    yield* spinUnlock(table.ptl);
    return error;
  }
  if ((yield* anonVmaPrepare(vma)) !== 0) return VM_FAULT_OOM;
  const page = yield* allocPage(GFP_KERNEL);
  if (page === null) return VM_FAULT_OOM;
  yield* spinLock(table.ptl);
  const error = yield* checkStableAddressSpace(mm);
  const isFirst = error === 0 && table.ptes[index] === 0;
  if (isFirst) {
    yield* pageAddNewAnonRmap(page, vma, address);
    yield* setPteAt(table, index, writtenPte(pageToPfn(page), vma.vmFlags));
  }
  yield* spinUnlock(table.ptl);
  if (!isFirst) yield* putPage(page);
  return error;
});
