/**
 * What a device translates addresses by: a page table in its memory, and, for a device that has one, a TLB.
 *
 *     driver                        device
 *     setDeviceEntry()              table: page number -> frame, rights
 *                                     | loaded when an access misses
 *     flushDeviceTlb()              TLB:   page number -> frame, rights
 *     dropIn()                        | used by accesses until it is flushed
 *
 * It knows frames by number only. Which page was in the frame when the entry was made is kept beside it, for
 * detectors: no access is decided by it.
 * Modelled: entries and TLB entries are places of their own, a TLB entry stays until it is flushed, a device
 * without a TLB looks into its table at every access; where the hardware has an accessed bit, loading an entry
 * into the TLB sets it, and accesses through the TLB do not look. Simplified: an access is one step with the use of its
 * translation, so that a flush comes before it or after it: hardware answers a flush when the accesses that it
 * concerns are over. Left out: tables of several levels, sizes other than 4096 bytes.
 *
 * Variables: pages that differ by a multiple of 16 share one: a needless conflict, no more.
 */
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Page } from '../mm-types/page.ts';
import { pageLastIn, pfnToPage } from '../mm/frames.ts';
import type { Coherence } from './coherence.ts';

const SLOTS = 16;
const PAGE_SIZE = 4096;

/** The frame that an entry translates to, and whether the device may write there. */
export interface DeviceEntry {
  readonly pfn: number;
  readonly isWritable: boolean;
}

/** An entry as it is kept: with what was in its frame when it was made, which only detectors look at. */
export interface KeptEntry extends DeviceEntry {
  readonly page: Page | null;
  /** The step that wrote it; an entry of the TLB has it from the table's. */
  readonly since: number;
}

function kept(entry: DeviceEntry | null): KeptEntry | null {
  if (entry === null) return null;
  const { pfn, isWritable } = entry;
  return { pfn, isWritable, page: pfnToPage(pfn) ?? pageLastIn(pfn), since: running.now };
}

/** Pages [first, end). */
interface PageRange {
  readonly first: number;
  readonly end: number;
}

interface Features {
  readonly hasTlb: boolean;
  readonly hasAccessedBit: boolean;
}

/** The translations of one address space of a device. A field of a struct declares one: {@link deviceTranslations}. */
export class DeviceTranslations extends KernelObject {
  readonly hasTlb: boolean;
  /** Whether loading an entry into the TLB marks it as used. */
  readonly hasAccessedBit: boolean;
  /** Entries that are marked so; raw. */
  readonly accessed = new Set<number>();
  /** By page number; raw, for detectors and who is in the middle of an operation. */
  readonly table = new Map<number, KeptEntry>();
  /** Raw, too. */
  readonly tlb = new Map<number, KeptEntry>();
  /** What the driver has declared, newest last; raw. */
  readonly coherence: Coherence[] = [];
  readonly set: SetEntry;
  readonly get: GetEntry;
  readonly flush: FlushTlb;
  readonly fill: DropIn;
  readonly age: AgeEntry;
  /** The accesses, by name; see access.ts. */
  readonly accesses: Record<string, Operation<unknown>> = {};

  constructor(at: Placement, { hasTlb, hasAccessedBit }: Features) {
    super(at);
    this.hasTlb = hasTlb;
    this.hasAccessedBit = hasAccessedBit;
    this.set = new SetEntry(this);
    this.get = new GetEntry(this);
    this.flush = new FlushTlb(this);
    this.fill = new DropIn(this);
    this.age = new AgeEntry(this);
  }

  tableVariable(page: number): number {
    return this.variable + (page % SLOTS);
  }

  tlbVariable(page: number): number {
    return this.variable + SLOTS + (page % SLOTS);
  }

  /** Makes the TLB forget pages [first, end); raw, for operations of devices that do more in the same step. */
  forget({ first, end }: PageRange): void {
    for (const page of this.tlb.keys()) if (page >= first && page < end) this.tlb.delete(page);
  }

  /** Puts an entry into the TLB; raw, too. */
  keep(page: number, entry: DeviceEntry): void {
    this.tlb.set(page, kept(entry) as KeptEntry);
  }

  tlbFootprint(out: Access[], { first, end }: PageRange): void {
    const stop = Math.min(end, first + SLOTS);
    for (let page = first; page < stop; page += 1) out.push(access(this.tlbVariable(page), WRITE));
  }
}

/** A field that holds the translations of a device. */
export function deviceTranslations(options: Partial<Features> = {}): FieldSpec<DeviceTranslations> {
  const { hasTlb = false, hasAccessedBit = false } = options;
  const features: Features = { hasTlb, hasAccessedBit };
  return new FieldSpec(2 * SLOTS, (at: Placement) => new DeviceTranslations(at, features));
}

abstract class TranslationOperation<R> extends Operation<R> {
  protected readonly owner: DeviceTranslations;

  constructor(owner: DeviceTranslations) {
    super(owner.memory);
    this.owner = owner;
  }
}

