/**
 * User pointers of HSA programs, which submit without asking: an invalidation stops the program's queues, and a work
 * looks the pages up anew and lets them go on.
 *
 *     mm: start                                restore work
 *       mem->invalid++                         n = evicted_bos
 *       evicted_bos++, the first one           for each BO: m = mem->invalid; looks its pages up, maps
 *         halts the queues, schedules            them; invalid becomes 0 only if it is still m
 *                                              evicted_bos becomes 0 only if it is still n:
 *                                                resumes the queues; otherwise once more, later
 */
import { EAGAIN, EFAULT } from '../../base/errno.ts';
import { haltQueue, resumeQueue } from '../../device/command-queue.ts';
import { atomicCmpxchg, atomicInc, atomicIncReturn, atomicRead } from '../../kernel/atomic.ts';
import { listAddTail, listDelInit, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { containerOf } from '../../kernel/struct.ts';
import {
  cancelDelayedWorkSync,
  initDelayedWork,
  scheduleDelayedWork,
  type DelayedWork,
} from '../../kernel/workqueue.ts';
import { mmput } from '../../mm-types/mm-struct.ts';
import {
  currentThread,
  getTaskMm,
  getTaskStruct,
  groupLeaderOf,
  putTaskStruct,
} from '../../mm-types/task-struct.ts';
import { amdgpu, AmdgpuBo, AmdkfdProcessInfo, type AmdgpuFpriv } from './amdgpu-priv.ts';
import { amdgpuBoUpdate, amdgpuTtmTtGetUserPages, amdgpuTtmTtDropUserPages } from './amdgpu-ttm.ts';
import { gpu, startRing } from './gpu.ts';

const { fn } = amdgpu;

/** Milliseconds from an eviction to the attempt to restore. The model only knows: later. */
const AMDGPU_USERPTR_RESTORE_DELAY_MS = 1;

/** Stops the program's queues, when the job in progress is done. */
const kgd2kfdQuiesceMm = fn(function* kgd2kfdQuiesceMm() {
  yield* haltQueue(gpu().hsa);
});

const kgd2kfdResumeMm = fn(function* kgd2kfdResumeMm() {
  yield* resumeQueue(gpu().hsa);
});

/** A BO's memory is about to change. From callbacks: under the lock that they take, and no other. */
export const amdgpuAmdkfdEvictUserptr = fn(function* amdgpuAmdkfdEvictUserptr(bo: AmdgpuBo) {
  const { processInfo } = bo.fpriv!;
  yield* atomicInc(bo.invalid);
  if ((yield* atomicIncReturn(processInfo.evictedBos)) !== 1) return;
  yield* kgd2kfdQuiesceMm();
  yield* scheduleDelayedWork(processInfo.restoreUserptrWork, AMDGPU_USERPTR_RESTORE_DELAY_MS);
});

/** Looks one BO up and maps it: 0, -EAGAIN if it was invalidated meanwhile, -errno. process_info->lock is held. */
function* restoreBo(bo: AmdgpuBo): Body<number> {
  const invalid = yield* atomicRead(bo.invalid);
  if (invalid === 0) return 0;
  yield* mutexLock(bo.resv);
  const error = yield* amdgpuTtmTtGetUserPages(bo);
  // Nothing is mapped there: the GPU will fault if it tries, which is better than to stand still for ever.
  yield* amdgpuBoUpdate(bo, error === 0 ? bo.range!.pfns : null);
  if (error === 0) yield* amdgpuTtmTtDropUserPages(bo);
  yield* mutexUnlock(bo.resv);
  if (error !== 0 && error !== -EFAULT) return error;
  return (yield* atomicCmpxchg(bo.invalid, invalid, 0)) === invalid ? 0 : -EAGAIN;
}

/** Everything is as the mm has it: 0, or -errno to try again. process_info->lock is held. */
const validateInvalidUserPages = fn(function* validateInvalidUserPages(info: AmdkfdProcessInfo) {
  for (const bo of listForEachEntry(info.userptrList, AmdgpuBo, 'validateList')) {
    const error = yield* restoreBo(bo);
    if (error !== 0) return error;
  }
  return 0;
});

const amdgpuAmdkfdRestoreUserptrWorker = fn(function* amdgpuAmdkfdRestoreUserptrWorker(
  work: DelayedWork,
) {
  const info = containerOf(work, AmdkfdProcessInfo, 'restoreUserptrWork');
  const evicted = yield* atomicRead(info.evictedBos);
  if (evicted === 0 || info.pid === null) return;
  const mm = yield* getTaskMm(info.pid);
  // The process is gone: so will be its queues.
  if (mm === null) return;
  yield* mutexLock(info.lock);
  let isDone = false;
  if ((yield* validateInvalidUserPages(info)) === 0) {
    isDone = (yield* atomicCmpxchg(info.evictedBos, evicted, 0)) === evicted;
    if (isDone) yield* kgd2kfdResumeMm();
  }
  yield* mutexUnlock(info.lock);
  yield* mmput(mm);
  if (!isDone) {
    yield* scheduleDelayedWork(info.restoreUserptrWork, AMDGPU_USERPTR_RESTORE_DELAY_MS);
  }
});

/** The first HSA buffer of an open file: the process, the work, the ring. May sleep. */
export const initKfdVm = fn(function* initKfdVm({ processInfo }: AmdgpuFpriv) {
  if (processInfo.hasRing) return;
  processInfo.hasRing = true;
  processInfo.pid = groupLeaderOf(currentThread()!);
  yield* getTaskStruct(processInfo.pid);
  initDelayedWork(processInfo.restoreUserptrWork, amdgpuAmdkfdRestoreUserptrWorker);
  yield* startRing('hsa');
});

/**
 * `init_user_pages`: looks a registered BO up and maps it. What is invalidated from the registration on is restored
 * by the work. 0 or -errno. May sleep.
 */
export const initUserPages = fn(function* initUserPages(bo: AmdgpuBo) {
  const { processInfo } = bo.fpriv!;
  yield* mutexLock(processInfo.lock);
  listAddTail(bo.validateList, processInfo.userptrList);
  yield* mutexLock(bo.resv);
  const error = yield* amdgpuTtmTtGetUserPages(bo);
  if (error === 0) {
    yield* amdgpuBoUpdate(bo, bo.range!.pfns);
    yield* amdgpuTtmTtDropUserPages(bo);
  } else {
    listDelInit(bo.validateList);
  }
  yield* mutexUnlock(bo.resv);
  yield* mutexUnlock(processInfo.lock);
  return error;
});

/** The BO is not to be restored any more, and the GPU has nothing of it. May sleep. */
export const freeUserPages = fn(function* freeUserPages(bo: AmdgpuBo) {
  const { processInfo } = bo.fpriv!;
  yield* mutexLock(processInfo.lock);
  listDelInit(bo.validateList);
  // The program's queue is between two jobs: none is in the middle of an access.
  yield* amdgpuBoUpdate(bo, null);
  yield* mutexUnlock(processInfo.lock);
});

/** The file is closed: the ring stands still, or runs into nothing. All BOs are gone. May sleep. */
export const destroyKfdVm = fn(function* destroyKfdVm({ processInfo }: AmdgpuFpriv) {
  if (!processInfo.hasRing) return;
  yield* cancelDelayedWorkSync(processInfo.restoreUserptrWork);
  if ((yield* atomicRead(processInfo.evictedBos)) > 0) yield* kgd2kfdResumeMm();
  yield* putTaskStruct(processInfo.pid!);
});
