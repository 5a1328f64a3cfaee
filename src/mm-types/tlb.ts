/**
 * The TLBs of the CPUs, as far as they hold translations of one address space.
 *
 * Modelled: a translation that a CPU has once loaded stays until it is flushed, whatever happens to the
 * page table meanwhile; it carries the rights and the dirty mark it was loaded with. Entries are never lost
 * of themselves. Simplified: a flush is one step for all CPUs, where the kernel sends interrupts and waits.
 * Left out: entries of upper levels, global entries, address-space numbers, lazy TLB.
 *
 * Variables: pages that differ by a multiple of 16 share one: a needless conflict, no more.
 */
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import type { Pte } from './page-table.ts';

const TLB_VARIABLES = 16;

/** Translations by page number (address / 4096). */
export type TlbEntries = Map<number, Pte>;

export class MmTlb extends KernelObject {
  /** By CPU; raw, for detectors and for who is in the middle of an operation. */
  readonly cpus = new Map<number, TlbEntries>();

  variableOf(page: number): number {
    return this.variable + (page % TLB_VARIABLES);
  }

  /** What CPU `cpu` translates page number `page` to, or 0. Raw. */
  lookup(cpu: number, page: number): Pte {
    return this.cpus.get(cpu)?.get(page) ?? 0;
  }

  /** Raw, too. */
  fill(cpu: number, page: number, pte: Pte): void {
    let entries = this.cpus.get(cpu);
    if (entries === undefined) {
      entries = new Map();
      this.cpus.set(cpu, entries);
    }
    entries.set(page, pte);
  }
}

/** A field of mm_struct: what the TLBs hold of it. */
export function mmTlb(): FieldSpec<MmTlb> {
  return new FieldSpec(TLB_VARIABLES, (at: Placement) => new MmTlb(at));
}
