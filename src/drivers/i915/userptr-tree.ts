/**
 * What i915_gem_userptr.c is up to v5.12, however the notifier is found: the tree of buffers, start, and the look-up of
 * pages.
 *
 * Submission holds struct_mutex when it needs pages, and struct_mutex comes after mmap_sem. So what is there is taken
 * without mmap_sem (fast GUP), and for what is not a work looks the pages up; the program is told to try again. A buffer
 * is in the tree while it has pages or waits for that work; start takes it out, and cancels the work.
 *
 *   CPU0 execbuffer                         CPU1 munmap
 *   fast GUP: the page that is there
 *                                           start: the buffer is not in the tree yet, so nothing to do
 *   puts the buffer into the tree
 *                                           takes the page out        <- and nobody tells CPU0
 *
 * Versions differ in how start gets at struct_mutex, which its caller may hold (B-22), and in how put_pages marks pages
 * dirty, which its caller may have locked (B-21).
 */
import { EAGAIN, EFAULT, EINTR, ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import {
  intervalTreeEmpty,
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
} from '../../kernel/interval-tree.ts';
import { krefGetUnlessZero } from '../../kernel/kref.ts';
import {
  mutexLock,
  mutexLockKillableNested,
  mutexTrylock,
  mutexUnlock,
  type Mutex,
} from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kmalloc, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { initWork, queueWork, workStruct, type WorkStruct } from '../../kernel/workqueue.ts';
import { mmgetNotZero, mmput, PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { PG_DIRTY, setPageFlag, type Page } from '../../mm-types/page.ts';
import { getUserPagesFastOnly } from '../../mm/gup-fast.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { lockPage, trylockPage, unlockPage } from '../../mm/page-cache.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { i915GemObjectUnbind } from './i915-gem-gtt.ts';
import {
  I915_MM_SHRINKER,
  i915GemObjectGet,
  i915GemObjectPut,
  i915GemObjectPutPages,
  setPages,
} from './i915-gem-object.ts';
import {
  bufferOf,
  globals,
  i915,
  I915MmuNotifier,
  I915MmuObject,
  type DrmI915GemObject,
} from './i915.ts';

const { fn } = i915;

// ---- the tree ------------------------------------------------------------------------------------

/** Takes a buffer out of the tree, if it is there. The notifier's lock is held. */
export function delObject(mo: I915MmuObject): void {
  if (mo.it.root !== null) intervalTreeRemove(mo.it, mo.mn!.objects);
}

/** From here on start finds the buffer, or does not. */
const setActive = fn(
  function* setActive(obj: DrmI915GemObject, isActive: boolean) {
    const mo = obj.mmuObject;
    if (mo === null) return;
    const { lock, objects } = mo.mn!;
    yield* spinLock(lock);
    if (isActive) intervalTreeInsert(mo.it, objects);
    else delObject(mo);
    yield* spinUnlock(lock);
  },
  { name: '__i915_gem_userptr_set_active' },
);

/** Gives a buffer what the notifier knows it by: 0 or -ENOMEM. May sleep. */
export const addMmuObject = fn(
  function* addMmuObject(obj: DrmI915GemObject, mn: I915MmuNotifier) {
    const mo = yield* kzalloc(I915MmuObject, GFP_KERNEL);
    if (mo === null) return -ENOMEM;
    mo.mn = mn;
    mo.obj = obj;
    mo.it.start = obj.userptr;
    mo.it.last = obj.userptr + obj.pageCount * PAGE_SIZE - 1;
    obj.mmuObject = mo;
    return 0;
  },
  { name: 'i915_gem_userptr_init__mmu_notifier' },
);

/** Takes that from it again. Start does not find the buffer any more, and does not have it: it would have a reference. */
export const removeMmuObject = fn(
  function* removeMmuObject(obj: DrmI915GemObject) {
    const mo = obj.mmuObject;
    if (mo === null) return;
    obj.mmuObject = null;
    const { lock } = mo.mn!;
    yield* spinLock(lock);
    delObject(mo);
    yield* spinUnlock(lock);
    yield* kfree(mo);
  },
  { name: 'i915_gem_userptr_release__mmu_notifier' },
);

// ---- start, v5.1 to v5.5 -------------------------------------------------------------------------

/** Somebody up the stack holds it: nothing was taken, and all may be done. */
const RECURSIVE = 'recursive';

/**
 * struct_mutex for start: true if it was taken, `recursive` if the task has it already, -EINTR if a fatal signal ended
 * the wait. Lockdep is told that this one is another than who allocates has; nothing ensures that.
 */
const lockStructMutex = fn(
  function* lockStructMutex(lock: Mutex): Body<true | number | typeof RECURSIVE> {
    // That of others is of no interest, and one's own does not change.
    if (lock.owner === current()) return RECURSIVE;
    if (yield* mutexTrylock(lock)) return true;
    return (yield* mutexLockKillableNested(lock, I915_MM_SHRINKER)) === 0 ? true : -EINTR;
  },
  { name: 'mutex_trylock_recursive' },
);

/** The first in the range that is not about to be freed, with a reference; -EAGAIN if there is any and that is too much. */
const findObject = fn(
  function* findObject(mn: I915MmuNotifier, range: MmuNotifierRange) {
    const last = range.end - 1;
    yield* spinLock(mn.lock);
    let found: DrmI915GemObject | number | null = null;
    let it = intervalTreeEmpty(mn.objects)
      ? null
      : intervalTreeIterFirst(mn.objects, range.start, last);
    while (it !== null && found === null) {
      const obj = bufferOf(containerOf(it, I915MmuObject, 'it'));
      if (!mmuNotifierRangeBlockable(range)) found = -EAGAIN;
      else if (yield* krefGetUnlessZero(obj.refcount)) found = obj;
      else it = intervalTreeIterNext(it, range.start, last);
    }
    yield* spinUnlock(mn.lock);
    return found;
  },
  { name: 'userptr_mn_invalidate_range_start' },
);

/** Takes a buffer off the GPU and lets go of its pages: 0 or -errno. struct_mutex is held. Gives up the reference. */
const letGo = fn(
  function* letGo(obj: DrmI915GemObject) {
    let error = yield* i915GemObjectUnbind(obj);
    if (error === 0) error = yield* i915GemObjectPutPages(obj, I915_MM_SHRINKER);
    yield* i915GemObjectPut(obj);
    return error;
  },
  { name: 'userptr_mn_invalidate_range_start' },
);

/**
 * Start takes struct_mutex, unless its task has it, and unbinds what is in the range, one after the other: the search
 * begins anew each time, because the tree may have changed, and may never end. What goes wrong is returned, blockable or
 * not.
 */
export const userptrMnInvalidateRangeStart = fn(function* userptrMnInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const notifier = containerOf(mn, I915MmuNotifier, 'mn');
  const { structMutex } = globals();
  let held: true | typeof RECURSIVE | null = null;
  let error = 0;
  while (error === 0) {
    const obj = yield* findObject(notifier, range);
    if (obj === null) break;
    if (typeof obj === 'number') return obj;
    if (held === null) {
      const result = yield* lockStructMutex(structMutex);
      if (typeof result === 'number') {
        yield* i915GemObjectPut(obj);
        return result;
      }
      held = result;
    }
    error = yield* letGo(obj);
  }
  if (held === true) yield* mutexUnlock(structMutex);
  return error;
});

// ---- looking pages up ----------------------------------------------------------------------------

const GetPagesWork = struct('get_pages_work', {
  work: workStruct(),
  /** With a reference. */
  obj: ptr<DrmI915GemObject>(),
});
type GetPagesWork = InstanceOf<typeof GetPagesWork>;

const releasePages = fn(
  function* releasePages(pages: readonly Page[]) {
    for (const page of pages) yield* putUserPage(page);
  },
  { name: 'release_pages' },
);

/** All pages, or -EFAULT, -ENOMEM. Takes the mm into use, if it still is: the notifier pins its structure only. */
const lookUp = fn(
  function* lookUp(obj: DrmI915GemObject): Body<readonly Page[] | number> {
    const mm = obj.usermm!;
    if (!(yield* mmgetNotZero(mm))) return -EFAULT;
    yield* downRead(mm.mmapSem);
    const pages = yield* getUserPages(mm, obj.userptr, obj.pageCount, !obj.isReadonly);
    yield* upRead(mm.mmapSem);
    // May be the last: no lock is held.
    yield* mmput(mm);
    return pages;
  },
  { name: 'get_user_pages_remote' },
);

/** Gives the pages to the buffer: what is to be in `work` then. `mm.lock` is held. */
const publish = fn(
  function* publish(obj: DrmI915GemObject, found: readonly Page[] | number) {
    const error = typeof found === 'number' ? found : yield* setPages(obj, found);
    if (error === 0) return null;
    yield* setActive(obj, false);
    if (typeof found !== 'number') yield* releasePages(found);
    return errPtr(error);
  },
  { name: '__i915_gem_userptr_get_pages_worker' },
);

/** Looks pages up without any lock of the driver, and uses them if nobody has cancelled that meanwhile. */
const getPagesWorker = fn(
  function* getPagesWorker(work: WorkStruct) {
    const request = containerOf(work, GetPagesWork, 'work');
    const obj = request.obj!;
    const found = yield* lookUp(obj);
    yield* mutexLock(obj.mmLock);
    if (obj.work === work) obj.work = yield* publish(obj, found);
    else if (typeof found !== 'number') yield* releasePages(found);
    yield* mutexUnlock(obj.mmLock);
    yield* i915GemObjectPut(obj);
    yield* kfree(request);
  },
  { name: '__i915_gem_userptr_get_pages_worker' },
);

/** -EAGAIN, or -ENOMEM. */
const getPagesSchedule = fn(
  function* getPagesSchedule(obj: DrmI915GemObject) {
    const request = yield* kmalloc(GetPagesWork, GFP_KERNEL);
    if (request === null) return -ENOMEM;
    yield* i915GemObjectGet(obj);
    request.obj = obj;
    initWork(request.work, getPagesWorker);
    obj.work = request.work;
    yield* queueWork(globals().userptrWq!, request.work);
    return -EAGAIN;
  },
  { name: '__i915_gem_userptr_get_pages_schedule' },
);

/** `ops->get_pages`: 0; -EAGAIN while a work looks them up; what that failed with; -ENOMEM. `mm.lock` is held. */
export const i915GemUserptrGetPages = fn(function* i915GemUserptrGetPages(obj: DrmI915GemObject) {
  const { work, usermm } = obj;
  if (work !== null) return isErr(work) ? ptrErr(work) : -EAGAIN;
  const pages =
    usermm === current().mm
      ? yield* getUserPagesFastOnly(usermm!, obj.userptr, obj.pageCount, !obj.isReadonly)
      : [];
  const isAll = pages.length === obj.pageCount;
  const error = isAll ? yield* setPages(obj, pages) : yield* getPagesSchedule(obj);
  if (error === 0 || error === -EAGAIN) yield* setActive(obj, true);
  if (error !== 0) yield* releasePages(pages);
  return error;
});

// ---- letting go of pages -------------------------------------------------------------------------

/** How a page is marked dirty: as set_page_dirty_lock does, only if nobody has it locked, or without its lock. */
export type DirtyManner = 'lock' | 'trylock' | 'plainly';

const setDirty = fn(
  function* setDirty(page: Page, how: DirtyManner) {
    if (how === 'lock') yield* lockPage(page);
    else if (how === 'trylock' && !(yield* trylockPage(page))) return;
    yield* setPageFlag(page, PG_DIRTY);
    if (how !== 'plainly') yield* unlockPage(page);
  },
  { name: 'set_page_dirty_lock' },
);

/** `ops->put_pages` of a version: cancels what is being looked up, and lets go of what was. */
export function putPagesWith(how: DirtyManner) {
  return fn(
    function* i915GemUserptrPutPages(obj: DrmI915GemObject, pages: readonly Page[] | null) {
      obj.work = null;
      yield* setActive(obj, false);
      if (pages === null) return;
      for (const page of pages) {
        if (obj.isDirty && !obj.isReadonly) yield* setDirty(page, how);
        yield* putUserPage(page);
      }
    },
    { name: 'i915_gem_userptr_put_pages' },
  );
}
