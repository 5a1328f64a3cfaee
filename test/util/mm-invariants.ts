/**
 * What must hold of an address space whenever no call is in progress: looked at from outside, page table by
 * page table, and compared with what the counters, trees and TLBs say.
 */
import type { Kernel } from '../../src/kernel/kernel.ts';
import type { AddressSpace } from '../../src/mm-types/address-space.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { TASK_SIZE } from '../../src/mm-types/mm-struct.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import {
  PTE_MIGRATION,
  PTE_PROTNONE,
  PTE_SWAP,
  ptePfn,
  ptePresent,
  pteSpecial,
  pteText,
  pteWrite,
  type PageTable,
} from '../../src/mm-types/page-table.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { VM_SHARED, VM_WRITE } from '../../src/mm-types/vm-flags.ts';
import type { VmArea } from '../../src/mm-types/vma.ts';
import { frames, GUP_PIN_COUNTING_BIAS, usedPages, ZERO_PFN } from '../../src/mm/frames.ts';

const PAGE = 4096;

/** An entry of the lowest level that is not none. */
export interface Entry {
  readonly address: number;
  readonly pte: number;
}

/** All of them, in order of address; counts the tables on the way. */
export function entriesOf(mm: MmStruct, tables: PageTable[] = []): Entry[] {
  const found: Entry[] = [];
  const walk = (table: PageTable | null): void => {
    if (table === null) return;
    tables.push(table);
    if (table.level > 1) {
      for (const below of table.tables) walk(below);
      return;
    }
    for (const [index, pte] of table.ptes.entries()) {
      if (pte !== 0) found.push({ address: table.base + index * PAGE, pte });
    }
  };
  walk(mm.pageTables.pgd);
  return found;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** What is wrong, in words; empty if all is well. */
export type Problems = string[];

/** Sorted, disjoint, whole pages, and in every tree that they belong to. */
export function checkVmas(mm: MmStruct, problems: Problems): VmArea[] {
  const all = vmas(mm);
  let end = 0;
  for (const vma of all) {
    const { vmStart, vmEnd, mapping, node } = vma;
    const name = `VMA ${hex(vmStart)}-${hex(vmEnd)}`;
    if (vmStart < end)
      problems.push(`${name} begins before ${hex(end)}, the end of the one before`);
    if (vmStart >= vmEnd) problems.push(`${name} is empty`);
    if (vmStart % PAGE !== 0 || vmEnd % PAGE !== 0) problems.push(`${name} is not of whole pages`);
    if (vmEnd > TASK_SIZE) problems.push(`${name} reaches beyond the end of user addresses`);
    if (node.low !== vmStart || node.high !== vmEnd - 1) problems.push(`${name} is misplaced`);
    if (vma.vmMm !== mm) problems.push(`${name} is of another mm`);
    if (!vma.memory.isLive) problems.push(`${name} was freed`);
    if ((mapping === null) !== (vma.vmFile === null)) problems.push(`${name}: file or mapping?`);
    if (mapping !== null) {
      const { shared } = vma;
      const last = vma.vmPgoff + (vmEnd - vmStart) / PAGE - 1;
      if (shared.root !== mapping.iMmap) problems.push(`${name} is not in its file's tree`);
      if (shared.start !== vma.vmPgoff || shared.last !== last) {
        problems.push(`${name} is in its file's tree as [${shared.start}, ${shared.last}]`);
      }
    }
    end = vmEnd;
  }
  if (mm.mapCount !== all.length) problems.push(`map_count ${mm.mapCount} of ${all.length} VMAs`);
  return all;
}

/** Every entry lies in a VMA that permits it, and means a frame that is in use. */
function checkEntries(kernel: Kernel, mm: MmStruct, all: VmArea[], problems: Problems): Entry[] {
  const tables: PageTable[] = [];
  const entries = entriesOf(mm, tables);
  const { pages, zeroPage } = frames(kernel);
  let at = 0;
  for (const { address, pte } of entries) {
    while (at < all.length && all[at]!.vmEnd <= address) at += 1;
    const vma = all[at];
    const name = `the entry of ${hex(address)} (${pteText(pte)})`;
    if (vma === undefined || vma.vmStart > address) {
      problems.push(`${name} lies in no VMA`);
      continue;
    }
    const { vmFlags } = vma;
    if (!ptePresent(pte)) {
      if ((pte & (PTE_SWAP | PTE_MIGRATION)) === 0) problems.push(`${name} means nothing`);
      continue;
    }
    const isWritable = pteWrite(pte) && (pte & PTE_PROTNONE) === 0;
    if (isWritable && (vmFlags & VM_WRITE) === 0) problems.push(`${name} may write`);
    if ((pte & PTE_PROTNONE) === 0 && (vmFlags & 7) === 0) problems.push(`${name} may read`);
    const page = pages.get(ptePfn(pte)) ?? null;
    if (pteSpecial(pte)) {
      if (ptePfn(pte) !== ZERO_PFN) problems.push(`${name} is special and not the zero page`);
      if (isWritable) problems.push(`${name} may write the zero page`);
      continue;
    }
    if (page === null || page === zeroPage || !page.memory.isLive) {
      problems.push(`${name} maps a frame that is free`);
      continue;
    }
    if ((vmFlags & VM_SHARED) === 0 && isWritable && !page.isAnon) {
      problems.push(`${name} of a private mapping may write a page of a file`);
    }
    if (isWritable && page.isAnon && !page.isAnonExclusive) {
      problems.push(`${name} may write a page that others may have`);
    }
    if (!page.isAnon) {
      const index = vma.vmPgoff + (address - vma.vmStart) / PAGE;
      if (page.mapping !== vma.mapping || page.index !== index) {
        problems.push(`${name} maps page ${page.index}, expected ${index} of the VMA's file`);
      }
    } else if (page.isAnonExclusive && page.mapCount.value !== 1) {
      problems.push(`${name} maps an exclusive page that is mapped ${page.mapCount.value} times`);
    }
  }
  for (const table of tables) {
    if (!table.memory.isLive) problems.push(`the table of ${hex(table.base)} was freed`);
  }
  return entries;
}

/** What a CPU translates is what the page tables say. */
function checkTlbs(mm: MmStruct, entries: readonly Entry[], problems: Problems): void {
  const byPage = new Map(entries.map(({ address, pte }) => [address / PAGE, pte]));
  for (const [cpu, translations] of mm.tlb.cpus) {
    for (const [number, { pte, page }] of translations) {
      const name = `CPU ${cpu} translates ${hex(number * PAGE)}`;
      const now = byPage.get(number) ?? 0;
      if (!ptePresent(now)) problems.push(`${name}, which is not mapped any more`);
      else if (ptePfn(now) !== ptePfn(pte)) problems.push(`${name} to a page that was replaced`);
      else if (pteWrite(pte) && !pteWrite(now)) problems.push(`${name} writable, which it is not`);
      if (!page.memory.isLive) problems.push(`${name} to a page that was freed`);
    }
  }
  if (mm.tlb.flushPending.value !== 0) problems.push('a flush is still pending');
}

/** Map counts are the numbers of entries; references are those, the cache's and the pins. */
function checkCounts(
  kernel: Kernel,
  mapped: ReadonlyMap<number, number>,
  caches: ReadonlySet<AddressSpace>,
  problems: Problems,
): void {
  const cached = new Map<Page, number>();
  for (const cache of caches) {
    for (const { index, entry } of cache.pages.slots) {
      cached.set(entry, index);
      if (!entry.memory.isLive) problems.push(`page ${index} of a file was freed`);
      if (entry.mapping !== cache || entry.index !== index) {
        problems.push(`page ${index} of a file says that it is page ${entry.index} of another`);
      }
    }
  }
  for (const page of usedPages(kernel)) {
    const pfn = (page.memory.address - 0x6000_0000_0000) / 64;
    const count = mapped.get(pfn) ?? 0;
    if (page.mapCount.value !== count) {
      problems.push(`frame ${pfn}: map count ${page.mapCount.value}, ${count} entries`);
    }
    const holders = count + (cached.has(page) ? 1 : 0) + (page.swapSlot === 0 ? 0 : 1);
    const references = page.refCount.value % GUP_PIN_COUNTING_BIAS;
    if (references !== holders) {
      problems.push(`frame ${pfn}: ${references} references, ${holders} that hold one`);
    }
    if (page.refCount.value === 0) problems.push(`frame ${pfn} is lost: nobody has it`);
    if (page.lock.owner !== null) problems.push(`frame ${pfn} is still locked`);
  }
}

/** The files that pages say they are of. */
function filesOf(kernel: Kernel, problems: Problems): Set<AddressSpace> {
  const found = new Set<AddressSpace>();
  for (const { isAnon, mapping } of usedPages(kernel)) {
    if (isAnon || mapping === null) continue;
    if (!mapping.memory.isLive) problems.push('a page is of a file that was freed');
    found.add(mapping as AddressSpace);
  }
  return found;
}

/** Everything at once, for all address spaces of a machine. No call may be in progress. */
export function mmProblems(kernel: Kernel, mms: readonly MmStruct[]): Problems {
  const problems: Problems = [];
  const mapped = new Map<number, number>();
  const caches = filesOf(kernel, problems);
  for (const mm of mms) {
    const all = checkVmas(mm, problems);
    for (const { mapping } of all) if (mapping !== null) caches.add(mapping);
    const entries = checkEntries(kernel, mm, all, problems);
    checkTlbs(mm, entries, problems);
    for (const { pte } of entries) {
      if (!ptePresent(pte) || pteSpecial(pte)) continue;
      mapped.set(ptePfn(pte), (mapped.get(ptePfn(pte)) ?? 0) + 1);
    }
    if (mm.mmapSem.writer !== null || mm.mmapSem.readers.length > 0)
      problems.push('mmap_sem is held');
  }
  checkCounts(kernel, mapped, caches, problems);
  return problems;
}
