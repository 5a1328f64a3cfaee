/**
 * Faulting in ahead.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';

/** `__mm_populate(mm, start, length, ignore_errors)`: mlock and MAP_POPULATE; takes mmap_sem for read itself. 0 or -errno. */
export const mmPopulate = fn(function* mmPopulate(
  _mm: MmStruct,
  _start: number,
  _length: number,
  _ignoresErrors: boolean,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** `faultin_page_range(mm, start, end, write)`: MADV_POPULATE_READ and WRITE. mmap_sem held for read. 0, -ENOMEM, -EINVAL, -EFAULT, -EHWPOISON. */
export const faultinPageRange = fn(function* faultinPageRange(
  _mm: MmStruct,
  _start: number,
  _end: number,
  _isWrite: boolean,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** `populate_vma_page_range(vma, start, end)`: mlock of one VMA. mmap_sem held for read. 0 or -errno. */
export const populateVmaPageRange = fn(function* populateVmaPageRange(
  _vma: VmArea,
  _start: number,
  _end: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});
