/**
 * mprotect of page tables.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';
import type { MmuGather } from './mmu-gather.ts';

/** `change_protection(&tlb, vma, start, end)`: gives the entries the rights of `vma.vmFlags`, which has been changed already. mmap_sem held for write. Sends the notifications. */
export const changeProtection = fn(function* changeProtection(
  _tlb: MmuGather,
  _vma: VmArea,
  _start: number,
  _end: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
