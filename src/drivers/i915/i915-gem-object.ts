/**
 * A buffer's pages, and its life.
 *
 * Who keeps it alive: its handle, and each job until the GPU is done with it. What is left of it when the last reference
 * goes (it may still be bound, by then to no job's use) is taken apart by a work, because that takes locks.
 */
import { EBUSY, EINTR, ENOMEM } from '../../base/errno.ts';
import { dmaFencePut } from '../../device/fence.ts';
import { atomicDecAndTest, atomicInc, atomicIncNotZero, atomicRead } from '../../kernel/atomic.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefGet, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import {
  mutexLock,
  mutexLockInterruptible,
  mutexLockNested,
  mutexUnlock,
} from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kmalloc, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { wakeUpAll } from '../../kernel/wait.ts';
import type { Page } from '../../mm-types/page.ts';
import { allocPage, putPage } from '../../mm/frames.ts';
import { i915GemObjectUnbind } from './i915-gem-gtt.ts';
import { DrmI915GemObject, globals, i915, SgTable } from './i915.ts';

const { fn } = i915;

/** Subclasses of `mm.lock`: lockdep is told that invalidation takes that of another buffer than who allocates. */
export const I915_MM_NORMAL = 0;
export const I915_MM_SHRINKER = 1;

// ---- what keeps a buffer where it is -------------------------------------------------------------

function bindingLock(obj: DrmI915GemObject) {
  const device = globals();
  return device.userptr!.locks === 'struct_mutex' ? device.structMutex : obj.resv;
}

/** What protects bindings: 0, or -EINTR for a signal. May sleep. */
export const lockBinding = fn(
  function* lockBinding(obj: DrmI915GemObject) {
    return (yield* mutexLockInterruptible(bindingLock(obj))) === 0 ? 0 : -EINTR;
  },
  { name: 'i915_gem_object_lock' },
);

export const unlockBinding = fn(
  function* unlockBinding(obj: DrmI915GemObject) {
    yield* mutexUnlock(bindingLock(obj));
  },
  { name: 'i915_gem_object_unlock' },
);

/** v5.x has a lock of its own for the pages; v6.1 the reservation, which is held. */
function hasPagesLock(): boolean {
  return globals().userptr!.locks === 'struct_mutex';
}

// ---- pages ---------------------------------------------------------------------------------------

const putOwnPages = fn(
  function* putOwnPages(pages: readonly Page[]) {
    for (const page of pages) yield* putPage(page);
  },
  { name: 'i915_gem_object_put_pages_internal' },
);

/** Pages of the buffer's own: 0 or -ENOMEM. May enter reclaim, with all locks of the submission held. */
const getOwnPages = fn(
  function* getOwnPages(obj: DrmI915GemObject) {
    const pages: Page[] = [];
    while (pages.length < obj.pageCount) {
      const page = yield* allocPage(GFP_KERNEL);
      if (page === null) {
        yield* putOwnPages(pages);
        return -ENOMEM;
      }
      pages.push(page);
    }
    obj.pages = pages;
    return 0;
  },
  { name: 'i915_gem_object_get_pages_internal' },
);

/** `__i915_gem_object_set_pages` with the table it needs: 0 or -ENOMEM. What protects the pages is held. May sleep. */
export const setPages = fn(
  function* setPages(obj: DrmI915GemObject, pages: readonly Page[]) {
    const table = yield* kmalloc(SgTable, GFP_KERNEL);
    if (table === null) return -ENOMEM;
    table.count = pages.length;
    obj.sgTable = table;
    obj.pages = pages;
    return 0;
  },
  { name: '__i915_gem_object_set_pages' },
);

function getPagesOf(obj: DrmI915GemObject) {
  return obj.isUserptr ? globals().userptr!.getPages(obj) : getOwnPages(obj);
}

