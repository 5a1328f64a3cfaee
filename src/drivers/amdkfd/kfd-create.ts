/**
 * Making a kfd_process, as far as the series and later kernels agree: what it takes, registration last, and the unwind.
 * They differ in how it is registered.
 */
import { ENOMEM } from '../../base/errno.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { groupLeaderOf, type TaskStruct } from '../../mm-types/task-struct.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import { initProcess } from './kfd-process.ts';
import { pqmInit, pqmUninit } from './kfd-queue.ts';
import {
  kfdAllocProcessDoorbells,
  kfdFreeProcessDoorbells,
  kfdInitApertures,
  kfdPasidAlloc,
  kfdPasidFree,
  kfdProcessDestroyPdds,
  kfdProcessFreeOutstandingKfdBos,
} from './kfd-resources.ts';

const { fn } = amdkfd;

/**
 * Puts the process into the table and gives it its notifier: 0, or -ENOMEM or -EINTR with nothing changed. What comes
 * after it is undone by the mm's release.
 */
export type RegisterProcess = KernelCallable<[KfdProcess], number>;

/** A registered process, or ERR_PTR(-ENOMEM, -EINTR). kfd_processes_mutex is held. May sleep. */
export const createProcess = fn(function* createProcess(
  thread: TaskStruct,
  registerProcess: RegisterProcess,
): Body<KfdProcess | ErrPtr> {
  let error = -ENOMEM;
  const p = yield* kzalloc(KfdProcess, GFP_KERNEL);
  if (p === null) return errPtr(error);
  initProcess(p, thread);
  p.leadThread = groupLeaderOf(thread);
  globals().svm?.listInit(p);
  errAllocPasid: {
    p.pasid = yield* kfdPasidAlloc();
    if (p.pasid === 0) break errAllocPasid;
    errAllocDoorbells: {
      error = yield* kfdAllocProcessDoorbells(p);
      if (error !== 0) break errAllocDoorbells;
      errProcessPqmInit: {
        error = yield* pqmInit(p);
        if (error !== 0) break errProcessPqmInit;
        errInitApertures: {
          error = yield* kfdInitApertures(p);
          if (error !== 0) break errInitApertures;
          // Must be last: what is undone after this is undone by release.
          error = yield* registerProcess(p);
          if (error === 0) return p;
          yield* kfdProcessFreeOutstandingKfdBos(p);
          yield* kfdProcessDestroyPdds(p);
        }
        yield* pqmUninit(p);
      }
      yield* kfdFreeProcessDoorbells(p);
    }
    yield* kfdPasidFree(p.pasid);
  }
  yield* kfree(p);
  return errPtr(error);
});
