/**
 * The life of a kfd_process, as far as v5.3 and the series agree: lookup, the works, the teardown, the
 * last reference.
 *
 * Who keeps it alive: one kref from creation, dropped when the notifier has been freed (after the mm's
 * release); one for each `kfd_lookup_process_by_mm`. `find_process` takes none: its caller is current,
 * whose own mm cannot be released meanwhile.
 */
import { EINVAL, ENODEV, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashDelRcu, hashFirstPossibleRcu } from '../../kernel/hash-table.ts';
import { hlistNextRcu } from '../../kernel/hlist.ts';
import { krefGet, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { listForEach } from '../../kernel/list.ts';
import { modulePut } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import {
  allocWorkqueue,
  cancelDelayedWorkSync,
  destroyWorkqueue,
  initDelayedWork,
  initWork,
  queueDelayedWork,
  queueWork,
  scheduleDelayedWork,
  type DelayedWork,
  type WorkStruct,
} from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { groupLeaderOf, putTaskStruct, type TaskStruct } from '../../mm-types/task-struct.ts';
import { amdkfd, globals, KfdProcess, Kobject } from './kfd-priv.ts';
import {
  kfdFreeProcessDoorbells,
  kfdPasidFree,
  kfdProcessDestroyPdds,
  kfdProcessFreeOutstandingKfdBos,
} from './kfd-resources.ts';
import { kfdProcessEvictQueues, kfdProcessRestoreQueues, pqmUninit } from './kfd-queue.ts';

const { fn } = amdkfd;

/** Milliseconds for which an evicted process stays evicted. The model only knows: later. */
const PROCESS_RESTORE_TIME_MS = 100;
/** How long a process may run at least before it is evicted. */
const PROCESS_ACTIVE_TIME_MS = 10;

/** The process of an mm. The caller is in a read section of kfd_processes_srcu. */
export const findProcessByMm = fn(function* findProcessByMm(mm: MmStruct) {
  const { kfdProcessesTable } = globals();
  let node = yield* hashFirstPossibleRcu(kfdProcessesTable, mm.address);
  while (node !== null) {
    const p = containerOf(node, KfdProcess, 'kfdProcesses');
    if (p.mm === mm) return p;
    node = yield* hlistNextRcu(node);
  }
  return null;
});

/** The process of a thread, without a reference: the thread must be current. */
export const findProcess = fn(function* findProcess(thread: TaskStruct) {
  const { kfdProcessesSrcu } = globals();
  const index = yield* srcuReadLock(kfdProcessesSrcu);
  const p = yield* findProcessByMm(thread.mm!);
  yield* srcuReadUnlock(kfdProcessesSrcu, index);
  return p;
});

/** The process of an mm with one more reference, or NULL. Pairs with {@link kfdUnrefProcess}. */
export const kfdLookupProcessByMm = fn(function* kfdLookupProcessByMm(mm: MmStruct) {
  const { kfdProcessesSrcu } = globals();
  const index = yield* srcuReadLock(kfdProcessesSrcu);
  const p = yield* findProcessByMm(mm);
  if (p !== null) yield* krefGet(p.ref);
  yield* srcuReadUnlock(kfdProcessesSrcu, index);
  return p;
});

/**
 * The process of current, without a reference; NULL if it never opened the device; ERR_PTR(-EINVAL) for
 * a kernel thread, or one whose mm is not its group leader's.
 */
export const kfdGetProcess = fn(function* kfdGetProcess(
  thread: TaskStruct,
): Body<KfdProcess | ErrPtr | null> {
  if (thread.mm === null || groupLeaderOf(thread).mm !== thread.mm) return errPtr(-EINVAL);
  return yield* findProcess(thread);
});

/** The last reference is gone. May be called in atomic context, so the rest is left to a work. */
const kfdProcessRefRelease = fn(function* kfdProcessRefRelease(ref: Kref) {
  const p = containerOf(ref, KfdProcess, 'ref');
  initWork(p.releaseWork, kfdProcessWqRelease);
  yield* queueWork(globals().kfdProcessWq!, p.releaseWork);
});

/** Drops a reference. Never sleeps. */
export const kfdUnrefProcess = fn(function* kfdUnrefProcess(p: KfdProcess) {
  yield* krefPut(p.ref, kfdProcessRefRelease);
});

/** Frees everything the process holds. Nobody can reach it any more. */
const kfdProcessWqRelease = fn(function* kfdProcessWqRelease(work: WorkStruct) {
  const p = containerOf(work, KfdProcess, 'releaseWork');
  const { svm } = globals();
  if (svm !== null) yield* svm.listFini(p);
  yield* kfdProcessFreeOutstandingKfdBos(p);
  yield* kfdProcessDestroyPdds(p);
  yield* kfdPasidFree(p.pasid);
  yield* kfdFreeProcessDoorbells(p);
  yield* putTaskStruct(p.leadThread!);
  yield* kfree(p.kobj);
  yield* kfree(p);
  // Destroying the work queue waits for the rest of this function.
  if (globals().holdsModule) yield* modulePut(amdkfd.text);
});

/**
 * Stops what a process does on the hardware, which nobody finds any more. May sleep; may be called from release.
 */
export const kfdProcessStop = fn(
  function* kfdProcessStop(p: KfdProcess) {
    const kfd = globals();
    yield* cancelDelayedWorkSync(p.evictionWork);
    yield* cancelDelayedWorkSync(p.restoreWork);
    yield* mutexLock(p.mutex);
    for (const _ of listForEach(p.perDeviceData)) {
      yield* mutexLock(kfd.kfdDbgmgrMutex);
      if (kfd.dbgmgrPasid === p.pasid) kfd.dbgmgrPasid = 0;
      yield* mutexUnlock(kfd.kfdDbgmgrMutex);
    }
    yield* pqmUninit(p);
    if (kfd.svm !== null) yield* kfd.svm.stop(p);
    // Readers may still hold the process: without an mm they leave it alone.
    p.mm = null;
    yield* mutexUnlock(p.mutex);
  },
  { name: 'kfd_process_notifier_release' },
);

/**
 * Makes the process unreachable and stops what it does on the hardware: the part of the notifier's
 * release that v5.3 and the series share. May sleep.
 */
export const kfdProcessTeardown = fn(
  function* kfdProcessTeardown(p: KfdProcess, mm: MmStruct) {
    const kfd = globals();
    warnOn(p.mm !== mm, 'p->mm != mm');
    yield* mutexLock(kfd.kfdProcessesMutex);
    yield* hashDelRcu(p.kfdProcesses);
    yield* mutexUnlock(kfd.kfdProcessesMutex);
    // Another domain than the notifiers': waiting for it inside a callback is legal.
    yield* synchronizeSrcu(kfd.kfdProcessesSrcu);
    yield* kfdProcessStop(p);
  },
  { name: 'kfd_process_notifier_release' },
);

/** Stops the process's queues for a while: memory is short. */
const evictProcessWorker = fn(function* evictProcessWorker(work: DelayedWork) {
  const p = containerOf(work, KfdProcess, 'evictionWork');
  yield* kfdProcessEvictQueues(p);
  yield* queueDelayedWork(globals().kfdRestoreWq!, p.restoreWork, PROCESS_RESTORE_TIME_MS);
});

const restoreProcessWorker = fn(function* restoreProcessWorker(work: DelayedWork) {
  yield* kfdProcessRestoreQueues(containerOf(work, KfdProcess, 'restoreWork'));
});

/**
 * What amdgpu calls when it is short of memory that the process has: its queues are stopped soon, and run again later.
 * 0, or -ENODEV without a process. The caller keeps the mm's memory, not its users. Never sleeps.
 */
export const kgd2kfdScheduleEvictAndRestoreProcess = fn(
  function* kgd2kfdScheduleEvictAndRestoreProcess(mm: MmStruct) {
    const p = yield* kfdLookupProcessByMm(mm);
    if (p === null) return -ENODEV;
    yield* scheduleDelayedWork(p.evictionWork, PROCESS_ACTIVE_TIME_MS);
    yield* kfdUnrefProcess(p);
    return 0;
  },
  { name: 'kgd2kfd_schedule_evict_and_restore_process' },
);

/** Makes the queues for works. Returns 0 or -ENOMEM. May sleep. */
export const kfdProcessCreateWq = fn(function* kfdProcessCreateWq() {
  const kfd = globals();
  kfd.kfdProcessWq = yield* allocWorkqueue('kfd_process_wq');
  kfd.kfdRestoreWq = yield* allocWorkqueue('kfd_restore_wq', { isOrdered: true });
  if (kfd.kfdProcessWq !== null && kfd.kfdRestoreWq !== null) return 0;
  yield* kfdProcessDestroyWq();
  return -ENOMEM;
});

/** Waits for the works that are queued and destroys the queues. May sleep. */
export const kfdProcessDestroyWq = fn(function* kfdProcessDestroyWq() {
  const kfd = globals();
  if (kfd.kfdProcessWq !== null) yield* destroyWorkqueue(kfd.kfdProcessWq);
  kfd.kfdProcessWq = null;
  if (kfd.kfdRestoreWq !== null) yield* destroyWorkqueue(kfd.kfdRestoreWq);
  kfd.kfdRestoreWq = null;
});

/** The fields that need nothing but memory. Before anybody can find the process. */
export function initProcess(p: KfdProcess, thread: TaskStruct): void {
  krefInit(p.ref);
  // An opaque key: not pinned, never dereferenced as if it were.
  p.mm = thread.mm;
  initDelayedWork(p.evictionWork, evictProcessWorker);
  initDelayedWork(p.restoreWork, restoreProcessWorker);
  p.is32bitUserMode = thread.is32bit;
}

/** The process's directory in sysfs, or NULL without memory. */
export const kfdProcfsAdd = fn(function* kfdProcfsAdd(thread: TaskStruct) {
  const kobj = yield* kzalloc(Kobject, GFP_KERNEL);
  if (kobj !== null) kobj.pid = thread.pid;
  return kobj;
});
