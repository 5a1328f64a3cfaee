/**
 * mremap of page tables.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { VmArea } from '../mm-types/vma.ts';

export interface PagetableMove {
  readonly oldVma: VmArea;
  readonly oldAddress: number;
  readonly newVma: VmArea;
  readonly newAddress: number;
  /** Bytes. */
  readonly length: number;
}

/** `move_page_tables(&pmc)`: moves the entries; returns the bytes moved, less than `length` without memory. One start and end for the old range (which may begin lower, at the boundary of a page table). mmap_sem held for write. */
export const movePageTables = fn(function* movePageTables(
  _move: PagetableMove,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});
