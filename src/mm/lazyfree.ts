/**
 * MADV_FREE.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `madvise_free_single_vma(vma, start, end)`: the pages may be dropped until they are written again. Private anonymous memory. mmap_sem held for read. */
export const madviseFreeSingleVma = fn(function* madviseFreeSingleVma(
  _vma: VmArea,
  _start: number,
  _end: number,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
