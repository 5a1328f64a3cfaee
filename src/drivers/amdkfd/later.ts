/**
 * amdkfd as it is later (v6.1): the notifier comes from mmu_notifier_get.
 *
 * The process is in the table before it has a notifier; `alloc_notifier` finds it there by its mm and hands out the
 * notifier in it. Since a failed registration calls `free_notifier` at once, which drops a reference, there is one
 * more until get has returned. What fails after that takes the process out of the table and puts.
 * A module that goes does not leave its processes to the mm's release: it ends them itself.
 */
import { EINVAL, ESRCH } from '../../base/errno.ts';
import { bugOn } from '../../kernel/assertion.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { hashAddRcu, hashDelRcu, hashEmpty, hashForEachSafe } from '../../kernel/hash-table.ts';
import { hlistAddHead, hlistDelInit, hlistForEachEntrySafe } from '../../kernel/hlist.ts';
import { krefGet } from '../../kernel/kref.ts';
import { tryModuleGet } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { getTaskStruct, groupLeaderOf, type TaskStruct } from '../../mm-types/task-struct.ts';
import {
  mmuNotifierGet,
  mmuNotifierPut,
  mmuNotifierSynchronize,
} from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { createProcess } from './kfd-create.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import {
  findProcess,
  findProcessByMm,
  kfdProcessStop,
  kfdProcfsAdd,
  kfdUnrefProcess,
} from './kfd-process.ts';
import { kfdProcessInitCwsrApu } from './kfd-resources.ts';

const { fn } = amdkfd;

/** The rest of the end of a process that nobody finds any more. May sleep; may be called from release. */
const kfdProcessNotifierReleaseInternal = fn(function* kfdProcessNotifierReleaseInternal(
  p: KfdProcess,
) {
  yield* kfdProcessStop(p);
  yield* mmuNotifierPut(p.mmuNotifier);
});

const kfdProcessNotifierRelease = fn(function* kfdProcessNotifierRelease(
  mn: MmuNotifier,
  _mm: MmStruct,
) {
  const p = containerOf(mn, KfdProcess, 'mmuNotifier');
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  // The module goes, and has taken all processes for itself.
  if (hashEmpty(kfd.kfdProcessesTable)) {
    yield* mutexUnlock(kfd.kfdProcessesMutex);
    return;
  }
  yield* hashDelRcu(p.kfdProcesses);
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  yield* synchronizeSrcu(kfd.kfdProcessesSrcu);
  yield* kfdProcessNotifierReleaseInternal(p);
});

/** The notifier of a process that is there already. kfd_processes_mutex is held. May sleep. */
const kfdProcessAllocNotifier = fn(function* kfdProcessAllocNotifier(mm: MmStruct) {
  const { kfdProcessesSrcu } = globals();
  const index = yield* srcuReadLock(kfdProcessesSrcu);
  const p = yield* findProcessByMm(mm);
  yield* srcuReadUnlock(kfdProcessesSrcu, index);
  return p === null ? errPtr(-ESRCH) : p.mmuNotifier;
});

/** No callback runs any more, or none ever did. Must not sleep. */
const kfdProcessFreeNotifier = fn(function* kfdProcessFreeNotifier(mn: MmuNotifier) {
  yield* kfdUnrefProcess(containerOf(mn, KfdProcess, 'mmuNotifier'));
});

export const kfdProcessMmuNotifierOps: MmuNotifierOps = {
  release: kfdProcessNotifierRelease,
  allocNotifier: kfdProcessAllocNotifier,
  freeNotifier: kfdProcessFreeNotifier,
};

/** Gives the process its notifier: 0, -ENOMEM or -EINTR, and then it is as before. May sleep. */
const registerProcess = fn(
  function* registerProcess(p: KfdProcess): Body<number> {
    // alloc_notifier must find it.
    yield* hashAddRcu(globals().kfdProcessesTable, p.kfdProcesses, p.mm!.address);
    // Or else the free_notifier of a failed registration would begin the end of the process.
    yield* krefGet(p.ref);
    const mn = yield* mmuNotifierGet(kfdProcessMmuNotifierOps, p.mm!);
    if (isErr(mn)) {
      yield* hashDelRcu(p.kfdProcesses);
      return ptrErr(mn);
    }
    bugOn(mn !== p.mmuNotifier, 'mn != &process->mmu_notifier');
    yield* kfdUnrefProcess(p);
    yield* getTaskStruct(p.leadThread!);
    // The file that is being opened holds it, too.
    if (globals().holdsModule) yield* tryModuleGet(amdkfd.text);
    return 0;
  },
  { name: 'create_process' },
);

/** The process of the calling thread: the one that is there, or a new one; ERR_PTR. May sleep. */
export const kfdCreateProcess = fn(function* kfdCreateProcess(
  thread: TaskStruct,
): Body<KfdProcess | ErrPtr> {
  if (thread.mm === null || groupLeaderOf(thread).mm !== thread.mm) return errPtr(-EINVAL);
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  const found = yield* findProcess(thread);
  const process = found ?? (yield* createProcess(thread, registerProcess));
  if (found === null && !isErr(process)) {
    const error = yield* kfdProcessInitCwsrApu(thread.mm);
    if (error !== 0) {
      yield* hashDelRcu(process.kfdProcesses);
      yield* mutexUnlock(kfd.kfdProcessesMutex);
      yield* synchronizeSrcu(kfd.kfdProcessesSrcu);
      yield* mmuNotifierPut(process.mmuNotifier);
      return errPtr(error);
    }
    if (kfd.hasProcfs) process.kobj = yield* kfdProcfsAdd(thread);
  }
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  return process;
});

/** The module goes: ends the processes that are left, as their mm's release would. May sleep. */
export const kfdCleanupProcesses = fn(function* kfdCleanupProcesses() {
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  for (const p of hashForEachSafe(kfd.kfdProcessesTable, KfdProcess, 'kfdProcesses')) {
    yield* hashDelRcu(p.kfdProcesses);
    yield* synchronizeSrcu(kfd.kfdProcessesSrcu);
    hlistAddHead(p.kfdProcesses, kfd.cleanupList);
  }
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  for (const p of hlistForEachEntrySafe(kfd.cleanupList, KfdProcess, 'kfdProcesses')) {
    hlistDelInit(p.kfdProcesses);
    yield* kfdProcessNotifierReleaseInternal(p);
  }
  // Those that exit ended are being freed, too.
  yield* mmuNotifierSynchronize();
});
