/**
 * Page frames: which are free, and the page that describes each one that is not.
 *
 * Modelled: a freed frame is the next to be handed out again, as a new page with new contents; an allocation
 * may fail, as a choice with a budget, and may sleep; a page that is freed twice, or while it is mapped, is
 * found out. Simplified: memory never runs out of itself, contents are always zeroed, fresh frames come from
 * an arena of the allocating task, so that their numbers do not depend on the order of unrelated allocations.
 * Left out: zones, orders above 0, per-CPU lists (they would hide a frame from the other CPUs).
 *
 * Variable: handing out a freed frame and freeing one conflict; taking a fresh one only looks whether there
 * is a freed one.
 */
import { warnOn } from '../kernel/assertion.ts';
import { atomicAdd, atomicDecAndTest, atomicInc, atomicSubAndTest } from '../kernel/atomic.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { GFP_DIRECT_RECLAIM, gfpName, GFP_NOFAIL, type Gfp } from '../kernel/gfp.ts';
import { perKernel, type Kernel } from '../kernel/kernel.ts';
import { ARENA_BASE } from '../kernel/kernel-state.ts';
import { mayReclaim } from '../kernel/lock-map.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { instantiate } from '../kernel/struct.ts';
import type { Task } from '../kernel/task.ts';
import { Page, pageAddress, pageToPfn } from '../mm-types/page.ts';
import { ZERO_PFN } from '../mm-types/page-table.ts';

export { ZERO_PFN };

const FIRST_PFN = 2;
/** Bytes of a task's arena of addresses for each frame number. */
const ARENA_BYTES_PER_FRAME = 64;
/** Added to the reference count by a pin: more than all ordinary users together. */
export const GUP_PIN_COUNTING_BIAS = 1024;

/** What an allocation with these flags does when memory is short; filled in by whoever models reclaim. */
export type ReclaimHook = KernelCallable<[Gfp], void>;

export class FrameTable {
  readonly variable: number;
  /** Pages in use, by frame; not followed by the search for leaks, see {@link usedPages}. */
  readonly #pages = new Map<number, Page>();
  /** The page that was in each free frame last; not followed, either. */
  readonly #last = new Map<number, Page>();
  readonly #free: number[] = [];
  /** Frames taken from each task's arena so far, by task index. */
  readonly #fresh = new Map<number, number>();
  readonly zeroPage: Page;
  /** Set while a scenario lets allocations enter reclaim. */
  reclaim: ReclaimHook | null = null;

  constructor(kernel: Kernel) {
    this.variable = kernel.reserveVariables(1);
    this.zeroPage = this.describe(kernel, ZERO_PFN);
  }

  get hasFree(): boolean {
    return this.#free.length > 0;
  }

  get pages(): ReadonlyMap<number, Page> {
    return this.#pages;
  }

  get last(): ReadonlyMap<number, Page> {
    return this.#last;
  }

  take(kernel: Kernel, task: Task): Page {
    return this.describe(kernel, this.#free.pop() ?? this.freshPfn(task));
  }

  giveBack(pfn: number): void {
    this.#last.set(pfn, this.#pages.get(pfn) as Page);
    this.#pages.delete(pfn);
    this.#free.push(pfn);
  }

  private freshPfn(task: Task): number {
    const used = this.#fresh.get(task.index) ?? 0;
    this.#fresh.set(task.index, used + 1);
    return FIRST_PFN + (task.arenaStart - ARENA_BASE) / ARENA_BYTES_PER_FRAME + used;
  }

  private describe(kernel: Kernel, pfn: number): Page {
    // Not of the slab: page tables know frames by number only, so no search could follow them.
    const memory = kernel.makeMemory('page', 'static', Page.variables, pageAddress(pfn));
    const page = instantiate(Page, memory);
    if (pfn !== ZERO_PFN) this.#pages.set(pfn, page);
    return page;
  }
}

/** The frames of a machine. Made when it boots. */
export const frames = perKernel((kernel) => new FrameTable(kernel), 1 + Page.variables);

/** The pages in use, in no order; the zero page is none of them. For detectors and tests. */
export function usedPages(kernel: Kernel): Page[] {
  return [...frames(kernel).pages.values()];
}

/** `pfn_to_page(pfn)`: the page in frame `pfn` now; null if the frame is free. Raw. */
export function pfnToPage(pfn: number): Page | null {
  if (pfn === ZERO_PFN) return frames(running).zeroPage;
  return frames(running).pages.get(pfn) ?? null;
}

/** The page that was in the free frame `pfn` last, null if there was none: what a device still reaches there. Raw. */
export function pageLastIn(pfn: number): Page | null {
  return frames(running).last.get(pfn) ?? null;
}

class AllocPages extends Operation<Page | null> {
  override readonly maySleep: boolean;
  private readonly gfp: Gfp;

