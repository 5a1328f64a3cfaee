/**
 * Reclaim: pages are taken from processes to be used elsewhere. As a task of its own (kswapd), and from any
 * allocation that may sleep (direct reclaim), which is why a notifier's callback must not hold a lock that is
 * anywhere held around such an allocation.
 *
 *   lock the page; used lately? keep it; give it a slot in the swap space; try_to_unmap; still mapped? keep it;
 *   dirty? write it; does nobody else refer to it? freeze, take it out of the cache, free it
 *
 * Modelled: what runs in it is marked for lockdep (fs_reclaim), which each allocation that may enter it waits for;
 * anonymous pages go to swap, those of MADV_FREE go without a trace. Pages of tmpfs are unmapped, and
 * stay in the page cache. Simplified: there are no lists of pages: which page reclaim comes to is said by whoever
 * sets it up, by its address; direct reclaim is a choice at each allocation, as often as it was armed.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { peek } from '../kernel/await.ts';
import { fn } from '../kernel/call.ts';
import { choose } from '../kernel/choose.ts';
import { dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL, type Gfp } from '../kernel/gfp.ts';
import { perKernel, type Kernel } from '../kernel/kernel.ts';
import { fsReclaimAcquire, fsReclaimRelease } from '../kernel/lock-map.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  clearPageFlag,
  PG_DIRTY,
  PG_SWAPBACKED,
  testPageFlag,
  type Page,
} from '../mm-types/page.ts';
import { ptePfn, ptePresent, pteSpecial } from '../mm-types/page-table.ts';
import type { Task } from '../kernel/task.ts';
import { frames, freeFrozenPage, GUP_PIN_COUNTING_BIAS, pfnToPage, putPage } from './frames.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { pageReferenced } from './page-idle.ts';
import { pteIndex } from './page-table-walk.ts';
import { addToSwap, swapDevice, writeSwapSlot } from './swap.ts';
import { dropSwapCache } from './swap-cache.ts';
import { tryToUnmap } from './try-to-unmap.ts';

interface Place {
  readonly mm: MmStruct;
  readonly address: number;
}

/** Takes a reference to the page that is at an address now: the lists of pages have come to it. */
class IsolatePage extends Operation<Page | null> {
  private find(task: Task): Page | null {
    const { mm, address } = task.argument as Place;
    const table = mm.pageTables.find(address, 1);
    const pte = table === null ? 0 : (table.ptes[pteIndex(address)] as number);
    return ptePresent(pte) && !pteSpecial(pte) ? pfnToPage(ptePfn(pte)) : null;
  }

  footprint(out: Access[], task: Task): void {
    const { mm, address } = task.argument as Place;
    mm.pageTables.walkFootprint(out, address, 1);
    const table = mm.pageTables.find(address, 1);
    if (table === null) return;
    out.push(access(table.lifeVariable, READ), access(table.variableOf(pteIndex(address)), READ));
    const page = this.find(task);
    if (page !== null) out.push(access(page.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const { mm } = task.argument as Place;
    // Its page tables are gone with it.
    if (!mm.memory.isLive) return null;
    const page = this.find(task);
    if (page !== null) {
      page.refCount.value += 1;
      running.after(page.flags.publishedAt);
    }
    return page;
  }

  describe(task: Task): string {
    return `isolates the page at 0x${(task.argument as Place).address.toString(16)}`;
  }
}

const isolateOperation = new IsolatePage(null);

/**
 * Takes a reference to the page that is mapped at `address`, or NULL. Stands for finding it on a list of pages:
 * takes no lock.
 */
export function isolatePage(mm: MmStruct, address: number): Operation<Page | null> {
  return made(isolateOperation, { mm, address });
}

/**
 * `__remove_mapping`: if nobody but the caller and the swap cache refers to the page, takes it out of the cache and
 * leaves it with no reference at all. One step, where the kernel freezes the count so that who finds the page in
 * the cache fails.
 */
class RemoveMapping extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    const page = task.argument as Page;
    const slot = peek(page, 'swapSlot');
    out.push(access(page.refCount.variable, WRITE));
    if (slot !== 0) out.push(access(swapDevice(running).variableOf(slot), WRITE));
  }

  perform(task: Task): boolean {
    const page = task.argument as Page;
    const slot = page.swapSlot;
    if (page.refCount.value !== (slot === 0 ? 1 : 2)) return false;
    page.refCount.value = 0;
    if (slot !== 0) {
      swapDevice(running).get(slot).page = null;
      swapDevice(running).dropIfUnused(slot);
    }
    return true;
  }

