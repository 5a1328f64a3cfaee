/** amdkfd by version: the modules that a scenario can load. */
import type { KernelCallable } from '../../kernel/call.ts';
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { registerChrdev, unregisterChrdev } from '../../kernel/file.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { TaskStruct } from '../../mm-types/task-struct.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { kfdCreateProcess as createBeforeSeries } from './before-series.ts';
import { KFD_DEVICE, kfdFops } from './kfd-chardev.ts';
import { amdkfd, globals, type KfdProcess } from './kfd-priv.ts';
import { kfdCleanupProcesses, kfdCreateProcess as createLater } from './later.ts';
import { kfdProcessCreateWq, kfdProcessDestroyWq } from './kfd-process.ts';
import { kfdCreateProcess as createInSeries } from './series.ts';
import { svmExit, svmInit, svmOps } from './svm-ioctl.ts';
import type { SvmOps, SvmPinning } from './svm-priv.ts';

export { svmGpuLoad, svmGpuStore } from './svm-gpu.ts';
export { ringDoorbell, type Packet } from './gpu.ts';
export {
  AMDKFD_IOC_CREATE_QUEUE,
  AMDKFD_IOC_DESTROY_QUEUE,
  AMDKFD_IOC_GET_VERSION,
  AMDKFD_IOC_SVM,
  KFD_DEVICE,
} from './kfd-chardev.ts';
export { kgd2kfdScheduleEvictAndRestoreProcess } from './kfd-process.ts';

const { fn } = amdkfd;

/** How the mm is kept for SVM's deferred list in the end. */
const SVM_LATER: SvmPinning = {
  pinnedBy: 'list',
  usesInCallback: false,
  asksWhetherBlockable: false,
  unmapsToUpdate: false,
};

interface Version {
  readonly create: KernelCallable<[TaskStruct], KfdProcess | ErrPtr>;
  /** Whether `kfd_procfs_init` found memory for its directory. */
  readonly hasProcfs: boolean;
  /** What module exit does about notifiers, before the queues for works go; and after, in amdgpu's exit. */
  readonly cleanUp?: KernelCallable<[], void>;
  readonly synchronize?: KernelCallable<[], void>;
  readonly holdsModule?: boolean;
  readonly svm?: SvmOps;
}

function version(differences: Version): ModuleType {
  const { create, hasProcfs, cleanUp, synchronize, holdsModule = false, svm } = differences;
  const fops = kfdFops(create);
  const init = fn(function* kfdInit() {
    globals().hasProcfs = hasProcfs;
    globals().holdsModule = holdsModule;
    if (svm !== undefined) svmInit(svm);
    let error = yield* kfdProcessCreateWq();
    if (error !== 0) return error;
    error = yield* registerChrdev(KFD_DEVICE, fops);
    if (error !== 0) yield* kfdProcessDestroyWq();
    return error;
  });
  const exit = fn(function* kfdExit() {
    yield* unregisterChrdev(KFD_DEVICE);
    if (svm !== undefined) yield* svmExit();
    if (cleanUp !== undefined) yield* cleanUp();
    yield* kfdProcessDestroyWq();
    if (synchronize !== undefined) yield* synchronize();
  });
  return amdkfd.module({ data: globals, init, exit }) as unknown as ModuleType;
}

/** v5.3, on a machine without /sys/class/kfd/kfd/proc. */
export const amdkfdV53 = version({
  create: createBeforeSeries,
  hasProcfs: false,
});

/** v5.3 with that directory. */
export const amdkfdV53Procfs = version({
  create: createBeforeSeries,
  hasProcfs: true,
});

/** As patches 9 and 10 make it; amdgpu's exit waits for notifiers that were put (patch 5). */
export const amdkfdSeries = version({
  create: createInSeries,
  hasProcfs: false,
  synchronize: mmuNotifierSynchronize,
});

/** v6.1. */
export const amdkfdV61 = version({
  create: createLater,
  hasProcfs: false,
  cleanUp: kfdCleanupProcesses,
});

/** v6.1, if each process kept the module loaded, as was asked for in the thread of patch 10. */
export const amdkfdHolding = version({
  create: createLater,
  hasProcfs: false,
  cleanUp: kfdCleanupProcesses,
  holdsModule: true,
});

function withSvm(svm: SvmOps, holdsModule = false): ModuleType {
  return version({
    create: createLater,
    hasProcfs: false,
    cleanUp: kfdCleanupProcesses,
    holdsModule,
    svm,
  });
}

/** Shared virtual memory as it came in (v5.14): the work looks for the mm when it runs. */
export const amdkfdSvmV514 = withSvm(svmOps({ ...SVM_LATER, pinnedBy: 'work' }));
/** From fa582c6f3684 to a29e067bd389: who puts a range on the list takes the mm into use, and so does the callback. */
export const amdkfdSvmUsing = withSvm(svmOps({ ...SVM_LATER, usesInCallback: true }));
/** Without the latter, as later kernels are. */
export const amdkfdSvm = withSvm(svmOps(SVM_LATER));
/**
 * That, without what is found in it (ours): a callback that must not sleep says so, no range is without a notifier, and
 * each process keeps the module loaded.
 */
export const amdkfdSvmMended = withSvm(
  svmOps({ ...SVM_LATER, asksWhetherBlockable: true, unmapsToUpdate: true }),
  true,
);
