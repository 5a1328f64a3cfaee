/**
 * The TLBs of the CPUs, as far as they hold translations of one address space.
 *
 * Modelled: a translation that a CPU has once loaded stays until it is flushed, whatever happens to the
 * page table meanwhile; it carries the rights and the dirty mark it was loaded with. Entries are never lost
 * of themselves. Simplified: a flush is one step for all CPUs, where the kernel sends interrupts and waits.
 * Left out: entries of upper levels, global entries, address-space numbers, lazy TLB.
 *
 * Variables: pages that differ by a multiple of 16 share one: a needless conflict, no more. The last one is
 * that of `flushPending`.
 */
import { Atomic } from '../kernel/atomic.ts';
import { perKernel, type Kernel } from '../kernel/kernel.ts';
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { running } from '../kernel/running.ts';
import { access, COMMUTE, WRITE, type Access } from '../kernel/operation.ts';
import type { Page } from './page.ts';
import type { Pte } from './page-table.ts';

const TLB_VARIABLES = 16;

/** All address spaces of a machine that a TLB ever had anything of. */
class TlbRegistry {
  /** Not followed by the search for leaks, which it would hide. */
  readonly #tlbs = new Set<MmTlb>();

  add(tlb: MmTlb): void {
    for (const known of this.#tlbs) if (!known.memory.isLive) this.#tlbs.delete(known);
    this.#tlbs.add(tlb);
  }

  live(): MmTlb[] {
    return [...this.#tlbs].filter(({ memory }) => memory.isLive);
  }
}

const registry = perKernel(() => new TlbRegistry());

/** What the TLBs hold of each mm that there is; for detectors. */
export function liveTlbs(kernel: Kernel): MmTlb[] {
  return registry(kernel).live();
}

/** A translation as it was loaded. */
export interface TlbEntry {
  readonly pte: Pte;
  /** The page that was in the frame then. */
  readonly page: Page;
}

export class MmTlb extends KernelObject {
  /** By CPU and page number (address / 4096); raw, for detectors and who is in the middle of an operation. */
  readonly cpus = new Map<number, Map<number, TlbEntry>>();
  /**
   * mm->tlb_flush_pending: those who have changed entries and not flushed yet. Who comes after them and
   * finds nothing to change must flush all the same.
   */
  readonly flushPending: Atomic;
  /** Made on first use, by mm/tlb.ts. */
  operations: unknown = null;

  constructor(at: Placement) {
    super(at);
    this.flushPending = new Atomic(
      { ...at, path: 'mm_struct.tlb_flush_pending', variable: at.variable + TLB_VARIABLES },
      0,
    );
  }

  variableOf(page: number): number {
    return this.variable + (page % TLB_VARIABLES);
  }

  /** What CPU `cpu` translates page number `page` to, or null. Raw. */
  lookup(cpu: number, page: number): TlbEntry | null {
    return this.cpus.get(cpu)?.get(page) ?? null;
  }

  /** Raw, too. */
  fill(cpu: number, page: number, entry: TlbEntry): void {
    let entries = this.cpus.get(cpu);
    if (entries === undefined) {
      if (this.cpus.size === 0) registry(running).add(this);
      entries = new Map();
      this.cpus.set(cpu, entries);
    }
    entries.set(page, entry);
  }

  flushFootprint(out: Access[], start: number, end: number): void {
    const stop = Math.min(end, start + TLB_VARIABLES);
    for (let page = start; page < stop; page += 1) out.push(access(this.variableOf(page), WRITE));
    // Before the flush the pages must not be anybody else's, afterwards they may.
    for (const entries of this.cpus.values()) {
      for (const [number, { page }] of entries) {
        if (number < start || number >= end) continue;
        out.push(access(page.contents.ownerVariable, COMMUTE));
      }
    }
  }

  /** Forgets the translations of pages [start, end), on all CPUs. Raw, too. */
  flush(start: number, end: number): void {
    for (const entries of this.cpus.values()) {
      if (end - start < entries.size) {
        for (let page = start; page < end; page += 1) entries.delete(page);
        continue;
      }
      for (const page of entries.keys()) if (page >= start && page < end) entries.delete(page);
    }
  }
}

/** A field of mm_struct: what the TLBs hold of it. */
export function mmTlb(): FieldSpec<MmTlb> {
  return new FieldSpec(TLB_VARIABLES + 1, (at: Placement) => new MmTlb(at));
}
