/**
 * Shared virtual memory as programs and the GPU reach it: the ioctl, faults of the GPU, the end of the process.
 */
import { EAGAIN, EFAULT, EINVAL, ENOMEM, ESRCH } from '../../base/errno.ts';
import { answerFault, nextFault, type FaultRequest } from '../../device/fault-queue.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashForEach } from '../../kernel/hash-table.ts';
import { krefGet } from '../../kernel/kref.ts';
import { listEmpty, listFirstEntry, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, downWrite, downgradeWrite, upRead, upWrite } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { StructObject } from '../../kernel/struct.ts';
import {
  cancelWorkSync,
  flushWork,
  initWork,
  scheduleWork,
  type WorkStruct,
} from '../../kernel/workqueue.ts';
import { currentMm, mmput, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { getTaskMm } from '../../mm-types/task-struct.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import { kfdUnrefProcess } from './kfd-process.ts';
import { svmGpu } from './svm-gpu.ts';
import { svmRangeDeferredListWork, svmRangeEvict, svmRangeMnOps } from './svm-notifier.ts';
import { SvmRange, type SvmAttributes, type SvmOps, type SvmPinning } from './svm-priv.ts';
import {
  svmRangeAddNotifierLocked,
  svmRangeAddToSvms,
  svmRangeFree,
  svmRangeFromAddr,
  svmRangeNew,
  svmRangeUnlink,
  svmRangeValidateAndMap,
} from './svm-range.ts';

const { fn } = amdkfd;

/** How often pages that change while they are looked up are looked up again. */
const RETRIES_MAX = 2;

/** Takes mmap_sem for write when nothing is deferred. May sleep. */
const svmRangeListLockAndFlushWork = fn(function* svmRangeListLockAndFlushWork(
  p: KfdProcess,
  mm: MmStruct,
) {
  for (;;) {
    yield* flushWork(p.svms.deferredListWork);
    yield* downWrite(mm.mmapSem);
    // Callbacks that put something on the list hold mmap_sem.
    yield* spinLock(p.svms.deferredListLock);
    const isEmpty = listEmpty(p.svms.deferredRangeList);
    yield* spinUnlock(p.svms.deferredListLock);
    if (isEmpty) return;
    yield* upWrite(mm.mmapSem);
  }
});

/** The range that is there, or a new one; NULL without memory. mmap_sem is held for write, and svms.lock. */
const svmRangeAdd = fn(function* svmRangeAdd(
  p: KfdProcess,
  mm: MmStruct,
  { start, size }: SvmAttributes,
) {
  const first = start / PAGE_SIZE;
  const there = svmRangeFromAddr(p.svms, first);
  if (there !== null) return there;
  const pages = { start: first, last: first + size / PAGE_SIZE - 1 };
  const range = yield* svmRangeNew(p.svms, pages, GFP_KERNEL);
  if (range === null) return null;
  if ((yield* svmRangeAddNotifierLocked(mm, range, svmRangeMnOps)) !== 0) {
    yield* svmRangeFree(range);
    return null;
  }
  svmRangeAddToSvms(range);
  return range;
});

/** Maps the range as long as somebody changes its pages meanwhile, a few times. mmap_sem is held for read. */
const mapRange = fn(
  function* mapRange(mm: MmStruct, range: SvmRange): Body<number> {
    let error: number = -EAGAIN;
    for (let attempt = 0; attempt < RETRIES_MAX && error === -EAGAIN; attempt += 1) {
      error = yield* svmRangeValidateAndMap(mm, range);
    }
    return error;
  },
  { name: 'svm_range_set_attr' },
);

/** AMDKFD_IOC_SVM: 0, -EINVAL, -ENOMEM, -EFAULT where nothing is mapped, or -EAGAIN. May sleep. */
const svmRangeSetAttr = fn(function* svmRangeSetAttr(
  process: StructObject,
  attributes: SvmAttributes,
): Body<number> {
  const { start, size } = attributes;
  if (start % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || size <= 0) return -EINVAL;
  const p = process as KfdProcess;
  const mm = currentMm();
  if (mm === null) return -ESRCH;
  yield* svmRangeListLockAndFlushWork(p, mm);
  yield* mutexLock(p.svms.lock);
  const range = yield* svmRangeAdd(p, mm, attributes);
  yield* downgradeWrite(mm.mmapSem);
  const error = range === null ? -ENOMEM : yield* mapRange(mm, range);
  yield* mutexUnlock(p.svms.lock);
  yield* upRead(mm.mmapSem);
  return error;
});

/** The process with a PASID, with one more reference; NULL if there is none. */
const kfdLookupProcessByPasid = fn(function* kfdLookupProcessByPasid(pasid: number) {
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  let found: KfdProcess | null = null;
  for (const p of hashForEach(kfd.kfdProcessesTable, KfdProcess, 'kfdProcesses')) {
    if (p.pasid === pasid) found = p;
  }
  if (found !== null) yield* krefGet(found.ref);
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  return found;
});

/** Maps what the GPU misses: 0 if it may try again, -EFAULT if there is nothing. May sleep. */
const svmRangeRestorePages = fn(function* svmRangeRestorePages({ address, space }: FaultRequest) {
  const p = yield* kfdLookupProcessByPasid(space);
  if (p === null) return -EFAULT;
  let result = -EFAULT;
  const mm = yield* getTaskMm(p.leadThread!);
  if (mm !== null) {
    yield* downRead(mm.mmapSem);
    yield* mutexLock(p.svms.lock);
    const range = svmRangeFromAddr(p.svms, Math.floor(address / PAGE_SIZE));
    if (range !== null) result = yield* svmRangeValidateAndMap(mm, range);
    yield* mutexUnlock(p.svms.lock);
    yield* upRead(mm.mmapSem);
    yield* mmput(mm);
  }
  // The range is being split: the GPU would come again and again until that is done.
  if (result === -EAGAIN) yield* flushWork(p.svms.deferredListWork);
  yield* kfdUnrefProcess(p);
  // Changed meanwhile: if the GPU still misses it, it says so again.
  return result === -EAGAIN ? 0 : result;
});

const svmFaultWork = fn(
  function* svmFaultWork(_work: WorkStruct) {
    const { faults } = svmGpu();
    for (;;) {
      const fault = yield* nextFault(faults);
      if (fault === null) return;
      yield* answerFault(faults, fault, yield* svmRangeRestorePages(fault.request));
    }
  },
  { name: 'interrupt_wq' },
);

/** On a fault of the GPU. Never sleeps. */
const kgd2kfdInterrupt = fn(function* kgd2kfdInterrupt() {
  yield* scheduleWork(globals().svmFaultWork);
});

/**
 * The process's queues are off the hardware. Simplified: the GPU has no queues here; it loses the pages. Whoever maps
 * more has the mm in use, which has ended; or finds no process. Sleeps.
 */
const svmStop = fn(
  function* svmStop(process: StructObject) {
    const { svms } = process as KfdProcess;
    yield* mutexLock(svms.lock);
    for (const range of listForEachEntry(svms.list, SvmRange, 'list')) {
      yield* mutexLock(range.lock);
      yield* svmRangeEvict(range, { start: range.start, last: range.last });
      yield* mutexUnlock(range.lock);
    }
    yield* mutexUnlock(svms.lock);
  },
  { name: 'kfd_process_dequeue_from_all_devices' },
);

/** The end of the process: all of its ranges go. Nobody finds the process, and its mm has ended. Sleeps. */
const svmRangeListFini = fn(function* svmRangeListFini(process: StructObject) {
  const { svms } = process as KfdProcess;
  yield* flushWork(svms.deferredListWork);
  yield* mutexLock(svms.lock);
  while (!listEmpty(svms.list)) {
    const range = listFirstEntry(svms.list, SvmRange, 'list');
    yield* svmRangeUnlink(range);
    yield* svmRangeFree(range);
  }
  yield* mutexUnlock(svms.lock);
});

/** A process is made. Nobody knows it yet. */
function svmRangeListInit(process: StructObject): void {
  initWork((process as KfdProcess).svms.deferredListWork, svmRangeDeferredListWork);
}

/** SVM as a version has it. */
export function svmOps(pinning: SvmPinning): SvmOps {
  return {
    setAttr: svmRangeSetAttr,
    listInit: svmRangeListInit,
    stop: svmStop,
    listFini: svmRangeListFini,
    pinning,
  };
}

/** The driver comes: faults of the GPU are handled from now on. */
export function svmInit(svm: SvmOps): void {
  globals().svm = svm;
  initWork(globals().svmFaultWork, svmFaultWork);
  svmGpu().interrupt = kgd2kfdInterrupt;
}

/** The driver goes. Sleeps. */
export const svmExit = fn(function* svmExit() {
  svmGpu().interrupt = null;
  yield* cancelWorkSync(globals().svmFaultWork);
});
