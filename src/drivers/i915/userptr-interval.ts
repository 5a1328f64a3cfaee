/**
 * i915_gem_userptr.c of v6.1 (since v5.13): an interval notifier for each buffer, and no tree, no work, no struct_mutex.
 *
 * Pages are looked up before a submission locks anything, at a sequence that is asked once more when its fence is in the
 * buffers. Invalidation sets the sequence and waits for the fences; pages stay bound, and pinned, until the next
 * submission finds that they are old.
 *
 *   CPU0 execbuffer                         CPU1 invalidation
 *   leaves its fence in the buffers
 *                                           notifier_lock: sets the sequence
 *   notifier_lock: asks the sequence:
 *   old, so it signals the fence itself     waits for the fences
 *
 * Either CPU0 sees the sequence, or CPU1 the fence.
 *
 * As v6.1 has it, there are three things that `fixed` (ours) does otherwise: the event of a task that exits does not wait
 * for the GPU; submit_init asks the sequence under the reservation, not under the lock that it is set under; and it
 * forgets about pages for which it finds no memory for a table.
 * Simplified: `notifier_lock` is an rwlock_t there, whose readers do not exclude each other.
 */
import { EAGAIN, EFAULT } from '../../base/errno.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { PG_DIRTY, setPageFlag, type Page } from '../../mm-types/page.ts';
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts';
import { trylockPage, unlockPage } from '../../mm/page-cache.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { i915GemObjectUnbind, waitForIdle } from './i915-gem-gtt.ts';
import {
  I915_MM_NORMAL,
  i915GemObjectPutPages,
  lockBinding,
  setPages,
  unlockBinding,
} from './i915-gem-object.ts';
import { DrmI915GemObject, globals, i915, type UserptrVersion } from './i915.ts';

const { fn } = i915;

interface Differences {
  /** Whether the GPU is waited for when the mm ends. */
  readonly waitsAtExit: boolean;
  /** Whether submit_init asks the sequence under notifier_lock. */
  readonly asksLocked: boolean;
  /** Whether submit_init unpins pages for which there is no table. */
  readonly dropsOnError: boolean;
}

const unpinAll = fn(
  function* unpinAll(pages: readonly Page[]) {
    for (const page of pages) yield* unpinUserPage(page);
  },
  { name: 'unpin_user_pages' },
);

// ---- pages that are looked up --------------------------------------------------------------------

/** Somebody needs the pages no more; the last one unpins them. The buffer is reserved. */
const dropRef = fn(
  function* dropRef(obj: DrmI915GemObject) {
    obj.pageRef -= 1;
    if (obj.pageRef > 0) return;
    const pages = obj.pvec!;
    obj.pvec = null;
    yield* unpinAll(pages);
  },
  { name: 'i915_gem_object_userptr_drop_ref' },
);

/** `ops->get_pages`: 0; -EAGAIN if nothing is looked up; -ENOMEM. The buffer is reserved. */
const getPages = fn(
  function* getPages(obj: DrmI915GemObject): Body<number> {
    if (obj.pageRef === 0) return -EAGAIN;
    obj.pageRef += 1;
    const error = yield* setPages(obj, obj.pvec!);
    if (error !== 0) yield* dropRef(obj);
    return error;
  },
  { name: 'i915_gem_userptr_get_pages' },
);

const putPages = fn(
  function* putPages(obj: DrmI915GemObject, pages: readonly Page[] | null) {
    if (pages === null) return;
    for (const page of pages) {
      if (!obj.isDirty || obj.isReadonly || !(yield* trylockPage(page))) continue;
      yield* setPageFlag(page, PG_DIRTY);
      yield* unlockPage(page);
    }
    yield* dropRef(obj);
  },
  { name: 'i915_gem_userptr_put_pages' },
);

/** Takes old pages off the GPU: 0 or -errno. The buffer is reserved. */
const unbind = fn(
  function* unbind(obj: DrmI915GemObject) {
    const error = yield* i915GemObjectUnbind(obj);
    return error === 0 ? yield* i915GemObjectPutPages(obj, I915_MM_NORMAL) : error;
  },
  { name: 'i915_gem_object_userptr_unbind' },
);

/** Whether the buffer has the pages of that sequence; if not, it has none then. 0, 1 or -errno. */
const isCurrent = fn(
  function* isCurrent(obj: DrmI915GemObject, seq: number) {
    const interrupted = yield* lockBinding(obj);
    if (interrupted !== 0) return interrupted;
    const isSame = seq === obj.notifierSeq && obj.pvec !== null;
    const error = isSame ? 0 : yield* unbind(obj);
    yield* unlockBinding(obj);
    return error === 0 && isSame ? 1 : error;
  },
  { name: 'i915_gem_object_userptr_submit_init' },
);

/** The pages, pinned, or -errno. No lock is held. */
const pin = fn(
  function* pin(obj: DrmI915GemObject): Body<readonly Page[] | number> {
    const mm = obj.notifier.mm!;
    yield* downRead(mm.mmapSem);
    const pages = yield* pinUserPages(mm, obj.userptr, obj.pageCount, !obj.isReadonly);
    yield* upRead(mm.mmapSem);
    return pages;
  },
  { name: 'pin_user_pages_fast' },
);

