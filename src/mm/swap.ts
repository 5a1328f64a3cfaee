/**
 * Swap slots: where reclaim puts anonymous pages, and the swap cache.
 *
 * Modelled: a slot with a count of the entries that refer to it, what was written to it, and the page that
 * still, or again, holds the same (the swap cache, which has a reference to the page). A slot is free when
 * no entry refers to it and no page is cached. Simplified: writing and reading take no time and never fail;
 * each change of a slot is one step; space never runs out.
 */
import { perKernel, type Kernel } from '../kernel/kernel.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Page } from '../mm-types/page.ts';
import type { SavedContents } from '../mm-types/page-contents.ts';

interface SwapSlot {
  /** Page-table entries that refer to it. */
  count: number;
  contents: SavedContents | null;
  page: Page | null;
}

const SLOT_VARIABLES = 16;

export class SwapDevice {
  readonly variable: number;
  /** By number; 0 is none. Raw, for detectors and tests. */
  readonly slots = new Map<number, SwapSlot>();
  private lastNumber = 0;

  constructor(kernel: Kernel) {
    this.variable = kernel.reserveVariables(1 + SLOT_VARIABLES);
  }

  variableOf(slot: number): number {
    return this.variable + 1 + (slot % SLOT_VARIABLES);
  }

  get(slot: number): SwapSlot {
    return this.slots.get(slot) ?? running.misuse(`swap slot ${slot} is free`);
  }

  take(page: Page): number {
    this.lastNumber += 1;
    this.slots.set(this.lastNumber, { count: 0, contents: null, page });
    return this.lastNumber;
  }

  dropIfUnused(slot: number): void {
    const { count, page } = this.get(slot);
    if (count === 0 && page === null) this.slots.delete(slot);
  }
}

/** The swap space of a machine. */
export const swapDevice = perKernel((kernel) => new SwapDevice(kernel), 1 + SLOT_VARIABLES);

interface SlotChange {
  readonly slot: number;
  readonly amount: number;
}

/** Returns the page that is cached for nobody any more, with a reference, or null. */
class CountSlot extends Operation<Page | null> {
  footprint(out: Access[], task: Task): void {
    const device = swapDevice(running);
    const { slot, amount } = task.argument as SlotChange;
    out.push(access(device.variableOf(slot), WRITE));
    const found = device.slots.get(slot);
    if (found === undefined || found.page === null || found.count + amount > 0) return;
    out.push(access(found.page.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const { slot, amount } = task.argument as SlotChange;
    const device = swapDevice(running);
    const found = device.get(slot);
    found.count += amount;
    device.dropIfUnused(slot);
    if (found.count > 0 || found.page === null) return null;
    found.page.refCount.value += 1;
    return found.page;
  }

  describe(task: Task): string {
    const { slot, amount } = task.argument as SlotChange;
    return amount > 0 ? `swap_duplicate(${slot})` : `swap_free(${slot})`;
  }
}

/** Gives the page that is the argument a slot; the cache's reference is part of it. */
class AddToSwap extends Operation<number> {
  footprint(out: Access[], task: Task): void {
    const page = task.argument as Page;
    // Which slot it is depends on who was first, and nobody can tell: but numbers are seen in entries.
    out.push(access(swapDevice(running).variable, WRITE));
    out.push(access(page.refCount.variable, COMMUTE));
  }

  perform(task: Task): number {
    const page = task.argument as Page;
    page.refCount.value += 1;
    return swapDevice(running).take(page);
  }

  describe(): string {
    return 'folio_alloc_swap(page)';
  }
}

/** Writes the cached page to its slot. */
class WriteSlot extends Operation<void> {
  footprint(out: Access[], task: Task): void {
    const slot = task.argument as number;
    const device = swapDevice(running);
    out.push(access(device.variableOf(slot), WRITE));
    const { page } = device.get(slot);
    if (page !== null) out.push(access(page.contents.variable, READ));
  }

  perform(task: Task): void {
    const slot = swapDevice(running).get(task.argument as number);
    if (slot.page !== null) slot.contents = slot.page.contents.save();
  }

  describe(task: Task): string {
    return `swap_writepage(slot ${task.argument as number})`;
  }
}

/** Takes the page out of the cache unless entries refer to the slot; whether it did. */
class DropCache extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    out.push(access(swapDevice(running).variableOf(task.argument as number), WRITE));
  }