  describe(): string {
    return '__remove_mapping(page)';
  }
}

const removeMappingOperation = new RemoveMapping(null);

/** Gives an anonymous page a slot, unless it has one or needs none. */
const prepareSwap = fn(
  function* prepareSwap(page: Page) {
    if (!page.isAnon || page.swapSlot !== 0) return;
    if (!(yield* testPageFlag(page, PG_SWAPBACKED))) return;
    const slot = yield* addToSwap(page);
    // Looked at under page-table locks, without that of the page.
    yield* dataRaceWrite(page, 'swapSlot', slot);
  },
  { name: 'folio_alloc_swap' },
);

/** With the page locked: whether it was freed. If not, it is the caller's still. */
const shrinkLocked = fn(
  function* shrinkLocked(page: Page, ignoresReferences: boolean) {
    if (page.isKsm) return false;
    if (!ignoresReferences && (yield* pageReferenced(page)) > 0) return false;
    // A pin would outlive the page.
    if ((yield* atomicRead(page.refCount)) >= GUP_PIN_COUNTING_BIAS) return false;
    yield* prepareSwap(page);
    yield* tryToUnmap(page);
    if (!page.isAnon) return false;
    if ((yield* atomicRead(page.mapCount)) > 0) {
      yield* dropSwapCache(page);
      return false;
    }
    if (page.swapSlot !== 0) {
      yield* clearPageFlag(page, PG_DIRTY);
      yield* writeSwapSlot(page.swapSlot);
    }
    if (yield* made(removeMappingOperation, page)) return true;
    // Somebody looks at it: it may still give up its slot.
    yield* dropSwapCache(page);
    return false;
  },
  { name: 'shrink_folio_list' },
);

/**
 * `shrink_folio_list` for one page that the caller has a reference to, and gives up: whether it was freed. Pages that
 * were used lately are kept unless `ignoresReferences`. May sleep.
 */
export const shrinkPage = fn(
  function* shrinkPage(page: Page, ignoresReferences: boolean) {
    if (!(yield* trylockPage(page))) {
      yield* putPage(page);
      return false;
    }
    const isFreed = yield* shrinkLocked(page, ignoresReferences);
    yield* unlockPage(page);
    if (isFreed) yield* freeFrozenPage(page);
    else yield* putPage(page);
    return isFreed;
  },
  { name: 'shrink_folio_list' },
);

/** Reclaim that was entered with `gfp` comes to a place: whether its page was freed. */
const shrinkPlace = fn(
  function* shrinkPlace({ mm, address }: Place, ignoresReferences: boolean, gfp: Gfp) {
    fsReclaimAcquire(gfp);
    const page = yield* isolatePage(mm, address);
    const isFreed = page !== null && (yield* shrinkPage(page, ignoresReferences));
    fsReclaimRelease(gfp);
    return isFreed;
  },
  { name: 'shrink_node' },
);

/** Reclaims the page at `address`, as kswapd does when it comes to it: whether it was freed. May sleep. */
export const reclaimPage = fn(
  function* reclaimPage(mm: MmStruct, address: number, ignoresReferences: boolean) {
    return yield* shrinkPlace({ mm, address }, ignoresReferences, GFP_KERNEL);
  },
  { name: 'balance_pgdat' },
);

/** How often allocations may still enter reclaim, and what they come to. */
class DirectReclaim {
  left = 0;
  target: Place | null = null;
}

const directReclaim = perKernel(() => new DirectReclaim());

/** `try_to_free_pages`: at an allocation of a page that may sleep. */
const tryToFreePages = fn(function* tryToFreePages(gfp: Gfp) {
  const state = directReclaim(running);
  const { target } = state;
  if (state.left === 0 || target === null) return;
  if ((yield* choose(2, 'does the allocation enter reclaim?')) === 0) return;
  // Not from within reclaim: PF_MEMALLOC.
  state.left -= 1;
  yield* shrinkPlace(target, true, gfp);
});

/**
 * Lets up to `times` allocations of one execution enter reclaim, which comes to the page at `address` of `mm`. Each
 * allocation of a page that may sleep then chooses. For set-up.
 */
export function armDirectReclaim(
  kernel: Kernel,
  mm: MmStruct,
  address: number,
  times: number,
): void {
  const state = directReclaim(kernel);
  state.left = times;
  state.target = { mm, address };
  frames(kernel).reclaim = tryToFreePages;
}
