/** Binding of buffers into the GPU's table of pages, fences, and taking buffers out again. */
import { EBUSY, ENOSPC, ERESTARTSYS } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { dmaFenceGet, dmaFencePut, dmaFenceWait, type DmaFence } from '../../device/fence.ts';
import { flushDeviceTlb, setDeviceEntry } from '../../device/translations.ts';
import { atomicDec } from '../../kernel/atomic.ts';
import { waitForCompletionInterruptible } from '../../kernel/completion.ts';
import { current } from '../../kernel/running.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import { gpu, GTT_PAGE_COUNT } from './gpu.ts';
import { globals, i915, type DrmI915GemObject } from './i915.ts';

const { fn } = i915;

// ---- fences --------------------------------------------------------------------------------------

/** `dma_resv_add_excl_fence`: the fence of the last job; takes a reference to it. The buffer is locked. */
export const addFence = fn(
  function* addFence(obj: DrmI915GemObject, fence: DmaFence) {
    yield* dmaFenceGet(fence);
    yield* spinLock(obj.fenceLock);
    const old = obj.fence;
    obj.fence = fence;
    yield* spinUnlock(obj.fenceLock);
    if (old !== null) yield* dmaFencePut(old);
  },
  { name: 'dma_resv_add_excl_fence' },
);

/** The fence of the last job with a reference, or NULL. Needs no lock of the buffer. */
const getFence = fn(
  function* getFence(obj: DrmI915GemObject) {
    yield* spinLock(obj.fenceLock);
    const { fence } = obj;
    if (fence !== null) yield* dmaFenceGet(fence);
    yield* spinUnlock(obj.fenceLock);
    return fence;
  },
  { name: 'dma_resv_get_excl_fence' },
);

/** Waits until the GPU is done with the buffer: 0, or -ERESTARTSYS if a signal may end the wait and does. */
export const waitForIdle = fn(
  function* waitForIdle(obj: DrmI915GemObject, isInterruptible: boolean) {
    const fence = yield* getFence(obj);
    if (fence === null) return 0;
    let error = 0;
    if (isInterruptible) error = yield* waitForCompletionInterruptible(fence.signalled);
    else yield* dmaFenceWait(fence);
    yield* dmaFencePut(fence);
    return error === 0 ? 0 : -ERESTARTSYS;
  },
  { name: 'i915_gem_object_wait' },
);

// ---- the table of pages --------------------------------------------------------------------------

/** The lowest run of free pages, or -ENOSPC. */
const insertNode = fn(
  function* insertNode(count: number) {
    const device = globals();
    const mask = (1 << count) - 1;
    yield* spinLock(device.gttLock);
    let start = 0;
    while (start + count <= GTT_PAGE_COUNT && (device.gttBitmap & (mask << start)) !== 0)
      start += 1;
    const isFound = start + count <= GTT_PAGE_COUNT;
    if (isFound) device.gttBitmap |= mask << start;
    yield* spinUnlock(device.gttLock);
    return isFound ? start : -ENOSPC;
  },
  { name: 'i915_gem_gtt_insert' },
);

const removeNode = fn(
  function* removeNode(start: number, count: number) {
    const device = globals();
    yield* spinLock(device.gttLock);
    device.gttBitmap &= ~(((1 << count) - 1) << start);
    yield* spinUnlock(device.gttLock);
  },
  { name: 'drm_mm_remove_node' },
);

/** Binds a buffer, whose pages are pinned by the caller and stay so: 0 or -ENOSPC. It is locked. */
export const vmaBind = fn(
  function* vmaBind(obj: DrmI915GemObject) {
    const pages = obj.pages!;
    const start = yield* insertNode(pages.length);
    if (start < 0) return start;
    const { gtt } = gpu();
    const isWritable = !obj.isReadonly;
    for (const [at, page] of pages.entries()) {
      yield* setDeviceEntry(gtt, start + at, { pfn: pageToPfn(page), isWritable });
    }
    const end = start + pages.length;
    yield* flushDeviceTlb(gtt, start, end);
    obj.gttStart = start;
    if (obj.isUserptr) {
      const by = obj.isUnsynchronized ? 'pinned' : 'start';
      const cpuPage = obj.userptr / PAGE_SIZE;
      declareCoherence(gtt, { first: start, end, cpuPage, mm: obj.usermm!, by });
    }
    return 0;
  },
  { name: 'i915_vma_insert' },
);

/**
 * `i915_gem_object_unbind(obj)`: waits for the GPU, takes the buffer out of the GTT, and unpins its pages. 0;
 * -ERESTARTSYS for a signal, which workers do not get; -EBUSY if a submission needs it where it is. It is locked
 * (v5.x: struct_mutex). Sleeps.
 */
export const i915GemObjectUnbind = fn(function* i915GemObjectUnbind(obj: DrmI915GemObject) {
  const start = obj.gttStart;
  if (start < 0) return 0;
  const error = yield* waitForIdle(obj, current().kind !== 'work');
  if (error !== 0) return error;
  if (obj.vmaPinCount > 0) return -EBUSY;
  const end = start + obj.pageCount;
  const { gtt } = gpu();
  for (let page = start; page < end; page += 1) yield* setDeviceEntry(gtt, page, null);
  yield* flushDeviceTlb(gtt, start, end);
  withdrawCoherence(gtt, start, end);
  yield* removeNode(start, obj.pageCount);
  obj.gttStart = -1;
  yield* atomicDec(obj.pagesPinCount);
  return 0;
});
