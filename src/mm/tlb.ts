/**
 * TLB flushes, and the accesses of a CPU through its TLB.
 *
 * An access that finds no translation loads one from the page tables, as hardware does, which sets the
 * accessed and the dirty bit, and is tried again: between loading a translation and using it anything may
 * happen. A flush is one step for all CPUs. Its place in the code is the kernel's.
 */
import { ULONG_MAX } from '../base/ulong.ts';
import { fn } from '../kernel/call.ts';
import {
  access,
  COMMUTE,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type Yieldable,
} from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  pteModify,
  ptePfn,
  type Pte,
} from '../mm-types/page-table.ts';
import type { MmTlb, TlbEntry } from '../mm-types/tlb.ts';
import { mmuNotifierInvalidateRange } from '../mmu-notifier/invalidate-range.ts';
import { mmHasNotifiers } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';
import { pfnToPage } from './frames.ts';
import { pteIndex } from './page-table-walk.ts';

const PAGE_SIZE = 4096;

/** The access loaded a translation and is to be tried again. */
export const TLB_FILLED = -1;
/** The page tables do not permit the access: the kernel's affair. */
export const TLB_FAULT = -2;

interface Store {
  readonly address: number;
  readonly byte: number;
}

abstract class CpuAccess<A> extends Operation<number> {
  protected readonly mm: MmStruct;
  private readonly need: number;

  constructor(mm: MmStruct, need: number) {
    super(mm.memory);
    this.mm = mm;
    this.need = need;
  }

  protected abstract addressOf(argument: A): number;
  protected abstract mode: typeof READ | typeof WRITE;
  /** The access itself, through a good translation. */
  protected abstract carryOut(entry: TlbEntry, argument: A): number;

  private hit(task: Task, page: number): TlbEntry | null {
    const entry = this.mm.tlb.lookup(task.cpu.id, page);
    return entry !== null && (entry.pte & this.need) === this.need ? entry : null;
  }

  /** What the page tables say, or 0. */
  private tableEntry(address: number): Pte {
    const table = this.mm.pageTables.find(address, 1);
    return table === null ? 0 : (table.ptes[pteIndex(address)] as number);
  }

  footprint(out: Access[], task: Task): void {
    const { mm } = this;
    const address = this.addressOf(task.argument as A);
    const page = Math.floor(address / PAGE_SIZE);
    const entry = this.hit(task, page);
    const isShared = task.cpu.contextCount > 1;
    if (entry !== null) {
      out.push(access(mm.tlb.variableOf(page), isShared ? READ : COMMUTE));
      out.push(access(entry.page.contents.variable, this.mode));
      return;
    }
    out.push(access(mm.tlb.variableOf(page), isShared ? WRITE : COMMUTE));
    mm.pageTables.walkFootprint(out, address, 1);
    const table = mm.pageTables.find(address, 1);
    if (table === null) return;
    const pte = this.tableEntry(address);
    out.push(
      access(table.lifeVariable, READ),
      access(table.variableOf(pteIndex(address)), this.marked(pte) === pte ? READ : WRITE),
    );
  }

  /** The entry with the marks that loading it for this access leaves; itself if it does not permit it. */
  private marked(pte: Pte): Pte {
    const rights = (this.need & PTE_WRITE) | PTE_PRESENT;
    if ((pte & rights) !== rights || (pte & PTE_PROTNONE) !== 0) return pte;
    const isWrite = (this.need & PTE_WRITE) !== 0;
    return pteModify(pte, PTE_ACCESSED | (isWrite ? PTE_DIRTY : 0), 0);
  }

  perform(task: Task): number {
    const argument = task.argument as A;
    const address = this.addressOf(argument);
    const page = Math.floor(address / PAGE_SIZE);
    const entry = this.hit(task, page);
    if (entry !== null) return this.carryOut(entry, argument);
    const pte = this.marked(this.tableEntry(address));
    if ((pte & this.need) !== this.need || (pte & PTE_PROTNONE) !== 0) return TLB_FAULT;
    const table = this.mm.pageTables.find(address, 1);
    if (table !== null) table.ptes[pteIndex(address)] = pte;
    const frame = pfnToPage(ptePfn(pte));
    if (frame === null)
      return running.misuse(`a page-table entry maps the free frame ${ptePfn(pte)}`);
    this.mm.tlb.fill(task.cpu.id, page, { pte, page: frame });
    return TLB_FILLED;
  }
}

class LoadAccess extends CpuAccess<number> {
  protected override readonly mode = READ;

