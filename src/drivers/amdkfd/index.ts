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
import { kfdCreateProcess as createInSeries } from './series.ts';

export { AMDKFD_IOC_CREATE_QUEUE, AMDKFD_IOC_GET_VERSION, KFD_DEVICE } from './kfd-chardev.ts';

const { fn } = amdkfd;

interface Version {
  readonly create: KernelCallable<[TaskStruct], KfdProcess | ErrPtr>;
  /** Whether `kfd_procfs_init` found memory for its directory. */
  readonly hasProcfs: boolean;
  /** amdgpu's exit waits for notifiers that were put (patch 5). */
  readonly synchronizes: boolean;
}

function version({ create, hasProcfs, synchronizes }: Version): ModuleType {
  const fops = kfdFops(create);
  const init = fn(function* kfdInit() {
    globals().hasProcfs = hasProcfs;
    return yield* registerChrdev(KFD_DEVICE, fops);
  });
  const exit = fn(function* kfdExit() {
    yield* unregisterChrdev(KFD_DEVICE);
    if (synchronizes) yield* mmuNotifierSynchronize();
  });
  return amdkfd.module({ data: globals, init, exit }) as unknown as ModuleType;
}

/** v5.3, on a machine without /sys/class/kfd/kfd/proc. */
export const amdkfdV53 = version({
  create: createBeforeSeries,
  hasProcfs: false,
  synchronizes: false,
});

/** v5.3 with that directory. */
export const amdkfdV53Procfs = version({
  create: createBeforeSeries,
  hasProcfs: true,
  synchronizes: false,
});

/** As patches 9 and 10 make it. */
export const amdkfdSeries = version({
  create: createInSeries,
  hasProcfs: false,
  synchronizes: true,
});
