/**
 * mprotect of page tables.
 *
 * Modelled: which entries change, that a private page which belongs to this process alone gets its right to
 * write back without a fault, and what notifiers are told: one range from the first GiB on that has a
 * page-middle table (6.18, recordings), or one for each GiB from its first populated entry on (v5.4).
 * Entries that lost a right are flushed by the gather. Left out: NUMA hinting, userfaultfd.
 */
import { fn } from '../kernel/call.ts';
import { dataRace } from '../kernel/field.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import {
  PMD_SIZE,
  PTE_MIGRATION,
  PTE_MIGRATION_WRITE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  pteModify,
  ptepGetAndClear,
  ptePfn,
  ptePresent,
  pteSpecial,
  PUD_SIZE,
  setPteAt,
  tableOffset,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { MMU_NOTIFY_PROTECTION_VMA, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { behaviourOf } from './behaviour.ts';
import { pfnToPage } from './frames.ts';
import { tlbNoteRange, type MmuGather } from './mmu-gather.ts';
import { nextLeaf, pteIndex, type LeafRange } from './page-table-walk.ts';
import { vmPageProt } from './pte-rights.ts';

const RIGHTS = PTE_PRESENT | PTE_WRITE | PTE_PROTNONE;

/** Whether the entry may be writable at once: private memory whose page nobody else can have. */
const canBeWritable = fn(
  function* canBeWritable(pte: Pte) {
    const page = pteSpecial(pte) ? null : pfnToPage(ptePfn(pte));
    if (page === null || !page.isAnon) return false;
    return yield* dataRace(page, 'isAnonExclusive');
  },
  { name: 'can_change_pte_writable' },
);

/** Whether a TLB that has the old entry would permit too much. `pte_needs_flush`. */
function needsFlush(before: Pte, after: Pte): boolean {
  const lost = before & ~after & (PTE_PRESENT | PTE_WRITE);
  const gained = after & ~before & PTE_PROTNONE;
  return lost !== 0 || gained !== 0;
}

const changePresent = fn(
  function* changePresent(tlb: MmuGather, vmFlags: number, leaf: LeafRange, address: number) {
    const index = pteIndex(address);
    const before = yield* ptepGetAndClear(leaf.table, index);
    let after = pteModify(before, vmPageProt(vmFlags), RIGHTS);
    const isPrivate = (vmFlags & (VM_WRITE | VM_SHARED)) === VM_WRITE;
    if (isPrivate && (yield* canBeWritable(before))) after = pteModify(after, PTE_WRITE, 0);
    yield* setPteAt(leaf.table, index, after);
    if (needsFlush(before, after)) tlbNoteRange(tlb, address, address + 4096);
  },
  { name: 'change_present_ptes' },
);

const changePteRange = fn(function* changePteRange(tlb: MmuGather, vma: VmArea, leaf: LeafRange) {
  const { vmFlags } = vma;
  const { table } = leaf;
  yield* spinLock(table.ptl);
  for (let address = leaf.start; address < leaf.end; address += 4096) {
    const pte = table.ptes[pteIndex(address)] as number;
    if (pte === 0) continue;
    if (ptePresent(pte)) {
      yield* changePresent(tlb, vmFlags, leaf, address);
    } else if ((pte & PTE_MIGRATION) !== 0 && (pte & PTE_MIGRATION_WRITE) !== 0) {
      yield* setPteAt(table, pteIndex(address), pteModify(pte, 0, PTE_MIGRATION_WRITE));
    }
  }
  yield* spinUnlock(table.ptl);
});

const changePieces = fn(
  function* changePieces(tlb: MmuGather, vma: VmArea, start: number, end: number) {
    let leaf = yield* nextLeaf(tlb.mm, start, end);
    while (leaf !== null) {
      yield* changePteRange(tlb, vma, leaf);
      leaf = yield* nextLeaf(tlb.mm, leaf.end, end);
    }
  },
  { name: 'change_pmd_range' },
);

/** The first address of [start, end) whose piece of `size` bytes has a table of `level`, or -1. */
const firstPopulated = fn(
  function* firstPopulated(tlb: MmuGather, bounds: readonly [number, number], level: number) {
    const size = level === 2 ? PUD_SIZE : PMD_SIZE;
    const [start, end] = bounds;
    for (let address = start; address < end;) {
      if ((yield* tableOffset(tlb.mm.pageTables, address, level)) !== null) return address;
      // What is missing further up is missing for all of it.
      const isTopMissing = tlb.mm.pageTables.find(address, 3) === null;
      const step = isTopMissing ? 2 ** 39 : size;
      address = (Math.floor(address / step) + 1) * step;
    }
    return -1;
  },
  { name: 'change_pud_range' },
);

function rangeOf(vma: VmArea, tlb: MmuGather, start: number, end: number): MmuNotifierRange {
  return { mm: tlb.mm, vma, start, end, event: MMU_NOTIFY_PROTECTION_VMA, flags: 0 };
}

/**
 * `change_protection(&tlb, vma, start, end)`: gives the entries the rights of `vma.vmFlags`, which has been
 * changed already. mmap_sem held for write. Tells notifiers. May sleep.
 */
export const changeProtection = fn(function* changeProtection(
  tlb: MmuGather,
  vma: VmArea,
  start: number,
  end: number,
) {
  if (behaviourOf(running).mprotectRange === 'pud') {
    yield* changeProtectionV54(tlb, vma, start, end);
    return;
  }
  const first = yield* firstPopulated(tlb, [start, end], 2);
  if (first < 0) return;
  const range = rangeOf(vma, tlb, first, end);
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* changePieces(tlb, vma, first, end);
  yield* invalidateRangeEnd(range);
});

const changeProtectionV54 = fn(
  function* changeProtectionV54(tlb: MmuGather, vma: VmArea, start: number, end: number) {
    for (let address = start; address < end;) {
      const stop = Math.min(end, (Math.floor(address / PUD_SIZE) + 1) * PUD_SIZE);
      const first = yield* firstPopulated(tlb, [address, stop], 1);
      address = stop;
      if (first < 0) continue;
      const range = rangeOf(vma, tlb, first, stop);
      yield* mmuNotifierInvalidateRangeStart(range);
      yield* changePieces(tlb, vma, first, stop);
      yield* invalidateRangeEnd(range);
    }
  },
  { name: 'change_protection_range' },
);
