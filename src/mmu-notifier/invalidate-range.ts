/**
 * invalidate_range under the page-table lock: where the entry of a page gets another page, hardware that walks the
 * CPU's page tables must have forgotten the old one before the new one is there, not only at the end.
 *
 * Later kernels do the same from the flush of the CPUs' TLBs (arch_invalidate_secondary_tlbs, v6.6).
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

const invalidateRangeSlow = fn(
  function* invalidateRangeSlow(mm: MmStruct, start: number, end: number) {
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    const index = yield* srcuReadLock(notifierSrcu());
    let node = yield* hlistFirstRcu(notifiers.list);
    while (node !== null) {
      const mn = containerOf(node, MmuNotifier, 'hlist');
      const { invalidateRange } = mn.ops!;
      if (invalidateRange !== undefined) yield* invalidateRange(mn, mm, start, end);
      node = yield* hlistNextRcu(node);
    }
    yield* srcuReadUnlock(notifierSrcu(), index);
  },
  { name: '__mmu_notifier_invalidate_range' },
);

/**
 * Tells hardware that walks the CPU's page tables to forget [start, end), in bytes. Between a start and an only_end,
 * under a page-table lock, after the entry was cleared and flushed. The callbacks must not sleep.
 *
 * @kernel mmu_notifier_invalidate_range
 */
export const mmuNotifierInvalidateRange = fn(function* mmuNotifierInvalidateRange(
  mm: MmStruct,
  start: number,
  end: number,
) {
  if (mmHasNotifiers(mm)) yield* invalidateRangeSlow(mm, start, end);
});
