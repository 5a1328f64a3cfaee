/**
 * The end of an invalidation, and who tells hardware that walks the CPU's page tables: the end, as kernels up to v6.5
 * do it, or each flush of the TLBs (6bbd42e2df8f, v6.6). See the switch `invalidateRange`.
 */
import { mightSleep } from '../kernel/assertion.ts';
import { running } from '../kernel/running.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeOnlyEnd,
} from '../mmu-notifier/invalidate.ts';
import { mmuNotifierRangeBlockable, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';

/** `mmu_notifier_invalidate_range_end(range)`, as the machine's kernel has it. May sleep if the range is blockable. */
export function invalidateRangeEnd(range: MmuNotifierRange) {
  if (behaviourOf(running).invalidateRange === 'end') return mmuNotifierInvalidateRangeEnd(range);
  if (mmuNotifierRangeBlockable(range)) mightSleep();
  return mmuNotifierInvalidateRangeOnlyEnd(range);
}
