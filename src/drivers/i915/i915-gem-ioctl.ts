/** Handles, and the calls that make, close and wait for buffers. */
import { E2BIG, EFAULT, EINTR, EINVAL, ENODEV, ENOENT, ENOMEM } from '../../base/errno.ts';
import { atomicDec } from '../../kernel/atomic.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { xaAlloc, xaErase, xaLoad } from '../../kernel/xarray.ts';
import { PAGE_SIZE, TASK_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { VM_PFNMAP } from '../../mm-types/vm-flags.ts';
import { findVma } from '../../mm/vma.ts';
import { GTT_PAGE_COUNT } from './gpu.ts';
import { waitForIdle } from './i915-gem-gtt.ts';
import {
  i915GemObjectAlloc,
  i915GemObjectGet,
  i915GemObjectPinPages,
  i915GemObjectPut,
  lockBinding,
  unlockBinding,
} from './i915-gem-object.ts';
import { globals, i915, type DrmFile, type DrmI915GemObject } from './i915.ts';

const { fn } = i915;

export const I915_USERPTR_READ_ONLY = 1;
/** v6.1: is there memory at all? */
export const I915_USERPTR_PROBE = 2;
/** v5.x, for root: not watched. */
export const I915_USERPTR_UNSYNCHRONIZED = 0x8000_0000;

const HANDLE_MAX = 15;

/** What DRM_I915_GEM_USERPTR is given; addresses and sizes in bytes. */
export interface UserptrRequest {
  readonly userPtr: number;
  readonly userSize: number;
  readonly flags: number;
}

// ---- handles -------------------------------------------------------------------------------------

/** A handle, 1 … 15, which takes over the caller's reference; -ENOMEM, and the caller keeps it. */
const drmGemHandleCreate = fn(function* drmGemHandleCreate(file: DrmFile, obj: DrmI915GemObject) {
  const handle = yield* xaAlloc(file.objectIdr, obj, { min: 1, max: HANDLE_MAX }, GFP_KERNEL);
  return handle < 0 ? -ENOMEM : handle;
});

/** `i915_gem_object_lookup`: the buffer of a handle with a reference, or NULL. */
export const i915GemObjectLookup = fn(function* i915GemObjectLookup(file: DrmFile, handle: number) {
  yield* spinLock(file.tableLock);
  const obj = yield* xaLoad(file.objectIdr, handle);
  if (obj !== null) yield* i915GemObjectGet(obj);
  yield* spinUnlock(file.tableLock);
  return obj;
});

/** `DRM_IOCTL_GEM_CLOSE`: 0 or -EINVAL. What the buffer had goes later. */
export const drmGemHandleDelete = fn(function* drmGemHandleDelete(file: DrmFile, handle: number) {
  yield* spinLock(file.tableLock);
  const obj = yield* xaErase(file.objectIdr, handle);
  yield* spinUnlock(file.tableLock);
  if (obj === null) return -EINVAL;
  yield* i915GemObjectPut(obj);
  return 0;
});

// ---- making buffers ------------------------------------------------------------------------------

/** `DRM_I915_GEM_CREATE`: a buffer of `size` bytes with pages of its own: its handle, -EINVAL or -ENOMEM. */
export const i915GemCreateIoctl = fn(function* i915GemCreateIoctl(file: DrmFile, size: number) {
  const pageCount = Math.ceil(size / PAGE_SIZE);
  if (pageCount < 1 || pageCount > GTT_PAGE_COUNT) return -EINVAL;
  const obj = yield* i915GemObjectAlloc(pageCount);
  if (obj === null) return -ENOMEM;
  const handle = yield* drmGemHandleCreate(file, obj);
  if (handle < 0) yield* i915GemObjectPut(obj);
  return handle;
});

/** 0 or -errno, in the driver's order. */
function checkRequest({ userPtr, userSize, flags }: UserptrRequest): number {
  const { knowsUnsynchronized } = globals().userptr!;
  const last = knowsUnsynchronized ? I915_USERPTR_UNSYNCHRONIZED : I915_USERPTR_PROBE;
  const known = [I915_USERPTR_READ_ONLY, last, I915_USERPTR_UNSYNCHRONIZED];
  let rest = flags;
  for (const flag of new Set(known)) if ((flags & flag) !== 0) rest -= flag;
  if (rest !== 0) return -EINVAL;
  if (userSize > GTT_PAGE_COUNT * PAGE_SIZE) return -E2BIG;
  if (userSize === 0) return -EINVAL;
  if (userPtr % PAGE_SIZE !== 0 || userSize % PAGE_SIZE !== 0) return -EINVAL;
  if (userPtr + userSize > TASK_SIZE) return -EFAULT;
  return !knowsUnsynchronized && (flags & I915_USERPTR_UNSYNCHRONIZED) !== 0 ? -ENODEV : 0;
}

/** Whether all of a range is ordinary memory, for the moment: 0 or -EFAULT. Takes mmap_sem. */
const probeRange = fn(function* probeRange(mm: MmStruct, start: number, length: number) {
  yield* downRead(mm.mmapSem);
  let address = start;
  let error = 0;
  while (address < start + length && error === 0) {
    const vma = findVma(mm, address);
    if (vma === null || vma.vmStart > address || (vma.vmFlags & VM_PFNMAP) !== 0) error = -EFAULT;
    else address = vma.vmEnd;
  }
  yield* upRead(mm.mmapSem);
  return error;
});

/**
 * `DRM_I915_GEM_USERPTR`: the handle of a buffer that is memory of the program; -EINVAL, -E2BIG, -EFAULT, -ENODEV, -ENOMEM,
 * -EINTR. Whether there is memory shows when it is used, or, with PROBE, at once. May sleep.
 */
export const i915GemUserptrIoctl = fn(function* i915GemUserptrIoctl(
  file: DrmFile,
  request: UserptrRequest,
) {
  const refused = checkRequest(request);
  if (refused !== 0) return refused;
  const { userPtr, userSize, flags } = request;
  if ((flags & I915_USERPTR_PROBE) !== 0) {
    const error = yield* probeRange(current().mm as MmStruct, userPtr, userSize);
    if (error !== 0) return error;
  }
  const obj = yield* i915GemObjectAlloc(userSize / PAGE_SIZE);
  if (obj === null) return -ENOMEM;
  obj.isUserptr = true;
  obj.userptr = userPtr;
  obj.isReadonly = (flags & I915_USERPTR_READ_ONLY) !== 0;
  obj.isUnsynchronized = (flags & I915_USERPTR_UNSYNCHRONIZED) !== 0;
  const error = yield* globals().userptr!.init(obj);
  const handle = error === 0 ? yield* drmGemHandleCreate(file, obj) : error;
  if (handle < 0) yield* i915GemObjectPut(obj);
  return handle;
});

/** `DRM_I915_GEM_WAIT`: waits for the jobs of a buffer. 0, -ENOENT or -ERESTARTSYS. May sleep. */
export const i915GemWaitIoctl = fn(function* i915GemWaitIoctl(file: DrmFile, handle: number) {
  const obj = yield* i915GemObjectLookup(file, handle);
  if (obj === null) return -ENOENT;
  const error = yield* waitForIdle(obj, true);
  yield* i915GemObjectPut(obj);
  return error;
});

const getPagesOnce = fn(
  function* getPagesOnce(obj: DrmI915GemObject) {
    const { submitInit, locks } = globals().userptr!;
    if (submitInit !== undefined && obj.isUserptr) {
      const error = yield* submitInit(obj);
      if (error !== 0) return error;
    }
    const isReserved = locks === 'resv';
    if (isReserved && (yield* lockBinding(obj)) !== 0) return -EINTR;
    const error = yield* i915GemObjectPinPages(obj);
    if (error === 0) yield* atomicDec(obj.pagesPinCount);
    if (isReserved) yield* unlockBinding(obj);
    return error;
  },
  { name: 'i915_gem_object_userptr_validate' },
);

/** `DRM_I915_GEM_SET_DOMAIN`, as far as it gets pages: 0, -ENOENT, or what getting them says. May sleep. */
export const i915GemSetDomainIoctl = fn(function* i915GemSetDomainIoctl(
  file: DrmFile,
  handle: number,
) {
  const obj = yield* i915GemObjectLookup(file, handle);
  if (obj === null) return -ENOENT;
  const error = yield* getPagesOnce(obj);
  yield* i915GemObjectPut(obj);
  return error;
});
