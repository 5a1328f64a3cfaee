/**
 * Interval notifiers (v5.5): a driver says which range it is interested in, and the core does what each driver had
 * done by itself: it filters by range, counts what is being invalidated, and says by a sequence number whether what
 * a driver has just looked up may be used.
 *
 * There is one sequence for all interval notifiers of an mm, and a copy in each:
 *
 *   mm: no range active                     sequence even; the tree may change
 *   mm: ranges active, none hit the tree    sequence even; the tree may change
 *   mm: ranges active, one hit the tree     sequence odd;  the tree must not change: walkers go through it without
 *                                           a lock, and who comes or goes waits on the deferred list
 *   the last active range ends              an odd sequence becomes even, and the deferred list is worked off
 *
 * The copy in a notifier is the (odd) sequence of the invalidation that hit it last. Equal to the mm's: that one is
 * still going on. Otherwise it is over. It is never even, so it never looks like the mm's at rest, whatever wraps.
 *
 *   CPU0 (driver)                           CPU1 (munmap)
 *   seq = read_begin(&mni)
 *   looks the pages up, without the
 *   driver's lock
 *                                           invalidate(): driver's lock, set_seq(&mni, odd), unlock
 *   takes the driver's lock
 *   read_retry(&mni, seq): true, since
 *   the copy has changed: once more         takes the pages out
 *
 * Life: the owner's memory holds the notifier, and the notifier pins mm_count, from insert to remove. Its callback
 * does not run in an SRCU section: what keeps the notifier alive there is that remove waits until the sequence has
 * gone on. Exit does not remove it.
 */
