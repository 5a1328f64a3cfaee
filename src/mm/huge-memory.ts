/**
 * Huge pages, as far as notifiers see them.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `split_huge_pmd_address(vma, address)`: start and end for the 2 MiB around `address` if there is a page-middle table for it. mmap_sem held for write. */
export const splitHugePmdAddress = fn(function* splitHugePmdAddress(
  _vma: VmArea,
  _address: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