interface EntryChange {
  readonly page: number;
  readonly entry: DeviceEntry | null;
}

function addressText(page: number): string {
  return `0x${(page * PAGE_SIZE).toString(16)}`;
}

function entryText(entry: DeviceEntry | null): string {
  return entry === null ? 'none' : `frame ${entry.pfn} ${entry.isWritable ? 'rw' : 'r'}`;
}

/** Returns what was there. */
class SetEntry extends TranslationOperation<DeviceEntry | null> {
  footprint(out: Access[], task: Task): void {
    out.push(access(this.owner.tableVariable((task.argument as EntryChange).page), WRITE));
  }

  perform(task: Task): DeviceEntry | null {
    const { table, accessed, hasAccessedBit } = this.owner;
    const { page, entry } = task.argument as EntryChange;
    // Whoever makes an entry has somebody waiting who will use it.
    if (hasAccessedBit && entry !== null) accessed.add(page);
    else accessed.delete(page);
    const before = table.get(page) ?? null;
    const now = kept(entry);
    if (now === null) table.delete(page);
    else table.set(page, now);
    return before;
  }

  describe(task: Task): string {
    const { page, entry } = task.argument as EntryChange;
    return `${this.owner.path}: ${addressText(page)} to ${entryText(entry)}`;
  }
}

class GetEntry extends TranslationOperation<DeviceEntry | null> {
  footprint(out: Access[], task: Task): void {
    out.push(access(this.owner.tableVariable(task.argument as number), READ));
  }

  perform(task: Task): DeviceEntry | null {
    return this.owner.table.get(task.argument as number) ?? null;
  }

  describe(task: Task): string {
    return `${this.owner.path}: reads the entry of ${addressText(task.argument as number)}`;
  }
}

interface Ageing {
  readonly page: number;
  readonly clears: boolean;
}

/** Whether an entry is marked as used; takes the mark away if it is to. */
class AgeEntry extends TranslationOperation<boolean> {
  footprint(out: Access[], task: Task): void {
    const { page, clears } = task.argument as Ageing;
    out.push(access(this.owner.tableVariable(page), clears ? WRITE : READ));
  }

  perform(task: Task): boolean {
    const { page, clears } = task.argument as Ageing;
    const { accessed } = this.owner;
    return clears ? accessed.delete(page) : accessed.has(page);
  }

  describe(task: Task): string {
    const { page, clears } = task.argument as Ageing;
    const verb = clears ? 'tests and clears' : 'tests';
    return `${this.owner.path}: ${verb} the accessed bit of ${addressText(page)}`;
  }
}

class FlushTlb extends TranslationOperation<void> {
  footprint(out: Access[], task: Task): void {
    this.owner.tlbFootprint(out, task.argument as PageRange);
  }

  perform(task: Task): void {
    this.owner.forget(task.argument as PageRange);
  }

  describe(task: Task): string {
    const { first, end } = task.argument as PageRange;
    return `${this.owner.path}: flushes [${addressText(first)}, ${addressText(end)})`;
  }
}

class DropIn extends TranslationOperation<void> {
  footprint(out: Access[], task: Task): void {
    out.push(access(this.owner.tlbVariable((task.argument as EntryChange).page), WRITE));
  }

  perform(task: Task): void {
    const { page, entry } = task.argument as EntryChange;
    if (entry !== null) this.owner.keep(page, entry);
  }

  describe(task: Task): string {
    const { page, entry } = task.argument as EntryChange;
    return `${this.owner.path}: drops ${addressText(page)} in, ${entryText(entry)}`;
  }
}

/**
 * Writes the entry of page number `page` (address / 4096) of the table; null takes it out. Returns the entry that was
 * there. A TLB keeps what it has until it is flushed. Never sleeps.
 */
export function setDeviceEntry(
  translations: DeviceTranslations,
  page: number,
  entry: DeviceEntry | null,
): Operation<DeviceEntry | null> {
  return made(translations.set, { page, entry });
}

/** Reads an entry of the table. Never sleeps. */
export function deviceEntry(
  translations: DeviceTranslations,
  page: number,
): Operation<DeviceEntry | null> {
  return made(translations.get, page);
}

/**
 * Whether an entry of the table was used since its mark was last taken away, which `clears` does now. What the TLB has
 * is used without a mark until it is flushed. Never sleeps.
 */
export function deviceEntryYoung(
  translations: DeviceTranslations,
  page: number,
  clears: boolean,
): Operation<boolean> {
  return made(translations.age, { page, clears });
}

/** Makes the TLB forget pages [first, end), and waits for the accesses that used them. Never sleeps. */
export function flushDeviceTlb(
  translations: DeviceTranslations,
  first: number,
  end: number,
): Operation<void> {
  return made(translations.flush, { first, end });
}

/** Puts an entry straight into the TLB, as software does on a miss of a device that has no table. Never sleeps. */
export function dropIn(
  translations: DeviceTranslations,
  page: number,
  entry: DeviceEntry,
): Operation<void> {
  return made(translations.fill, { page, entry });
}
