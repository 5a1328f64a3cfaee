/**
 * struct mmu_gather: what is taken out of page tables is flushed from the TLBs first and freed afterwards.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';

export interface MmuGather {
  readonly mm: MmStruct;
}

/** `tlb_gather_mmu(&tlb, mm)`. Pairs with {@link tlbFinishMmu}. */
export function tlbGatherMmu(mm: MmStruct): MmuGather {
  return { mm };
}

/** `tlb_finish_mmu(&tlb)`: flushes, then frees pages and tables. */
// eslint-disable-next-line require-yield
export const tlbFinishMmu = fn(function* tlbFinishMmu(_tlb: MmuGather) {
  running.misuse('not there yet');
});