import { EINVAL, EOVERFLOW } from '../base/errno.ts';
import { ULONG_MAX, ulongSub } from '../base/ulong.ts';
import { mightSleep, warnOn } from '../kernel/assertion.ts';
import { atomicRead } from '../kernel/atomic.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { dataRace, readOnce, smpLoadAcquire, writeOnce } from '../kernel/field.ts';
import { hlistAddHead, hlistDel, hlistNode } from '../kernel/hlist.ts';
import {
  intervalTreeInsert,
  intervalTreeNode,
  intervalTreeRemove,
} from '../kernel/interval-tree.ts';
import { lockMapAcquire, lockMapRelease, touchMap } from '../kernel/lock-map.ts';
import type { Operation } from '../kernel/operation.ts';
import { current, running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { ptr, struct, type InstanceOf } from '../kernel/struct.ts';
import { waitEvent } from '../kernel/wait.ts';
import { mmdrop, mmgrab, type MmStruct } from '../mm-types/mm-struct.ts';
import { notifierBehaviourOf } from './behaviour.ts';
import {
  MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP,
  mmuNotifierMmOf,
  type MmuNotifierMm,
  type MmuNotifierRange,
} from './mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierRegisterLocked } from './register.ts';

/** The callback of an interval notifier. */
export interface MmuIntervalNotifierOps {
  /**
   * The range is about to change. Under the lock that the driver holds for {@link mmuIntervalReadRetry}: sets the
   * sequence by {@link mmuIntervalSetSeq}, whether or not it is interested, and stops using the range until a
   * reader has begun anew. There is no end. Returns true; false only if the range is not blockable and it would
   * have to sleep, with nothing done. May run at the same time for several ranges. Must not remove a notifier.
   */
  readonly invalidate: KernelCallable<[MmuIntervalNotifier, MmuNotifierRange, number], boolean>;
}

/** struct mmu_interval_notifier: embedded in what a driver has for a range. */
export const MmuIntervalNotifier = struct('mmu_interval_notifier', {
  /** In `mmu_notifier_mm.itree`: first and last byte. Under its lock, and while the sequence is even. */
  intervalTree: intervalTreeNode(),
  ops: ptr<MmuIntervalNotifierOps>(),
  /** Pinned by mm_count from insert to remove. */
  mm: ptr<MmStruct>(),
  /** In `mmu_notifier_mm.deferredList`, to be put into the tree or taken out of it. */
  deferredItem: hlistNode(),
  /** The sequence of the last invalidation that hit it. Written under the driver's lock. */
  invalidateSeq: 0,
});
export type MmuIntervalNotifier = InstanceOf<typeof MmuIntervalNotifier>;

/** What an interval notifier is interested in, in bytes. */
export interface Interval {
  readonly start: number;
  readonly length: number;
}

/** `mn_itree_is_invalidating`: whether the tree must not change. Under the lock. */
export function mnItreeIsInvalidating(notifiers: MmuNotifierMm): boolean {
  return notifiers.invalidateSeq % 2 === 1;
}

/** `!RB_EMPTY_NODE(&mni->interval_tree.rb)`. Under the lock, or while the sequence is odd. */
export function isInItree(mni: MmuIntervalNotifier): boolean {
  return mni.intervalTree.root !== null;
}

// ---- insert --------------------------------------------------------------------------------------

const insertInto = fn(
  function* insertInto(mni: MmuIntervalNotifier, notifiers: MmuNotifierMm) {
    const mm = mni.mm!;
    const { insertTests } = notifierBehaviourOf(running);
    const counter = insertTests === 'mm_users' ? mm.mmUsers : mm.mmCount;
    const isDead = (yield* atomicRead(counter)) <= 0;
    if (warnOn(isDead, `atomic_read(&mm->${insertTests}) <= 0`)) return -EINVAL;
    // Pairs with the mmdrop in remove.
    yield* mmgrab(mm);
    yield* spinLock(notifiers.lock);
    const isActive = notifiers.activeInvalidateRanges > 0;
    if (mnItreeIsInvalidating(notifiers)) {
      hlistAddHead(mni.deferredItem, notifiers.deferredList);
    } else {
      intervalTreeInsert(mni.intervalTree, notifiers.itree);
      // A range that began before may be this one: nobody told it, so it must wait for all of them.
      if (isActive) yield* writeOnce(notifiers, 'invalidateSeq', notifiers.invalidateSeq + 1);
    }
    const seq = notifiers.invalidateSeq;
    // At rest: odd, not the present one, and not the next for a long time.
    mni.invalidateSeq = isActive ? seq : ulongSub(seq, 1);
    yield* spinUnlock(notifiers.lock);
    return 0;
  },
  { name: '__mmu_interval_notifier_insert' },
);

/** Fills it in; nobody else knows it yet. Returns 0 or -EOVERFLOW. */
function prepare(
  mni: MmuIntervalNotifier,
  mm: MmStruct,
  { start, length }: Interval,
  ops: MmuIntervalNotifierOps,
): number {
  mni.mm = mm;
  mni.ops = ops;
  if (length === 0 || start + length - 1 > ULONG_MAX) return -EOVERFLOW;
  mni.intervalTree.start = start;
  mni.intervalTree.last = start + length - 1;
  return 0;
}

/**
 * Inserts `mni`, which is in no tree. The caller keeps mm_users above zero throughout and holds no lock that is
 * taken under mmap_sem: the first insertion into an mm takes that. May happen in the middle of an invalidation; then
 * the first reader waits for its end. Returns 0 and holds a pin on mm_count; -EOVERFLOW for an interval that is
 * empty or goes beyond the last address; -EINVAL for an mm that has ended; -ENOMEM, -EINTR. May sleep.
 *
 * @kernel mmu_interval_notifier_insert
 */
export const mmuIntervalNotifierInsert = fn(function* mmuIntervalNotifierInsert(
  mni: MmuIntervalNotifier,
  mm: MmStruct,
  interval: Interval,
  ops: MmuIntervalNotifierOps,
) {
  const { path, lockClass } = mm.mmapSem;
  touchMap(current(), { path, lock: mm.mmapSem, lockClass });
  // Without a lock: the pointer is published with all that it points to, and does not change.
  const published = (yield* smpLoadAcquire(mm, 'mmuNotifierMm')) as MmuNotifierMm | null;
  // On purpose: who sees it too late takes the locks for nothing.
  if (published === null || !(yield* dataRace(published, 'hasItree'))) {
    const error = yield* mmuNotifierRegister(null, mm);
    if (error !== 0) return error;
  }
  const error = prepare(mni, mm, interval, ops);
  if (error !== 0) return error;
  return yield* insertInto(mni, published ?? (mmuNotifierMmOf(mm) as MmuNotifierMm));
});

/**
 * As {@link mmuIntervalNotifierInsert}, for who holds mmap_sem for write.
 *
 * @kernel mmu_interval_notifier_insert_locked
 */
export const mmuIntervalNotifierInsertLocked = fn(function* mmuIntervalNotifierInsertLocked(
  mni: MmuIntervalNotifier,
  mm: MmStruct,
  interval: Interval,
  ops: MmuIntervalNotifierOps,
) {
  if (mmuNotifierMmOf(mm)?.hasItree !== true) {
    const error = yield* mmuNotifierRegisterLocked(null, mm);
    if (error !== 0) return error;
  }
  const error = prepare(mni, mm, interval, ops);
  if (error !== 0) return error;
  return yield* insertInto(mni, mmuNotifierMmOf(mm) as MmuNotifierMm);
});

// ---- remove --------------------------------------------------------------------------------------

/** The condition of who waits for the sequence to go on from `seq`. */
const mmuIntervalSeqReleased = fn(function* mmuIntervalSeqReleased(
  notifiers: MmuNotifierMm,
  seq: number,
) {
  yield* spinLock(notifiers.lock);
  const isReleased = notifiers.invalidateSeq !== seq;
  yield* spinUnlock(notifiers.lock);
  return isReleased;
});

function* hasGoneOn(notifiers: MmuNotifierMm, seq: number) {
  return (yield* readOnce(notifiers, 'invalidateSeq')) !== seq;
}

/** Says that what is done may wait for callbacks: locks that they take must not be held. */
function mayWaitForCallbacks(): void {
  lockMapAcquire(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
  lockMapRelease(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
}

/**
 * Takes `mni` out. When it returns no callback of it is running or will run, and its pin on the mm is gone, so the
 * caller may free it. The mm may have ended. Sleeps; never call it from a callback, nor with a lock held that a
 * callback takes.
 *
 *   CPU0 remove                             CPU1 the last end
 *   odd: puts off the removal
 *                                           lock; sequence becomes even
 *   sees that the sequence has gone on:     <- but not yet that the tree has: before v5.18 it did not wait for
 *                                              the lock, returned here, and freed what CPU1 now unlinks
 *                                           unlinks what was put off; unlock
 *
 * @kernel mmu_interval_notifier_remove
 */
export const mmuIntervalNotifierRemove = fn(function* mmuIntervalNotifierRemove(
  mni: MmuIntervalNotifier,
) {
  mightSleep();
  const mm = mni.mm!;
  const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
  let seq: number | null = null;
  yield* spinLock(notifiers.lock);
  if (!mnItreeIsInvalidating(notifiers)) {
    warnOn(!isInItree(mni), 'RB_EMPTY_NODE(&mni->interval_tree.rb)');
    intervalTreeRemove(mni.intervalTree, notifiers.itree);
  } else if (isInItree(mni)) {
    hlistAddHead(mni.deferredItem, notifiers.deferredList);
    seq = notifiers.invalidateSeq;
  } else {
    // Its insertion was still put off: nobody was ever told of it.
    hlistDel(mni.deferredItem);
  }
  yield* spinUnlock(notifiers.lock);
  mayWaitForCallbacks();
  if (seq !== null) {
    const odd = seq;
    const isReleased = notifierBehaviourOf(running).removeLooksLocked
      ? () => released(notifiers, odd)
      : () => hasGoneOn(notifiers, odd);
    yield* waitEvent(notifiers.wq, isReleased);
  }
  // Pairs with the mmgrab in insert.
  yield* mmdrop(mm);
});

function* released(notifiers: MmuNotifierMm, seq: number) {
  return yield* mmuIntervalSeqReleased(notifiers, seq);
}

// ---- the driver's side ---------------------------------------------------------------------------

/**
 * Begins to look something up in the interval of `mni`: waits for an invalidation that is hitting it, once, and
 * returns the sequence to hand to {@link mmuIntervalReadRetry}. What has begun since is noticed there. Sleeps; not
 * with a lock held that a callback takes.
 *
 * @kernel mmu_interval_read_begin
 */
export const mmuIntervalReadBegin = fn(function* mmuIntervalReadBegin(mni: MmuIntervalNotifier) {
  const notifiers = mmuNotifierMmOf(mni.mm!) as MmuNotifierMm;
  // Under the lock the two belong together: no insertion or end comes in between.
  yield* spinLock(notifiers.lock);
  // Marked, since a callback sets it under the driver's lock.
  const seq = yield* readOnce(mni, 'invalidateSeq');
  const isInvalidating = seq === notifiers.invalidateSeq;
  yield* spinUnlock(notifiers.lock);
  mayWaitForCallbacks();
  if (isInvalidating) yield* waitEvent(notifiers.wq, () => hasGoneOn(notifiers, seq));
  return seq;
});

/**
 * Whether the interval was hit since `seq` was handed out: then what was looked up must not be used, and all begins
 * anew. The caller holds the lock under which its `invalidate` sets the sequence, and goes on holding it until what
 * was looked up is in use (or is where `invalidate` finds it).
 *
 * @kernel mmu_interval_read_retry
 */
export function mmuIntervalReadRetry(mni: MmuIntervalNotifier, seq: number): boolean {
  return mni.invalidateSeq !== seq;
}

/**
 * As {@link mmuIntervalReadRetry}, as a hint without the lock, to give up early: true is certain, false is not.
 *
 * @kernel mmu_interval_check_retry
 */
export const mmuIntervalCheckRetry = fn(function* mmuIntervalCheckRetry(
  mni: MmuIntervalNotifier,
  seq: number,
) {
  return (yield* readOnce(mni, 'invalidateSeq')) !== seq;
});

/**
 * What an `invalidate` callback must do with the sequence that it is given, under the driver's lock.
 *
 * @kernel mmu_interval_set_seq
 */
export function mmuIntervalSetSeq(mni: MmuIntervalNotifier, seq: number): Operation<void> {
  return writeOnce(mni, 'invalidateSeq', seq);
}
