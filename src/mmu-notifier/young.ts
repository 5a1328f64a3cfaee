/**
 * Page aging asks secondary MMUs too whether a page was used. One callback each, no start and end: nothing
 * changes but marks. All notifiers are asked, even when one has said yes.
 *
 * Called with a page-table lock held, so the callbacks must not sleep, although they run in an SRCU section.
 */
import { fn } from '../kernel/call.ts';
import { hlistFirstRcu, hlistNextRcu } from '../kernel/hlist.ts';
import { srcuReadLock, srcuReadUnlock } from '../kernel/srcu.ts';
import { containerOf } from '../kernel/struct.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
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

const ask = fn(
  function* ask({ mm, start, end, callback }: Question) {
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
  },
  { name: '__mmu_notifier_age_page' },
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
  return yield* ask({ mm, start, end, callback: 'clearFlushYoung' });
});

/**
 * The same without a flush.
 *
 * @kernel mmu_notifier_clear_young
 */
export const mmuNotifierClearYoung = fn(function* mmuNotifierClearYoung(
  mm: MmStruct,
  start: number,
  end: number,
) {
  if (!mmHasNotifiers(mm)) return false;
  return yield* ask({ mm, start, end, callback: 'clearYoung' });
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
  return yield* ask({ mm, start: address, end: address + 4096, callback: 'testYoung' });
});
