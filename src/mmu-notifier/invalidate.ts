/**
 * Invalidation: telling every notifier of an mm that a range is about to change, and that it has.
 *
 * The caller holds mmap_sem or a reverse-map lock of the mm from start to end, so no notifier is added to the
 * list in between; one may leave, and then has a start without an end. Sections nest and overlap: a driver counts.
 *
 * A range that is not blockable may be refused by a callback. Then the caller changes nothing and says no end;
 * whether those that had not refused are told one all the same differs, see behaviour.ts.
 */
import { EAGAIN, errnoName } from '../base/errno.ts';
import { mightSleep, warnOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import { prInfo } from '../kernel/choose.ts';
import { hlistEmptyLockless, hlistFirstRcu, hlistNextRcu } from '../kernel/hlist.ts';
import { lockMapAcquire, lockMapRelease } from '../kernel/lock-map.ts';
import type { Body } from '../kernel/operation.ts';
import { nonBlockEnd, nonBlockStart } from '../kernel/preempt.ts';
import { current, running } from '../kernel/running.ts';
import { srcuReadLock, srcuReadUnlock } from '../kernel/srcu.ts';
import { containerOf } from '../kernel/struct.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { notifierBehaviourOf } from './behaviour.ts';
import { mnItreeInvalidate, mnItreeInvEnd } from './interval-invalidate.ts';
import {
  MmuNotifier,
  mmHasNotifiers,
  MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP,
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  mmuNotifierMmOf,
  mmuNotifierRangeBlockable,
  notifierSrcu,
  type MmuNotifierMm,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from './mmu-notifier.ts';

type RangeStart = NonNullable<MmuNotifierOps['invalidateRangeStart']>;
type RangeEnd = NonNullable<MmuNotifierOps['invalidateRangeEnd']>;

/** Calls one notifier's start; a non-blockable one must not sleep in it. */
const callStart = fn(
  function* callStart(mn: MmuNotifier, start: RangeStart, range: MmuNotifierRange) {
    const isBlockable = mmuNotifierRangeBlockable(range);
    const task = current();
    if (!isBlockable) nonBlockStart(task);
    const error = yield* start(mn, range);
    if (!isBlockable) nonBlockEnd(task);
    if (error !== 0) {
      prInfo(
        `invalidate_range_start callback failed with ${errnoName(error)} in a ` +
          `${isBlockable ? '' : 'non-'}blockable context`,
      );
      warnOn(isBlockable || error !== -EAGAIN, 'blockable || ret != -EAGAIN');
      // Told an end although its start has failed, it could not know that there is nothing to undo.
      const hasEnd = mn.ops!.invalidateRangeEnd !== undefined;
      if (notifierBehaviourOf(running).pairsNonBlockable)
        warnOn(hasEnd, 'ops->invalidate_range_end');
    }
    return error;
  },
  { name: '__mmu_notifier_invalidate_range_start' },
);

/** Calls one notifier's end, which must not sleep either where the start must not. */
const callEnd = fn(
  function* callEnd(mn: MmuNotifier, end: RangeEnd, range: MmuNotifierRange) {
    const isBlockable = mmuNotifierRangeBlockable(range);
    const task = current();
    if (!isBlockable) nonBlockStart(task);
    yield* end(mn, range);
    if (!isBlockable) nonBlockEnd(task);
  },
  { name: '__mmu_notifier_invalidate_range_end' },
);

/** v5.5 on leave out a list without a notifier. */
function* isListSkipped(notifiers: MmuNotifierMm): Body<boolean> {
  if (!notifierBehaviourOf(running).skipsEmptyList) return false;
  return yield* hlistEmptyLockless(notifiers.list);
}

/** The walk goes on after an error, and returns the last one. */
function* mnHlistInvalidateRangeStart(
  notifiers: MmuNotifierMm,
  range: MmuNotifierRange,
): Body<number> {
  const index = yield* srcuReadLock(notifierSrcu());
  let result = 0;
  let node = yield* hlistFirstRcu(notifiers.list);
  while (node !== null) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    const start = mn.ops!.invalidateRangeStart;
    if (start !== undefined) {
      const error = yield* callStart(mn, start, range);
      if (error !== 0) result = error;
    }
    node = yield* hlistNextRcu(node);
  }
  // The caller will not say the end; those whose start succeeded have counted it.
  if (result !== 0 && notifierBehaviourOf(running).pairsNonBlockable) {
    yield* mnHlistInvalidateEnd(notifiers, range, true);
  }
  yield* srcuReadUnlock(notifierSrcu(), index);
  return result;
}

/** Calls every end, in a section of the caller. */
function* mnHlistInvalidateEnd(
  notifiers: MmuNotifierMm,
  range: MmuNotifierRange,
  isOnlyEnd: boolean,
): Body<void> {
  let node = yield* hlistFirstRcu(notifiers.list);
  while (node !== null) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    const { invalidateRange, invalidateRangeEnd } = mn.ops!;
    if (!isOnlyEnd && invalidateRange !== undefined) {
      yield* invalidateRange(mn, range.mm, range.start, range.end);
    }
    if (invalidateRangeEnd !== undefined) yield* callEnd(mn, invalidateRangeEnd, range);
    node = yield* hlistNextRcu(node);
  }
}

