/**
 * Huge pages, as far as notifiers see them: there are none, but a kernel that supports them splits at 2 MiB
 * boundaries and says so.
 */
import { fn } from '../kernel/call.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { PMD_SIZE, tableOffset } from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import {
  mmuNotifierInvalidateRangeOnlyEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';

/**
 * `split_huge_pmd_address(vma, address)`: a start and end for the 2 MiB around `address` if there is a page-middle
 * table for it, whatever that says. mmap_sem held for write. May sleep.
 */
export const splitHugePmdAddress = fn(function* splitHugePmdAddress(vma: VmArea, address: number) {
  const mm = vma.vmMm as MmStruct;
  if ((yield* tableOffset(mm.pageTables, address, 2)) === null) return;
  const start = Math.floor(address / PMD_SIZE) * PMD_SIZE;
  const range: MmuNotifierRange = {
    mm,
    vma,
    start,
    end: start + PMD_SIZE,
    event: MMU_NOTIFY_CLEAR,
    flags: 0,
  };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* mmuNotifierInvalidateRangeOnlyEnd(range);
});
