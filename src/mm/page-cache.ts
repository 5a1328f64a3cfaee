/**
 * The page cache of a file.
 *
 * Modelled: finding a page takes a reference to it; a page gets its mapping and index when it is put in, and
 * loses the mapping under its lock when it is taken out, so who finds and then locks one must look again.
 * Simplified: finding and taking the reference are one step, which has the effect of the kernel's retries.
 */
import { fn } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { access, COMMUTE, made, Operation, READ, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { mutexLock, mutexLockNested, mutexTrylock, mutexUnlock } from '../kernel/mutex.ts';
import type { Task } from '../kernel/task.ts';
import { xaCmpxchg, xaErase, xaErr } from '../kernel/xarray.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import type { Page } from '../mm-types/page.ts';
import { getPage, putPage } from './frames.ts';

/** `lock_page(page)`. May sleep. Pairs with {@link unlockPage}. */
export function lockPage(page: Page) {
  return mutexLock(page.lock);
}

/** Locks a new page while another one is locked. Pairs with {@link unlockPage}. */
export function lockPageNested(page: Page) {
  return mutexLockNested(page.lock, 1);
}

/** `trylock_page(page)`: true if it was taken. Never sleeps. */
export function trylockPage(page: Page) {
  return mutexTrylock(page.lock);
}

/** `unlock_page(page)`. */
export function unlockPage(page: Page) {
  return mutexUnlock(page.lock);
}

/** The argument is an index. */
class FindGetPage extends Operation<Page | null> {
  private readonly mapping: AddressSpace;

  constructor(mapping: AddressSpace) {
    super(mapping.memory);
    this.mapping = mapping;
  }

  footprint(out: Access[], task: Task): void {
    const { pages } = this.mapping;
    const index = task.argument as number;
    out.push(access(pages.variableOf(index), READ));
    const page = pages.slotAt(index)?.entry;
    if (page !== undefined) out.push(access(page.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const slot = this.mapping.pages.slotAt(task.argument as number);
    if (slot === null) return null;
    running.after(slot.release);
    slot.entry.refCount.value += 1;
    return slot.entry;
  }

  describe(task: Task): string {
    return `filemap_get_folio(mapping, ${String(task.argument)})`;
  }
}

/** The first cached page in a range of indexes, with a reference; the argument is the range. */
class FindNextPage extends Operation<Page | null> {
  private readonly mapping: AddressSpace;

  constructor(mapping: AddressSpace) {
    super(mapping.memory);
    this.mapping = mapping;
  }

  private find(task: Task) {
    const [first, last] = task.argument as readonly [number, number];
    const { pages } = this.mapping;
    const slot = pages.slots[pages.positionOf(first)];
    return slot === undefined || slot.index > last ? null : slot;
  }

  footprint(out: Access[], task: Task): void {
    out.push(access(this.mapping.pages.variable, READ));
    const slot = this.find(task);
    if (slot !== null) out.push(access(slot.entry.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const slot = this.find(task);
    if (slot === null) return null;
    running.after(slot.release);
    slot.entry.refCount.value += 1;
    return slot.entry;
  }

  describe(task: Task): string {
    const [first, last] = task.argument as readonly [number, number];
    return `next_uptodate_folio(mapping, ${first} to ${last})`;
  }
}

function find(mapping: AddressSpace): FindGetPage {
  return mapping.pages.operation(
    'filemap_get_folio',
    () => new FindGetPage(mapping),
  ) as unknown as FindGetPage;
}

function findNext(mapping: AddressSpace): FindNextPage {
  return mapping.pages.operation(
    'next_uptodate_folio',
    () => new FindNextPage(mapping),
  ) as unknown as FindNextPage;
}

/** `find_get_page(mapping, index)`: the cached page with a reference, or NULL. Never sleeps. */
export function findGetPage(mapping: AddressSpace, index: number): Operation<Page | null> {
  return made(find(mapping), index);
}

/** The first cached page with an index from `first` to `last`, with a reference, or NULL. Never sleeps. */
export function findNextPage(
  mapping: AddressSpace,
  first: number,
  last: number,
): Operation<Page | null> {
  return made(findNext(mapping), [first, last]);
}

/**
 * `find_lock_page(mapping, index)`: the cached page, with a reference and locked, or NULL. May sleep.
 */
export const findLockPage = fn(function* findLockPage(mapping: AddressSpace, index: number) {
  for (;;) {
    const page = yield* findGetPage(mapping, index);
    if (page === null) return null;
    yield* lockPage(page);
    if (page.mapping === mapping) return page;
    // Taken out while this task waited for the lock.
    yield* unlockPage(page);
    yield* putPage(page);
  }
});

/**
 * `filemap_add_folio(mapping, page, index)`: puts a new, locked page in, which gets a reference of the
 * cache. Returns 0, -EEXIST (as 1 here) if another one is there, or -ENOMEM. May sleep.
 */
export const addToPageCache = fn(
  function* addToPageCache(mapping: AddressSpace, page: Page, index: number) {
    page.mapping = mapping;
    page.index = index;
    const before = yield* xaCmpxchg(mapping.pages, index, { old: null, entry: page }, GFP_KERNEL);
    const error = xaErr(before);
    if (before === null) {
      yield* getPage(page);
      return 0;
    }
    page.mapping = null;
    return error === 0 ? 1 : error;
  },
  { name: 'filemap_add_folio' },
);

/**
 * `filemap_remove_folio(page)`: takes a locked page out and drops the cache's reference; the caller has
 * another one.
 */
export const removeFromPageCache = fn(
  function* removeFromPageCache(mapping: AddressSpace, page: Page) {
    yield* xaErase(mapping.pages, page.index);
    page.mapping = null;
    yield* putPage(page);
  },
  { name: 'filemap_remove_folio' },
);
