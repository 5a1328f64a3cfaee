/** /dev/kfd: how programs reach the driver. */
import { EBADF, EINVAL, ENOTTY } from '../../base/errno.ts';
import { isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import type { File, FileOperations } from '../../kernel/file.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { currentThread, type TaskStruct } from '../../mm-types/task-struct.ts';
import { amdkfd, globals, type KfdProcess } from './kfd-priv.ts';
import { kfdGetProcess } from './kfd-process.ts';
import { pqmCreateQueue, pqmDestroyQueue } from './kfd-queue.ts';
import type { SvmAttributes } from './svm-priv.ts';

const { fn } = amdkfd;

export const KFD_DEVICE = '/dev/kfd';
export const AMDKFD_IOC_GET_VERSION = 'AMDKFD_IOC_GET_VERSION';
/** Returns the queue's id, by which its doorbell is rung, too. */
export const AMDKFD_IOC_CREATE_QUEUE = 'AMDKFD_IOC_CREATE_QUEUE';
/** The argument is the queue's id. */
export const AMDKFD_IOC_DESTROY_QUEUE = 'AMDKFD_IOC_DESTROY_QUEUE';

/** The GPU is to use a part of the program's memory by its addresses: the argument is {@link SvmAttributes}. */
export const AMDKFD_IOC_SVM = 'AMDKFD_IOC_SVM';

const KFD_IOCTL_VERSION = 1;

/** Makes the process on the first open. */
function openWith(
  create: KernelCallable<[TaskStruct], KfdProcess | ErrPtr>,
): KernelCallable<[File], number> {
  return fn(function* kfdOpen(file: File) {
    const process = yield* create(currentThread()!);
    if (isErr(process)) return ptrErr(process);
    file.privateData = process;
    return 0;
  });
}

const kfdIoctl = fn(function* kfdIoctl(file: File, command: number | string, argument: unknown) {
  const process = yield* kfdGetProcess(currentThread()!);
  if (isErr(process)) return ptrErr(process);
  // The descriptor may have come from another process, which this one's own must not be taken for.
  if (process === null || file.privateData !== process) return -EBADF;
  if (command === AMDKFD_IOC_GET_VERSION) return KFD_IOCTL_VERSION;
  if (command === AMDKFD_IOC_CREATE_QUEUE) {
    yield* mutexLock(process.mutex);
    const id = yield* pqmCreateQueue(process);
    yield* mutexUnlock(process.mutex);
    return id;
  }
  if (command === AMDKFD_IOC_DESTROY_QUEUE) {
    yield* mutexLock(process.mutex);
    const error = yield* pqmDestroyQueue(process, argument as number);
    yield* mutexUnlock(process.mutex);
    return error;
  }
  const { svm } = globals();
  if (command === AMDKFD_IOC_SVM && svm !== null) {
    return yield* svm.setAttr(process, argument as SvmAttributes);
  }
  return -ENOTTY;
});

const kfdMmap = fn(function* kfdMmap(_file: File) {
  const process = yield* kfdGetProcess(currentThread()!);
  if (process === null) return -EINVAL;
  return isErr(process) ? ptrErr(process) : 0;
});

/** The file operations of a version of the driver, told apart by how it makes a process. */
export function kfdFops(create: KernelCallable<[TaskStruct], KfdProcess | ErrPtr>): FileOperations {
  return { owner: amdkfd.text, open: openWith(create), ioctl: kfdIoctl, mmap: kfdMmap };
}
