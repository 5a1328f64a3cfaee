/**
 * fork of page tables.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `copy_page_range(dst_vma, src_vma)`: 0 or -ENOMEM. Both mmap_sem held for write. Sends the notification of the parent. */
export const copyPageRange = fn(function* copyPageRange(
  _dstVma: VmArea,
  _srcVma: VmArea,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});
