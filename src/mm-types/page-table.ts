/**
 * Page tables: four levels of 512 entries each, and the encoding of an entry.
 *
 *     address    47      39 38      30 29      21 20      12 11        0
 *                [  PGD    ][  PUD    ][  PMD    ][  PTE    ][ offset   ]
 *
 * Modelled: every load and store of an entry of the lowest level is one step, with a variable of its own; a
 * step that walks the upper levels reads all of them; tables are allocated on demand, may fail to be, and
 * are freed, after which a walk that still stands on one is a use after free. The lowest level has a
 * spinlock for each table; the upper levels are changed under `mm->page_table_lock`.
 * Simplified: the four upper loads of a walk are one step. The top level is allocated by the first fault.
 * Left out: huge entries, five levels.
 *
 * An entry of the lowest level is one number, frame × 4096 + flags. What is not present is either none (0)
 * or says by its flags what its frame number means: a swap slot, or a page that is being migrated.
 */
import { FieldSpec, KernelObject, type Memory, type Placement } from '../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { Spinlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';

export const PTRS_PER_TABLE = 512;
const PAGE_SIZE = 4096;
export const PMD_SIZE = 2 ** 21;
export const PUD_SIZE = 2 ** 30;
export const PGDIR_SIZE = 2 ** 39;

export const PTE_PRESENT = 1;
export const PTE_WRITE = 2;
export const PTE_DIRTY = 4;
export const PTE_ACCESSED = 8;
export const PTE_SOFT_DIRTY = 16;
/** The zero page, or a frame that a driver has mapped: neither counted nor referenced. */
export const PTE_SPECIAL = 32;
/** The frame that is mapped wherever anonymous memory was only read. */
export const ZERO_PFN = 1;
/** Not present: the frame number is a swap slot. */
export const PTE_SWAP = 64;
/** Not present: the page is being migrated. */
export const PTE_MIGRATION = 128;
/** Of a migration entry: it was writable. */
export const PTE_MIGRATION_WRITE = 256;
/** Of a swap or migration entry: the page was exclusive. */
export const PTE_EXCLUSIVE = 512;
/** Present, but nobody may access it (PROT_NONE). */
export const PTE_PROTNONE = 1024;

export type Pte = number;

/** `mk_pte(pfn, flags)`. */
export function mkPte(pfn: number, flags: number): Pte {
  return pfn * 4096 + flags;
}
/** `pte_pfn(pte)`: the frame, or the swap slot. */
export function ptePfn(pte: Pte): number {
  return Math.floor(pte / 4096);
}
export function pteFlags(pte: Pte): number {
  // Of a number below 2^53 the operator takes the low 32 bits.
  return pte & 4095;
}
export function ptePresent(pte: Pte): boolean {
  return (pte & PTE_PRESENT) !== 0;
}
export function pteNone(pte: Pte): boolean {
  return pte === 0;
}
export function pteWrite(pte: Pte): boolean {
  return (pte & PTE_WRITE) !== 0;
}
export function pteDirty(pte: Pte): boolean {
  return (pte & PTE_DIRTY) !== 0;
}
export function pteSpecial(pte: Pte): boolean {
  return (pte & PTE_SPECIAL) !== 0;
}
/** The entry with the flags `set` on and `clear` off. */
export function pteModify(pte: Pte, set: number, clear: number): Pte {
  const flags = pte & 4095;
  return pte - flags + ((flags & ~clear) | set);
}

/** The bytes that an entry of a table maps, by level. */
const ENTRY_SPANS = [1, PAGE_SIZE, PMD_SIZE, PUD_SIZE, PGDIR_SIZE] as const;

/** The position of `address` in a table of a level: 1 is the lowest. */
export function tableIndex(address: number, level: number): number {
  return Math.floor(address / (ENTRY_SPANS[level] as number)) % PTRS_PER_TABLE;
}

const LEVEL_NAMES = ['', 'pte_t', 'pmd_t', 'pud_t', 'pgd_t'] as const;

/** Life, 512 entries, and the lock. */
export const TABLE_VARIABLES = 1 + PTRS_PER_TABLE + 2;

export class PageTable extends KernelObject {
  /** 1: entries of pages; 2, 3, 4: of tables. */
  readonly level: number;
  /** Of level 1; raw, for detectors and for who is in the middle of an operation. */
  readonly ptes: Pte[];
  /** Of the other levels; raw, too. */
  readonly tables: (PageTable | null)[];
  /** Protects the entries of a table of level 1. */
  readonly ptl: Spinlock;
  /** The first address that the table maps. */
  readonly base: number;
  private readOperation: ReadPte | null = null;
  private setOperation: SetPte | null = null;
  private clearOperation: GetAndClear | null = null;
  private youngOperation: TestAndClearYoung | null = null;

