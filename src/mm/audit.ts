/**
 * An audit of memory: does what pages say of themselves agree with what a walk of everything finds? For tests and
 * detectors, between two calls: everything is read raw.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { pageToPfn, type Page } from '../mm-types/page.ts';
import {
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SWAP,
  PTE_WRITE,
  ptePfn,
  pteSpecial,
  pteText,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_ACCESS_FLAGS, VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { frames, usedPages, ZERO_PFN } from './frames.ts';
import { linearPageIndex } from './rmap.ts';
import { swapDevice } from './swap.ts';

/** Everything that may refer to pages. */
export interface Inventory {
  readonly mms: readonly MmStruct[];
  /** Files whose pages are cached. */
  readonly mappings: readonly AddressSpace[];
  /** Pages that are pinned or referenced by somebody else, once for each reference. */
  readonly held?: readonly Page[];
}

/** An entry that is not none. */
export interface EntryAt {
  readonly mm: MmStruct;
  readonly address: number;
  readonly pte: Pte;
}

/** All entries of an address space, in order of address. */
export function entriesOf(mm: MmStruct): EntryAt[] {
  const found: EntryAt[] = [];
  const walk = (table: PageTable): void => {
    for (const below of table.tables) if (below !== null) walk(below);
    for (const [index, pte] of table.ptes.entries()) {
      if (pte !== 0) found.push({ mm, address: table.base + index * 4096, pte });
    }
  };
  if (mm.pageTables.pgd !== null) walk(mm.pageTables.pgd);
  return found;
}

class Audit {
  readonly problems: string[] = [];
  private readonly mapped = new Map<Page, number>();
  private readonly expected = new Map<Page, number>();
  private readonly slotUses = new Map<number, number>();
  private readonly kernel: Kernel;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  expect(page: Page, count: number): void {
    this.expected.set(page, (this.expected.get(page) ?? 0) + count);
  }

  entry(at: EntryAt, vma: VmArea | undefined): void {
    const { address, pte } = at;
    const where = `0x${address.toString(16)} (${pteText(pte)})`;
    if (vma === undefined) {
      this.problems.push(`${where} lies in no VMA`);
      return;
    }
    if ((pte & PTE_SWAP) !== 0) {
      this.slotUses.set(ptePfn(pte), (this.slotUses.get(ptePfn(pte)) ?? 0) + 1);
      return;
    }
    if ((pte & PTE_MIGRATION) !== 0) {
      this.problems.push(`${where} is still a migration entry`);
      return;
    }
    this.rights(where, pte, vma);
    if (ptePfn(pte) === ZERO_PFN) {
      if ((pte & PTE_WRITE) !== 0) this.problems.push(`${where} lets the zero page be written`);
      return;
    }
    // A driver's, which nobody counts.
    if (pteSpecial(pte)) return;
    const page = frames(this.kernel).pages.get(ptePfn(pte));
    if (page === undefined) {
      this.problems.push(`${where} maps a free frame`);
      return;
    }
    this.mapped.set(page, (this.mapped.get(page) ?? 0) + 1);
    this.expect(page, 1);
    this.belongs(where, page, at, vma);
  }

  private rights(where: string, pte: Pte, vma: VmArea): void {
    const { vmFlags } = vma;
    if ((pte & PTE_WRITE) !== 0 && (vmFlags & VM_WRITE) === 0) {
      this.problems.push(`${where} may be written, its VMA may not`);
    }
    if ((vmFlags & VM_ACCESS_FLAGS) === 0 && (pte & PTE_PROTNONE) === 0) {
      this.problems.push(`${where} may be accessed, its VMA may not`);
    }
  }

  private belongs(where: string, page: Page, at: EntryAt, vma: VmArea): void {
    if ((at.pte & PTE_PRESENT) === 0) return;
    const index = linearPageIndex(vma, at.address);
    if (page.index !== index && !page.isKsm) {
      this.problems.push(`${where}: the page has index ${page.index}, its place is ${index}`);
    }
    if (!page.isAnon && page.mapping !== vma.mapping) {
      this.problems.push(`${where}: the page is of another file, or of none`);
    }
    const isPrivate = (vma.vmFlags & VM_SHARED) === 0;
    if ((at.pte & PTE_WRITE) !== 0 && isPrivate && !(page.isAnon && page.isAnonExclusive)) {
      this.problems.push(`${where} may be written in place, though others may have the page`);
    }
  }

