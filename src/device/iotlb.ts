/**
 * An address space of a device behind an IOMMU: the entry of its PASID table, which has the root of the CPU's page
 * tables while it is set up, and the translations that were cached on the way.
 *
 *     driver                        device
 *     setPasidRoot(entry, tables)   root: walked where nothing is cached, as the CPU does
 *     flushIotlb()                  IOTLB: used until it is flushed, whatever the page tables say by then
 *     setPasidRoot(entry, null)     no new walks; what is cached stays until it is flushed
 *
 * Modelled: a walk sets the accessed and dirty marks; a page that is not there, or not writable, is a fault: -EFAULT,
 * and what was cached without the right is walked for once more, unless the hardware is one that faults at once. A walk of tables that are gone is a use
 * after free of them. Simplified: the IOTLB and the TLB of the device itself are one; an access is one step with the use
 * of its translation. Left out: PASID caches and paging-structure caches, which a driver flushes along.
 *
 * Variables: the root, and sixteen for the cached pages.
 */
import { EFAULT } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import {
  PTE_WRITE,
  ptePfn,
  tableIndex,
  type PageTables,
  type Pte,
} from '../mm-types/page-table.ts';
import { frames, pageLastIn, pfnToPage } from '../mm/frames.ts';
import { coherenceFootprint, judgeAccess, type Coherence } from './coherence.ts';
import { carryOut, isThere, marked, permits, walkFootprint } from './iommu-access.ts';
import type { KeptEntry } from './translations.ts';

const SLOTS = 16;
/** From here on no program has addresses, and no page table is walked. */
const CANONICAL_END = 2 ** 47;
const PAGE_SIZE = 4096;
/** The access cached a translation and is to be tried again. */
const FILLED = 'walks the page tables';

/** A field of a struct declares one: {@link pasidEntry}. */
export class PasidEntry extends KernelObject {
  /** Null while the entry is not present; raw. */
  root: PageTables | null = null;
  /** The IOTLB, by page number; raw. */
  readonly cached = new Map<number, KeptEntry>();
  /** Whether an access for which a cached entry gives no right faults without another walk. Raw. */
  faultsOnCached = false;
  readonly coherence: Coherence[] = [];
  readonly set = new SetRoot(this);
  readonly flush = new FlushIotlb(this);
  readonly read = new IotlbAccess(this, false);
  readonly write = new IotlbAccess(this, true);

  cacheVariable(page: number): number {
    return this.variable + 1 + (page % SLOTS);
  }
}

/** A field that is an entry of a PASID table, not present, with nothing cached. */
export function pasidEntry(): FieldSpec<PasidEntry> {
  return new FieldSpec(1 + SLOTS, (at: Placement) => new PasidEntry(at));
}

abstract class EntryOperation<R> extends Operation<R> {
  protected readonly owner: PasidEntry;

  constructor(owner: PasidEntry) {
    super(owner.memory);
    this.owner = owner;
  }
}

class SetRoot extends EntryOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.owner.variable, WRITE));
  }

  perform(task: Task): void {
    this.owner.root = task.argument as PageTables | null;
  }

  describe(task: Task): string {
    return `${this.owner.path}: ${task.argument === null ? 'torn down' : 'set up'}`;
  }
}

interface PageRange {
  readonly first: number;
  readonly end: number;
}

function addressText(page: number): string {
  return `0x${(page * PAGE_SIZE).toString(16)}`;
}

class FlushIotlb extends EntryOperation<void> {
  footprint(out: Access[], task: Task): void {
    const { first, end } = task.argument as PageRange;
    const stop = Math.min(end, first + SLOTS);
    for (let page = first; page < stop; page += 1) {
      out.push(access(this.owner.cacheVariable(page), WRITE));
    }
  }

  perform(task: Task): void {
    const { first, end } = task.argument as PageRange;
    const { cached } = this.owner;
    for (const page of cached.keys()) if (page >= first && page < end) cached.delete(page);
  }

  describe(task: Task): string {
    const { first, end } = task.argument as PageRange;
    const what = end === Infinity ? 'all' : `[${addressText(first)}, ${addressText(end)})`;
    return `${this.owner.path}: flushes ${what}`;
  }
}

interface Request {
  readonly address: number;
  readonly byte: number;
}

class IotlbAccess extends EntryOperation<number | typeof FILLED> {
  override readonly footprintVaries = true;
  private readonly isWrite: boolean;

  constructor(owner: PasidEntry, isWrite: boolean) {
    super(owner);
    this.isWrite = isWrite;
  }

