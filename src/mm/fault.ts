/**
 * Page faults.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `handle_mm_fault(vma, address, flags)`: VM_FAULT_* bits, 0 if done. mmap_sem held for read. */
export const handleMmFault = fn(function* handleMmFault(
  _vma: VmArea,
  _address: number,
  _flags: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});
