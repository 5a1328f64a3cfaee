/**
 * Start as it was up to v5.0 (484d9a844d0d changed it): a work for each buffer takes struct_mutex and lets go, and start
 * waits for all of them. That it does not take the lock itself hides from lockdep what it waits for, and does not change
 * it: whoever calls start with struct_mutex held waits for ever (B-22).
 */
import { EAGAIN } from '../../base/errno.ts';
import {
  intervalTreeEmpty,
  intervalTreeIterFirst,
  intervalTreeIterNext,
} from '../../kernel/interval-tree.ts';
import { krefGetUnlessZero } from '../../kernel/kref.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { flushWorkqueue, initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { i915GemObjectUnbind } from './i915-gem-gtt.ts';
import { I915_MM_NORMAL, i915GemObjectPut, i915GemObjectPutPages } from './i915-gem-object.ts';
import { bufferOf, globals, i915, I915MmuNotifier, I915MmuObject } from './i915.ts';
import { delObject } from './userptr-tree.ts';

const { fn } = i915;

const cancelUserptr = fn(function* cancelUserptr(work: WorkStruct) {
  const obj = bufferOf(containerOf(work, I915MmuObject, 'work'));
  const { structMutex } = globals();
  yield* mutexLock(obj.mmLock);
  const isLookedUp = obj.work !== null;
  obj.work = null;
  yield* mutexUnlock(obj.mmLock);
  if (!isLookedUp) {
    yield* mutexLock(structMutex);
    if ((yield* i915GemObjectUnbind(obj)) === 0) yield* i915GemObjectPutPages(obj, I915_MM_NORMAL);
    yield* mutexUnlock(structMutex);
  }
  yield* i915GemObjectPut(obj);
});

/** Queues a work for each buffer in the range and takes it out of the tree: whether there was any, or -EAGAIN. */
const cancelAll = fn(
  function* cancelAll(mn: I915MmuNotifier, range: MmuNotifierRange) {
    const last = range.end - 1;
    const cancelled: I915MmuObject[] = [];
    yield* spinLock(mn.lock);
    let it = intervalTreeEmpty(mn.objects)
      ? null
      : intervalTreeIterFirst(mn.objects, range.start, last);
    if (it !== null && !mmuNotifierRangeBlockable(range)) {
      yield* spinUnlock(mn.lock);
      return -EAGAIN;
    }
    for (; it !== null; it = intervalTreeIterNext(it, range.start, last)) {
      const mo = containerOf(it, I915MmuObject, 'it');
      if (yield* krefGetUnlessZero(bufferOf(mo).refcount)) {
        initWork(mo.work, cancelUserptr);
        yield* queueWork(mn.wq!, mo.work);
      }
      cancelled.push(mo);
    }
    for (const mo of cancelled) delObject(mo);
    yield* spinUnlock(mn.lock);
    return cancelled.length;
  },
  { name: 'i915_gem_userptr_mn_invalidate_range_start' },
);

/** 0, or -EAGAIN with nothing done. */
export const userptrMnInvalidateRangeStartV50 = fn(
  function* userptrMnInvalidateRangeStartV50(mn: MmuNotifier, range: MmuNotifierRange) {
    const notifier = containerOf(mn, I915MmuNotifier, 'mn');
    const result = yield* cancelAll(notifier, range);
    if (result > 0) yield* flushWorkqueue(notifier.wq!);
    return Math.min(result, 0);
  },
  { name: 'i915_gem_userptr_mn_invalidate_range_start' },
);