/** The pages are there, and stay until the count is dropped: 0 or -errno. May sleep. */
export const i915GemObjectPinPages = fn(function* i915GemObjectPinPages(
  obj: DrmI915GemObject,
): Body<number> {
  if (yield* atomicIncNotZero(obj.pagesPinCount)) return 0;
  const hasLock = hasPagesLock();
  if (hasLock && (yield* mutexLockInterruptible(obj.mmLock)) !== 0) return -EINTR;
  let error = 0;
  if (obj.pages === null) error = yield* getPagesOf(obj);
  if (error === 0) yield* atomicInc(obj.pagesPinCount);
  if (hasLock) yield* mutexUnlock(obj.mmLock);
  return error;
});

const dropPages = fn(
  function* dropPages(obj: DrmI915GemObject) {
    const { pages, sgTable } = obj;
    obj.pages = null;
    obj.sgTable = null;
    if (obj.isUserptr) yield* globals().userptr!.putPages(obj, pages);
    else if (pages !== null) yield* putOwnPages(pages);
    obj.isDirty = false;
    if (sgTable !== null) yield* kfree(sgTable);
  },
  { name: '__i915_gem_object_unset_pages' },
);

/**
 * `__i915_gem_object_put_pages(obj, subclass)`: lets go of the pages, and of those that are being looked up. 0, or -EBUSY
 * if somebody needs them. May sleep.
 */
export const i915GemObjectPutPages = fn(
  function* i915GemObjectPutPages(obj: DrmI915GemObject, subclass: number) {
    if ((yield* atomicRead(obj.pagesPinCount)) > 0) return -EBUSY;
    const hasLock = hasPagesLock();
    if (hasLock) yield* mutexLockNested(obj.mmLock, subclass);
    // Once more: somebody may have pinned them meanwhile.
    const isPinned = (yield* atomicRead(obj.pagesPinCount)) > 0;
    if (!isPinned) yield* dropPages(obj);
    if (hasLock) yield* mutexUnlock(obj.mmLock);
    return isPinned ? -EBUSY : 0;
  },
  { name: '__i915_gem_object_put_pages' },
);

// ---- life ----------------------------------------------------------------------------------------

/** A buffer with one reference and without pages, or NULL without memory. May sleep. */
export const i915GemObjectAlloc = fn(function* i915GemObjectAlloc(pageCount: number) {
  const obj = yield* kzalloc(DrmI915GemObject, GFP_KERNEL);
  if (obj === null) return null;
  krefInit(obj.refcount);
  obj.pageCount = pageCount;
  yield* atomicInc(globals().bufferCount);
  return obj;
});

const i915GemFreeObjects = fn(
  function* i915GemFreeObjects(work: WorkStruct) {
    const obj = containerOf(work, DrmI915GemObject, 'freeWork');
    const lock = bindingLock(obj);
    yield* mutexLock(lock);
    // Each job had a reference, so the GPU is done.
    yield* i915GemObjectUnbind(obj);
    if (!hasPagesLock()) yield* i915GemObjectPutPages(obj, I915_MM_NORMAL);
    yield* mutexUnlock(lock);
    if (hasPagesLock()) yield* i915GemObjectPutPages(obj, I915_MM_NORMAL);
    if (obj.isUserptr) yield* globals().userptr!.release(obj);
    if (obj.fence !== null) yield* dmaFencePut(obj.fence);
    yield* kfree(obj);
    const { bufferCount, idle } = globals();
    if (yield* atomicDecAndTest(bufferCount)) yield* wakeUpAll(idle);
  },
  { name: '__i915_gem_free_work' },
);

const i915GemFreeObject = fn(function* i915GemFreeObject(ref: Kref) {
  const obj = containerOf(ref, DrmI915GemObject, 'refcount');
  initWork(obj.freeWork, i915GemFreeObjects);
  yield* queueWork(globals().wq!, obj.freeWork);
});

/** `i915_gem_object_get`, by who has a reference. */
export function i915GemObjectGet(obj: DrmI915GemObject) {
  return krefGet(obj.refcount);
}

/** `i915_gem_object_put`. Never sleeps. */
export const i915GemObjectPut = fn(function* i915GemObjectPut(obj: DrmI915GemObject) {
  yield* krefPut(obj.refcount, i915GemFreeObject);
});