/** submit_init: looks the pages up at a sequence, and gives them to the buffer. */
function submitInitWith({ asksLocked, dropsOnError }: Differences) {
  const isOld = fn(
    function* isOld(obj: DrmI915GemObject, seq: number) {
      const { notifierLock } = globals();
      if (asksLocked) yield* spinLock(notifierLock);
      const result = mmuIntervalReadRetry(obj.notifier, seq);
      if (asksLocked) yield* spinUnlock(notifierLock);
      return result;
    },
    { name: 'mmu_interval_read_retry' },
  );

  /** Gives pages to the buffer, unless they are old, or it has some: 0 or -errno. Unpins what it does not take. */
  const take = fn(
    function* take(obj: DrmI915GemObject, pages: readonly Page[], seq: number) {
      let rest: readonly Page[] | null = pages;
      let error = yield* lockBinding(obj);
      if (error === 0) {
        if (yield* isOld(obj, obj.pageRef === 0 ? seq : obj.notifierSeq)) error = -EAGAIN;
        else if (obj.pageRef === 0) {
          obj.pvec = pages;
          obj.notifierSeq = seq;
          obj.pageRef = 1;
          rest = null;
          error = yield* getPages(obj);
          if (dropsOnError) yield* dropRef(obj);
          else obj.pageRef -= 1;
        }
        yield* unlockBinding(obj);
      }
      if (rest !== null) yield* unpinAll(rest);
      return error;
    },
    { name: 'i915_gem_object_userptr_submit_init' },
  );

  return fn(
    function* submitInit(obj: DrmI915GemObject): Body<number> {
      if (obj.notifier.mm !== current().mm) return -EFAULT;
      const seq = yield* mmuIntervalReadBegin(obj.notifier);
      const state = yield* isCurrent(obj, seq);
      if (state !== 0) return Math.min(state, 0);
      const pages = yield* pin(obj);
      return typeof pages === 'number' ? pages : yield* take(obj, pages, seq);
    },
    { name: 'i915_gem_object_userptr_submit_init' },
  );
}

/** PF_EXITING: a thread that has left its address space, and takes it down. */
function isExiting(): boolean {
  const { mm, process } = current();
  return mm === null && process !== null;
}

// ---- a version -----------------------------------------------------------------------------------

function version(differences: Differences): UserptrVersion {
  const invalidate = fn(
    function* invalidate(mni: MmuIntervalNotifier, range: MmuNotifierRange, seq: number) {
      if (!mmuNotifierRangeBlockable(range)) return false;
      const { notifierLock } = globals();
      const obj = containerOf(mni, DrmI915GemObject, 'notifier');
      yield* spinLock(notifierLock);
      yield* mmuIntervalSetSeq(mni, seq);
      yield* spinUnlock(notifierLock);
      if (!differences.waitsAtExit && isExiting()) return true;
      yield* waitForIdle(obj, false);
      return true;
    },
    { name: 'i915_gem_userptr_invalidate' },
  );

  const ops: MmuIntervalNotifierOps = { invalidate };

  const init = fn(
    function* init(obj: DrmI915GemObject) {
      const mm = current().mm as MmStruct;
      const interval = { start: obj.userptr, length: obj.pageCount * PAGE_SIZE };
      obj.usermm = mm;
      const error = yield* mmuIntervalNotifierInsert(obj.notifier, mm, interval, ops);
      // So that nothing is removed that was not inserted.
      if (error !== 0) obj.notifier.mm = null;
      return error;
    },
    { name: 'i915_gem_userptr_init__mmu_notifier' },
  );

  const release = fn(
    function* release(obj: DrmI915GemObject) {
      if (obj.notifier.mm === null) return;
      yield* mmuIntervalNotifierRemove(obj.notifier);
      obj.notifier.mm = null;
    },
    { name: 'i915_gem_userptr_release' },
  );

  const submitInit = submitInitWith(differences);
  return { init, release, getPages, putPages, submitInit, submitDone, ...SINCE_V513 };
}

const SINCE_V513 = { locks: 'resv', knowsUnsynchronized: false } as const;

/** Whether the pages of all that a submission uses are still good: 0 or -EAGAIN. Its fence is in them. */
const submitDone = fn(
  function* submitDone(objects: readonly DrmI915GemObject[]) {
    const { notifierLock } = globals();
    yield* spinLock(notifierLock);
    const isOld = objects.some(
      ({ isUserptr, notifier, notifierSeq }) =>
        isUserptr && mmuIntervalReadRetry(notifier, notifierSeq),
    );
    yield* spinUnlock(notifierLock);
    return isOld ? -EAGAIN : 0;
  },
  { name: 'i915_gem_object_userptr_submit_done' },
);

export const userptrV61 = version({
  waitsAtExit: false,
  asksLocked: false,
  dropsOnError: false,
});

/** The same form without those three. No kernel had it. */
export const userptrFixed = version({ waitsAtExit: true, asksLocked: true, dropsOnError: true });
