/** A process in direct mode: each call runs at once. */
import { runDirect } from '../../src/kernel/direct.ts';
import type { Yieldable } from '../../src/kernel/operation.ts';
import { errnoName } from '../../src/base/errno.ts';
import { SIGBUS, SIGSEGV } from '../../src/base/mman.ts';
import { fn } from '../../src/kernel/call.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Behaviour } from '../../src/mm/behaviour.ts';
import { bootMachine, type Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../src/mmu-notifier/register.ts';

export const BASE = 0x1_0000_0000;

/** The address of page `index` of the window. */
export function at(index: number): number {
  return BASE + index * PAGE_SIZE;
}

/** `n` pages in bytes. */
export function pages(n: number): number {
  return n * PAGE_SIZE;
}

const SIGNALS: Readonly<Record<number, string>> = { [-SIGSEGV]: 'SIGSEGV', [-SIGBUS]: 'SIGBUS' };

export class User {
  readonly machine: Machine;
  readonly process: Process;
  /** What a notifier was told since it was asked last: `first-end` in pages of the window. */
  private readonly told: string[] = [];

  constructor(behaviour: Partial<Behaviour> = {}) {
    this.machine = bootMachine({ behaviour });
    this.process = this.machine.process();
  }

  run<R>(call: Yieldable<R>): R {
    return runDirect(this.machine, call);
  }

  /** The error of a call by name, without its sign, or `ok`. */
  error(call: Yieldable<number | Uint8Array>): string {
    const result = this.run(call);
    return typeof result === 'number' && result < 0 ? errnoName(result).slice(1) : 'ok';
  }

  /** The signal of a load or store, or `ok`. */
  signal(call: Yieldable<number>): string {
    const result = this.run(call);
    return result < 0 ? (SIGNALS[result] ?? errnoName(result)) : 'ok';
  }

  /** The VMAs as `first-end`, in pages of the window. */
  vmas(process = this.process): string[] {
    return vmas(process.mm!).map(({ vmStart, vmEnd }) => range(vmStart, vmEnd));
  }

  listen(): void {
    const mn = allocateStatic(this.machine, MmuNotifier);
    const { told } = this;
    mn.ops = {
      invalidateRangeStart: fn(function* listen(
        _mn: MmuNotifier,
        { start, end }: MmuNotifierRange,
      ) {
        told.push(range(start, end));
        return 0;
      }),
    };
    this.run(mmuNotifierRegister(mn, this.process.mm!));
  }

  /** What the notifier was told since the last time. */
  heard(): string[] {
    return this.told.splice(0);
  }
}

function range(start: number, end: number): string {
  return `${(start - BASE) / PAGE_SIZE}-${(end - BASE) / PAGE_SIZE}`;
}
