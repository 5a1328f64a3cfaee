/** Buffer objects: from GEM_USERPTR, or its counterpart of HSA, to GEM_CLOSE. */
import { EACCES, EINVAL, ENOENT, ENOMEM } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { dmaFencePut, dmaFenceWait } from '../../device/fence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listForEachEntry, listForEachEntrySafe } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { freeUserPages, initKfdVm, initUserPages } from './amdgpu-amdkfd.ts';
import { amdgpu, AmdgpuBo, globals, type AmdgpuFpriv, type AmdgpuMnType } from './amdgpu-priv.ts';
import {
  AMDGPU_GEM_USERPTR_READONLY,
  AMDGPU_GEM_USERPTR_REGISTER,
  AMDGPU_GEM_USERPTR_VALIDATE,
  amdgpuBoUpdate,
  amdgpuTtmTtGetUserPages,
  amdgpuTtmTtDropUserPages,
} from './amdgpu-ttm.ts';
import { gpu } from './gpu.ts';

const { fn } = amdgpu;

const FLAGS = 15;

/** Memory of the program, in bytes; AMDGPU_GEM_USERPTR_*. */
export interface Userptr {
  readonly addr: number;
  readonly size: number;
  readonly flags: number;
}

/** What the driver claims: after a start has returned, no job that was submitted before reaches the range. */
function declare(bo: AmdgpuBo): void {
  const { translations } = gpu().vms.get(bo.fpriv!.vm);
  const mm = globals().version!.mmOf(bo);
  const first = bo.userptr / PAGE_SIZE;
  const range = { first, end: bo.end / PAGE_SIZE, cpuPage: first };
  if (mm !== null) declareCoherence(translations, { ...range, mm, by: 'start' });
}

/** The BO is gone: unreachable for the mm, then for the GPU. Nobody else knows it. May sleep. */
const amdgpuBoDestroy = fn(function* amdgpuBoDestroy(bo: AmdgpuBo) {
  const { translations } = gpu().vms.get(bo.fpriv!.vm);
  if (bo.type === 'HSA') yield* freeUserPages(bo);
  if (bo.fence !== null) yield* dmaFenceWait(bo.fence);
  if (bo.type === 'GFX' && bo.pages !== null) yield* amdgpuBoUpdate(bo, null);
  withdrawCoherence(translations, bo.userptr / PAGE_SIZE, bo.end / PAGE_SIZE);
  yield* globals().version!.unregister(bo);
  if (bo.fence !== null) yield* dmaFencePut(bo.fence);
  yield* kfree(bo);
});

/** Makes the GPU have the pages of a new BO: 0 or -errno. */
const validate = fn(
  function* validate(bo: AmdgpuBo) {
    yield* mutexLock(bo.resv);
    const error = yield* amdgpuTtmTtGetUserPages(bo);
    if (error === 0) {
      yield* amdgpuBoUpdate(bo, bo.range!.pfns);
      yield* amdgpuTtmTtDropUserPages(bo);
    }
    yield* mutexUnlock(bo.resv);
    return error;
  },
  { name: 'amdgpu_gem_userptr_ioctl' },
);

function checkUserptr({ addr, size, flags }: Userptr): number {
  if (addr % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || size <= 0 || addr < 0) return -EINVAL;
  if ((flags & ~FLAGS) !== 0) return -EINVAL;
  // Who lets the GPU write must hear of changes.
  const mayWrite = (flags & AMDGPU_GEM_USERPTR_READONLY) === 0;
  return mayWrite && (flags & AMDGPU_GEM_USERPTR_REGISTER) === 0 ? -EACCES : 0;
}

/** What of making a BO can fail once it is there. */
const prepareBo = fn(
  function* prepareBo(bo: AmdgpuBo) {
    const { version } = globals();
    if ((bo.flags & AMDGPU_GEM_USERPTR_REGISTER) === 0) return 0;
    if (bo.type === 'HSA') yield* initKfdVm(bo.fpriv!);
    const error = yield* version!.register(bo);
    if (error !== 0) return error;
    declare(bo);
    if (bo.type === 'HSA') return yield* initUserPages(bo);
    return (bo.flags & AMDGPU_GEM_USERPTR_VALIDATE) === 0 ? 0 : yield* validate(bo);
  },
  { name: 'amdgpu_gem_userptr_ioctl' },
);

/**
 * The ioctls GEM_USERPTR and ALLOC_MEMORY_OF_GPU: a handle; -EINVAL, -EACCES, -ENOMEM, -EINTR; with VALIDATE, or for
 * HSA, what looking the pages up returned. May sleep.
 */
export const amdgpuGemUserptrIoctl = fn(function* amdgpuGemUserptrIoctl(
  fpriv: AmdgpuFpriv,
  type: AmdgpuMnType,
  args: Userptr,
) {
  let error = checkUserptr(args);
  if (error !== 0) return error;
  const bo = yield* kzalloc(AmdgpuBo, GFP_KERNEL);
  if (bo === null) return -ENOMEM;
  bo.fpriv = fpriv;
  bo.type = type;
  bo.userptr = args.addr;
  bo.end = args.addr + args.size;
  bo.flags = args.flags;
  error = yield* prepareBo(bo);
  if (error !== 0) {
    yield* amdgpuBoDestroy(bo);
    return error;
  }
  yield* mutexLock(fpriv.lock);
  fpriv.handleCount += 1;
  bo.handle = fpriv.handleCount;
  listAddTail(bo.list, fpriv.bos);
  const { handle } = bo;
  yield* mutexUnlock(fpriv.lock);
  return handle;
});

/** The BO of a handle, or NULL. fpriv->lock is held, and keeps it. */
export function findBo(fpriv: AmdgpuFpriv, handle: number): AmdgpuBo | null {
  for (const bo of listForEachEntry(fpriv.bos, AmdgpuBo, 'list')) {
    if (bo.handle === handle) return bo;
  }
  return null;
}

/** The ioctl GEM_CLOSE: 0 or -ENOENT. May sleep. */
export const amdgpuGemClose = fn(function* amdgpuGemClose(fpriv: AmdgpuFpriv, handle: number) {
  yield* mutexLock(fpriv.lock);
  const bo = findBo(fpriv, handle);
  if (bo !== null) listDel(bo.list);
  yield* mutexUnlock(fpriv.lock);
  if (bo === null) return -ENOENT;
  yield* amdgpuBoDestroy(bo);
  return 0;
});

/** All that a file still has. Nobody else has the file. May sleep. */
export const amdgpuGemCloseAll = fn(function* amdgpuGemCloseAll(fpriv: AmdgpuFpriv) {
  for (const bo of listForEachEntrySafe(fpriv.bos, AmdgpuBo, 'list')) {
    listDel(bo.list);
    yield* amdgpuBoDestroy(bo);
  }
});
