/**
 * fork of page tables: which entries the child gets, and what becomes of the parent's.
 *
 * Modelled: mappings without an anon_vma are not copied, the child faults them in; pages of private memory
 * become shared and read-only on both sides, pinned ones are copied for the child at once; the parent's
 * notifiers are told the whole VMA, and only that. The parent's TLBs are flushed once, by dup_mmap, after all
 * VMAs. Left out: the sequence count against lockless GUP.
 */
import { ENOMEM } from '../base/errno.ts';
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { SINGLE_DEPTH_NESTING } from '../kernel/held-lock.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { spinLock, spinLockNested, spinUnlock } from '../kernel/spinlock.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { pageToPfn, type Page } from '../mm-types/page.ts';
import { copyContents } from '../mm-types/page-contents.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_MIGRATION,
  PTE_MIGRATION_WRITE,
  PTE_SWAP,
  PTE_WRITE,
  pteModify,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  pteWrite,
  setPteAt,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import { isCowMapping, VM_PFNMAP, VM_SHARED } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_PROTECTION_PAGE, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { allocPage, getPage, GUP_PIN_COUNTING_BIAS, pfnToPage, putPage } from './frames.ts';
import { nextLeaf, pteIndex, tableAlloc, type LeafRange } from './page-table-walk.ts';
import { writtenPte } from './pte-rights.ts';
import { pageAddNewAnonRmap, pageAddRmap } from './rmap.ts';
import { swapDuplicate } from './swap.ts';

/** One table of the parent and the child's beside it, both locked. */
interface Pair {
  readonly source: PageTable;
  readonly target: PageTable;
  readonly sourceVma: VmArea;
  readonly targetVma: VmArea;
}

/** Asks the caller for a page to copy to, with both tables unlocked. */
const NEEDS_PAGE = 1;

/** What is not present: a swap slot gets one more user, a migrating page is shared from now on. */
const copyNonpresent = fn(
  function* copyNonpresent(pair: Pair, index: number, pte: Pte) {
    let entry = pte;
    if ((pte & PTE_SWAP) !== 0) yield* swapDuplicate(ptePfn(pte));
    const shared = PTE_EXCLUSIVE | ((pte & PTE_MIGRATION) !== 0 ? PTE_MIGRATION_WRITE : 0);
    if ((pte & shared) !== 0 && isCowMapping(pair.sourceVma.vmFlags)) {
      entry = pteModify(pte, 0, shared);
      yield* setPteAt(pair.source, index, entry);
    }
    yield* setPteAt(pair.target, index, entry);
  },
  { name: 'copy_nonpresent_pte' },
);

/** A pinned page stays the parent's: the child gets a copy, in `spare`. */
const copyPinned = fn(
  function* copyPinned(pair: Pair, address: number, page: Page, spare: Page) {
    yield* copyContents(spare.contents, page.contents);
    yield* pageAddNewAnonRmap(spare, pair.targetVma, address);
    const pte = writtenPte(pageToPfn(spare), pair.targetVma.vmFlags);
    yield* setPteAt(pair.target, pteIndex(address), pte);
  },
  { name: 'copy_present_page' },
);

/** Takes the right to write out of the parent's entry, and returns it as it is then. */
const wrprotect = fn(
  function* wrprotect(table: PageTable, index: number) {
    const before = yield* ptepGetAndClear(table, index);
    const after = pteModify(before, 0, PTE_WRITE);
    yield* setPteAt(table, index, after);
    return after;
  },
  { name: 'ptep_set_wrprotect' },
);

