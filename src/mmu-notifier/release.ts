/**
 * The mm's end: release of all notifiers, and the end of their list.
 */
import { bugOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import {
  hlistDelInitRcu,
  hlistEmpty,
  hlistEmptyLockless,
  hlistFirst,
  hlistFirstRcu,
  hlistNextRcu,
} from '../kernel/hlist.ts';
import type { Body } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { kfree } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../kernel/srcu.ts';
import { containerOf } from '../kernel/struct.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { notifierBehaviourOf } from './behaviour.ts';
import { mnItreeRelease } from './interval-invalidate.ts';
import {
  mmHasNotifiers,
  MmuNotifier,
  mmuNotifierMmOf,
  notifierSrcu,
  type MmuNotifierMm,
} from './mmu-notifier.ts';

/** Calls release of every notifier on the list, unlinks them, and waits for their callbacks. */
function* mnHlistRelease(notifiers: MmuNotifierMm, mm: MmStruct): Body<void> {
  // The section keeps every notifier on the list alive, should its owner unregister it meanwhile.
  const index = yield* srcuReadLock(notifierSrcu());
  let node = yield* hlistFirstRcu(notifiers.list);
  while (node !== null) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    const release = mn.ops!.release;
    if (release !== undefined) yield* release(mn, mm);
    node = yield* hlistNextRcu(node);
  }
  yield* spinLock(notifiers.lock);
  for (let first = hlistFirst(notifiers.list); first !== null; first = hlistFirst(notifiers.list)) {
    yield* hlistDelInitRcu(first);
  }
  yield* spinUnlock(notifiers.lock);
  yield* srcuReadUnlock(notifierSrcu(), index);
  yield* synchronizeSrcu(notifierSrcu());
}

/**
 * First act of exit_mmap, with mm_users at zero: calls release of every notifier, unlinks them, and
 * waits until no callback is running, a release that a concurrent unregister is in included. Only
 * then may pages be freed. Sleeps.
 *
 * Interval notifiers are told that everything goes, and stay where they are.
 *
 * From v5.5 on a list without a notifier is left out, and with it the wait: who was put a moment ago may still be
 * in a callback. That is legal because whoever puts has dropped all translations before.
 *
 * @kernel __mmu_notifier_release
 */
const releaseSlow = fn(
  function* releaseSlow(mm: MmStruct) {
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    if (notifiers.hasItree) yield* mnItreeRelease(notifiers, mm);
    const isSkipped =
      notifierBehaviourOf(running).skipsEmptyList && (yield* hlistEmptyLockless(notifiers.list));
    if (!isSkipped) yield* mnHlistRelease(notifiers, mm);
  },
  { name: '__mmu_notifier_release' },
);

/** `mmu_notifier_release(mm)`: nothing if the mm never had a notifier. */
export const mmuNotifierRelease = fn(function* mmuNotifierRelease(mm: MmStruct) {
  if (mmHasNotifiers(mm)) yield* releaseSlow(mm);
});

/**
 * Frees the list's head with the mm structure. Every notifier pins that, so the list is empty.
 *
 * @kernel __mmu_notifier_mm_destroy
 */
export const mmuNotifierMmDestroy = fn(function* mmuNotifierMmDestroy(mm: MmStruct) {
  const notifiers = mmuNotifierMmOf(mm);
  if (notifiers === null) return;
  bugOn(!hlistEmpty(notifiers.list), '!hlist_empty(&mm->mmu_notifier_mm->list)');
  yield* kfree(notifiers);
});