  constructor(memory: Memory, level: number, base: number) {
    super({
      memory,
      path: LEVEL_NAMES[level] as string,
      variable: memory.firstVariable,
      container: null,
    });
    this.level = level;
    this.base = base;
    this.ptes = level === 1 ? ALL_NONE.slice() : NO_PTES;
    this.tables = level === 1 ? NO_TABLES : ALL_NULL.slice();
    this.ptl = new Spinlock({
      memory,
      path: `${LEVEL_NAMES[level]} lock`,
      variable: memory.firstVariable + 1 + PTRS_PER_TABLE,
      container: this,
    });
  }

  variableOf(index: number): number {
    return this.variable + 1 + index;
  }

  /** What freeing the table conflicts on; every use of it reads that. */
  get lifeVariable(): number {
    return this.variable;
  }

  get read(): ReadPte {
    return (this.readOperation ??= new ReadPte(this));
  }
  get set(): SetPte {
    return (this.setOperation ??= new SetPte(this));
  }
  get getAndClear(): GetAndClear {
    return (this.clearOperation ??= new GetAndClear(this));
  }
  get testAndClearYoung(): TestAndClearYoung {
    return (this.youngOperation ??= new TestAndClearYoung(this));
  }
}

const NO_PTES: Pte[] = [];
const NO_TABLES: (PageTable | null)[] = [];
/**
 * Copies of these two are made in no time, less than a typed array takes. The numbers were no integers first,
 * so that the engine keeps them, too, as doubles from the beginning.
 */
const ALL_NONE: Pte[] = Array.from({ length: PTRS_PER_TABLE }, () => 0.5).fill(0);
const ALL_NULL: (PageTable | null)[] = Array.from({ length: PTRS_PER_TABLE }, () => null);

abstract class PteOperation<R> extends Operation<R> {
  protected readonly table: PageTable;

  constructor(table: PageTable) {
    super(table.memory);
    this.table = table;
  }

  protected touches(out: Access[], index: number, mode: typeof READ | typeof WRITE): void {
    out.push(access(this.table.lifeVariable, READ), access(this.table.variableOf(index), mode));
  }

  protected show(index: number): string {
    return `0x${(this.table.base + index * 4096).toString(16)}`;
  }
}

class ReadPte extends PteOperation<Pte> {
  footprint(out: Access[], task: Task): void {
    this.touches(out, task.argument as number, READ);
  }

  perform(task: Task): Pte {
    return this.table.ptes[task.argument as number] as number;
  }

  describe(task: Task): string {
    return `ptep_get(${this.show(task.argument as number)})`;
  }
}

interface PteStore {
  readonly index: number;
  readonly pte: Pte;
}

class SetPte extends PteOperation<void> {
  footprint(out: Access[], task: Task): void {
    this.touches(out, (task.argument as PteStore).index, WRITE);
  }

  perform(task: Task): void {
    const { index, pte } = task.argument as PteStore;
    this.table.ptes[index] = pte;
  }

  describe(task: Task): string {
    const { index, pte } = task.argument as PteStore;
    return `set_pte_at(${this.show(index)}, ${pteText(pte)})`;
  }
}

class GetAndClear extends PteOperation<Pte> {
  footprint(out: Access[], task: Task): void {
    this.touches(out, task.argument as number, WRITE);
  }

  perform(task: Task): Pte {
    const index = task.argument as number;
    const before = this.table.ptes[index] as number;
    this.table.ptes[index] = 0;
    return before;
  }

  describe(task: Task): string {
    return `ptep_get_and_clear(${this.show(task.argument as number)})`;
  }
}

/** One step: the entry maps its page all the while. */
class TestAndClearYoung extends PteOperation<boolean> {
  footprint(out: Access[], task: Task): void {
    this.touches(out, task.argument as number, WRITE);
  }

  perform(task: Task): boolean {
    const index = task.argument as number;
    const before = this.table.ptes[index] as number;
    if ((before & PTE_ACCESSED) === 0) return false;
    this.table.ptes[index] = pteModify(before, 0, PTE_ACCESSED);
    return true;
  }

  describe(task: Task): string {
    return `ptep_test_and_clear_young(${this.show(task.argument as number)})`;
  }
}

/** An entry as pictures show it. */
export function pteText(pte: Pte): string {
  if (pte === 0) return 'none';
  const frame = ptePfn(pte);
  if ((pte & PTE_SWAP) !== 0) return `swap slot ${frame}`;
  if ((pte & PTE_MIGRATION) !== 0) return `migration of frame ${frame}`;
  const rights = (pte & PTE_PROTNONE) !== 0 ? 'no access' : pteWrite(pte) ? 'rw' : 'r';
  return frame === ZERO_PFN ? `zero page ${rights}` : `frame ${frame} ${rights}`;
}

/** `ptep_get(ptep)`. The entry may change at once unless the caller holds the table's lock. */
export function ptepGet(table: PageTable, index: number): Operation<Pte> {
  return made(table.read, index);
}

/** `set_pte_at(mm, address, ptep, pte)`. The caller holds the table's lock. */
export function setPteAt(table: PageTable, index: number, pte: Pte): Operation<void> {
  return made(table.set, { index, pte });
}

