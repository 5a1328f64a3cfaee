/**
 * Walking, making and freeing page tables.
 *
 * Modelled: tables are made level by level, each put in its place under page_table_lock unless another task
 * was first; what is freed is unlinked first, and its memory goes when the TLBs are flushed. Loads of an entry
 * under its table's lock that ask for nothing a CPU can change (whether it is there, which frame) are no
 * steps of their own: only holders of the lock change that.
 * Simplified: page_table_lock stands for the locks of the middle levels too.
 */
import { fn } from '../kernel/call.ts';
import { access, made, Operation, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  linkTable,
  PageTable,
  PGDIR_SIZE,
  PMD_SIZE,
  PTE_PRESENT,
  PUD_SIZE,
  TABLE_VARIABLES,
  tableIndex,
  tableOffset,
} from '../mm-types/page-table.ts';
import { perKernel } from '../kernel/kernel.ts';

const TABLE_SPANS = [4096, PMD_SIZE, PUD_SIZE, PGDIR_SIZE, 2 ** 48] as const;

/** Bytes that a table of a level maps: 2 MiB, 1 GiB, 512 GiB, 256 TiB. */
export function tableSpan(level: number): number {
  return TABLE_SPANS[level] as number;
}

/** Addresses of tables: one page each, from an arena of the task. */
class TableAddresses {
  readonly #used = new Map<number, number>();

  next(task: Task): number {
    const used = this.#used.get(task.index) ?? 0;
    this.#used.set(task.index, used + 1);
    return 0x5000_0000_0000 + (task.index + 1) * 2 ** 36 + used * 4096;
  }
}

const tableAddresses = perKernel(() => new TableAddresses());

class AllocTable extends Operation<PageTable | null> {
  override readonly maySleep = true;
  private readonly level: number;

  constructor(level: number) {
    super(null);
    this.level = level;
  }

  footprint(): void {
    // Nobody else can see the table yet.
  }

  /** Outcome 1: no memory. */
  override arity(): number {
    return running.left.allocations > 0 ? 2 : 1;
  }

  perform(task: Task, outcome: number): PageTable | null {
    if (outcome === 1) {
      running.left.allocations -= 1;
      return null;
    }
    const address = tableAddresses(running).next(task);
    const memory = running.makeMemory('page table', 'slab', TABLE_VARIABLES, address);
    running.noteAllocated(memory);
    return new PageTable(memory, this.level, task.argument as number);
  }

  describe(): string {
    return `${ALLOC_NAMES[this.level]}()`;
  }
}

const ALLOC_NAMES = ['', 'pte_alloc_one', 'pmd_alloc_one', 'pud_alloc_one', 'pgd_alloc'] as const;
const allocOperations = ALLOC_NAMES.map((_, level) => new AllocTable(level));

class FreeTable extends Operation<void> {
  private readonly table: PageTable;

  constructor(table: PageTable) {
    super(null);
    this.table = table;
  }

  /** Every use of the table reads the first variable, but for those of the lock itself. */
  footprint(out: Access[]): void {
    const { table } = this;
    out.push(
      access(table.lifeVariable, WRITE),
      access(table.ptl.variable, WRITE),
      access(table.ptl.variable + 1, WRITE),
    );
  }

  perform(): void {
    const { memory } = this.table;
    if (!memory.isLive) running.doubleFree(memory);
    running.release(memory);
  }

  describe(): string {
    return `${this.table.path.replace('_t', '')}_free(0x${this.table.base.toString(16)})`;
  }
}

/** Frees a table that nobody can find any more, and that no CPU has in its TLB. */
export function freeTable(table: PageTable): Operation<void> {
  return made(new FreeTable(table));
}

/**
 * `pte_alloc(mm, address)` for level 1, `pmd_alloc` for 2: the table of that level, made with all above it if
 * need be, or NULL without memory. mmap_sem held. May sleep.
 */
export const tableAlloc = fn(
  function* tableAlloc(mm: MmStruct, address: number, level: number) {
    const found = yield* tableOffset(mm.pageTables, address, level);
    if (found !== null) return found;
    let table: PageTable | null = null;
    for (let at = 4; at >= level; at -= 1) {
      table = yield* tableOffset(mm.pageTables, address, at);
      table ??= yield* addTable(mm, address, at);
      if (table === null) return null;
    }
    return table;
  },
  { name: '__pte_alloc' },
);

/** Adds one table, unless somebody else was first. */
const addTable = fn(
  function* addTable(mm: MmStruct, address: number, level: number) {
    const span = tableSpan(level);
    const base = Math.floor(address / span) * span;
    const fresh: PageTable | null = yield* made(allocOperations[level] as AllocTable, base);
    if (fresh === null) return null;
    yield* spinLock(mm.pageTableLock);
    const there = mm.pageTables.find(address, level);
    if (there === null) {
      yield* linkTable(mm.pageTables, { parentLevel: level + 1, address, table: fresh });
    }
    yield* spinUnlock(mm.pageTableLock);
    if (there === null) return fresh;
    yield* freeTable(fresh);
    return there;
  },
  { name: 'pmd_install' },
);

/** A table of the lowest level and the entries of it that a walk is about. */
export interface LeafRange {
  readonly table: PageTable;
  /** Bytes. */
  readonly start: number;
  readonly end: number;
}

/**
 * The next table of the lowest level that maps any of [start, end), and which part of that; NULL if there is
 * none. What is missing is skipped at the level where it is missing. The caller keeps tables from being freed.
 */
export const nextLeaf = fn(
  function* nextLeaf(mm: MmStruct, start: number, end: number) {
    let address = start;
    while (address < end) {
      const table = yield* tableOffset(mm.pageTables, address, 1);
      if (table !== null) {
        const stop = Math.min(end, Math.floor(address / PMD_SIZE) * PMD_SIZE + PMD_SIZE);
        return { table, start: address, end: stop } as LeafRange;
      }
      address = afterMissing(mm, address);
    }
    return null;
  },
  { name: 'walk_page_range' },
);

/** The end of the largest block around `address` for which there is no table. Judged with the walk before. */
function afterMissing(mm: MmStruct, address: number): number {
  for (let level = 4; level >= 1; level -= 1) {
    if (mm.pageTables.find(address, level) !== null) continue;
    const span = tableSpan(level);
    return (Math.floor(address / span) + 1) * span;
  }
  return address;
}

/** The position in a table of the lowest level. */
export function pteIndex(address: number): number {
  return tableIndex(address, 1);
}

/** Whether a page is mapped at `address` now. Raw: for detectors, tests, and the comparison with recordings. */
export function isPagePresent(mm: MmStruct, address: number): boolean {
  const table = mm.pageTables.find(address, 1);
  return table !== null && ((table.ptes[pteIndex(address)] as number) & PTE_PRESENT) !== 0;
}