/** Interval notifiers first, then the list: drivers that have both rely on it. */
const invalidateRangeStartSlow = fn(
  function* invalidateRangeStartSlow(range: MmuNotifierRange) {
    const notifiers = mmuNotifierMmOf(range.mm) as MmuNotifierMm;
    const { hasItree } = notifiers;
    if (hasItree) {
      const error = yield* mnItreeInvalidate(notifiers, range);
      // One must not wait; the range is not active, and nobody on the list was told.
      if (error !== 0) return error;
    }
    if (yield* isListSkipped(notifiers)) return 0;
    const error = yield* mnHlistInvalidateRangeStart(notifiers, range);
    // Otherwise the range stays active for ever: the caller says no end.
    if (error !== 0 && hasItree && notifierBehaviourOf(running).undoesIntervals) {
      yield* mnItreeInvEnd(notifiers);
    }
    return error;
  },
  { name: '__mmu_notifier_invalidate_range_start' },
);

const invalidateRangeEndSlow = fn(
  function* invalidateRangeEndSlow(range: MmuNotifierRange, isOnlyEnd: boolean) {
    const notifiers = mmuNotifierMmOf(range.mm) as MmuNotifierMm;
    lockMapAcquire(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
    if (notifiers.hasItree) yield* mnItreeInvEnd(notifiers);
    if (!(yield* isListSkipped(notifiers))) {
      const index = yield* srcuReadLock(notifierSrcu());
      yield* mnHlistInvalidateEnd(notifiers, range, isOnlyEnd);
      yield* srcuReadUnlock(notifierSrcu(), index);
    }
    lockMapRelease(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
  },
  { name: '__mmu_notifier_invalidate_range_end' },
);

/**
 * Before page tables of the range change. Callbacks may sleep; what they return is ignored. Every
 * start needs an end.
 *
 * @kernel mmu_notifier_invalidate_range_start
 */
export const mmuNotifierInvalidateRangeStart = fn(function* mmuNotifierInvalidateRangeStart(
  range: MmuNotifierRange,
) {
  mightSleep();
  lockMapAcquire(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
  if (mmHasNotifiers(range.mm)) {
    range.flags |= MMU_NOTIFIER_RANGE_BLOCKABLE;
    yield* invalidateRangeStartSlow(range);
  }
  lockMapRelease(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
});

/**
 * As {@link mmuNotifierInvalidateRangeStart}, for who cannot wait (the OOM reaper). Returns 0, or -EAGAIN:
 * then the caller must neither change the page tables nor call the end.
 *
 * @kernel mmu_notifier_invalidate_range_start_nonblock
 */
export const mmuNotifierInvalidateRangeStartNonblock = fn(
  function* mmuNotifierInvalidateRangeStartNonblock(range: MmuNotifierRange) {
    lockMapAcquire(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
    let result = 0;
    if (mmHasNotifiers(range.mm)) {
      range.flags &= ~MMU_NOTIFIER_RANGE_BLOCKABLE;
      result = yield* invalidateRangeStartSlow(range);
    }
    lockMapRelease(MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP);
    return result;
  },
);

/**
 * After page tables of the range have changed. Calls invalidate_range too.
 *
 * @kernel mmu_notifier_invalidate_range_end
 */
export const mmuNotifierInvalidateRangeEnd = fn(function* mmuNotifierInvalidateRangeEnd(
  range: MmuNotifierRange,
) {
  if (mmuNotifierRangeBlockable(range)) mightSleep();
  if (mmHasNotifiers(range.mm)) yield* invalidateRangeEndSlow(range, false);
});

/**
 * As {@link mmuNotifierInvalidateRangeEnd}, where invalidate_range was called under the page-table lock already.
 *
 * @kernel mmu_notifier_invalidate_range_only_end
 */
export const mmuNotifierInvalidateRangeOnlyEnd = fn(function* mmuNotifierInvalidateRangeOnlyEnd(
  range: MmuNotifierRange,
) {
  if (mmHasNotifiers(range.mm)) yield* invalidateRangeEndSlow(range, true);
});

/**
 * Between a start and an end, under the page-table lock: the entry of one page gets another page. Must not
 * sleep. Up to v6.9; see the switch `changePte` of the mm's behaviour.
 *
 * @kernel mmu_notifier_change_pte
 */
export const mmuNotifierChangePte = fn(function* mmuNotifierChangePte(
  mm: MmStruct,
  address: number,
  pte: number,
) {
  if (mmHasNotifiers(mm)) yield* changePteSlow(mm, address, pte);
});

const changePteSlow = fn(
  function* changePteSlow(mm: MmStruct, address: number, pte: number) {
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    const index = yield* srcuReadLock(notifierSrcu());
    let node = yield* hlistFirstRcu(notifiers.list);
    while (node !== null) {
      const mn = containerOf(node, MmuNotifier, 'hlist');
      const { changePte } = mn.ops!;
      if (changePte !== undefined) yield* changePte(mn, mm, address, pte);
      node = yield* hlistNextRcu(node);
    }
    yield* srcuReadUnlock(notifierSrcu(), index);
  },
  { name: '__mmu_notifier_change_pte' },
);