/** `ptep_get_and_clear(ptep)`: what a CPU marks dirty meanwhile is not lost. Under the table's lock. */
export function ptepGetAndClear(table: PageTable, index: number): Operation<Pte> {
  return made(table.getAndClear, index);
}

/** `ptep_test_and_clear_young(ptep)`: whether a CPU has used the entry since the last time. Under the table's lock. */
export function ptepTestAndClearYoung(table: PageTable, index: number): Operation<boolean> {
  return made(table.testAndClearYoung, index);
}

/** The root of an address space's page tables: a field of `mm_struct`. */
export class PageTables extends KernelObject {
  /** NULL until the first fault. Set under `mm->page_table_lock`; raw. */
  pgd: PageTable | null = null;
  private walkOperation: WalkUpper | null = null;
  private linkOperation: LinkTable | null = null;

  get walk(): WalkUpper {
    return (this.walkOperation ??= new WalkUpper(this));
  }
  get link(): LinkTable {
    return (this.linkOperation ??= new LinkTable(this));
  }

  /** The table of `level` that `address` is in, or null. Raw. */
  find(address: number, level: number): PageTable | null {
    let table = this.pgd;
    for (let at = 4; at > level && table !== null; at -= 1) {
      table = table.tables[tableIndex(address, at)] as PageTable | null;
    }
    return table;
  }

  /** Appends what a walk down to `level` reads: each link as far as it comes. */
  walkFootprint(out: Access[], address: number, level: number): void {
    out.push(access(this.variable, READ));
    let table = this.pgd;
    for (let at = 4; at > level && table !== null; at -= 1) {
      const index = tableIndex(address, at);
      out.push(access(table.lifeVariable, READ), access(table.variableOf(index), READ));
      table = table.tables[index] as PageTable | null;
    }
  }
}

/** A field that holds the root of the page tables. */
export function pageTables(): FieldSpec<PageTables> {
  return new FieldSpec(1, (at: Placement) => new PageTables(at));
}

/** The argument is address × 8 + level. */
class WalkUpper extends Operation<PageTable | null> {
  private readonly root: PageTables;

  constructor(root: PageTables) {
    super(root.memory);
    this.root = root;
  }

  footprint(out: Access[], task: Task): void {
    this.root.walkFootprint(out, addressOf(task), levelOf(task));
  }

  perform(task: Task): PageTable | null {
    return this.root.find(addressOf(task), levelOf(task));
  }

  describe(task: Task): string {
    const name = LEVEL_NAMES[levelOf(task)]?.replace('_t', '');
    return `${name}_offset(mm, 0x${addressOf(task).toString(16)})`;
  }
}

function addressOf(task: Task): number {
  return Math.floor((task.argument as number) / 8);
}

function levelOf(task: Task): number {
  return (task.argument as number) % 8;
}

/** Links `table`, or takes out what is there for NULL. */
interface TableLink {
  /** Of the entry that changes; 5 is the root pointer itself. */
  readonly parentLevel: number;
  readonly address: number;
  readonly table: PageTable | null;
}

class LinkTable extends Operation<PageTable | null> {
  private readonly root: PageTables;

  constructor(root: PageTables) {
    super(root.memory);
    this.root = root;
  }

  footprint(out: Access[], task: Task): void {
    const { parentLevel, address } = task.argument as TableLink;
    if (parentLevel === 5) {
      out.push(access(this.root.variable, WRITE));
      return;
    }
    const parent = this.root.find(address, parentLevel);
    if (parent === null) return;
    const variable = parent.variableOf(tableIndex(address, parentLevel));
    out.push(access(parent.lifeVariable, READ), access(variable, WRITE));
  }

  /** Returns what was there. */
  perform(task: Task): PageTable | null {
    const { parentLevel, address, table } = task.argument as TableLink;
    if (parentLevel === 5) {
      const before = this.root.pgd;
      this.root.pgd = table;
      return before;
    }
    const parent = this.root.find(address, parentLevel);
    if (parent === null) running.misuse('a page table is linked to one that is not there');
    const index = tableIndex(address, parentLevel);
    const before = (parent as PageTable).tables[index] as PageTable | null;
    (parent as PageTable).tables[index] = table;
    return before;
  }

  describe(task: Task): string {
    const { parentLevel, address, table } = task.argument as TableLink;
    const name = (LEVEL_NAMES[parentLevel] ?? 'mm->pgd').replace('_t', '');
    return `${name}_${table === null ? 'clear' : 'populate'}(0x${address.toString(16)})`;
  }
}

/**
 * Walks down to the table of `level` (1 is the lowest) that `address` is in, or NULL if there is none. The
 * caller keeps it from being freed: by mmap_sem, or by a reverse-map lock of a VMA there.
 */
export function tableOffset(
  root: PageTables,
  address: number,
  level: number,
): Operation<PageTable | null> {
  return made(root.walk, address * 8 + level);
}

/** Changes the link at `address` in the table of `parentLevel`. Under `mm->page_table_lock`. */
export function linkTable(root: PageTables, link: TableLink): Operation<PageTable | null> {
  return made(root.link, link);
}
