/** Handles, and the calls that make and close buffers: DRM_RADEON_GEM_*. */
import { EACCES, EINVAL, ENOENT, ENOMEM } from '../../base/errno.ts';
import { dmaFenceGet, dmaFencePut, dmaFenceWait } from '../../device/fence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { xaAlloc, xaErase, xaLoad } from '../../kernel/xarray.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import {
  drmGemObjectGet,
  drmGemObjectPutUnlocked,
  radeonGemObjectCreate,
} from './radeon-object.ts';
import { GART_PAGE_COUNT } from './gpu.ts';
import { globals, radeon, type DrmFile, type RadeonBo } from './radeon.ts';
import {
  RADEON_GEM_USERPTR_ANONONLY,
  RADEON_GEM_USERPTR_READONLY,
  RADEON_GEM_USERPTR_REGISTER,
  RADEON_GEM_USERPTR_VALIDATE,
  radeonBoReserve,
  radeonBoUnreserve,
  ttmBoValidate,
} from './radeon-ttm.ts';

const { fn } = radeon;

const HANDLE_MAX = 15;
const KNOWN_FLAGS =
  RADEON_GEM_USERPTR_READONLY |
  RADEON_GEM_USERPTR_ANONONLY |
  RADEON_GEM_USERPTR_VALIDATE |
  RADEON_GEM_USERPTR_REGISTER;

/** What DRM_RADEON_GEM_USERPTR is given; addresses and sizes in bytes. */
export interface UserptrRequest {
  readonly addr: number;
  readonly size: number;
  readonly flags: number;
}

// ---- handles -------------------------------------------------------------------------------------

/** A handle, 1 … 15, which takes over the caller's reference; -ENOMEM, and the caller keeps it. */
const drmGemHandleCreate = fn(function* drmGemHandleCreate(filp: DrmFile, bo: RadeonBo) {
  const handle = yield* xaAlloc(filp.objectIdr, bo, { min: 1, max: HANDLE_MAX }, GFP_KERNEL);
  return handle < 0 ? -ENOMEM : handle;
});

/** The buffer of a handle with a reference, or NULL. */
export const drmGemObjectLookup = fn(function* drmGemObjectLookup(filp: DrmFile, handle: number) {
  yield* spinLock(filp.tableLock);
  const bo = yield* xaLoad(filp.objectIdr, handle);
  if (bo !== null) yield* drmGemObjectGet(bo);
  yield* spinUnlock(filp.tableLock);
  return bo;
});

/** `DRM_IOCTL_GEM_CLOSE`: 0 or -EINVAL. May sleep. */
export const drmGemHandleDelete = fn(function* drmGemHandleDelete(filp: DrmFile, handle: number) {
  yield* spinLock(filp.tableLock);
  const bo = yield* xaErase(filp.objectIdr, handle);
  yield* spinUnlock(filp.tableLock);
  if (bo === null) return -EINVAL;
  yield* drmGemObjectPutUnlocked(bo);
  return 0;
});

// ---- making buffers ------------------------------------------------------------------------------

/** A buffer of `size` bytes with pages of its own: its handle, -EINVAL or -ENOMEM. May sleep. */
export const radeonGemCreateIoctl = fn(function* radeonGemCreateIoctl(filp: DrmFile, size: number) {
  const pageCount = Math.max(1, Math.ceil(size / PAGE_SIZE));
  if (pageCount > GART_PAGE_COUNT) return -EINVAL;
  const bo = yield* radeonGemObjectCreate(filp.rdev!, pageCount, false);
  if (bo === null) return -ENOMEM;
  const handle = yield* drmGemHandleCreate(filp, bo);
  if (handle < 0) yield* drmGemObjectPutUnlocked(bo);
  return handle;
});

/** 0, -EINVAL, or -EACCES for what would let the GPU write where it must not. The order is the driver's. */
function checkRequest({ addr, size, flags }: UserptrRequest): number {
  if (addr % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0) return -EINVAL;
  if ((flags & ~KNOWN_FLAGS) !== 0) return -EINVAL;
  if ((flags & RADEON_GEM_USERPTR_READONLY) !== 0) return 0;
  const needed = RADEON_GEM_USERPTR_ANONONLY | RADEON_GEM_USERPTR_REGISTER;
  return (flags & needed) === needed ? 0 : -EACCES;
}

/** Looks the pages up at once. */
const validateNow = fn(
  function* validateNow(bo: RadeonBo) {
    const { mmapSem } = current().mm as MmStruct;
    yield* downRead(mmapSem);
    yield* radeonBoReserve(bo);
    const error = yield* ttmBoValidate(bo, 'RADEON_GEM_DOMAIN_GTT');
    yield* radeonBoUnreserve(bo);
    yield* upRead(mmapSem);
    return error;
  },
  { name: 'radeon_gem_userptr_ioctl' },
);

/** What can fail once there is a buffer: its handle or -errno. */
const fillIn = fn(
  function* fillIn(filp: DrmFile, bo: RadeonBo, { addr, flags }: UserptrRequest) {
    bo.userptr = addr;
    bo.usermm = current().mm as MmStruct;
    bo.userflags = flags;
    if ((flags & RADEON_GEM_USERPTR_REGISTER) !== 0) {
      const error = yield* globals().userptr!.register(bo, addr);
      if (error !== 0) return error;
    }
    if ((flags & RADEON_GEM_USERPTR_VALIDATE) !== 0) {
      const error = yield* validateNow(bo);
      if (error !== 0) return error;
    }
    return yield* drmGemHandleCreate(filp, bo);
  },
  { name: 'radeon_gem_userptr_ioctl' },
);

/**
 * `DRM_RADEON_GEM_USERPTR`: the handle of a buffer that is memory of the program; -EINVAL, -EACCES, -ENOMEM, -EINTR,
 * or, with VALIDATE, -EPERM or -EFAULT. May sleep.
 */
export const radeonGemUserptrIoctl = fn(function* radeonGemUserptrIoctl(
  filp: DrmFile,
  request: UserptrRequest,
) {
  const refused = checkRequest(request);
  if (refused !== 0) return refused;
  const pageCount = Math.max(1, request.size / PAGE_SIZE);
  if (pageCount > GART_PAGE_COUNT) return -EINVAL;
  const bo = yield* radeonGemObjectCreate(filp.rdev!, pageCount, true);
  if (bo === null) return -ENOMEM;
  const handle = yield* fillIn(filp, bo, request);
  // Also a buffer that was never registered is unregistered.
  if (handle < 0) yield* drmGemObjectPutUnlocked(bo);
  return handle;
});

/** `DRM_RADEON_GEM_WAIT_IDLE`: waits for the jobs of a buffer. 0 or -ENOENT. May sleep. */
export const radeonGemWaitIdleIoctl = fn(function* radeonGemWaitIdleIoctl(
  filp: DrmFile,
  handle: number,
) {
  const bo = yield* drmGemObjectLookup(filp, handle);
  if (bo === null) return -ENOENT;
  yield* radeonBoReserve(bo);
  const { fence } = bo;
  if (fence !== null) yield* dmaFenceGet(fence);
  yield* radeonBoUnreserve(bo);
  if (fence !== null) {
    yield* dmaFenceWait(fence);
    yield* dmaFencePut(fence);
  }
  yield* drmGemObjectPutUnlocked(bo);
  return 0;
});
