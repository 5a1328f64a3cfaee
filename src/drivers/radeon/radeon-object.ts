/**
 * The life of a radeon_bo.
 *
 * Who keeps it alive: its handle, and a job as long as it is being submitted. A job that runs does not: a buffer whose
 * last reference goes is deleted later, by a work, when the GPU is done with it.
 */
import { dmaFenceIsSignaled, dmaFencePut } from '../../device/fence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { krefGet, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import type { Page } from '../../mm-types/page.ts';
import { allocPage, putPage } from '../../mm/frames.ts';
import { globals, radeon, RadeonBo, type RadeonDevice } from './radeon.ts';
import { radeonBoReserve, radeonBoUnreserve, radeonBoWait, ttmBoValidate } from './radeon-ttm.ts';

const { fn } = radeon;

const putPages = fn(
  function* putPages(pages: readonly Page[]) {
    for (const page of pages) yield* putPage(page);
  },
  { name: 'ttm_pool_unpopulate' },
);

/** Pages of the buffer's own, or null without memory. */
const populate = fn(
  function* populate(count: number) {
    const pages: Page[] = [];
    while (pages.length < count) {
      const page = yield* allocPage(GFP_KERNEL);
      if (page === null) {
        yield* putPages(pages);
        return null;
      }
      pages.push(page);
    }
    return pages as readonly Page[];
  },
  { name: 'ttm_pool_populate' },
);

/**
 * `radeon_gem_object_create`: a buffer with one reference, or NULL without memory. One for a user pointer has no pages
 * until it is bound. May sleep.
 */
export const radeonGemObjectCreate = fn(function* radeonGemObjectCreate(
  rdev: RadeonDevice,
  pageCount: number,
  isUserptr: boolean,
) {
  const bo = yield* kzalloc(RadeonBo, GFP_KERNEL);
  if (bo === null) return null;
  krefInit(bo.refcount);
  bo.rdev = rdev;
  bo.pageCount = pageCount;
  bo.isUserptr = isUserptr;
  if (!isUserptr) {
    bo.pages = yield* populate(pageCount);
    if (bo.pages === null) {
      yield* kfree(bo);
      return null;
    }
  }
  return bo;
});

/** Frees what the GPU is done with, and nobody else knows. */
const ttmBoCleanup = fn(
  function* ttmBoCleanup(bo: RadeonBo) {
    yield* radeonBoReserve(bo);
    yield* ttmBoValidate(bo, 'RADEON_GEM_DOMAIN_CPU');
    yield* radeonBoUnreserve(bo);
    const { unregister, unregistersLast = false } = globals().userptr!;
    if (unregistersLast) yield* unregister(bo);
    if (bo.fence !== null) yield* dmaFencePut(bo.fence);
    if (!bo.isUserptr) yield* putPages(bo.pages!);
    yield* kfree(bo);
  },
  { name: 'ttm_bo_cleanup_memtype_use' },
);

const ttmBoDelayedDelete = fn(function* ttmBoDelayedDelete(work: WorkStruct) {
  const bo = containerOf(work, RadeonBo, 'delayedDelete');
  yield* radeonBoWait(bo);
  yield* ttmBoCleanup(bo);
});

/**
 * The last reference is gone. The GPU may still be at it; the kernel gives the notifier up all the same, and with it what
 * the GPU does to the program's pages from then on.
 */
const radeonGemObjectFree = fn(function* radeonGemObjectFree(ref: Kref) {
  const bo = containerOf(ref, RadeonBo, 'refcount');
  const { unregister, unregistersLast = false } = globals().userptr!;
  if (!unregistersLast) yield* unregister(bo);
  if (bo.fence === null || (yield* dmaFenceIsSignaled(bo.fence))) {
    yield* ttmBoCleanup(bo);
    return;
  }
  initWork(bo.delayedDelete, ttmBoDelayedDelete);
  yield* queueWork(bo.rdev!.ttmWq!, bo.delayedDelete);
});

/** `drm_gem_object_get`, by who has a reference. */
export function drmGemObjectGet(bo: RadeonBo) {
  return krefGet(bo.refcount);
}

/** `drm_gem_object_put_unlocked`. May sleep. */
export const drmGemObjectPutUnlocked = fn(function* drmGemObjectPutUnlocked(bo: RadeonBo) {
  yield* krefPut(bo.refcount, radeonGemObjectFree);
});
