/**
 * mincore of page tables.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** Fills `out` from index `at` on with 1 for each page of [start, end) that is present, or in the page cache of the file, and 0 otherwise. mmap_sem held for read. */
export const mincoreRange = fn(function* mincoreRange(
  _vma: VmArea,
  _start: number,
  _end: number,
  _out: { readonly bytes: Uint8Array; readonly at: number },
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
