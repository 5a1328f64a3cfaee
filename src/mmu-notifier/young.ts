/**
 * Page aging asks secondary MMUs too whether a page was used. One callback each, no start and end: nothing
 * changes but marks. Who clears marks asks all notifiers, even when one has said yes.
 *
 * Called with a page-table lock held, so the callbacks must not sleep, although they run in an SRCU section.
 */
import { fn } from '../kernel/call.ts';
import { hlistFirstRcu, hlistNextRcu } from '../kernel/hlist.ts';
import type { Body } from '../kernel/operation.ts';
import { srcuReadLock, srcuReadUnlock } from '../kernel/srcu.ts';
import { containerOf } from '../kernel/struct.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import {
  MmuNotifier,
  mmHasNotifiers,
  mmuNotifierMmOf,
  notifierSrcu,
  type MmuNotifierMm,
} from './mmu-notifier.ts';

/** What is asked, and of what: [start, end) in bytes. */
interface Question {
  readonly mm: MmStruct;
  readonly start: number;
  readonly end: number;
  readonly callback: 'clearFlushYoung' | 'clearYoung' | 'testYoung';
}

function* ask({ mm, start, end, callback }: Question): Body<boolean> {
  const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
  const index = yield* srcuReadLock(notifierSrcu());
  let isYoung = false;
  let node = yield* hlistFirstRcu(notifiers.list);
  while (node !== null) {
    const mn = containerOf(node, MmuNotifier, 'hlist');
    const ops = mn.ops!;
    if (callback === 'testYoung') {
      if (ops.testYoung !== undefined && (yield* ops.testYoung(mn, mm, start))) isYoung = true;
    } else {
      const age = ops[callback];
      if (age !== undefined && (yield* age(mn, mm, start, end))) isYoung = true;
    }
    // One yes is enough for who only looks.
    if (isYoung && callback === 'testYoung') break;
    node = yield* hlistNextRcu(node);
  }
  yield* srcuReadUnlock(notifierSrcu(), index);
  return isYoung;
}

const clearFlushYoungSlow = fn(
  function* clearFlushYoungSlow(mm: MmStruct, start: number, end: number) {
    return yield* ask({ mm, start, end, callback: 'clearFlushYoung' });
  },
  { name: '__mmu_notifier_clear_flush_young' },
);

const clearYoungSlow = fn(
  function* clearYoungSlow(mm: MmStruct, start: number, end: number) {
    return yield* ask({ mm, start, end, callback: 'clearYoung' });
  },
  { name: '__mmu_notifier_clear_young' },
);

const testYoungSlow = fn(
  function* testYoungSlow(mm: MmStruct, address: number) {
    return yield* ask({ mm, start: address, end: address + PAGE_SIZE, callback: 'testYoung' });
  },
  { name: '__mmu_notifier_test_young' },
);

/**
 * Whether a secondary MMU has used [start, end) since it was last asked; it forgets that and flushes. Under a
 * page-table lock.
 *
 * @kernel mmu_notifier_clear_flush_young
 */
export const mmuNotifierClearFlushYoung = fn(function* mmuNotifierClearFlushYoung(
  mm: MmStruct,
  start: number,
  end: number,
) {
  if (!mmHasNotifiers(mm)) return false;
  return yield* clearFlushYoungSlow(mm, start, end);
});

/**
 * As {@link mmuNotifierClearFlushYoung} without the flush: some uses may be missed. Never sleeps.
 *
 * @kernel mmu_notifier_clear_young
 */
export const mmuNotifierClearYoung = fn(function* mmuNotifierClearYoung(
  mm: MmStruct,
  start: number,
  end: number,
) {
  if (!mmHasNotifiers(mm)) return false;
  return yield* clearYoungSlow(mm, start, end);
});

/**
 * Whether a secondary MMU has used the page at `address`; it remembers.
 *
 * @kernel mmu_notifier_test_young
 */
export const mmuNotifierTestYoung = fn(function* mmuNotifierTestYoung(
  mm: MmStruct,
  address: number,
) {
  if (!mmHasNotifiers(mm)) return false;
  return yield* testYoungSlow(mm, address);
});
