/**
 * amdkfd as the series makes it (patches 9 and 10).
 *
 * Registering the notifier is the last thing in `create_process` that can fail, so its unwind never
 * has a notifier to take back. From then on the process is destroyed by the mm's release, which puts
 * the notifier; the core frees it through `free_notifier` when no callback can see it any more.
 */
import { EINVAL } from '../../base/errno.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { hashAddRcu } from '../../kernel/hash-table.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { getTaskStruct, groupLeaderOf, type TaskStruct } from '../../mm-types/task-struct.ts';
import { mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../mmu-notifier/register.ts';
import { createProcess } from './kfd-create.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import { findProcess, kfdProcessTeardown, kfdProcfsAdd, kfdUnrefProcess } from './kfd-process.ts';
import { kfdProcessInitCwsrApu } from './kfd-resources.ts';

const { fn } = amdkfd;

/** The mm is going away: tear down, then put the notifier, which may be done from here. */
const kfdProcessNotifierRelease = fn(function* kfdProcessNotifierRelease(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  const p = containerOf(mn, KfdProcess, 'mmuNotifier');
  yield* kfdProcessTeardown(p, mm);
  yield* mmuNotifierPut(p.mmuNotifier);
});

/** No callback runs any more. Called from an SRCU callback: must not sleep. */
const kfdProcessFreeNotifier = fn(function* kfdProcessFreeNotifier(mn: MmuNotifier) {
  yield* kfdUnrefProcess(containerOf(mn, KfdProcess, 'mmuNotifier'));
});

export const kfdProcessMmuNotifierOps: MmuNotifierOps = {
  release: kfdProcessNotifierRelease,
  freeNotifier: kfdProcessFreeNotifier,
};

const registerProcess = fn(
  function* registerProcess(p: KfdProcess) {
    p.mmuNotifier.ops = kfdProcessMmuNotifierOps;
    const error = yield* mmuNotifierRegister(p.mmuNotifier, p.mm!);
    if (error !== 0) return error;
    yield* getTaskStruct(p.leadThread!);
    yield* hashAddRcu(globals().kfdProcessesTable, p.kfdProcesses, p.mm!.address);
    return 0;
  },
  { name: 'create_process' },
);

/**
 * The process of the calling thread: the one that is there, or a new one. If mapping the trap handler
 * fails, the error is returned and the process stays registered; a later open finds it. May sleep.
 */
export const kfdCreateProcess = fn(function* kfdCreateProcess(
  thread: TaskStruct,
): Body<KfdProcess | ErrPtr> {
  if (thread.mm === null || groupLeaderOf(thread).mm !== thread.mm) return errPtr(-EINVAL);
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  let process: KfdProcess | ErrPtr | null = yield* findProcess(thread);
  if (process === null) {
    process = yield* createProcess(thread, registerProcess);
    if (!isErr(process)) {
      const error = yield* kfdProcessInitCwsrApu(thread.mm);
      if (error !== 0) process = errPtr(error);
      else if (kfd.hasProcfs) process.kobj = yield* kfdProcfsAdd(thread);
    }
  }
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  return process;
});
