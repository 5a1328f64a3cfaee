/**
 * The sample driver with an interval notifier: told only of what hits its interval, and only of the start.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type Interval,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import type { MmuNotifierRange } from '../../mmu-notifier/mmu-notifier.ts';
import { subscriber } from './subscriber.ts';

const { fn } = subscriber;

export const IntervalSubscriber = struct('interval_subscriber', {
  mni: embed(MmuIntervalNotifier),
  /** Held where the sequence is set and where it is compared. */
  lock: spinlock(),
  /** Whether what was looked up is in use. Under `lock`. */
  uses: 0,
});
export type IntervalSubscriber = InstanceOf<typeof IntervalSubscriber>;

const subscriberInvalidate = fn(function* subscriberInvalidate(
  mni: MmuIntervalNotifier,
  _range: MmuNotifierRange,
  seq: number,
) {
  const s = containerOf(mni, IntervalSubscriber, 'mni');
  yield* spinLock(s.lock);
  yield* mmuIntervalSetSeq(mni, seq);
  s.uses = 0;
  yield* spinUnlock(s.lock);
  return true;
});

export const intervalSubscriberOps: MmuIntervalNotifierOps = { invalidate: subscriberInvalidate };

/** A subscriber to an interval of the mm, or an ERR_PTR. The caller keeps mm_users above zero. May sleep. */
export const intervalSubscriberInsert = fn(function* intervalSubscriberInsert(
  mm: MmStruct,
  interval: Interval,
): Body<IntervalSubscriber | ErrPtr> {
  const s = yield* kzalloc(IntervalSubscriber, GFP_KERNEL);
  if (s === null) return errPtr(-ENOMEM);
  const error = yield* mmuIntervalNotifierInsert(s.mni, mm, interval, intervalSubscriberOps);
  if (error === 0) return s;
  yield* kfree(s);
  return errPtr(error);
});

/**
 * Looks something up and uses it: whether that came about, at most two attempts. Sleeps. Pairs with nothing: the
 * next invalidation ends it.
 */
export const intervalSubscriberUse = fn(function* intervalSubscriberUse(s: IntervalSubscriber) {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const seq = yield* mmuIntervalReadBegin(s.mni);
    // Here a driver looks up pages, without its lock.
    yield* spinLock(s.lock);
    const isStale = mmuIntervalReadRetry(s.mni, seq);
    if (!isStale) s.uses = 1;
    yield* spinUnlock(s.lock);
    if (!isStale) return true;
  }
  return false;
});

/** Ends it: when remove has returned, no callback has it any more. Sleeps. */
export const intervalSubscriberRemove = fn(function* intervalSubscriberRemove(
  s: IntervalSubscriber,
) {
  yield* mmuIntervalNotifierRemove(s.mni);
  yield* kfree(s);
});