  swap(): void {
    const device = swapDevice(this.kernel);
    for (const [number, slot] of device.slots) {
      const uses = this.slotUses.get(number) ?? 0;
      if (slot.count !== uses) {
        this.problems.push(`swap slot ${number} counts ${slot.count} entries, there are ${uses}`);
      }
      if (slot.page !== null) this.expect(slot.page, 1);
      this.slotUses.delete(number);
    }
    for (const number of this.slotUses.keys()) {
      this.problems.push(`an entry refers to swap slot ${number}, which is free`);
    }
  }

  pages(): void {
    for (const page of usedPages(this.kernel)) {
      const name = `frame ${pageToPfn(page)}`;
      const mapped = this.mapped.get(page) ?? 0;
      if (page.mapCount.value !== mapped) {
        this.problems.push(`${name} counts ${page.mapCount.value} mappings, there are ${mapped}`);
      }
      const expected = this.expected.get(page) ?? 0;
      if (page.refCount.value !== expected) {
        const verb = expected === 0 ? 'is lost' : `should have ${expected}`;
        this.problems.push(`${name} has ${page.refCount.value} references and ${verb}`);
      }
      if (page.isAnonExclusive && mapped > 1) {
        this.problems.push(`${name} is marked exclusive and mapped ${mapped} times`);
      }
    }
  }
}

/**
 * What does not agree, in words; nothing if all is well. Every page in use must be mapped, cached or held, with as
 * many references as that makes and a map count of as many entries as there are; entries lie in VMAs that permit
 * them, and map the page that belongs there.
 */
export function auditMemory(kernel: Kernel, inventory: Inventory): string[] {
  const audit = new Audit(kernel);
  for (const mm of inventory.mms) {
    const areas = vmas(mm);
    let at = 0;
    for (const entry of entriesOf(mm)) {
      while (at < areas.length && (areas[at] as VmArea).vmEnd <= entry.address) at += 1;
      const vma = areas[at];
      audit.entry(entry, vma !== undefined && vma.vmStart <= entry.address ? vma : undefined);
    }
  }
  for (const mapping of inventory.mappings) {
    for (const slot of mapping.pages.slots) {
      audit.expect(slot.entry, 1);
      if (slot.index * 4096 >= mapping.size) {
        audit.problems.push(`page ${slot.index} is cached behind the end of its file`);
      }
    }
  }
  for (const page of inventory.held ?? []) audit.expect(page, 1);
  audit.swap();
  audit.pages();
  return audit.problems;
}

/** A translation in a CPU's TLB that the page tables do not back any more. */
export interface StaleTranslation {
  readonly cpu: number;
  readonly address: number;
  readonly text: string;
}

/** TLB entries that reach a page that was freed or replaced, or permit more than the page table does. */
export function staleTranslations(mm: MmStruct): StaleTranslation[] {
  const found: StaleTranslation[] = [];
  for (const [cpu, entries] of mm.tlb.cpus) {
    for (const [number, { pte, page }] of entries) {
      const address = number * 4096;
      const table = mm.pageTables.find(address, 1);
      const now = table === null ? 0 : (table.ptes[number % 512] as number);
      const text = staleText(pte, now, page.memory.isLive);
      if (text !== null) found.push({ cpu, address, text });
    }
  }
  return found;
}

function staleText(cached: Pte, now: Pte, isLive: boolean): string | null {
  if (!isLive) return `reaches frame ${ptePfn(cached)}, which was freed`;
  if ((now & PTE_PRESENT) === 0) return `reaches frame ${ptePfn(cached)}, which is mapped no more`;
  if (ptePfn(now) !== ptePfn(cached)) {
    return `reaches frame ${ptePfn(cached)} instead of ${ptePfn(now)}`;
  }
  const isTooMuch = (cached & PTE_WRITE) !== 0 && (now & PTE_WRITE) === 0;
  if (isTooMuch || (now & PTE_PROTNONE) !== 0) return 'permits more than the page table';
  return null;
}
