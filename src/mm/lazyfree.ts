/**
 * MADV_FREE: the pages may be dropped, contents and all, until they are written again.
 *
 * Modelled: entries become clean and old, pages lose PG_dirty and PG_swapbacked, pages that others map too are
 * left alone, swap entries go at once. Reclaim drops such a page if it finds it clean still.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { clearPageFlag, PG_DIRTY, PG_SWAPBACKED } from '../mm-types/page.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_SWAP,
  pteModify,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  setPteAt,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { pfnToPage } from './frames.ts';
import { tlbFinishMmu, tlbGatherMmu, tlbNoteRange, type MmuGather } from './mmu-gather.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { nextLeaf, pteIndex, type LeafRange } from './page-table-walk.ts';
import { dropSwapCache, freeSwap } from './swap-cache.ts';

const freePte = fn(
  function* freePte(tlb: MmuGather, leaf: LeafRange, address: number) {
    const index = pteIndex(address);
    const pte = leaf.table.ptes[index] as number;
    if (pte === 0) return;
    if (!ptePresent(pte)) {
      if ((pte & PTE_SWAP) === 0) return;
      yield* ptepGetAndClear(leaf.table, index);
      yield* freeSwap(ptePfn(pte));
      return;
    }
    const page = pteSpecial(pte) ? null : pfnToPage(ptePfn(pte));
    if (page === null || !page.isAnon || !(yield* trylockPage(page))) return;
    if ((yield* atomicRead(page.mapCount)) === 1 && (yield* dropSwapCache(page))) {
      yield* clearPageFlag(page, PG_DIRTY);
      const before = yield* ptepGetAndClear(leaf.table, index);
      yield* setPteAt(leaf.table, index, pteModify(before, 0, PTE_ACCESSED | PTE_DIRTY));
      tlbNoteRange(tlb, address, address + 4096);
      yield* clearPageFlag(page, PG_SWAPBACKED);
    }
    yield* unlockPage(page);
  },
  { name: 'madvise_free_pte_range' },
);

/**
 * `madvise_free_single_vma(vma, start, end)`, in private anonymous memory. mmap_sem held for read. Tells notifiers.
 * May sleep.
 */
export const madviseFreeSingleVma = fn(function* madviseFreeSingleVma(
  vma: VmArea,
  start: number,
  end: number,
) {
  const mm = vma.vmMm as MmStruct;
  const tlb = yield* tlbGatherMmu(mm);
  const range: MmuNotifierRange = { mm, vma, start, end, event: MMU_NOTIFY_CLEAR, flags: 0 };
  yield* mmuNotifierInvalidateRangeStart(range);
  let leaf = yield* nextLeaf(mm, start, end);
  while (leaf !== null) {
    yield* spinLock(leaf.table.ptl);
    for (let at = leaf.start; at < leaf.end; at += 4096) yield* freePte(tlb, leaf, at);
    yield* spinUnlock(leaf.table.ptl);
    leaf = yield* nextLeaf(mm, leaf.end, end);
  }
  yield* invalidateRangeEnd(range);
  yield* tlbFinishMmu(tlb);
});
