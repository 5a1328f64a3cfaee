/**
 * Clearing soft-dirty marks (`echo 4 > /proc/PID/clear_refs`): which pages are written from now on?
 *
 * Entries lose the mark and the right to write, so that the next write faults and sets the mark again. One
 * notification for the whole address space, with an event of its own; the TLBs are flushed after its end.
 */
import { fn } from '../kernel/call.ts';
import { ULONG_MAX } from '../base/ulong.ts';
import { atomicDec, atomicInc } from '../kernel/atomic.ts';
import { running } from '../kernel/running.ts';
import { downgradeWrite, downWrite, upRead, upWrite } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import {
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  pteModify,
  ptepGetAndClear,
  ptePresent,
  setPteAt,
} from '../mm-types/page-table.ts';
import { VM_SOFTDIRTY } from '../mm-types/vm-flags.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_SOFT_DIRTY, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { nextLeaf, pteIndex, type LeafRange } from './page-table-walk.ts';
import { flushTlbMm } from './tlb.ts';

const clearTable = fn(
  function* clearTable({ table, start, end }: LeafRange) {
    yield* spinLock(table.ptl);
    for (let address = start; address < end; address += 4096) {
      const index = pteIndex(address);
      const pte = table.ptes[index] as number;
      if (pte === 0) continue;
      const clear = ptePresent(pte) ? PTE_WRITE | PTE_SOFT_DIRTY : PTE_SOFT_DIRTY;
      const before = yield* ptepGetAndClear(table, index);
      yield* setPteAt(table, index, pteModify(before, 0, clear));
    }
    yield* spinUnlock(table.ptl);
  },
  { name: 'clear_soft_dirty' },
);

/** `clear_refs_write(mm, CLEAR_REFS_SOFT_DIRTY)`. Takes mmap_sem for write. Tells notifiers. May sleep. */
export const clearRefsSoftDirty = fn(
  function* clearRefsSoftDirty(mm: MmStruct) {
    yield* downWrite(mm.mmapSem);
    const areas = vmas(mm);
    for (const vma of areas) vma.vmFlags &= ~VM_SOFTDIRTY;
    const { softDirtyDowngrades } = behaviourOf(running);
    if (softDirtyDowngrades) yield* downgradeWrite(mm.mmapSem);
    yield* atomicInc(mm.tlb.flushPending);
    const range: MmuNotifierRange = {
      mm,
      vma: null,
      start: 0,
      end: ULONG_MAX,
      event: MMU_NOTIFY_SOFT_DIRTY,
      flags: 0,
    };
    yield* mmuNotifierInvalidateRangeStart(range);
    for (const vma of areas) {
      let leaf = yield* nextLeaf(mm, vma.vmStart, vma.vmEnd);
      while (leaf !== null) {
        yield* clearTable(leaf);
        leaf = yield* nextLeaf(mm, leaf.end, vma.vmEnd);
      }
    }
    yield* invalidateRangeEnd(range);
    yield* flushTlbMm(mm);
    yield* atomicDec(mm.tlb.flushPending);
    yield* softDirtyDowngrades ? upRead(mm.mmapSem) : upWrite(mm.mmapSem);
  },
  { name: 'clear_refs_write' },
);
