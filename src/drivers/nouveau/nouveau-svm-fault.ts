/**
 * Replayable faults of the GPU: the work that takes them out of the buffer and handles them.
 *
 * Each fault belongs to the svmm of its instance, which is looked up under svm->mutex. In v5.3 that mutex is
 * released before the svmm is used, and nothing else keeps the svmm, nor its mm in use.
 * The range lives on the stack of the work.
 * Simplified: a range that became invalid while it was read is tried again, and so is one that was when the driver
 * had its lock; one that does not become valid in time has its faults cancelled.
 */
import { EAGAIN, EBUSY, EFAULT } from '../../base/errno.ts';
import { answerFault, nextFault, type DeviceFault } from '../../device/fault-queue.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import { listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { scheduleWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { findVmaIntersection } from '../../mm/vma.ts';
import { mmgetNotZero, mmput, PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import {
  HMM_RANGE_DEFAULT_TIMEOUT,
  HmmRange,
  hmmRangeFault,
  hmmRangeRegister,
  hmmRangeUnregister,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
} from '../hmm/index.ts';
import { gpu } from './gpu.ts';
import { globals, nouveau, NouveauIvmm, type NouveauSvmm } from './nouveau-priv.ts';

const { fn } = nouveau;

/** A fault, with whom it belongs to. */
interface Fault {
  readonly fault: DeviceFault;
  readonly page: number;
  readonly isWrite: boolean;
  readonly space: number;
  svmm: NouveauSvmm | null;
}

/** Faults of one address space and one kind, on pages side by side: [start, end) in bytes. */
interface Window {
  readonly svmm: NouveauSvmm | null;
  readonly faults: Fault[];
  readonly isWrite: boolean;
  readonly start: number;
  end: number;
}

function compare(a: Fault, b: Fault): number {
  return a.space - b.space || a.page - b.page || Number(a.isWrite) - Number(b.isWrite);
}

function windowsOf(faults: readonly Fault[]): Window[] {
  const windows: Window[] = [];
  for (const item of faults) {
    const { svmm, isWrite, page } = item;
    const last = windows.at(-1);
    const address = page * PAGE_SIZE;
    const isNext =
      last !== undefined &&
      last.svmm === svmm &&
      last.isWrite === isWrite &&
      address <= last.end &&
      address >= last.start;
    if (isNext) {
      last.faults.push(item);
      last.end = Math.max(last.end, address + PAGE_SIZE);
    } else {
      windows.push({ svmm, isWrite, start: address, end: address + PAGE_SIZE, faults: [item] });
    }
  }
  return windows;
}

/** Everything that is in the buffer, in the order of instances, addresses and kinds. */
const nouveauSvmFaultCache = fn(function* nouveauSvmFaultCache() {
  const cache: Fault[] = [];
  for (;;) {
    const fault = yield* nextFault(gpu().faults);
    if (fault === null) return cache.toSorted(compare);
    const { address, isWrite, space } = fault.request;
    cache.push({ fault, page: Math.floor(address / PAGE_SIZE), isWrite, space, svmm: null });
  }
});

/** Whose faults they are. svm->mutex is held. */
function lookUp(faults: readonly Fault[]): void {
  for (const item of faults) {
    for (const ivmm of listForEachEntry(globals().inst, NouveauIvmm, 'head')) {
      if (ivmm.inst === item.space) item.svmm = ivmm.svmm;
    }
  }
}

/** Tells the GPU to try again (0), or that there is nothing. */
function* answer(faults: readonly Fault[], code: number): Body<void> {
  for (const { fault } of faults) yield* answerFault(gpu().faults, fault, code);
}

/**
 * Reads what is in the range: 0 with mmap_sem still held and the range registered; otherwise -errno, with neither,
 * but for a range that v5.3 forgets. mmap_sem is held for read. Sleeps.
 */
const nouveauRangeFault = fn(function* nouveauRangeFault(
  svmm: NouveauSvmm,
  range: HmmRange,
  window: Window,
) {
  const { mmapSem } = svmm.mm!;
  range.isWrite = window.isWrite;
  const error = yield* hmmRangeRegister(range, svmm.mirror, window.start, window.end);
  if (error !== 0) {
    yield* upRead(mmapSem);
    return error;
  }
  if (!(yield* hmmRangeWaitUntilValid(range, HMM_RANGE_DEFAULT_TIMEOUT))) {
    yield* upRead(mmapSem);
    if (globals().version!.unregistersOnTimeout) yield* hmmRangeUnregister(range);
    return -EAGAIN;
  }
  const count = yield* hmmRangeFault(range, svmm.mm!);
  if (count > 0) return 0;
  yield* upRead(mmapSem);
  yield* hmmRangeUnregister(range);
  return count === 0 ? -EBUSY : count;
});

/** Whether what was read is still true; the range is off the list. svmm->mutex is held. */
const nouveauRangeDone = fn(function* nouveauRangeDone(range: HmmRange) {
  const isValid = yield* hmmRangeValid(range);
  yield* hmmRangeUnregister(range);
  return isValid;
});

/** Puts the pages of a range into the GPU's page table. svmm->mutex is held. */
const mapRange = fn(
  function* mapRange(svmm: NouveauSvmm, range: HmmRange) {
    const { translations } = gpu().spaces.get(svmm.vmm!.space);
    let page = range.start / PAGE_SIZE;
    for (const entry of range.pfns!) {
      yield* setDeviceEntry(translations, page, entry);
      page += 1;
    }
  },
  { name: 'nvif_object_ioctl' },
);

/** Whether the whole window is a part of one mapping, and outside the hole. mmap_sem is held. */
function isMapped({ mm, unmanagedStart, unmanagedLimit }: NouveauSvmm, window: Window): boolean {
  const { start, end } = window;
  if (start < unmanagedLimit && end > unmanagedStart) return false;
  const vma = findVmaIntersection(mm!, start, end);
  return vma !== null && vma.vmStart <= start && vma.vmEnd >= end;
}

/** One attempt at a window: 0, -errno, or -EBUSY to start over. */
const attemptWindow = fn(
  function* attemptWindow(svmm: NouveauSvmm, range: HmmRange, window: Window) {
    const { mmapSem } = svmm.mm!;
    yield* downRead(mmapSem);
    if (!isMapped(svmm, window)) {
      yield* upRead(mmapSem);
      return -EFAULT;
    }
    const error = yield* nouveauRangeFault(svmm, range, window);
    if (error !== 0) return error;
    yield* mutexLock(svmm.mutex);
    const isValid = yield* nouveauRangeDone(range);
    if (isValid) yield* mapRange(svmm, range);
    yield* mutexUnlock(svmm.mutex);
    yield* upRead(mmapSem);
    return isValid ? 0 : -EBUSY;
  },
  { name: 'nouveau_svm_fault' },
);

/** Handles a window: 0, or -errno to cancel its faults with. */
const handleWindow = fn(
  function* handleWindow(window: Window) {
    const { svmm } = window;
    const { usesMm } = globals().version!;
    // Of a channel without SVM, or of none any more.
    if (svmm === null) return -EFAULT;
    const { mm } = svmm;
    if (usesMm && !(yield* mmgetNotZero(mm!))) return -EFAULT;
    // On the stack: gone when this call returns.
    const range = (yield* kzalloc(HmmRange, GFP_KERNEL | GFP_NOFAIL))!;
    let error = -EBUSY;
    while (error === -EBUSY) error = yield* attemptWindow(svmm, range, window);
    yield* kfree(range);
    if (usesMm) yield* mmput(mm!);
    return error;
  },
  { name: 'nouveau_svm_fault' },
);

/** The work of the fault buffer. */
export const nouveauSvmFault = fn(function* nouveauSvmFault(_work: WorkStruct) {
  const svm = globals();
  const { holdsSvmMutex } = svm.version!;
  const faults = yield* nouveauSvmFaultCache();
  if (faults.length === 0) return;
  yield* mutexLock(svm.mutex);
  lookUp(faults);
  if (!holdsSvmMutex) yield* mutexUnlock(svm.mutex);
  for (const window of windowsOf(faults)) {
    const error = yield* handleWindow(window);
    yield* answer(window.faults, error);
  }
  if (holdsSvmMutex) yield* mutexUnlock(svm.mutex);
});

/** The GPU has put faults into its buffer. In interrupt context. */
export const nouveauSvmEvent = fn(function* nouveauSvmEvent(_irq: number, work: WorkStruct) {
  yield* scheduleWork(work);
});
