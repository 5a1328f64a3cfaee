/** nouveau by version: the modules that a scenario can load. Set a version of hmm first: `setHmm(machine, …)`. */
import { registerChrdev, unregisterChrdev } from '../../kernel/file.ts';
import { freeIrq, requestIrq } from '../../kernel/interrupt.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { cancelWorkSync, initWork } from '../../kernel/workqueue.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { gpu, GPU_FAULT_IRQ } from './gpu.ts';
import { NOUVEAU_DEVICE, nouveauFops } from './nouveau-drm.ts';
import { globals, nouveau, type NouveauVersion } from './nouveau-priv.ts';
import { nouveauSvmEvent, nouveauSvmFault } from './nouveau-svm-fault.ts';

export { gpuFetchAdd, gpuLoad, gpuStore } from './gpu.ts';
export {
  DRM_NOUVEAU_CHANNEL_ALLOC,
  DRM_NOUVEAU_CHANNEL_FREE,
  DRM_NOUVEAU_SVM_INIT,
  NOUVEAU_DEVICE,
} from './nouveau-drm.ts';
export type { NouveauVersion } from './nouveau-priv.ts';

const { fn } = nouveau;

/** A module of the driver with the properties that are asked for. */
export function nouveauModule(version: NouveauVersion): ModuleType {
  const init = fn(function* nouveauDrmInit() {
    const svm = globals();
    svm.version = version;
    initWork(svm.work, nouveauSvmFault);
    // The hardware is there before anybody uses it.
    gpu();
    yield* requestIrq(GPU_FAULT_IRQ, nouveauSvmEvent, svm.work);
    return yield* registerChrdev(NOUVEAU_DEVICE, nouveauFops);
  });
  const exit = fn(function* nouveauDrmExit() {
    yield* unregisterChrdev(NOUVEAU_DEVICE);
    yield* freeIrq(GPU_FAULT_IRQ);
    yield* cancelWorkSync(globals().work);
    if (version.synchronizes) yield* mmuNotifierSynchronize();
  });
  return nouveau.module({ data: globals, init, exit }) as unknown as ModuleType;
}

const V53: NouveauVersion = {
  unregistersOnTimeout: false,
  holdsSvmMutex: false,
  usesMm: false,
  checksMirror: false,
  releases: false,
  synchronizes: false,
};

const FIXED: NouveauVersion = {
  unregistersOnTimeout: true,
  holdsSvmMutex: true,
  usesMm: true,
  checksMirror: true,
  releases: true,
  synchronizes: true,
};

/** v5.3. */
export const nouveauV53 = nouveauModule(V53);

/** As patch 5 makes it: module exit waits. */
export const nouveauSeries = nouveauModule({ ...V53, synchronizes: true });

/** With everything mended that reading has found. */
export const nouveauFixed = nouveauModule(FIXED);

/** The same but for one thing, which is as in v5.3: what that one thing does. */
export const nouveauWithout: Readonly<Record<keyof NouveauVersion, ModuleType>> = {
  unregistersOnTimeout: nouveauModule({ ...FIXED, unregistersOnTimeout: false }),
  holdsSvmMutex: nouveauModule({ ...FIXED, holdsSvmMutex: false }),
  usesMm: nouveauModule({ ...FIXED, usesMm: false }),
  checksMirror: nouveauModule({ ...FIXED, checksMirror: false }),
  releases: nouveauModule({ ...FIXED, releases: false }),
  synchronizes: nouveauModule({ ...FIXED, synchronizes: false }),
};
