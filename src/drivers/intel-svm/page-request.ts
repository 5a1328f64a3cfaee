/**
 * Page requests: a device wants a page that is not there, or not writable.
 *
 * The thread that answers takes no reference to the intel_svm: a driver unbinds only when the device has no request
 * left. It needs the mm to be in use while it looks, and gives that up on every way out; the way out of an impossible
 * address forgot it (B-36, 902baf61adf6): the program's memory was never freed.
 */
import { rcuReadLock, rcuReadUnlock } from '../../kernel/rcu.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { handleMmFault } from '../../mm/fault.ts';
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR } from '../../mm/vm-fault.ts';
import { vmaLookup } from '../../mm/vma.ts';
import { mmgetNotZero, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import { VM_READ, VM_WRITE } from '../../mm-types/vm-flags.ts';
import { intelSvm, pasidLookup, version } from './intel-svm.ts';
import type { PageRequest } from './iommu.ts';

const { fn } = intelSvm;

/** Addresses have 48 bits, the highest of which all above it repeat; those of programs have it clear. */
const CANONICAL_END = 2 ** 47;

/** Whether the page is there now. The mm is in use, mmap_sem is not held. May sleep. */
const faultIn = fn(
  function* faultIn(mm: MmStruct, { address, isWrite }: PageRequest) {
    yield* downRead(mm.mmapSem);
    const vma = vmaLookup(mm, address);
    const needed = isWrite ? VM_WRITE : VM_READ;
    let isGood = vma !== null && (vma.vmFlags & needed) !== 0;
    if (vma !== null && isGood) {
      const result = yield* handleMmFault(vma, address, isWrite ? FAULT_FLAG_WRITE : 0);
      isGood = (result & VM_FAULT_ERROR) === 0;
    }
    yield* upRead(mm.mmapSem);
    return isGood;
  },
  { name: 'prq_handle_mm_fault' },
);

/** Answers a page request: whether the page is there now. May sleep. */
export const prqEventThread = fn(function* prqEventThread(request: PageRequest) {
  yield* rcuReadLock();
  const svm = yield* pasidLookup(request.pasid);
  yield* rcuReadUnlock();
  const mm = svm?.mm ?? null;
  const isCanonical = request.address < CANONICAL_END;
  const checksFirst = version().checksAddressFirst === true;
  if (mm === null || (checksFirst && !isCanonical)) return false;
  if (!(yield* mmgetNotZero(mm))) return false;
  if (!isCanonical) return false;
  const isGood = yield* faultIn(mm, request);
  yield* mmput(mm);
  return isGood;
});