  protected addressOf(argument: number): number {
    return argument;
  }

  protected carryOut(entry: TlbEntry, address: number): number {
    running.touch(entry.page.memory, 'page contents', 'read');
    return entry.page.contents.get(address % PAGE_SIZE);
  }

  describe(task: Task): string {
    return `loads from 0x${(task.argument as number).toString(16)}`;
  }
}

class StoreAccess extends CpuAccess<Store> {
  protected override readonly mode = WRITE;

  protected addressOf(argument: Store): number {
    return argument.address;
  }

  protected carryOut(entry: TlbEntry, { address, byte }: Store): number {
    running.touch(entry.page.memory, 'page contents', 'written');
    entry.page.contents.set(address % PAGE_SIZE, byte);
    return 0;
  }

  describe(task: Task): string {
    const { address, byte } = task.argument as Store;
    return `stores ${byte} to 0x${address.toString(16)}`;
  }
}

interface FlushRange {
  readonly start: number;
  readonly end: number;
}

class FlushTlb extends Operation<void> {
  /** Only what the TLBs have is lost. */
  override readonly footprintVaries = true;
  private readonly tlb: MmTlb;

  constructor(tlb: MmTlb) {
    super(tlb.memory);
    this.tlb = tlb;
  }

  /** What CPUs load and use meanwhile would come before or after. */
  footprint(out: Access[], task: Task): void {
    const { start, end } = task.argument as FlushRange;
    this.tlb.flushFootprint(out, Math.floor(start / PAGE_SIZE), Math.ceil(end / PAGE_SIZE));
  }

  perform(task: Task): void {
    const { start, end } = task.argument as FlushRange;
    this.tlb.flush(Math.floor(start / PAGE_SIZE), Math.ceil(end / PAGE_SIZE));
  }

  describe(task: Task): string {
    const { start, end } = task.argument as FlushRange;
    if (end === Infinity) return 'flush_tlb_mm(mm)';
    return `flush_tlb_range(0x${start.toString(16)}, 0x${end.toString(16)})`;
  }
}

interface TlbOperations {
  readonly load: LoadAccess;
  readonly store: StoreAccess;
  readonly flush: FlushTlb;
}

function operationsOf(mm: MmStruct): TlbOperations {
  const found = mm.tlb.operations as TlbOperations | null;
  if (found !== null) return found;
  const fresh: TlbOperations = {
    load: new LoadAccess(mm, PTE_PRESENT),
    store: new StoreAccess(mm, PTE_PRESENT | PTE_WRITE | PTE_DIRTY),
    flush: new FlushTlb(mm.tlb),
  };
  mm.tlb.operations = fresh;
  return fresh;
}

/** One attempt of a load by the task's CPU: the byte, {@link TLB_FILLED} or {@link TLB_FAULT}. */
export function cpuLoad(mm: MmStruct, address: number): Operation<number> {
  return made(operationsOf(mm).load, address);
}

/** One attempt of a store: 0, {@link TLB_FILLED} or {@link TLB_FAULT}. */
export function cpuStore(mm: MmStruct, address: number, byte: number): Operation<number> {
  return made(operationsOf(mm).store, { address, byte });
}

/** A flush of the CPUs' TLBs alone, in bytes. Never sleeps. */
export function flushCpuTlbs(mm: MmStruct, start: number, end: number): Operation<void> {
  return made(operationsOf(mm).flush, { start, end });
}

/** A flush that hardware which walks the page tables hears of. `end` may be Infinity. */
const flushAll = fn(
  function* flushAll(mm: MmStruct, start: number, end: number) {
    yield* flushCpuTlbs(mm, start, end);
    yield* mmuNotifierInvalidateRange(mm, start, Math.min(end, ULONG_MAX));
  },
  { name: 'flush_tlb_mm_range' },
);

/**
 * `flush_tlb_range(vma, start, end)`, in bytes: the CPUs' TLBs, and those of hardware that walks their page tables
 * unless the end tells them (see the switch `invalidateRange`). Never sleeps.
 */
export function flushTlbRange(mm: MmStruct, start: number, end: number): Yieldable<void> {
  const isTold = behaviourOf(running).invalidateRange === 'flush' && mmHasNotifiers(mm);
  return isTold ? flushAll(mm, start, end) : flushCpuTlbs(mm, start, end);
}

/** `flush_tlb_mm(mm)`. Never sleeps. */
export function flushTlbMm(mm: MmStruct): Yieldable<void> {
  return flushTlbRange(mm, 0, Infinity);
}
