/**
 * The GRU chiplet: contexts that execute instructions on the memory of programs, and a TLB that all of them share.
 *
 * It has no page table. What is not in the TLB is a miss, which the driver answers by dropping an entry in; entries
 * are told apart by ASIDs, so that contexts of several processes can be loaded at once.
 *
 *   chiplet                          driver                              another CPU
 *   a miss of asid 8, page 0x400
 *                                    reads the TFH
 *                                    finds the frame
 *                                                                        invalidates asid 8, page 0x400
 *                                    drops the entry in
 *                                      [ignored: the TFH was read before the invalidation]
 *   tries again, a miss
 *
 * Modelled: that last rule, which a chiplet can be installed without, to show what it is needed for; misses told by
 * interrupt (through a fault map) or by the CB; invalidation of a range, of an ASID, of everything; few ASIDs, so
 * that they wrap. Simplified: ASID and address are one key, ASID × 2^48 + address; an instruction is a load, a
 * store or an addition of one byte. Left out: preloading, page sizes other than 4096 bytes, the CPUs' caches.
 */
import { EFAULT } from '../../base/errno.ts';
import { deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import { fn } from '../../kernel/call.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { raiseIrq } from '../../kernel/interrupt.ts';
import { perKernel } from '../../kernel/kernel.ts';
import { FieldSpec, KernelObject, type Placement } from '../../kernel/memory.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import type { Task } from '../../kernel/task.ts';
import type { PageContents } from '../../mm-types/page-contents.ts';
import type { Page } from '../../mm-types/page.ts';
import { allocPage } from '../../mm/frames.ts';
import type { Machine } from '../../mm/machine.ts';
import { awaitMiss, gruContext, raiseMiss, type GruContext } from './gru-context.ts';

const PAGE_SIZE = 4096;
const PAGES_PER_ASID = 2 ** 36;
/** Contexts of a chiplet, at most. */
export const GRU_NUM_CCH = 2;
/** Chiplets of the machine, at most. */
export const GRU_MAX_GRUS = 2;
/** Pages that one invalidation can name. */
export const GRUMAXINVAL = 16;
/** The interrupt line of chiplet 0; those of others follow. */
export const GRU_IRQ = 32;

/** What one invalidation is about; without `pages`, all of the ASID; without `asid`, all. */
export interface TghRequest {
  readonly asid?: number;
  readonly pages?: { readonly first: number; readonly end: number };
  /** Contexts whose TFHs are disturbed. */
  readonly ctxbitmap: number;
}

interface Restart {
  readonly context: GruContext;
  readonly pfn: number;
  readonly isWritable: boolean;
}

/** The units of a chiplet that concern several contexts: invalidation, drop-in, the fault map. */
class GruUnits extends KernelObject {
  /** One bit for each context that has raised an interrupt. */
  faultMap = 0;
}

function gruUnits(): FieldSpec<GruUnits> {
  return new FieldSpec(1, (at: Placement) => new GruUnits(at));
}

export const GruChiplet = struct('gru_chiplet', {
  gid: 0,
  tlb: deviceTranslations({ hasTlb: true }),
  contexts: array(GRU_NUM_CCH, gruContext()),
  units: gruUnits(),
  /** How many contexts there are. */
  contextCount: GRU_NUM_CCH,
  /** Whether it ignores a drop-in after an invalidation. */
  ignoresLate: true,
});
export type GruChiplet = InstanceOf<typeof GruChiplet>;

/** The chiplets of a machine, as its firmware lists them. */
class Board {
  readonly chiplets: GruChiplet[] = [];
}

const boards = perKernel(() => new Board());

/** The chiplets of the running machine. */
export function gruChiplets(): readonly GruChiplet[] {
  return boards(running).chiplets;
}

/** What {@link installGru} may be told. */
export interface GruOptions {
  /** 1 if left out. */
  readonly chiplets?: number;
  /** Contexts of each; 2 if left out. */
  readonly contexts?: number;
  /** Whether a drop-in after an invalidation is ignored; true if left out. */
  readonly ignoresLate?: boolean;
}

/** Puts chiplets into a machine. For set-up, before the driver is loaded. */
export function installGru(machine: Machine, options: GruOptions = {}): void {
  const { chiplets = 1, contexts = GRU_NUM_CCH, ignoresLate = true } = options;
  for (let gid = 0; gid < chiplets; gid += 1) {
    const chiplet = allocateStatic(machine, GruChiplet);
    chiplet.gid = gid;
    chiplet.contextCount = contexts;
    chiplet.ignoresLate = ignoresLate;
    for (let ctxnum = 0; ctxnum < contexts; ctxnum += 1) {
      const context = chiplet.contexts.get(ctxnum);
      context.ctxnum = ctxnum;
      context.page = machine.runNow<Page | null>(allocPage(GFP_KERNEL));
    }
    boards(machine).chiplets.push(chiplet);
  }
}

/** The key of an address in the TLB, in pages. */
function keyOf(asid: number, vaddr: number): number {
  return asid * PAGES_PER_ASID + Math.floor(vaddr / PAGE_SIZE);
}

/** The keys of an ASID. */
export function keysOfAsid(asid: number): { readonly first: number; readonly end: number } {
  return { first: asid * PAGES_PER_ASID, end: (asid + 1) * PAGES_PER_ASID };
}

// ---- what the driver does to it -------------------------------------------------------------------

/** Entries go; and TFHs that were read remember it. */
class TghInvalidate extends Operation<void> {
  override readonly footprintVaries = true;
  private readonly chiplet: GruChiplet;

  constructor(chiplet: GruChiplet) {
    super(chiplet.memory);
    this.chiplet = chiplet;
  }

  footprint(out: Access[], task: Task): void {
    const request = task.argument as TghRequest;
    this.chiplet.tlb.tlbFootprint(out, rangeOf(request));
    for (const context of this.hit(request)) {
      out.push(access(context.tfhVariable, context.isLatched ? WRITE : READ));
    }
  }

  perform(task: Task): void {
    const request = task.argument as TghRequest;
    this.chiplet.tlb.forget(rangeOf(request));
    for (const context of this.hit(request)) if (context.isLatched) context.isDisturbed = true;
  }

  private hit({ ctxbitmap }: TghRequest): GruContext[] {
    return contextsOf(this.chiplet).filter(({ ctxnum }) => (ctxbitmap & (1 << ctxnum)) !== 0);
  }

  describe(task: Task): string {
    const { asid, pages } = task.argument as TghRequest;
    if (asid === undefined) return `tgh_invalidate(${this.chiplet.path}): everything`;
    const what = pages === undefined ? '' : `, 0x${(pages.first * PAGE_SIZE).toString(16)}`;
    return `tgh_invalidate(${this.chiplet.path}): asid ${asid}${what}`;
  }
}

/** The keys that a request is about. */
function rangeOf({ asid, pages }: TghRequest): { readonly first: number; readonly end: number } {
  if (asid === undefined) return { first: 0, end: keysOfAsid(31).end };
  const all = keysOfAsid(asid);
  if (pages === undefined) return all;
  return { first: all.first + pages.first, end: Math.min(all.first + pages.end, all.end) };
}

function contextsOf({ contexts, contextCount }: GruChiplet): GruContext[] {
  return Array.from({ length: contextCount }, (_, at) => contexts.get(at));
}

/** Drops the entry in and lets the instruction try again; false if the drop-in came too late. */
class TfhWriteRestart extends Operation<boolean> {
  override readonly footprintVaries = true;
  private readonly chiplet: GruChiplet;

  constructor(chiplet: GruChiplet) {
    super(chiplet.memory);
    this.chiplet = chiplet;
  }

  footprint(out: Access[], task: Task): void {
    const { context } = task.argument as Restart;
    const { tlb } = this.chiplet;
    out.push(access(context.tfhVariable, WRITE));
    // Where the instruction stands still, nobody can interrupt it; where it waits for the program, anybody can.
    if (context.holder === null) out.push(access(context.startVariable, WRITE));
    if (context.miss === null) return;
    const { asid, vaddr } = context.miss;
    out.push(access(tlb.tlbVariable(keyOf(asid, vaddr)), WRITE));
  }

  perform(task: Task): boolean {
    const { context, pfn, isWritable } = task.argument as Restart;
    const { tlb, ignoresLate } = this.chiplet;
    const isLate = context.isDisturbed && ignoresLate;
    if (!isLate && context.miss !== null) {
      const { asid, vaddr } = context.miss;
      tlb.keep(keyOf(asid, vaddr), { pfn, isWritable });
    }
    context.miss = null;
    context.isLatched = false;
    context.answer('idle');
    return !isLate;
  }

  describe(task: Task): string {
    const { context, pfn, isWritable } = task.argument as Restart;
    return `tfh_write_restart(${context.path}): frame ${pfn} ${isWritable ? 'rw' : 'r'}`;
  }
}

/** What the interrupt handler takes: the contexts that have raised it. */
class TakeFaultMap extends Operation<number> {
  private readonly units: GruUnits;

  constructor(units: GruUnits) {
    super(units.memory);
    this.units = units;
  }

  footprint(out: Access[]): void {
    out.push(access(this.units.variable, WRITE));
  }

  perform(): number {
    const { faultMap } = this.units;
    this.units.faultMap = 0;
    return faultMap;
  }

  describe(): string {
    return `reads and clears the fault map of ${this.units.path}`;
  }
}

/** `tgh_invalidate(tgh, …)`: takes entries out of the TLB and disturbs TFHs. Under the TGH's lock. */
export function tghInvalidate(chiplet: GruChiplet, request: TghRequest): Operation<void> {
  return made(new TghInvalidate(chiplet), request);
}

/** `tfh_write_restart(tfh, …)`: false if the chiplet has ignored the entry. Never sleeps. */
export function tfhWriteRestart(chiplet: GruChiplet, restart: Restart): Operation<boolean> {
  return made(new TfhWriteRestart(chiplet), restart);
}

/** One bit for each context that waits for its interrupt; cleared by reading. Never sleeps. */
export function takeFaultMap(chiplet: GruChiplet): Operation<number> {
  return made(new TakeFaultMap(chiplet.units));
}

// ---- what it executes ---------------------------------------------------------------------------

/** An instruction of a program: on one byte of its memory. */
export interface GruInstruction {
  readonly op: 'load' | 'store' | 'add';
  readonly address: number;
  /** What is stored or added. */
  readonly byte?: number;
}

/** How executing came out: the byte that was there, -EFAULT, or one of these. */
export const GRU_CALL_OS = -1001;
/** No context has the instruction: it was unloaded. */
export const GRU_NOT_LOADED = -1002;

/** Where in its page the CB says that there is an instruction, and for whom. */
const CB_OFFSET = 0;

interface Taken {
  readonly chiplet: GruChiplet;
  readonly context: GruContext;
}

/** Finds the context with the instruction that `tag` stands for, and begins it. */
class TakeInstruction extends Operation<Taken | number> {
  override readonly footprintVaries = true;

  constructor() {
    super(null);
  }

  private find(tag: number): Taken | null {
    for (const chiplet of gruChiplets()) {
      for (const context of contextsOf(chiplet)) {
        if (context.isActive && contentsOf(context).get(CB_OFFSET) === tag)
          return { chiplet, context };
      }
    }
    return null;
  }

  footprint(out: Access[], task: Task): void {
    const taken = this.find(task.argument as number);
    if (taken !== null) {
      const { startVariable } = taken.context;
      out.push(access(startVariable, WRITE), access(contentsOf(taken.context).variable, WRITE));
      return;
    }
    for (const chiplet of gruChiplets()) {
      for (const context of contextsOf(chiplet)) {
        out.push(access(context.startVariable, READ));
        out.push(access(contentsOf(context).variable, READ));
      }
    }
  }

  perform(task: Task): Taken | number {
    const taken = this.find(task.argument as number);
    if (taken === null) return GRU_NOT_LOADED;
    const { context } = taken;
    if (context.run === 'miss-upm') return GRU_CALL_OS;
    contentsOf(context).set(CB_OFFSET, 0);
    if (context.run === 'exception') {
      context.run = 'idle';
      return -EFAULT;
    }
    context.run = 'running';
    context.hold(task);
    return taken;
  }

  describe(): string {
    return 'the GRU takes the instruction';
  }
}

function contentsOf({ page }: GruContext): PageContents {
  return (page as Page).contents;
}

interface Ending {
  readonly context: GruContext;
  /** Left in the CB, for who executes it again; 0 when it is done. */
  readonly tag: number;
}

/** The instruction is done, or waits for the program. */
class EndInstruction extends Operation<void> {
  constructor() {
    super(null);
  }

  footprint(): void {
    // Who waits for it comes after it; of the CB nobody else can have looked at anything.
  }

  perform(task: Task): void {
    const { context, tag } = task.argument as Ending;
    if (tag !== 0) contentsOf(context).set(CB_OFFSET, tag);
    else context.run = 'idle';
    context.letGo();
  }

  describe(task: Task): string {
    const { context, tag } = task.argument as Ending;
    return `${context.path}: ${tag === 0 ? 'done' : 'the program is to call the OS'}`;
  }
}

const TAKE = new TakeInstruction();
const END = new EndInstruction();

function accessOf({ tlb }: GruChiplet, asid: number, { op, address, byte = 0 }: GruInstruction) {
  const at = keysOfAsid(asid).first * PAGE_SIZE + address;
  if (op === 'load') return deviceLoad(tlb, at);
  return op === 'store' ? deviceStore(tlb, at, byte) : deviceFetchAdd(tlb, at, byte);
}

/**
 * The chiplet executes the instruction that a program has announced by storing `tag` into its CB: the byte that was
 * there, -EFAULT, {@link GRU_CALL_OS} or {@link GRU_NOT_LOADED}. Runs in the task of the program, which does nothing
 * else meanwhile.
 */
export const gruExecute = fn(
  function* gruExecute(tag: number, instruction: GruInstruction) {
    const taken = yield* made(TAKE, tag);
    if (typeof taken === 'number') return taken;
    const { chiplet, context } = taken;
    const { asid } = context.setting;
    const isWrite = instruction.op !== 'load';
    for (;;) {
      const byte = yield* accessOf(chiplet, asid, instruction);
      if (byte >= 0) {
        yield* made(END, { context, tag: 0 });
        return byte;
      }
      let run = yield* raiseMiss(context, { asid, vaddr: instruction.address, isWrite });
      if (run === 'miss-fmm') {
        yield* made(new RaiseFault(chiplet.units), 1 << context.ctxnum);
        yield* raiseIrq(GRU_IRQ + chiplet.gid);
        run = yield* awaitMiss(context);
      }
      if (run === 'miss-upm' || run === 'exception') {
        const isError = run === 'exception';
        yield* made(END, { context, tag: isError ? 0 : tag });
        return isError ? -EFAULT : GRU_CALL_OS;
      }
    }
  },
  { name: 'gru_execute' },
);

/** The context's bit of the fault map. */
class RaiseFault extends Operation<void> {
  private readonly units: GruUnits;

  constructor(units: GruUnits) {
    super(units.memory);
    this.units = units;
  }

  footprint(out: Access[]): void {
    out.push(access(this.units.variable, WRITE));
  }

  perform(task: Task): void {
    this.units.faultMap |= task.argument as number;
  }

  describe(): string {
    return `sets a bit in the fault map of ${this.units.path}`;
  }
}
