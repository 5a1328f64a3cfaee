/**
 * Interval notifiers from the mm's side: start, end and exit. interval.ts says how the sequence works.
 *
 * No SRCU: as long as the sequence is odd nothing comes into the tree or leaves it, so walkers need no lock.
 */
import { EAGAIN } from '../base/errno.ts';
import { ULONG_MAX, ulongAdd } from '../base/ulong.ts';
import { warnOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { hlistDel, hlistForEachEntrySafe } from '../kernel/hlist.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
  type IntervalTreeNode,
} from '../kernel/interval-tree.ts';
import { nonBlockEnd, nonBlockStart } from '../kernel/preempt.ts';
import { current } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { containerOf } from '../kernel/struct.ts';
import { wakeUpAll } from '../kernel/wait.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { isInItree, MmuIntervalNotifier, mnItreeIsInvalidating } from './interval.ts';
import {
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_RELEASE,
  mmuNotifierRangeBlockable,
  type MmuNotifierMm,
  type MmuNotifierRange,
} from './mmu-notifier.ts';

function notifierOf(node: IntervalTreeNode | null): MmuIntervalNotifier | null {
  return node === null ? null : containerOf(node, MmuIntervalNotifier, 'intervalTree');
}

/** The first that the range hits, and the sequence for the callbacks. From here on the range is active. */
const mnItreeInvStartRange = fn(function* mnItreeInvStartRange(
  notifiers: MmuNotifierMm,
  range: MmuNotifierRange,
) {
  yield* spinLock(notifiers.lock);
  notifiers.activeInvalidateRanges += 1;
  const node = intervalTreeIterFirst(notifiers.itree, range.start, range.end - 1);
  if (node !== null && !mnItreeIsInvalidating(notifiers)) {
    yield* writeOnce(notifiers, 'invalidateSeq', notifiers.invalidateSeq + 1);
  }
  const seq = notifiers.invalidateSeq;
  yield* spinUnlock(notifiers.lock);
  return { first: notifierOf(node), seq };
});

function mnItreeInvNext(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
): MmuIntervalNotifier | null {
  return notifierOf(intervalTreeIterNext(mni.intervalTree, range.start, range.end - 1));
}

/** Puts into the tree, and takes out of it, what had to wait for an even sequence. Under the lock. */
function workOffDeferred(notifiers: MmuNotifierMm): void {
  const deferred = hlistForEachEntrySafe(
    notifiers.deferredList,
    MmuIntervalNotifier,
    'deferredItem',
  );
  for (const mni of deferred) {
    if (isInItree(mni)) intervalTreeRemove(mni.intervalTree, notifiers.itree);
    else intervalTreeInsert(mni.intervalTree, notifiers.itree);
    hlistDel(mni.deferredItem);
  }
}

/** A range is no longer active. The last one lets everybody go on who waits for the tree. */
export const mnItreeInvEnd = fn(function* mnItreeInvEnd(notifiers: MmuNotifierMm) {
  yield* spinLock(notifiers.lock);
  notifiers.activeInvalidateRanges -= 1;
  const isLast = notifiers.activeInvalidateRanges === 0;
  if (!isLast || !mnItreeIsInvalidating(notifiers)) {
    yield* spinUnlock(notifiers.lock);
    return;
  }
  yield* writeOnce(notifiers, 'invalidateSeq', ulongAdd(notifiers.invalidateSeq, 1));
  workOffDeferred(notifiers);
  yield* spinUnlock(notifiers.lock);
  yield* wakeUpAll(notifiers.wq);
});

/**
 * Start: tells every interval notifier that the range hits. Returns 0, or -EAGAIN if one would have to sleep and
 * must not; then the range is not active, and has no end. Stricter than Linux: sleeping in a callback is a finding
 * if the range is not blockable.
 */
export const mnItreeInvalidate = fn(function* mnItreeInvalidate(
  notifiers: MmuNotifierMm,
  range: MmuNotifierRange,
) {
  const { first, seq } = yield* mnItreeInvStartRange(notifiers, range);
  const isBlockable = mmuNotifierRangeBlockable(range);
  const task = current();
  for (let mni = first; mni !== null; mni = mnItreeInvNext(mni, range)) {
    if (!isBlockable) nonBlockStart(task);
    const isDone = yield* mni.ops!.invalidate(mni, range, seq);
    if (!isBlockable) nonBlockEnd(task);
    if (isDone || warnOn(isBlockable, 'mmu_notifier_range_blockable(range)')) continue;
    yield* mnItreeInvEnd(notifiers);
    return -EAGAIN;
  }
  return 0;
});

/** Exit: all that is mapped goes. The notifiers stay in the tree until their owners remove them. */
export const mnItreeRelease = fn(function* mnItreeRelease(notifiers: MmuNotifierMm, mm: MmStruct) {
  const range: MmuNotifierRange = {
    mm,
    vma: null,
    start: 0,
    end: ULONG_MAX,
    event: MMU_NOTIFY_RELEASE,
    flags: MMU_NOTIFIER_RANGE_BLOCKABLE,
  };
  const { first, seq } = yield* mnItreeInvStartRange(notifiers, range);
  for (let mni = first; mni !== null; mni = mnItreeInvNext(mni, range)) {
    warnOn(!(yield* mni.ops!.invalidate(mni, range, seq)), '!ret');
  }
  yield* mnItreeInvEnd(notifiers);
});
