/**
 * mincore of page tables: which pages need no reading in.
 */
import { fn } from '../kernel/call.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { PTE_MIGRATION, ptePresent, type Pte } from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { putPage } from './frames.ts';
import { findGetPage } from './page-cache.ts';
import { nextLeaf, pteIndex } from './page-table-walk.ts';
import { linearPageIndex } from './rmap.ts';

export interface MincoreOut {
  readonly bytes: Uint8Array;
  /** Where the first page of the range goes. */
  readonly at: number;
}

/** What is not mapped may be cached. */
const isCached = fn(
  function* isCached(vma: VmArea, address: number) {
    if (vma.mapping === null) return false;
    const page = yield* findGetPage(vma.mapping, linearPageIndex(vma, address));
    if (page !== null) yield* putPage(page);
    return page !== null;
  },
  { name: 'mincore_page' },
);

function isResident(pte: Pte): boolean {
  return ptePresent(pte) || (pte & PTE_MIGRATION) !== 0;
}

/**
 * Fills `out.bytes` from `out.at` on with 1 for each page of [start, end), within the VMA, that is present or in the
 * page cache of the file, and with 0 otherwise. mmap_sem held for read. May sleep.
 */
export const mincoreRange = fn(
  function* mincoreRange(vma: VmArea, start: number, end: number, out: MincoreOut) {
    const { bytes } = out;
    const position = (address: number): number => out.at + (address - start) / PAGE_SIZE;
    bytes.fill(0, position(start), position(end));
    let leaf = yield* nextLeaf(vma.vmMm as MmStruct, start, end);
    while (leaf !== null) {
      yield* spinLock(leaf.table.ptl);
      for (let address = leaf.start; address < leaf.end; address += PAGE_SIZE) {
        if (isResident(leaf.table.ptes[pteIndex(address)] as number)) bytes[position(address)] = 1;
      }
      yield* spinUnlock(leaf.table.ptl);
      leaf = yield* nextLeaf(vma.vmMm as MmStruct, leaf.end, end);
    }
    if (vma.mapping === null) return;
    for (let address = start; address < end; address += PAGE_SIZE) {
      if (bytes[position(address)] === 0 && (yield* isCached(vma, address))) {
        bytes[position(address)] = 1;
      }
    }
  },
  { name: 'mincore_pte_range' },
);
