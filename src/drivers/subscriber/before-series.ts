/**
 * The sample driver as it would have been in v5.3: a reference counter of its own, because the core had
 * none, and an end without release that is no fence, so that it must free late, by itself.
 *
 * `hurried` is what hmm did before 6d7c3cde93c1: free as soon as the notifier is off the list.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { kref, krefGetUnlessZero, krefInit, krefPut, type Kref } from '../../kernel/kref.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { rcuHead, type RcuHead } from '../../kernel/srcu.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterV53,
  mmuNotifierUnregisterNoRelease,
} from '../../mmu-notifier/before-series.ts';
import {
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { subscriber } from './subscriber.ts';

const { fn } = subscriber;

export const SubscriberV53 = struct('subscriber', {
  mn: embed(MmuNotifier),
  ref: kref(),
  rcu: rcuHead(),
  /** Pinned by the registration. */
  mm: ptr<MmStruct>(),
  lock: spinlock(),
  /** Under `lock`. */
  active: 0,
});
export type SubscriberV53 = InstanceOf<typeof SubscriberV53>;

function subscriberOf(mn: MmuNotifier): SubscriberV53 {
  return containerOf(mn, SubscriberV53, 'mn');
}

const count = fn(
  function* count(s: SubscriberV53, by: 1 | -1) {
    yield* spinLock(s.lock);
    s.active += by;
    yield* spinUnlock(s.lock);
  },
  { name: 'subscriber_count' },
);

/** The walk may still find it after its last reference is gone: its memory is there, it is not. */
const startV53 = fn(
  function* startV53(mn: MmuNotifier, _range: MmuNotifierRange) {
    const s = subscriberOf(mn);
    if (!(yield* krefGetUnlessZero(s.ref))) return 0;
    yield* count(s, 1);
    yield* subscriberPutV53(s);
    return 0;
  },
  { name: 'subscriber_invalidate_range_start' },
);

const hurriedStart = fn(
  function* hurriedStart(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* count(subscriberOf(mn), 1);
    return 0;
  },
  { name: 'subscriber_invalidate_range_start' },
);

const freeRcu = fn(
  function* freeRcu(rcu: RcuHead) {
    yield* kfree(containerOf(rcu, SubscriberV53, 'rcu'));
  },
  { name: 'subscriber_free_rcu' },
);

const freeV53 = fn(
  function* freeV53(ref: Kref) {
    const s = containerOf(ref, SubscriberV53, 'ref');
    yield* mmuNotifierUnregisterNoRelease(s.mn, s.mm!);
    yield* mmuNotifierCallSrcu(s.rcu, freeRcu);
  },
  { name: 'subscriber_free' },
);

/** No grace period has passed: a walker may hold a pointer to it. */
const hurriedFree = fn(
  function* hurriedFree(ref: Kref) {
    const s = containerOf(ref, SubscriberV53, 'ref');
    yield* mmuNotifierUnregisterNoRelease(s.mn, s.mm!);
    yield* kfree(s);
  },
  { name: 'subscriber_free' },
);

export const subscriberOpsV53: MmuNotifierOps = { invalidateRangeStart: startV53 };
export const hurriedOps: MmuNotifierOps = { invalidateRangeStart: hurriedStart };

/** A subscriber with one reference, or an ERR_PTR. The caller keeps mm_users above zero. May sleep. */
export const subscriberRegisterV53 = fn(
  function* subscriberRegisterV53(mm: MmStruct, ops: MmuNotifierOps): Body<SubscriberV53 | ErrPtr> {
    const s = yield* kzalloc(SubscriberV53, GFP_KERNEL);
    if (s === null) return errPtr(-ENOMEM);
    krefInit(s.ref);
    s.mm = mm;
    s.mn.ops = ops;
    const error = yield* mmuNotifierRegisterV53(s.mn, mm);
    if (error === 0) return s;
    yield* kfree(s);
    return errPtr(error);
  },
  { name: 'subscriber_register' },
);

/** Drops a reference; the last one ends the subscriber, after a grace period. Never sleeps. */
export const subscriberPutV53 = fn(
  function* subscriberPutV53(s: SubscriberV53) {
    yield* krefPut(s.ref, freeV53);
  },
  { name: 'subscriber_put' },
);

/** Drops a reference; the last one ends the subscriber, at once. */
export const subscriberPutHurried = fn(
  function* subscriberPutHurried(s: SubscriberV53) {
    yield* krefPut(s.ref, hurriedFree);
  },
  { name: 'subscriber_put' },
);