  perform(task: Task): boolean {
    const number = task.argument as number;
    const device = swapDevice(running);
    const slot = device.get(number);
    if (slot.count > 0) return false;
    slot.page = null;
    device.dropIfUnused(number);
    return true;
  }

  describe(task: Task): string {
    return `folio_free_swap(slot ${task.argument as number})`;
  }
}

/** Looks a slot up: the cached page, with a reference, or null. */
class LookUp extends Operation<Page | null> {
  footprint(out: Access[], task: Task): void {
    const device = swapDevice(running);
    const slot = task.argument as number;
    out.push(access(device.variableOf(slot), READ));
    const page = device.slots.get(slot)?.page ?? null;
    if (page !== null) out.push(access(page.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const page = swapDevice(running).slots.get(task.argument as number)?.page ?? null;
    if (page !== null) page.refCount.value += 1;
    return page;
  }

  describe(task: Task): string {
    return `swap_cache_get_folio(slot ${task.argument as number})`;
  }
}

interface SlotFill {
  readonly slot: number;
  readonly page: Page;
}

/** Reads a slot into a new page and caches that; false if a page is cached, or the slot is free now. */
class ReadSlot extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    const { slot, page } = task.argument as SlotFill;
    out.push(access(swapDevice(running).variableOf(slot), WRITE));
    out.push(access(page.refCount.variable, COMMUTE), access(page.contents.variable, WRITE));
  }

  perform(task: Task): boolean {
    const { slot, page } = task.argument as SlotFill;
    const found = swapDevice(running).slots.get(slot);
    if (found === undefined || found.page !== null) return false;
    found.page = page;
    page.refCount.value += 1;
    if (found.contents !== null) page.contents.restore(found.contents);
    return true;
  }

  describe(task: Task): string {
    return `swap_read_folio(slot ${(task.argument as SlotFill).slot})`;
  }
}

const countSlot = new CountSlot(null);
const addToSwapOperation = new AddToSwap(null);
const writeSlotOperation = new WriteSlot(null);
const dropCacheOperation = new DropCache(null);
const lookUpOperation = new LookUp(null);
const readSlotOperation = new ReadSlot(null);

/** `swap_duplicate(entry)`: one more entry refers to the slot. Never sleeps. */
export function swapDuplicate(slot: number): Operation<unknown> {
  return made(countSlot, { slot, amount: 1 });
}

/** `swap_free(entry)`: one entry less. The page that is cached for nobody any more, with a reference, or NULL. */
export function swapFree(slot: number): Operation<Page | null> {
  return made(countSlot, { slot, amount: -1 });
}

/** Gives a locked page a slot and puts it into the swap cache; returns the slot. */
export function addToSwap(page: Page): Operation<number> {
  return made(addToSwapOperation, page);
}

/** Writes the cached page of a slot out. The page is locked and in no page table. */
export function writeSwapSlot(slot: number): Operation<void> {
  return made(writeSlotOperation, slot);
}

/**
 * Takes the page of a slot, which is locked, out of the cache, unless entries refer to the slot; whether it did.
 * The cache's reference is the caller's then.
 */
export function dropSwapSlotCache(slot: number): Operation<boolean> {
  return made(dropCacheOperation, slot);
}

/** The cached page of a slot, with a reference, or NULL. */
export function lookUpSwapCache(slot: number): Operation<Page | null> {
  return made(lookUpOperation, slot);
}

/** Reads a slot into a new, locked page and caches it; false if somebody was faster. */
export function readSwapSlot(slot: number, page: Page): Operation<boolean> {
  return made(readSlotOperation, { slot, page });
}