  constructor(gfp: Gfp) {
    super(null);
    this.gfp = gfp;
    this.maySleep = (gfp & GFP_DIRECT_RECLAIM) !== 0;
  }

  footprint(out: Access[]): void {
    const table = frames(running);
    out.push(access(table.variable, table.hasFree ? WRITE : READ));
  }

  /** Outcome 1: no memory. */
  override arity(): number {
    return running.left.allocations > 0 && (this.gfp & GFP_NOFAIL) === 0 ? 2 : 1;
  }

  perform(task: Task, outcome: number): Page | null {
    mayReclaim(task, this.gfp);
    if (outcome === 1) {
      running.left.allocations -= 1;
      return null;
    }
    const page = frames(running).take(running, task);
    running.noteAllocated(page.memory);
    return page;
  }

  describe(): string {
    return `alloc_pages(${gfpName(this.gfp)}, 0)`;
  }
}

class FreePage extends Operation<void> {
  private readonly page: Page;

  constructor(page: Page) {
    // Not the operation's memory: freeing twice is a finding of its own.
    super(null);
    this.page = page;
  }

  footprint(out: Access[]): void {
    const { firstVariable, variableCount } = this.page.memory;
    for (let at = 0; at < variableCount; at += 1) out.push(access(firstVariable + at, WRITE));
    out.push(access(frames(running).variable, WRITE));
  }

  perform(): void {
    const { page } = this;
    if (!page.memory.isLive) running.doubleFree(page.memory);
    warnOn(
      page.mapCount.value !== 0,
      `a page is freed that is mapped ${page.mapCount.value} times`,
    );
    running.release(page.memory);
    frames(running).giveBack(pageToPfn(page));
  }

  describe(): string {
    return `__free_page(frame ${pageToPfn(this.page)})`;
  }
}

const allocOperations: (AllocPages | undefined)[] = [];

/**
 * `alloc_pages(gfp, 0)`: a zeroed page with one reference, or NULL. Sleeps, and may enter reclaim, unless
 * `gfp` says otherwise.
 */
export const allocPage = fn(
  function* allocPage(gfp: Gfp) {
    const { reclaim } = frames(running);
    if (reclaim !== null && (gfp & GFP_DIRECT_RECLAIM) !== 0) yield* reclaim(gfp);
    return yield* made((allocOperations[gfp] ??= new AllocPages(gfp)));
  },
  { name: 'alloc_pages' },
);

/** `get_page(page)`, by who knows that it is in use. */
export function getPage(page: Page) {
  return atomicInc(page.refCount);
}

/** `put_page(page)`: the last reference frees it. Never sleeps. */
export const putPage = fn(function* putPage(page: Page) {
  if (yield* atomicDecAndTest(page.refCount)) yield* freePage(page);
});

/** Takes a pin. Pairs with {@link unpinPage}. */
export function pinPage(page: Page) {
  return atomicAdd(page.refCount, GUP_PIN_COUNTING_BIAS);
}

/** `unpin_user_page(page)`. Never sleeps. */
export const unpinPage = fn(
  function* unpinPage(page: Page) {
    if (yield* atomicSubAndTest(page.refCount, GUP_PIN_COUNTING_BIAS)) yield* freePage(page);
  },
  { name: 'unpin_user_page' },
);

/** Frees a page whose count was frozen at zero, by reclaim. */
export function freeFrozenPage(page: Page): Operation<void> {
  return freePage(page);
}

/** Frees a page whose last reference is gone. */
function freePage(page: Page): Operation<void> {
  return made(new FreePage(page));
}
