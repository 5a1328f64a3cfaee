/** amdgpu by version: the modules that a scenario can load. Set a version of hmm first: `setHmm(machine, …)`. */
import { ENOMEM, ENOTTY } from '../../base/errno.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { destroyKfdVm } from './amdgpu-amdkfd.ts';
import { amdgpuCsIoctl, amdgpuGemWaitIdle, type Submission } from './amdgpu-cs.ts';
import {
  amdgpuGemClose,
  amdgpuGemCloseAll,
  amdgpuGemUserptrIoctl,
  type Userptr,
} from './amdgpu-gem.ts';
import { amdgpuMnInterval } from './amdgpu-mn-interval.ts';
import { amdgpuMnMirror } from './amdgpu-mn.ts';
import { amdgpu, AmdgpuFpriv, globals, type AmdgpuMnVersion } from './amdgpu-priv.ts';
import { gpu, GPU_VM_COUNT, startRing } from './gpu.ts';

export { ringDoorbell, type Command } from './gpu.ts';
export type { Submission } from './amdgpu-cs.ts';
export type { Userptr } from './amdgpu-gem.ts';
export {
  AMDGPU_GEM_USERPTR_ANONONLY,
  AMDGPU_GEM_USERPTR_READONLY,
  AMDGPU_GEM_USERPTR_REGISTER,
  AMDGPU_GEM_USERPTR_VALIDATE,
} from './amdgpu-ttm.ts';

const { fn } = amdgpu;

export const AMDGPU_DEVICE = '/dev/dri/renderD128';
/** A BO for command submission; the argument is {@link Userptr}. Returns a handle. */
export const DRM_AMDGPU_GEM_USERPTR = 'DRM_AMDGPU_GEM_USERPTR';
/** A BO for queues of the program. Returns a handle. */
export const AMDKFD_IOC_ALLOC_MEMORY_OF_GPU = 'AMDKFD_IOC_ALLOC_MEMORY_OF_GPU';
/** The argument is a handle. */
export const DRM_GEM_CLOSE = 'DRM_GEM_CLOSE';
/** The argument is {@link Submission}. */
export const DRM_AMDGPU_CS = 'DRM_AMDGPU_CS';
/** The argument is a handle. */
export const DRM_AMDGPU_GEM_WAIT_IDLE = 'DRM_AMDGPU_GEM_WAIT_IDLE';

const amdgpuDriverOpenKms = fn(function* amdgpuDriverOpenKms(file: File) {
  const adev = globals();
  const fpriv = yield* kzalloc(AmdgpuFpriv, GFP_KERNEL);
  if (fpriv === null) return -ENOMEM;
  yield* mutexLock(adev.vmLock);
  let vm = 0;
  while (vm < GPU_VM_COUNT && (adev.vmBitmap & (1 << vm)) !== 0) vm += 1;
  if (vm < GPU_VM_COUNT) adev.vmBitmap |= 1 << vm;
  yield* mutexUnlock(adev.vmLock);
  if (vm === GPU_VM_COUNT) {
    yield* kfree(fpriv);
    return -ENOMEM;
  }
  fpriv.vm = vm;
  file.privateData = fpriv;
  return 0;
});

const amdgpuDriverPostcloseKms = fn(function* amdgpuDriverPostcloseKms(file: File) {
  const adev = globals();
  const fpriv = file.privateData as AmdgpuFpriv;
  yield* amdgpuGemCloseAll(fpriv);
  yield* destroyKfdVm(fpriv);
  yield* mutexLock(adev.vmLock);
  adev.vmBitmap &= ~(1 << fpriv.vm);
  yield* mutexUnlock(adev.vmLock);
  yield* kfree(fpriv);
});

const amdgpuDrmIoctl = fn(function* amdgpuDrmIoctl(
  file: File,
  command: number | string,
  argument: unknown,
) {
  const fpriv = file.privateData as AmdgpuFpriv;
  switch (command) {
    case DRM_AMDGPU_GEM_USERPTR:
      return yield* amdgpuGemUserptrIoctl(fpriv, 'GFX', argument as Userptr);
    case AMDKFD_IOC_ALLOC_MEMORY_OF_GPU:
      return yield* amdgpuGemUserptrIoctl(fpriv, 'HSA', argument as Userptr);
    case DRM_GEM_CLOSE:
      return yield* amdgpuGemClose(fpriv, argument as number);
    case DRM_AMDGPU_CS:
      return yield* amdgpuCsIoctl(fpriv, argument as Submission);
    case DRM_AMDGPU_GEM_WAIT_IDLE:
      return yield* amdgpuGemWaitIdle(fpriv, argument as number);
    default:
      return -ENOTTY;
  }
});

const amdgpuFops: FileOperations = {
  owner: amdgpu.text,
  open: amdgpuDriverOpenKms,
  release: amdgpuDriverPostcloseKms,
  ioctl: amdgpuDrmIoctl,
};

function module(version: AmdgpuMnVersion, synchronizes: boolean): ModuleType {
  const init = fn(function* amdgpuInit() {
    globals().version = version;
    // The hardware is there before anybody uses it.
    gpu();
    yield* startRing('gfx');
    return yield* registerChrdev(AMDGPU_DEVICE, amdgpuFops);
  });
  const exit = fn(function* amdgpuExit() {
    yield* unregisterChrdev(AMDGPU_DEVICE);
    if (synchronizes) yield* mmuNotifierSynchronize();
  });
  return amdgpu.module({ data: globals, init, exit }) as unknown as ModuleType;
}

/** v5.3. */
export const amdgpuV53 = module(amdgpuMnMirror, false);

/** As patch 5 makes it: module exit waits. */
export const amdgpuSeries = module(amdgpuMnMirror, true);

/** As v5.5 makes it: an interval notifier for each BO. */
export const amdgpuV55 = module(amdgpuMnInterval, true);
