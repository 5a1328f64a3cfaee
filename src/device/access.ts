/**
 * Accesses of a device to memory, through its translations.
 *
 * Simplified: a byte at a time; an atomic access is of one byte, too. An access that misses the TLB loads the
 * translation first, as a step of its own, and is tried again: between the two anything may happen.
 * An access without a translation, or without the right to write, is a fault of the device: -EFAULT.
 *
 * Nobody holds a reference for the device: what it reaches is what is in the frame. A frame that is free is a use
 * after free of the page that was there.
 */
import { EFAULT } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { OOPS } from '../kernel/oops.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { PageContents } from '../mm-types/page-contents.ts';
import type { Page } from '../mm-types/page.ts';
import { frames, pageLastIn, pfnToPage } from '../mm/frames.ts';
import { coherenceFootprint, judgeAccess } from './coherence.ts';
import type { DeviceTranslations, KeptEntry } from './translations.ts';

const PAGE_SIZE = 4096;
/** The access loaded a translation and is to be tried again. */
const FILLED = 'loads the translation';

/** What is done to the byte, given what it is: the new one, or null to leave it. */
type Change = (byte: number) => number | null;

interface Request {
  readonly address: number;
  readonly change: Change;
}

class DeviceAccess extends Operation<number | typeof FILLED> {
  override readonly footprintVaries = true;
  private readonly translations: DeviceTranslations;
  private readonly verb: string;
  private readonly isWrite: boolean;

  constructor(translations: DeviceTranslations, verb: string, isWrite: boolean) {
    super(translations.memory);
    this.translations = translations;
    this.verb = verb;
    this.isWrite = isWrite;
  }

  footprint(out: Access[], task: Task): void {
    const { translations } = this;
    const page = pageOf(task);
    const { hasTlb } = translations;
    const hit = (hasTlb ? translations.tlb : translations.table).get(page);
    if (!hasTlb || hit === undefined) {
      out.push(access(translations.tableVariable(page), this.willMark(page) ? WRITE : READ));
    }
    if (hasTlb)
      out.push(access(translations.tlbVariable(page), this.willFill(page) ? WRITE : READ));
    if (hit === undefined || (this.isWrite && !hit.isWritable)) return;
    const frame = pfnToPage(hit.pfn) ?? pageLastIn(hit.pfn);
    if (frame !== null) out.push(access(frame.contents.variable, this.isWrite ? WRITE : READ));
    // Whose the frame is is a matter of who frees it and who gets it next.
    if (frame !== hit.page || !frame?.memory.isLive)
      out.push(access(frames(running).variable, READ));
    coherenceFootprint(translations, page, out);
  }

  private willFill(page: number): boolean {
    const { tlb, table } = this.translations;
    return !tlb.has(page) && table.has(page);
  }

  /** Whether the accessed bit is set as the entry is loaded. */
  private willMark(page: number): boolean {
    const { hasAccessedBit, accessed } = this.translations;
    return hasAccessedBit && this.willFill(page) && !accessed.has(page);
  }

  perform(task: Task): number | typeof FILLED {
    const { translations } = this;
    const page = pageOf(task);
    if (translations.hasTlb && this.willFill(page)) {
      if (translations.hasAccessedBit) translations.accessed.add(page);
      translations.tlb.set(page, translations.table.get(page) as KeptEntry);
      return FILLED;
    }
    const entry = (translations.hasTlb ? translations.tlb : translations.table).get(page);
    if (entry === undefined || (this.isWrite && !entry.isWritable)) return -EFAULT;
    const frame = pfnToPage(entry.pfn) ?? pageLastIn(entry.pfn);
    if (frame === null) {
      return running.misuse(`a device was given frame ${entry.pfn}, which was never handed out`);
    }
    if (!this.isThere(frame)) return -EFAULT;
    judgeAccess(translations, page, { entry, isWrite: this.isWrite });
    return carryOut(frame.contents, task.argument as Request);
  }

  /** Whether the frame is in use. What would be an oops of a task is none of the hardware, which goes on. */
  private isThere({ memory, contents }: Page): boolean {
    try {
      running.touch(memory, contents.path, this.isWrite ? 'written' : 'read');
      return true;
    } catch (problem) {
      if (problem === OOPS) return false;
      throw problem;
    }
  }

  describe(task: Task): string {
    const { address } = task.argument as Request;
    return `${this.translations.path}: ${this.verb} 0x${address.toString(16)}`;
  }
}

function pageOf(task: Task): number {
  return Math.floor((task.argument as Request).address / PAGE_SIZE);
}

/** The byte as it was. */
function carryOut(contents: PageContents, { address, change }: Request): number {
  const offset = address % PAGE_SIZE;
  const before = contents.get(offset);
  const after = change(before);
  if (after !== null) contents.set(offset, after & 255);
  return before;
}

const LEAVE: Change = () => null;

const attempt = fn(
  function* deviceAccess(translations: DeviceTranslations, verb: string, request: Request) {
    const operation = (translations.accesses[verb] ??= new DeviceAccess(
      translations,
      verb,
      request.change !== LEAVE,
    )) as DeviceAccess;
    for (;;) {
      const result = yield* made(operation, request);
      if (result !== FILLED) return result;
    }
  },
  { name: 'device_access' },
);

/** The device reads the byte at `address` of its address space: 0 … 255, or -EFAULT. Never sleeps. */
export function deviceLoad(translations: DeviceTranslations, address: number) {
  return attempt(translations, 'reads', { address, change: LEAVE });
}

/** The device writes a byte; returns the one that was there, or -EFAULT. Never sleeps. */
export function deviceStore(translations: DeviceTranslations, address: number, byte: number) {
  return attempt(translations, 'writes', { address, change: () => byte });
}

/** An atomic addition, modulo 256; returns the byte as it was, or -EFAULT. Never sleeps. */
export function deviceFetchAdd(translations: DeviceTranslations, address: number, addend: number) {
  return attempt(translations, 'adds to', { address, change: (byte) => byte + addend });
}

/** An atomic compare-and-swap; returns the byte as it was, or -EFAULT. Needs the right to write. Never sleeps. */
export function deviceCompareSwap(
  translations: DeviceTranslations,
  address: number,
  { expected, desired }: { readonly expected: number; readonly desired: number },
) {
  const change: Change = (byte) => (byte === expected ? desired : byte);
  return attempt(translations, 'compares and swaps', { address, change });
}
