/** intel_svm_bind_mm and intel_svm_unbind_mm. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { mmput } from '../../mm-types/mm-struct.ts';
import { currentThread, getTaskMm } from '../../mm-types/task-struct.ts';
import {
  globals,
  intelSvm,
  IntelSvmDev,
  pasidLookup,
  sdevOf,
  svmAddDevice,
  svmRemoveDevice,
  SVM_FLAG_SUPERVISOR_MODE,
  version,
  type Binding,
  type IntelSvm,
} from './intel-svm.ts';
import type { PciDev } from './iommu.ts';

const { fn } = intelSvm;

/** One binding more, if the device has one already. pasid_mutex is held. */
function bindAgain(svm: IntelSvm, dev: PciDev): boolean {
  const bound = sdevOf(svm, dev);
  if (bound !== null) bound.users += 1;
  return bound !== null;
}

/** pasid_mutex is held: the PASID or -errno. */
const bindLocked = fn(
  function* bindLocked(binding: Binding) {
    const { dev } = binding;
    const { find, get, put } = version();
    const known = find(binding);
    if (known !== null && bindAgain(known, dev)) return known.pasid;
    const sdev = yield* kzalloc(IntelSvmDev, GFP_KERNEL);
    if (sdev === null) return -ENOMEM;
    const svm = known ?? (yield* get(binding));
    if (isErr(svm)) {
      yield* kfree(sdev);
      return ptrErr(svm);
    }
    if (bindAgain(svm, dev)) {
      yield* kfree(sdev);
      yield* put(svm);
      return svm.pasid;
    }
    sdev.dev = dev;
    sdev.users = 1;
    yield* svmAddDevice(svm, sdev);
    return svm.pasid;
  },
  { name: 'intel_svm_bind_locked' },
);

/**
 * Binds `dev` to the program's address space: the PASID or -errno. Binding again what shares is counted, and unbound as
 * often. The caller is a thread of the program. May sleep.
 */
export const intelSvmBindMm = fn(function* intelSvmBindMm(dev: PciDev, flags: number) {
  const isOfKernel = (flags & SVM_FLAG_SUPERVISOR_MODE) !== 0;
  const mm = isOfKernel ? null : yield* getTaskMm(currentThread()!);
  if (!isOfKernel && mm === null) return -EINVAL;
  const { pasidMutex } = globals();
  yield* mutexLock(pasidMutex);
  const pasid = yield* bindLocked({ dev, flags, mm });
  yield* mutexUnlock(pasidMutex);
  if (mm !== null) yield* mmput(mm);
  return pasid;
});

/** Undoes one binding: 0 or -EINVAL. The device has no page request left for it. May sleep. */
export const intelSvmUnbindMm = fn(function* intelSvmUnbindMm(dev: PciDev, pasid: number) {
  const { pasidMutex } = globals();
  yield* mutexLock(pasidMutex);
  const svm = yield* pasidLookup(pasid);
  const sdev = svm === null ? null : sdevOf(svm, dev);
  if (svm === null || sdev === null) {
    yield* mutexUnlock(pasidMutex);
    return -EINVAL;
  }
  sdev.users -= 1;
  if (sdev.users === 0) {
    yield* svmRemoveDevice(svm, sdev);
    yield* version().put(svm);
  }
  yield* mutexUnlock(pasidMutex);
  return 0;
});
