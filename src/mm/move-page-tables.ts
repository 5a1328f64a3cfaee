/**
 * mremap of page tables: entries move from one place to another.
 *
 * Modelled: one notification for the old range; per table both are locked, entries move and the old range is
 * flushed before the locks are dropped (eb66ae030829; before that a CPU could go on writing to a page through
 * its TLB while another made the moved entry read-only, cleaned the page or freed it). The start moves down
 * to the boundary of a page table where the kernel would rather move the whole table.
 * Simplified: whole tables are not moved by their link, their entries are.
 */
import { fn } from '../kernel/call.ts';
import { SINGLE_DEPTH_NESTING } from '../kernel/held-lock.ts';
import { running } from '../kernel/running.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { spinLock, spinLockNested, spinUnlock } from '../kernel/spinlock.ts';
import { rootOf } from '../mm-types/anon-vma.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  PMD_SIZE,
  PTE_SOFT_DIRTY,
  pteModify,
  ptepGetAndClear,
  ptePresent,
  setPteAt,
  type PageTable,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { vmaTreeFindBelow } from '../mm-types/vma-tree.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_UNMAP, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { behaviourOf } from './behaviour.ts';
import { nextLeaf, pteIndex, tableAlloc } from './page-table-walk.ts';
import { flushTlbRange } from './tlb.ts';

export interface PagetableMove {
  readonly oldVma: VmArea;
  readonly oldAddress: number;
  readonly newVma: VmArea;
  readonly newAddress: number;
  /** Bytes. */
  readonly length: number;
  /**
   * Whether a walk of the reverse map may come by the new place before the old one, and so miss a page that
   * moves meanwhile: it must then be kept out.
   */
  readonly needsRmapLocks: boolean;
}

function blockStart(address: number): number {
  return Math.floor(address / PMD_SIZE) * PMD_SIZE;
}

/** Whether nothing but the VMA itself, from its start on, lies in the block around its start. */
function canAlignDown(vma: VmArea, address: number): boolean {
  if (vma.vmStart !== address) return false;
  const mm = vma.vmMm as MmStruct;
  const before = vmaTreeFindBelow(mm.mmRb, address);
  return before === null || (before.container as VmArea).vmEnd <= blockStart(address);
}

/** By how much the move begins lower. `try_realign_addr`. */
function realignment(move: PagetableMove): number {
  const { oldAddress, newAddress } = move;
  const offset = oldAddress - blockStart(oldAddress);
  if (offset === 0 || offset !== newAddress - blockStart(newAddress)) return 0;
  if (move.length < PMD_SIZE - offset) return 0;
  const isFree = canAlignDown(move.oldVma, oldAddress) && canAlignDown(move.newVma, newAddress);
  return isFree ? offset : 0;
}

/** `take_rmap_locks(vma)`: a walk that has passed the new place must not miss the page in the old one. */
const takeRmapLocks = fn(function* takeRmapLocks(vma: VmArea) {
  if (vma.mapping !== null) yield* downWrite(vma.mapping.iMmapRwsem);
  if (vma.anonVma !== null) yield* downWrite(rootOf(vma.anonVma).rwsem);
});

const dropRmapLocks = fn(function* dropRmapLocks(vma: VmArea) {
  if (vma.anonVma !== null) yield* upWrite(rootOf(vma.anonVma).rwsem);
  if (vma.mapping !== null) yield* upWrite(vma.mapping.iMmapRwsem);
});

interface TablePair {
  readonly from: PageTable;
  readonly to: PageTable;
  /** The old range, in bytes, and how far the new one is from it. */
  readonly start: number;
  readonly end: number;
  readonly distance: number;
}

/** Moves the entries of one pair of tables; both locked. Whether any page was there. */
const moveLocked = fn(
  function* moveLocked(pair: TablePair) {
    let hasMoved = false;
    for (let address = pair.start; address < pair.end; address += 4096) {
      const index = pteIndex(address);
      if (pair.from.ptes[index] === 0) continue;
      const pte = yield* ptepGetAndClear(pair.from, index);
      if (ptePresent(pte)) hasMoved = true;
      const moved = ptePresent(pte) ? pteModify(pte, PTE_SOFT_DIRTY, 0) : pte;
      yield* setPteAt(pair.to, pteIndex(address + pair.distance), moved);
    }
    return hasMoved;
  },
  { name: 'move_ptes' },
);

const movePtes = fn(function* movePtes(mm: MmStruct, pair: TablePair) {
  const flushesUnderLock = behaviourOf(running).mremapFlushesUnderLock;
  // The old one first; only a writer of mmap_sem takes two of an mm.
  yield* spinLock(pair.from.ptl);
  if (pair.to !== pair.from) yield* spinLockNested(pair.to.ptl, SINGLE_DEPTH_NESTING);
  const hasMoved = yield* moveLocked(pair);
  if (hasMoved && flushesUnderLock) yield* flushTlbRange(mm, pair.start, pair.end);
  if (pair.to !== pair.from) yield* spinUnlock(pair.to.ptl);
  yield* spinUnlock(pair.from.ptl);
  return hasMoved;
});

/**
 * `move_page_tables(&pmc)`: moves the entries; returns the bytes moved, less than `length` without memory. One
 * start and end (MMU_NOTIFY_UNMAP) for the old range (which may begin lower, at the boundary of a page table).
 * mmap_sem held for write. May sleep.
 */
export const movePageTables = fn(function* movePageTables(move: PagetableMove) {
  const { oldVma, oldAddress, length } = move;
  if (length === 0 && !behaviourOf(running).emptyMoveNotifies) return 0;
  const mm = oldVma.vmMm as MmStruct;
  const end = oldAddress + length;
  const start = oldAddress - realignment(move);
  const event = MMU_NOTIFY_UNMAP;
  const range: MmuNotifierRange = { mm, vma: null, start, end, event, flags: 0 };
  yield* mmuNotifierInvalidateRangeStart(range);
  const stoppedAt = yield* moveAll(move);
  if (!behaviourOf(running).mremapFlushesUnderLock) yield* flushTlbRange(mm, start, end);
  yield* invalidateRangeEnd(range);
  return stoppedAt - oldAddress;
});

/** Moves piece by piece, each within one old and one new table; returns the old address where it stopped. */
const moveAll = fn(
  function* moveAll(move: PagetableMove) {
    const { oldVma, oldAddress, newAddress, length, needsRmapLocks } = move;
    const mm = oldVma.vmMm as MmStruct;
    const distance = newAddress - oldAddress;
    const end = oldAddress + length;
    let leaf = yield* nextLeaf(mm, oldAddress, end);
    while (leaf !== null) {
      // The new place may lie across two tables.
      const stop = Math.min(leaf.end, blockStart(leaf.start + distance) + PMD_SIZE - distance);
      const to = yield* tableAlloc(mm, leaf.start + distance, 1);
      if (to === null) return leaf.start;
      if (needsRmapLocks) yield* takeRmapLocks(oldVma);
      const pair: TablePair = { from: leaf.table, to, start: leaf.start, end: stop, distance };
      yield* movePtes(mm, pair);
      if (needsRmapLocks) yield* dropRmapLocks(oldVma);
      leaf = yield* nextLeaf(mm, stop, end);
    }
    return end;
  },
  { name: 'move_pgt_entry' },
);
