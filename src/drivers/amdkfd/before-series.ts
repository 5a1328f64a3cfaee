/**
 * amdkfd before the series (v5.3).
 *
 * `create_process` registers the notifier early; what fails after that unwinds by
 * `mmu_notifier_unregister_no_release` and frees the process at once, while another CPU may be walking
 * the mm's notifiers with a pointer to it (patch 9, B-5). The same path forgets the reference to the
 * lead thread, and its caller stores into what may be an ERR_PTR.
 */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashAddRcu, hashDelRcu } from '../../kernel/hash-table.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { synchronizeRcu } from '../../kernel/rcu.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import type { RcuHead } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { getTaskStruct, groupLeaderOf, type TaskStruct } from '../../mm-types/task-struct.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import {
  findProcess,
  initProcess,
  kfdProcessTeardown,
  kfdProcfsAdd,
  kfdUnrefProcess,
} from './kfd-process.ts';
import { pqmInit, pqmUninit } from './kfd-queue.ts';
import {
  kfdAllocProcessDoorbells,
  kfdFreeProcessDoorbells,
  kfdInitApertures,
  kfdPasidAlloc,
  kfdPasidFree,
  kfdProcessDestroyPdds,
  kfdProcessFreeOutstandingKfdBos,
  kfdProcessInitCwsrApu,
} from './kfd-resources.ts';

const { fn } = amdkfd;

/** After a grace period: no callback runs any more. Must not sleep. */
const kfdProcessDestroyDelayed = fn(function* kfdProcessDestroyDelayed(rcu: RcuHead) {
  yield* kfdUnrefProcess(containerOf(rcu, KfdProcess, 'rcu'));
});

const kfdProcessNotifierRelease = fn(function* kfdProcessNotifierRelease(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  const p = containerOf(mn, KfdProcess, 'mmuNotifier');
  yield* kfdProcessTeardown(p, mm);
  yield* mmuNotifierUnregisterNoRelease(p.mmuNotifier, mm);
  yield* mmuNotifierCallSrcu(p.rcu, kfdProcessDestroyDelayed);
});

export const kfdProcessMmuNotifierOps: MmuNotifierOps = { release: kfdProcessNotifierRelease };

/** What can fail after the process is registered and can be found. */
const initLate = fn(
  function* initLate(p: KfdProcess) {
    let error = yield* pqmInit(p);
    if (error !== 0) return error;
    errInitApertures: {
      error = yield* kfdInitApertures(p);
      if (error !== 0) break errInitApertures;
      error = yield* kfdProcessInitCwsrApu(p.mm!);
      if (error === 0) return 0;
      yield* kfdProcessFreeOutstandingKfdBos(p);
      yield* kfdProcessDestroyPdds(p);
    }
    yield* pqmUninit(p);
    return error;
  },
  { name: 'create_process' },
);

/** A registered process, or ERR_PTR(-ENOMEM, -EINTR). kfd_processes_mutex is held. May sleep. */
const createProcess = fn(function* createProcess(thread: TaskStruct): Body<KfdProcess | ErrPtr> {
  let error = -ENOMEM;
  const p = yield* kzalloc(KfdProcess, GFP_KERNEL);
  if (p === null) return errPtr(error);
  errAllocPasid: {
    p.pasid = yield* kfdPasidAlloc();
    if (p.pasid === 0) break errAllocPasid;
    errAllocDoorbells: {
      error = yield* kfdAllocProcessDoorbells(p);
      if (error !== 0) break errAllocDoorbells;
      initProcess(p, thread);
      errMmuNotifier: {
        p.mmuNotifier.ops = kfdProcessMmuNotifierOps;
        error = yield* mmuNotifierRegisterV53(p.mmuNotifier, p.mm!);
        if (error !== 0) break errMmuNotifier;
        yield* hashAddRcu(globals().kfdProcessesTable, p.kfdProcesses, p.mm!.address);
        p.leadThread = groupLeaderOf(thread);
        yield* getTaskStruct(p.leadThread);
        error = yield* initLate(p);
        if (error === 0) return p;
        // From here on the lead thread's reference is forgotten.
        yield* hashDelRcu(p.kfdProcesses);
        // The wrong flavour: the table is read under kfd_processes_srcu.
        yield* synchronizeRcu();
        yield* mmuNotifierUnregisterNoRelease(p.mmuNotifier, p.mm!);
      }
      yield* kfdFreeProcessDoorbells(p);
    }
    yield* kfdPasidFree(p.pasid);
  }
  // No grace period has passed: a walker of the mm's notifiers may stand on this one.
  yield* kfree(p);
  return errPtr(error);
});

/** The process of the calling thread: the one that is there, or a new one. May sleep. */
export const kfdCreateProcess = fn(function* kfdCreateProcess(
  thread: TaskStruct,
): Body<KfdProcess | ErrPtr> {
  if (thread.mm === null || groupLeaderOf(thread).mm !== thread.mm) return errPtr(-EINVAL);
  const kfd = globals();
  yield* mutexLock(kfd.kfdProcessesMutex);
  let process: KfdProcess | ErrPtr | null = yield* findProcess(thread);
  if (process === null) {
    process = yield* createProcess(thread);
    // Not asked whether it is an ERR_PTR.
    if (kfd.hasProcfs) (process as KfdProcess).kobj = yield* kfdProcfsAdd(thread);
  }
  yield* mutexUnlock(kfd.kfdProcessesMutex);
  return process;
});