/** Copies one present entry; NEEDS_PAGE if the page is pinned and there is no spare one, else 0. */
const copyPresent = fn(
  function* copyPresent(pair: Pair, address: number, spare: Page | null) {
    const index = pteIndex(address);
    const pte = pair.source.ptes[index] as number;
    const flags = pair.sourceVma.vmFlags;
    const page = pteSpecial(pte) ? null : pfnToPage(ptePfn(pte));
    if (page !== null) {
      // An atomic bit, as in doWpPage.
      if (page.isAnon && (yield* dataRace(page, 'isAnonExclusive'))) {
        if ((yield* atomicRead(page.refCount)) >= GUP_PIN_COUNTING_BIAS) {
          if (spare === null) return NEEDS_PAGE;
          yield* copyPinned(pair, address, page, spare);
          return 0;
        }
        yield* dataRaceWrite(page, 'isAnonExclusive', false);
      }
      yield* getPage(page);
      yield* pageAddRmap(page);
    }
    let entry = pte;
    if (isCowMapping(flags) && pteWrite(pte)) entry = yield* wrprotect(pair.source, index);
    const clean = (flags & VM_SHARED) !== 0 ? PTE_DIRTY : 0;
    yield* setPteAt(pair.target, index, pteModify(entry, 0, PTE_ACCESSED | clean));
    return 0;
  },
  { name: 'copy_present_ptes' },
);

/** Copies entries from `address` on; returns where it stopped for want of a spare page, or the end. */
const copyLocked = fn(
  function* copyLocked(pair: Pair, start: number, end: number, spare: Page | null) {
    let left = spare;
    for (let address = start; address < end; address += 4096) {
      const pte = pair.source.ptes[pteIndex(address)] as number;
      if (pte === 0) continue;
      if (!ptePresent(pte)) {
        yield* copyNonpresent(pair, pteIndex(address), pte);
        continue;
      }
      const before = pair.target.ptes[pteIndex(address)];
      if ((yield* copyPresent(pair, address, left)) === NEEDS_PAGE) return { address, left };
      const now = pair.target.ptes[pteIndex(address)] as number;
      if (left !== null && before !== now && ptePfn(now) === pageToPfn(left)) left = null;
    }
    return { address: end, left };
  },
  { name: 'copy_pte_range' },
);

const copyPteRange = fn(function* copyPteRange(
  targetVma: VmArea,
  sourceVma: VmArea,
  leaf: LeafRange,
) {
  const mm = targetVma.vmMm as MmStruct;
  const target = yield* tableAlloc(mm, leaf.start, 1);
  if (target === null) return -ENOMEM;
  const pair: Pair = { source: leaf.table, target, sourceVma, targetVma };
  let address = leaf.start;
  let spare: Page | null = null;
  for (;;) {
    // The child's first.
    yield* spinLock(target.ptl);
    yield* spinLockNested(leaf.table.ptl, SINGLE_DEPTH_NESTING);
    const stop: { readonly address: number; readonly left: Page | null } = yield* copyLocked(
      pair,
      address,
      leaf.end,
      spare,
    );
    yield* spinUnlock(leaf.table.ptl);
    yield* spinUnlock(target.ptl);
    spare = stop.left;
    address = stop.address;
    if (address === leaf.end) break;
    spare = yield* allocPage(GFP_KERNEL);
    if (spare === null) return -ENOMEM;
  }
  if (spare !== null) yield* putPage(spare);
  return 0;
});

/**
 * `copy_page_range(dst_vma, src_vma)`: 0 or -ENOMEM. Both mmap_sem held for write. Tells the parent's
 * notifiers. May sleep.
 */
export const copyPageRange = fn(function* copyPageRange(dstVma: VmArea, srcVma: VmArea) {
  // The child can fault in from the file whatever is not private; but nobody brings a driver's frames again.
  if (srcVma.anonVma === null && (srcVma.vmFlags & VM_PFNMAP) === 0) return 0;
  const mm = srcVma.vmMm as MmStruct;
  const { vmStart: start, vmEnd: end } = srcVma;
  const event = MMU_NOTIFY_PROTECTION_PAGE;
  const range: MmuNotifierRange = { mm, vma: srcVma, start, end, event, flags: 0 };
  const isCow = isCowMapping(srcVma.vmFlags);
  if (isCow) yield* mmuNotifierInvalidateRangeStart(range);
  let error = 0;
  let leaf = yield* nextLeaf(mm, start, end);
  while (leaf !== null && error === 0) {
    error = yield* copyPteRange(dstVma, srcVma, leaf);
    leaf = yield* nextLeaf(mm, leaf.end, end);
  }
  if (isCow) yield* invalidateRangeEnd(range);
  return error;
});
