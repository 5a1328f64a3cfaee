/**
 * Accesses of a device that walks the CPU's page tables, through an IOMMU (IOMMUv2, SVA): it was given the root of
 * the tables, and nothing else of the address space.
 *
 * Modelled: the walk and the access are one step, which sets the accessed and dirty marks as the CPU's own walks do;
 * a page that is not there, or not writable, is a fault. Simplified: no IOTLB (iotlb.ts has one), so there is
 * nothing to flush; a fault is answered by nobody (page requests belong to the IOMMU's driver).
 * What walks the tables of an address space that is gone is a use after free of them.
 */
import { EFAULT } from '../base/errno.ts';
import type { Memory } from '../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { OOPS } from '../kernel/oops.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Page } from '../mm-types/page.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  pteModify,
  ptePfn,
  tableIndex,
  type PageTable,
  type PageTables,
  type Pte,
} from '../mm-types/page-table.ts';
import { pfnToPage } from '../mm/frames.ts';

const PAGE_SIZE = 4096;

interface Request {
  readonly root: PageTables;
  readonly address: number;
  /** Null to read. */
  readonly byte: number | null;
}

class IommuAccess extends Operation<number> {
  override readonly footprintVaries = true;

  footprint(out: Access[], task: Task): void {
    const { root, address, byte } = task.argument as Request;
    const pte = walkFootprint(root, address, byte !== null, out);
    const page = permits(pte, byte !== null) ? pfnToPage(ptePfn(pte)) : null;
    if (page !== null) out.push(access(page.contents.variable, byte === null ? READ : WRITE));
  }

  perform(task: Task): number {
    const { root, address, byte } = task.argument as Request;
    if (!isThere(root.memory, root.path, 'used')) return -EFAULT;
    const table = root.find(address, 1);
    if (table === null) return -EFAULT;
    const pte = entryOf(table, address);
    if (!permits(pte, byte !== null)) return -EFAULT;
    const page = pfnToPage(ptePfn(pte));
    if (page === null)
      return running.misuse(`a page-table entry maps the free frame ${ptePfn(pte)}`);
    table.ptes[tableIndex(address, 1)] = marked(pte, byte !== null);
    return carryOut(page, address % PAGE_SIZE, byte);
  }

  describe(task: Task): string {
    const { address, byte } = task.argument as Request;
    return `iommu: ${byte === null ? 'reads' : 'writes'} 0x${address.toString(16)}`;
  }
}

const IOMMU_ACCESS = new IommuAccess(null);

/** Whether what hardware reaches for is there: it is no task that an oops could end. */
export function isThere(memory: Memory, path: string, how: 'used' | 'read' | 'written'): boolean {
  try {
    running.touch(memory, path, how);
    return true;
  } catch (problem) {
    if (problem === OOPS) return false;
    throw problem;
  }
}

function entryOf(table: PageTable, address: number): Pte {
  return table.ptes[tableIndex(address, 1)] as Pte;
}

/** Whether an entry lets hardware read, or write. */
export function permits(pte: Pte, isWrite: boolean): boolean {
  const needed = PTE_PRESENT | (isWrite ? PTE_WRITE : 0);
  return (pte & needed) === needed && (pte & PTE_PROTNONE) === 0;
}

/** The entry with the marks that an access sets. */
export function marked(pte: Pte, isWrite: boolean): Pte {
  return pteModify(pte, PTE_ACCESSED | (isWrite ? PTE_DIRTY : 0), 0);
}

/** What a walk to `address` looks at, and the entry that it comes to: 0 for none. */
export function walkFootprint(
  root: PageTables,
  address: number,
  isWrite: boolean,
  out: Access[],
): Pte {
  root.walkFootprint(out, address, 1);
  const table = root.find(address, 1);
  if (table === null) return 0;
  const pte = entryOf(table, address);
  const isMarked = permits(pte, isWrite) && marked(pte, isWrite) !== pte;
  out.push(access(table.lifeVariable, READ));
  out.push(access(table.variableOf(tableIndex(address, 1)), isMarked ? WRITE : READ));
  return pte;
}

/** What the access does to the page; null only reads. Returns the byte as it was. */
export function carryOut({ contents }: Page, offset: number, byte: number | null): number {
  const before = contents.get(offset);
  if (byte !== null) contents.set(offset, byte & 255);
  return before;
}

/** The device reads the byte at `address` (bytes) of the address space with these tables: 0 … 255, or -EFAULT. */
export function iommuLoad(root: PageTables, address: number): Operation<number> {
  return made(IOMMU_ACCESS, { root, address, byte: null });
}

/** The device writes a byte; returns the one that was there, or -EFAULT. Never sleeps. */
export function iommuStore(root: PageTables, address: number, byte: number): Operation<number> {
  return made(IOMMU_ACCESS, { root, address, byte });
}