  /** What is cached with the right that is needed. */
  private hit(page: number): KeptEntry | null {
    const entry = this.owner.cached.get(page);
    return entry === undefined || (this.isWrite && !entry.isWritable) ? null : entry;
  }

  /** Whether the access is refused by what is cached. */
  private isRefused(page: number): boolean {
    const { cached, faultsOnCached } = this.owner;
    return faultsOnCached && this.isWrite && cached.get(page)?.isWritable === false;
  }

  footprint(out: Access[], task: Task): void {
    const { owner, isWrite } = this;
    const { address } = task.argument as Request;
    const page = Math.floor(address / PAGE_SIZE);
    if (this.isRefused(page)) {
      out.push(access(owner.cacheVariable(page), READ));
      return;
    }
    const hit = this.hit(page);
    out.push(access(owner.cacheVariable(page), hit === null ? WRITE : READ));
    if (hit === null) {
      out.push(access(owner.variable, READ));
      const canWalk = owner.root !== null && address < CANONICAL_END;
      if (canWalk) walkFootprint(owner.root as PageTables, address, isWrite, out);
      return;
    }
    const frame = pfnToPage(hit.pfn) ?? pageLastIn(hit.pfn);
    if (frame !== null) out.push(access(frame.contents.variable, isWrite ? WRITE : READ));
    if (frame !== hit.page || !frame?.memory.isLive)
      out.push(access(frames(running).variable, READ));
    coherenceFootprint(owner, page, out);
  }

  perform(task: Task): number | typeof FILLED {
    const { owner, isWrite } = this;
    const { address, byte } = task.argument as Request;
    const page = Math.floor(address / PAGE_SIZE);
    if (this.isRefused(page)) return -EFAULT;
    const entry = this.hit(page);
    if (entry === null) return this.walk(address);
    const frame = pfnToPage(entry.pfn) ?? pageLastIn(entry.pfn);
    if (frame === null) {
      return running.misuse(`an IOMMU cached frame ${entry.pfn}, which was never handed out`);
    }
    if (!isThere(frame.memory, frame.contents.path, isWrite ? 'written' : 'read')) return -EFAULT;
    judgeAccess(owner, page, { entry, isWrite });
    return carryOut(frame, address % PAGE_SIZE, isWrite ? byte : null);
  }

  private walk(address: number): number | typeof FILLED {
    const { owner, isWrite } = this;
    const { root, cached } = owner;
    const page = Math.floor(address / PAGE_SIZE);
    cached.delete(page);
    if (root === null || address >= CANONICAL_END) return -EFAULT;
    if (!isThere(root.memory, root.path, 'used')) return -EFAULT;
    const table = root.find(address, 1);
    if (table === null) return -EFAULT;
    const index = tableIndex(address, 1);
    const pte = table.ptes[index] as Pte;
    if (!permits(pte, isWrite)) return -EFAULT;
    table.ptes[index] = marked(pte, isWrite);
    const pfn = ptePfn(pte);
    const isWritable = (pte & PTE_WRITE) !== 0;
    cached.set(page, { pfn, isWritable, page: pfnToPage(pfn), since: running.now });
    return FILLED;
  }

  describe(task: Task): string {
    const { address } = task.argument as Request;
    return `${this.owner.path}: ${this.isWrite ? 'writes' : 'reads'} 0x${address.toString(16)}`;
  }
}

/** Sets the entry up for these page tables, or tears it down; what is cached stays. Never sleeps. */
export function setPasidRoot(entry: PasidEntry, root: PageTables | null): Operation<void> {
  return made(entry.set, root);
}

/** Makes the IOTLB forget pages [first, end), and waits for the accesses that used them. Never sleeps. */
export function flushIotlb(entry: PasidEntry, first: number, end: number): Operation<void> {
  return made(entry.flush, { first, end });
}

const attempt = fn(
  function* deviceAccess(entry: PasidEntry, isWrite: boolean, request: Request) {
    for (;;) {
      const result = yield* made(isWrite ? entry.write : entry.read, request);
      if (result !== FILLED) return result;
    }
  },
  { name: 'device_access' },
);

/** The device reads the byte at `address` (bytes) of the address space: 0 … 255, or -EFAULT. Never sleeps. */
export function iotlbLoad(entry: PasidEntry, address: number) {
  return attempt(entry, false, { address, byte: 0 });
}

/** The device writes a byte; returns the one that was there, or -EFAULT. Never sleeps. */
export function iotlbStore(entry: PasidEntry, address: number, byte: number) {
  return attempt(entry, true, { address, byte });
}
