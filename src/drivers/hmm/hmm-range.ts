/**
 * hmm: what is in a range, and whether it still is.
 *
 * Who waits is woken by the end of an invalidation; who reads does so with mmap_sem held; who has read must ask
 * once more, under the driver's own lock, before the device may use it.
 * Whether a range is valid is read without ranges_lock, as the kernel does; the reads are marked, so that what
 * follows from them is found, not the reads.
 * Simplified: a page fault never lets go of mmap_sem, so hmm_range_fault never returns -EAGAIN. Left out: ranges
 * that are only looked at, and not faulted in.
 */
import { EBUSY, EFAULT, EPERM } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { spinLockIrqsave, spinUnlockIrqrestore } from '../../kernel/spinlock.ts';
import { waitEventTimeout } from '../../kernel/wait.ts';
import { handleMmFault } from '../../mm/fault.ts';
import { pteIndex } from '../../mm/page-table-walk.ts';
import {
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
} from '../../mm/vm-fault.ts';
import { findVma } from '../../mm/vma.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { ptepGet, ptePfn, ptePresent, pteWrite, tableOffset } from '../../mm-types/page-table.ts';
import { VM_IO, VM_PFNMAP, VM_READ, VM_WRITE } from '../../mm-types/vm-flags.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { mmuIntervalCheckRetry } from '../../mmu-notifier/interval.ts';
import type { Hmm, HmmPfn, HmmRange } from './hmm-types.ts';
import { hmmVersion } from './hmm.ts';

/** Milliseconds. The model only knows: sooner or later than what is waited for. */
export const HMM_RANGE_DEFAULT_TIMEOUT = 1000;

/** `hmm_range_valid(range)`. Means something under the lock that the driver's callback takes. Never sleeps. */
export const hmmRangeValid = fn(function* hmmRangeValid(range: HmmRange) {
  return yield* dataRace(range, 'valid');
});

/** Where the end of an invalidation does not: makes the range valid, if nothing is being invalidated. */
function* becomesValid(hmm: Hmm, range: HmmRange): Body<boolean> {
  const flags = yield* spinLockIrqsave(hmm.rangesLock);
  if (hmm.notifiers === 0 && !range.valid) yield* dataRaceWrite(range, 'valid', true);
  const { valid } = range;
  yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
  return valid;
}

/**
 * `hmm_range_wait_until_valid(range, timeout)`: false after `timeout` milliseconds. Not with a lock held that an
 * invalidation in progress needs to come to its end. Sleeps.
 */
export const hmmRangeWaitUntilValid = fn(function* hmmRangeWaitUntilValid(
  range: HmmRange,
  timeout: number,
) {
  const hmm = range.hmm!;
  const left = yield* waitEventTimeout(
    hmm.wq,
    function* () {
      if (!hmmVersion().endMakesValid) return yield* becomesValid(hmm, range);
      return yield* dataRace(range, 'valid');
    },
    timeout,
  );
  return left !== 0;
});

/** Whether what is read now is known to be worth nothing. */
function* isStale(range: HmmRange): Body<boolean> {
  const { notifier, notifierSeq } = range;
  if (notifier !== null) return yield* mmuIntervalCheckRetry(notifier, notifierSeq);
  return !(yield* dataRace(range, 'valid'));
}

/** The VMA of an address, if the pages may be had from it; otherwise -EFAULT or -EPERM. */
function rangeVma(range: HmmRange, mm: MmStruct, address: number): VmArea | number {
  const vma = findVma(mm, address);
  if (vma === null || vma.vmStart > address || (vma.vmFlags & (VM_IO | VM_PFNMAP)) !== 0) {
    return -EFAULT;
  }
  if ((vma.vmFlags & VM_READ) === 0) return -EPERM;
  return range.isWrite && (vma.vmFlags & VM_WRITE) === 0 ? -EPERM : vma;
}

/**
 * What a page translates to, without the page table's lock; -EBUSY after a fault, to look again; -EFAULT.
 * `hmm_vma_handle_pte`, `hmm_vma_do_fault`.
 */
const walkPage = fn(
  function* walkPage(range: HmmRange, vma: VmArea, address: number): Body<HmmPfn | number> {
    const { pageTables } = vma.vmMm as MmStruct;
    const table = yield* tableOffset(pageTables, address, 1);
    const pte = table === null ? 0 : yield* ptepGet(table, pteIndex(address));
    if (ptePresent(pte) && (!range.isWrite || pteWrite(pte))) {
      return { pfn: ptePfn(pte), isWritable: pteWrite(pte) };
    }
    const write = range.isWrite ? FAULT_FLAG_WRITE : 0;
    const result = yield* handleMmFault(vma, address, write | FAULT_FLAG_REMOTE);
    return (result & (VM_FAULT_ERROR | VM_FAULT_OOM)) === 0 ? -EBUSY : -EFAULT;
  },
  { name: 'hmm_vma_walk_pmd' },
);

/**
 * `hmm_range_fault(range)`: faults in what is missing, and fills `range.pfns`, with no reference to any page.
 * Returns the number of pages; -EBUSY if the range became invalid: wait, and try again; -EFAULT where nothing can
 * be had; -EPERM without the right. mmap_sem is held for read. May sleep.
 */
export const hmmRangeFault = fn(function* hmmRangeFault(range: HmmRange, mm: MmStruct) {
  const pfns: HmmPfn[] = [];
  for (let address = range.start; address < range.end;) {
    if (yield* isStale(range)) return -EBUSY;
    const vma = rangeVma(range, mm, address);
    if (typeof vma === 'number') return vma;
    const found = yield* walkPage(range, vma, address);
    if (found === -EBUSY) continue;
    if (typeof found === 'number') return found;
    pfns.push(found);
    address += PAGE_SIZE;
  }
  range.pfns = pfns;
  return pfns.length;
});
