/**
 * struct page: what the kernel knows of one page frame, and the frame's bytes.
 *
 * Modelled: reference and map counts, the page lock, where the page belongs (`mapping`, `index`),
 * whether an anonymous page belongs to one process alone (PG_anon_exclusive), flags that are set and
 * cleared without a lock, and contents. A page lives from its allocation to its freeing; a frame that is
 * handed out again has a new page, so that who kept the old one is found out.
 * Simplified: folios are single pages; the map count begins at 0, not at -1; the lock is a mutex.
 * Left out: LRU lists, memory cgroups, NUMA nodes, huge pages.
 */
import { atomic } from '../kernel/atomic.ts';
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { mutex } from '../kernel/mutex.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { ptr, struct, type InstanceOf, type StructObject } from '../kernel/struct.ts';
import type { Task } from '../kernel/task.ts';
import { pageContents } from './page-contents.ts';

/** Where the array of all pages begins; 64 bytes for each frame. */
export const VMEMMAP_BASE = 0x6000_0000_0000;
const STRUCT_PAGE_SIZE = 64;

// Flags that are changed without a lock.
export const PG_DIRTY = 0;
export const PG_REFERENCED = 1;
/** Off: an anonymous page whose contents may be dropped (MADV_FREE). */
export const PG_SWAPBACKED = 2;
/** Cleared by page aging: nobody has looked since. */
export const PG_YOUNG = 3;
const FLAG_COUNT = 4;
const FLAG_NAMES = ['PG_dirty', 'PG_referenced', 'PG_swapbacked', 'PG_young'] as const;

export type PageFlag = 0 | 1 | 2 | 3;

/** The flags of a page; each is a place of its own. */
export class PageFlags extends KernelObject {
  /** Raw, for detectors and tests: bit n is flag n. */
  bits = 1 << PG_SWAPBACKED;
  /** The step since which an anonymous page says where it belongs, or -1; raw. */
  publishedAt = -1;
  operations: Record<string, FlagOperation> | null = null;
}

type Verb = 'Set' | 'Clear' | 'Test' | 'TestSet' | 'TestClear';

class FlagOperation extends Operation<boolean> {
  private readonly flags: PageFlags;
  private readonly verb: Verb;
  private readonly flag: PageFlag;

  constructor(flags: PageFlags, verb: Verb, flag: PageFlag) {
    super(flags.memory);
    this.flags = flags;
    this.verb = verb;
    this.flag = flag;
  }

  footprint(out: Access[]): void {
    const mode = this.verb === 'Test' ? READ : this.verb === 'Set' ? COMMUTE : WRITE;
    out.push(access(this.flags.variable + this.flag, mode));
  }

  /** Whether the flag was set before. */
  perform(): boolean {
    const { flags, verb } = this;
    const bit = 1 << this.flag;
    const before = (flags.bits & bit) !== 0;
    if (verb === 'Set' || verb === 'TestSet') flags.bits |= bit;
    else if (verb !== 'Test') flags.bits &= ~bit;
    return before;
  }

  describe(_task: Task): string {
    return `${this.verb}Page(${this.flags.path}, ${FLAG_NAMES[this.flag]})`;
  }
}

const FLAGS = [PG_DIRTY, PG_REFERENCED, PG_SWAPBACKED, PG_YOUNG] as const;

function keysOf(verb: Verb): Readonly<Record<PageFlag, string>> {
  return FLAGS.map((flag) => `${verb}${flag}`) as unknown as Readonly<Record<PageFlag, string>>;
}

/** Put together once: a string that is made anew is looked up slowly. */
const OPERATION_KEYS: Readonly<Record<Verb, Readonly<Record<PageFlag, string>>>> = {
  Set: keysOf('Set'),
  Clear: keysOf('Clear'),
  Test: keysOf('Test'),
  TestSet: keysOf('TestSet'),
  TestClear: keysOf('TestClear'),
};

function flagOperation(page: Page, verb: Verb, flag: PageFlag): Operation<boolean> {
  const operations = (page.flags.operations ??= {});
  const key = OPERATION_KEYS[verb][flag];
  return made((operations[key] ??= new FlagOperation(page.flags, verb, flag)));
}

function pageFlags(): FieldSpec<PageFlags> {
  return new FieldSpec(FLAG_COUNT, (at: Placement) => new PageFlags(at));
}

/** struct page: one page frame. */
export const Page = struct('page', {
  /** One for each page-table entry, for the page cache, for each pin and for each temporary user. */
  refCount: atomic(1),
  /** Page-table entries that map it. */
  mapCount: atomic(0),
  /** PG_locked. See {@link lockPage}. */
  lock: mutex(),
  flags: pageFlags(),
  contents: pageContents(),
  /**
   * The `anon_vma` of an anonymous page, the `address_space` of one of a file, NULL for none. Under the
   * page lock, or of a page that nobody else has yet.
   */
  mapping: ptr<StructObject>(),
  /** Its place there, in pages. Constant while it has a mapping. */
  index: 0,
  /** `PageAnon(page)`: `mapping` is an anon_vma. */
  isAnon: false,
  /** `PageKsm(page)`: one of several equal pages, never written in place. */
  isKsm: false,
  /**
   * PG_anon_exclusive: no other process can have it mapped, so it may be written in place. Under the
   * page-table lock of the entry that maps it.
   */
  isAnonExclusive: false,
  /** The swap slot that it was given, or 0. Under the page lock. */
  swapSlot: 0,
});
export type Page = InstanceOf<typeof Page>;

/** The address of the page that describes frame `pfn`. */
export function pageAddress(pfn: number): number {
  return VMEMMAP_BASE + pfn * STRUCT_PAGE_SIZE;
}

/** `page_to_pfn(page)`: the number of its frame. Computes, and touches nothing. */
export function pageToPfn(page: Page): number {
  return (page.memory.address - VMEMMAP_BASE) / STRUCT_PAGE_SIZE;
}

/** `SetPageX(page)`. Never sleeps. */
export function setPageFlag(page: Page, flag: PageFlag): Operation<boolean> {
  return flagOperation(page, 'Set', flag);
}

/** `ClearPageX(page)`. Never sleeps. */
export function clearPageFlag(page: Page, flag: PageFlag): Operation<boolean> {
  return flagOperation(page, 'Clear', flag);
}

/** `PageX(page)`. Never sleeps. */
export function testPageFlag(page: Page, flag: PageFlag): Operation<boolean> {
  return flagOperation(page, 'Test', flag);
}

/** `TestSetPageX(page)`: whether it was set. Never sleeps. */
export function testSetPageFlag(page: Page, flag: PageFlag): Operation<boolean> {
  return flagOperation(page, 'TestSet', flag);
}

/** `TestClearPageX(page)`: whether it was set. Never sleeps. */
export function testClearPageFlag(page: Page, flag: PageFlag): Operation<boolean> {
  return flagOperation(page, 'TestClear', flag);
}
