/**
 * The reverse map: counting who maps a page, and finding them.
 *
 * A page knows its anon_vma or file and its index there; their trees know the VMAs that may map that index;
 * their page tables say whether they do. The lock of the tree keeps the VMAs, and with them their page
 * tables, from going away: unlinking takes it for write before tables are freed.
 *
 * Modelled: map counts, the walk and its locks. Left out: folios, mlock's and statistics' part of it.
 */
import { atomicDec, atomicInc } from '../kernel/atomic.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { peek } from '../kernel/await.ts';
import { dataRace } from '../kernel/field.ts';
import { intervalTreeIterFirst, intervalTreeIterNext } from '../kernel/interval-tree.ts';
import { access, COMMUTE, made, Operation, READ, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { downRead, upRead } from '../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import { rootOf, type AnonVma, type AnonVmaChain } from '../mm-types/anon-vma.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { pageToPfn, type Page } from '../mm-types/page.ts';
import {
  ptePfn,
  ptePresent,
  tableOffset,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { putAnonVma, vmaOfLink } from './anon-vma.ts';
import { vmaIntervalTreeFirst, vmaIntervalTreeNext } from './file-mapping.ts';
import { pteIndex } from './page-table-walk.ts';

/** `linear_page_index(vma, address)`: the index of the page there, in the VMA's file or anon_vma. */
export function linearPageIndex(vma: VmArea, address: number): number {
  return vma.vmPgoff + Math.floor((address - vma.vmStart) / PAGE_SIZE);
}

/** The address of index `index` in the VMA, or -1 if it does not map it. */
export function vmaAddress(vma: VmArea, index: number): number {
  const address = vma.vmStart + (index - vma.vmPgoff) * PAGE_SIZE;
  return address >= vma.vmStart && address < vma.vmEnd ? address : -1;
}

/**
 * `folio_add_new_anon_rmap(…, RMAP_EXCLUSIVE)`: the first mapping of a new page. The page-table lock is held;
 * nobody else has the page yet.
 */
export const pageAddNewAnonRmap = fn(
  function* pageAddNewAnonRmap(page: Page, vma: VmArea, address: number) {
    page.mapping = vma.anonVma;
    page.index = linearPageIndex(vma, address);
    page.isAnon = true;
    page.isAnonExclusive = true;
    yield* atomicInc(page.mapCount);
    page.flags.publishedAt = running.now;
  },
  { name: 'folio_add_new_anon_rmap' },
);

/** One more mapping of a page that is mapped, or is in the page cache. The page-table lock is held. */
export function pageAddRmap(page: Page) {
  return atomicInc(page.mapCount);
}

/** `folio_remove_rmap_pte(…)`: one mapping less. The page-table lock is held. */
export function pageRemoveRmap(page: Page) {
  return atomicDec(page.mapCount);
}

/** Where a page is mapped: the entry, with its table locked. */
export interface MappedAt {
  readonly page: Page;
  readonly vma: VmArea;
  readonly mm: MmStruct;
  readonly address: number;
  readonly table: PageTable;
}

/**
 * `page_vma_mapped_walk`: finds and locks the entry at the page's place in `vma` if it is one that `isEntry` knows,
 * or returns NULL with nothing locked. The reverse-map lock is held.
 */
export const pageVmaMapped = fn(
  function* pageVmaMapped(page: Page, vma: VmArea, isEntry: (pte: Pte, page: Page) => boolean) {
    const address = vmaAddress(vma, yield* dataRace(page, 'index'));
    if (address < 0) return null;
    const mm = vma.vmMm as MmStruct;
    const table = yield* tableOffset(mm.pageTables, address, 1);
    if (table === null) return null;
    yield* spinLock(table.ptl);
    const pte = table.ptes[pteIndex(address)] as number;
    if (pte !== 0 && isEntry(pte, page)) {
      return { page, vma, mm, address, table } as MappedAt;
    }
    yield* spinUnlock(table.ptl);
    return null;
  },
  { name: 'page_vma_mapped_walk' },
);

/** Whether an entry maps the page. */
export function mapsPage(pte: Pte, page: Page): boolean {
  return ptePresent(pte) && ptePfn(pte) === pageToPfn(page);
}

/**
 * `folio_get_anon_vma(page)`: the anon_vma with a reference, or NULL if the page is mapped no more: then nothing
 * keeps the anon_vma that it points to. One step, which has the effect of the kernel's checks before and after.
 */
class GetAnonVma extends Operation<AnonVma | null> {
  private find(task: Task): AnonVma | null {
    const page = task.argument as Page;
    return page.mapCount.value === 0 ? null : (peek(page, 'mapping') as AnonVma | null);
  }

  footprint(out: Access[], task: Task): void {
    out.push(access((task.argument as Page).mapCount.variable, READ));
    const anonVma = this.find(task);
    if (anonVma !== null) out.push(access(anonVma.refcount.variable, COMMUTE));
  }

  perform(task: Task): AnonVma | null {
    const anonVma = this.find(task);
    if (anonVma === null) return null;
    running.touch(anonVma.memory, 'anon_vma.refcount');
    anonVma.refcount.value += 1;
    return anonVma;
  }

  describe(): string {
    return 'folio_get_anon_vma(page)';
  }
}

const getAnonVmaOperation = new GetAnonVma(null);

/** `folio_get_anon_vma(page)`: a reference to the anon_vma of a page that is mapped, or NULL. Pairs with put_anon_vma. */
export function pageGetAnonVma(page: Page): Operation<AnonVma | null> {
  return made(getAnonVmaOperation, page);
}

/** What is done with each VMA that may map the page; false ends the walk. */
export type RmapOne<A> = KernelCallable<[Page, VmArea, A], boolean>;

/**
 * `rmap_walk(page, …)`: `one` for each VMA that may map the page, until it returns false. The caller holds
 * the page lock, or a reference to the page while it is mapped. May sleep.
 */
export const rmapWalk = fn(function* rmapWalk(
  page: Page,
  one: RmapOne<unknown>,
  argument: unknown,
) {
  if (yield* dataRace(page, 'isAnon')) {
    const anonVma = yield* pageGetAnonVma(page);
    if (anonVma === null) return;
    yield* rmapWalkAnon(page, anonVma, { one, argument });
    yield* putAnonVma(anonVma);
    return;
  }
  const mapping = yield* dataRace(page, 'mapping');
  if (mapping !== null) yield* rmapWalkFile(page, mapping as AddressSpace, { one, argument });
});

/**
 * As {@link rmapWalk} for a page that nobody maps yet: the walk of migration. The page is locked, and the caller
 * has a reference to its anon_vma if it is anonymous. May sleep.
 */
export const rmapWalkLocked = fn(
  function* rmapWalkLocked(page: Page, one: RmapOne<unknown>, argument: unknown) {
    const mapping = page.mapping;
    if (mapping === null) return;
    if (page.isAnon) yield* rmapWalkAnon(page, mapping as AnonVma, { one, argument });
    else yield* rmapWalkFile(page, mapping as AddressSpace, { one, argument });
  },
  { name: 'rmap_walk' },
);

interface Walk {
  readonly one: RmapOne<unknown>;
  readonly argument: unknown;
}

const rmapWalkAnon = fn(function* rmapWalkAnon(page: Page, anonVma: AnonVma, walk: Walk) {
  const index = yield* dataRace(page, 'index');
  const { rwsem } = rootOf(anonVma);
  yield* downRead(rwsem);
  let node = intervalTreeIterFirst(anonVma.rbRoot, index, index);
  while (node !== null) {
    const link = node.container as AnonVmaChain;
    if (!(yield* walk.one(page, vmaOfLink(link), walk.argument))) break;
    node = intervalTreeIterNext(node, index, index);
  }
  yield* upRead(rwsem);
});

const rmapWalkFile = fn(function* rmapWalkFile(page: Page, mapping: AddressSpace, walk: Walk) {
  const index = yield* dataRace(page, 'index');
  yield* downRead(mapping.iMmapRwsem);
  let vma = vmaIntervalTreeFirst(mapping, index, index);
  while (vma !== null) {
    if (!(yield* walk.one(page, vma, walk.argument))) break;
    vma = vmaIntervalTreeNext(vma, index, index);
  }
  yield* upRead(mapping.iMmapRwsem);
});
