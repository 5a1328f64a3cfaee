/**
 * Page faults: what is missing, and who brings it.
 *
 * Modelled: a fault reads the entry without a lock, prepares everything it may need, and looks again under
 * the table's lock whether the entry is still the same; if not it gives up, and the access faults again if it
 * must. Upper tables are made for every fault that is permitted, even one that ends in SIGBUS.
 * Simplified: mmap_sem is held for read all the time, there are no per-VMA locks and no retry without it.
 * Left out: huge pages, NUMA hinting, userfaultfd.
 *
 * Order of the steps as in the kernel of the recordings; see fault-anon.ts, fault-file.ts, fault-cow.ts.
 */
import { fn } from '../kernel/call.ts';
import { flushCpuTlbs } from './tlb.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  pteModify,
  ptepGet,
  pteNone,
  ptePresent,
  pteWrite,
  setPteAt,
  tableOffset,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_PFNMAP } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { isDeviceExclusive, removeDeviceExclusiveEntry } from './exclusive-entry.ts';
import { doAnonymousPage } from './fault-anon.ts';
import { doWpPage } from './fault-cow.ts';
import { doFault } from './fault-file.ts';
import { doSwapPage } from './fault-swap.ts';
import { pteIndex, tableAlloc } from './page-table-walk.ts';
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  type VmFault,
} from './vm-fault.ts';

/** The entry is there: the access needs another right, or only marks. */
const handlePresent = fn(
  function* handlePresent(vmf: VmFault, pte: Pte) {
    const table = yield* tableOffset(vmf.mm.pageTables, vmf.address, 1);
    const index = pteIndex(vmf.address);
    if (table === null) return 0;
    yield* spinLock(table.ptl);
    const now = yield* ptepGet(table, index);
    if (now !== pte) {
      yield* spinUnlock(table.ptl);
      return 0;
    }
    if (isDeviceExclusive(pte, vmf.vma)) return yield* removeDeviceExclusiveEntry(vmf, table, pte);
    if ((vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0 && !pteWrite(pte)) {
      return yield* doWpPage(vmf, table, pte);
    }
    const dirty = (vmf.flags & FAULT_FLAG_WRITE) !== 0 ? PTE_DIRTY | PTE_SOFT_DIRTY : 0;
    const marked = pteModify(pte, PTE_ACCESSED | dirty, 0);
    if (marked !== pte) yield* setPteAt(table, index, marked);
    else yield* flushCpuTlbs(vmf.mm, vmf.address, vmf.address + 4096);
    yield* spinUnlock(table.ptl);
    return 0;
  },
  { name: 'handle_pte_fault' },
);

/**
 * `handle_mm_fault(vma, address, flags)`: VM_FAULT_* bits, 0 if done; the access is then tried again. The VMA
 * permits the access, which the caller has checked. mmap_sem held for read. May sleep.
 */
export const handleMmFault = fn(function* handleMmFault(
  vma: VmArea,
  address: number,
  flags: number,
) {
  const mm = vma.vmMm as MmStruct;
  const page = address - (address % 4096);
  const vmf: VmFault = { vma, mm, address: page, flags };
  const table = yield* tableOffset(mm.pageTables, page, 1);
  let pte: Pte = 0;
  if (table === null) {
    if ((yield* tableAlloc(mm, page, 2)) === null) return VM_FAULT_OOM;
  } else {
    pte = yield* ptepGet(table, pteIndex(page));
  }
  if (pteNone(pte)) {
    const driver = vma.vmOps?.fault;
    if (driver !== undefined) return yield* driver(vma, page, flags);
    // Of a device's file: its driver has mapped what there is.
    const isDevice = vma.mapping === null ? vma.vmFile !== null : (vma.vmFlags & VM_PFNMAP) !== 0;
    if (isDevice) return VM_FAULT_SIGBUS;
    return vma.mapping === null ? yield* doAnonymousPage(vmf) : yield* doFault(vmf);
  }
  return ptePresent(pte) ? yield* handlePresent(vmf, pte) : yield* doSwapPage(vmf, pte);
});
