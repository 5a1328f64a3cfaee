/**
 * The smallest driver that follows an mm: a counter of the ranges being invalidated, and a mark that the
 * mm has ended. Made to be read, to be copied, and to be raced with.
 *
 * Both flows are here. With get and put, one subscriber for each mm is shared by all who ask for it, and
 * is freed by `free_notifier` after the last put and a grace period. With register and unregister, each
 * caller has its own and frees it itself, which it may do once unregister has returned.
 *
 * Left out: a device. What would be its page table is `active` and `isFrozen`: while a range is being
 * invalidated, or after release, nothing may be mapped.
 */
import { EAGAIN, ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { moduleText } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, field, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import {
  MmuNotifier,
  mmuNotifierRangeBlockable,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';

export const subscriber = moduleText('subscriber');
const { fn } = subscriber;

export const Subscriber = struct('subscriber', {
  mn: embed(MmuNotifier),
  lock: spinlock(),
  /** Ranges that are being invalidated: counted, because they nest and overlap. Under `lock`. */
  active: 0,
  /** Set by release; never cleared. Under `lock`. */
  isFrozen: field(false),
});
export type Subscriber = InstanceOf<typeof Subscriber>;

export function subscriberOf(mn: MmuNotifier): Subscriber {
  return containerOf(mn, Subscriber, 'mn');
}

/** May come twice at once, from exit and from unregister: setting a mark twice does no harm. */
export const subscriberRelease = fn(function* subscriberRelease(mn: MmuNotifier, _mm: MmStruct) {
  const s = subscriberOf(mn);
  yield* spinLock(s.lock);
  s.isFrozen = true;
  yield* spinUnlock(s.lock);
});

const subscriberInvalidateRangeStart = fn(function* subscriberInvalidateRangeStart(
  mn: MmuNotifier,
  _range: MmuNotifierRange,
) {
  const s = subscriberOf(mn);
  yield* spinLock(s.lock);
  s.active += 1;
  yield* spinUnlock(s.lock);
  return 0;
});

const subscriberInvalidateRangeEnd = fn(function* subscriberInvalidateRangeEnd(
  mn: MmuNotifier,
  _range: MmuNotifierRange,
) {
  const s = subscriberOf(mn);
  yield* spinLock(s.lock);
  s.active -= 1;
  yield* spinUnlock(s.lock);
});

const subscriberAllocNotifier = fn(function* subscriberAllocNotifier(
  _mm: MmStruct,
): Body<MmuNotifier | ErrPtr> {
  const s = yield* kzalloc(Subscriber, GFP_KERNEL);
  return s === null ? errPtr(-ENOMEM) : s.mn;
});

/** No callback runs any more, or none ever has. Must not sleep. */
const subscriberFreeNotifier = fn(function* subscriberFreeNotifier(mn: MmuNotifier) {
  yield* kfree(subscriberOf(mn));
});

/** The mm's end is the subscriber's: gives back the user that belongs to the mm. */
const subscriberReleaseAndPut = fn(function* subscriberReleaseAndPut(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  yield* subscriberRelease(mn, mm);
  yield* mmuNotifierPut(mn);
});

/**
 * A mistake, to be found: release is called by who walks the list, and unregister waits for the end of the walk.
 * Unregistering calls release once more, which then has nothing left to do.
 */
const subscriberReleaseAndUnregister = fn(function* subscriberReleaseAndUnregister(
  mn: MmuNotifier,
  mm: MmStruct,
) {
  const s = subscriberOf(mn);
  if (yield* subscriberIsFrozen(s)) return;
  yield* subscriberRelease(mn, mm);
  yield* subscriberUnregister(s);
});

/** One table for each subsystem: it is the key by which get finds the notifier. */
export const subscriberOps: MmuNotifierOps = {
  release: subscriberRelease,
  invalidateRangeStart: subscriberInvalidateRangeStart,
  invalidateRangeEnd: subscriberInvalidateRangeEnd,
  allocNotifier: subscriberAllocNotifier,
  freeNotifier: subscriberFreeNotifier,
};

/** Would have to sleep, so it refuses what must not; and since it refuses, it has no end to count by. */
const subscriberRefuse = fn(function* subscriberRefuse(_mn: MmuNotifier, range: MmuNotifierRange) {
  return mmuNotifierRangeBlockable(range) ? 0 : -EAGAIN;
});

/** For a subscriber whose callback sleeps. */
export const refusingOps: MmuNotifierOps = {
  invalidateRangeStart: subscriberRefuse,
  allocNotifier: subscriberAllocNotifier,
  freeNotifier: subscriberFreeNotifier,
};

/** For a subscriber that lives as long as its mm: nobody puts it but its release. */
export const selfPuttingOps: MmuNotifierOps = {
  ...subscriberOps,
  release: subscriberReleaseAndPut,
};

/** For a subscriber of the caller's own that wants to end itself with its mm, as {@link selfPuttingOps} may. */
export const selfUnregisteringOps: MmuNotifierOps = {
  invalidateRangeStart: subscriberInvalidateRangeStart,
  invalidateRangeEnd: subscriberInvalidateRangeEnd,
  release: subscriberReleaseAndUnregister,
};

/**
 * The mm's subscriber, shared: the one that is there, or a new one; or an ERR_PTR. The caller keeps
 * mm_users above zero meanwhile. Pairs with {@link subscriberPut}. May sleep.
 */
export const subscriberGet = fn(function* subscriberGet(
  mm: MmStruct,
  ops: MmuNotifierOps = subscriberOps,
): Body<Subscriber | ErrPtr> {
  const mn = yield* mmuNotifierGet(ops, mm);
  return isErr(mn) ? mn : subscriberOf(mn);
});

/** Gives it back. Whoever gave back the last must not look at it again. Never sleeps. */
export const subscriberPut = fn(function* subscriberPut(s: Subscriber) {
  yield* mmuNotifierPut(s.mn);
});

/**
 * A subscriber of the caller's own, or an ERR_PTR. The caller keeps mm_users above zero meanwhile. Pairs
 * with {@link subscriberUnregister}. May sleep.
 */
export const subscriberRegister = fn(function* subscriberRegister(
  mm: MmStruct,
  ops: MmuNotifierOps = subscriberOps,
): Body<Subscriber | ErrPtr> {
  const s = yield* kzalloc(Subscriber, GFP_KERNEL);
  if (s === null) return errPtr(-ENOMEM);
  s.mn.ops = ops;
  const error = yield* mmuNotifierRegister(s.mn, mm);
  if (error === 0) return s;
  // It was never on the list.
  yield* kfree(s);
  return errPtr(error);
});

/** Whether the mm has ended. */
export const subscriberIsFrozen = fn(function* subscriberIsFrozen(s: Subscriber) {
  yield* spinLock(s.lock);
  const { isFrozen } = s;
  yield* spinUnlock(s.lock);
  return isFrozen;
});

/** Ends it: when unregister has returned, no callback has it any more. Sleeps. */
export const subscriberUnregister = fn(function* subscriberUnregister(s: Subscriber) {
  yield* mmuNotifierUnregister(s.mn, s.mn.mm!);
  yield* kfree(s);
});
