/**
 * Stale translations: a page is freed while the TLB of a CPU still translates an address to it, or, when all is
 * over, a TLB permits what the page tables do not.
 *
 * The first is found when the page is freed, whether or not the CPU uses the translation afterwards: the frame may
 * be handed out again at once. A use that comes later is a use after free of the page besides.
 * Left out: translations of devices; what a device reaches through a page that was freed is a use after free.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Memory } from '../../kernel/memory.ts';
import type { Watch } from '../../kernel/watch.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { liveTlbs } from '../../mm-types/tlb.ts';
import { staleTranslations } from '../audit.ts';

/** Finds translations in TLBs that should have been flushed. */
export function staleTranslation(): Watch {
  return { onFree, onEnd };
}

const INVARIANT = 'stale-translation';

function onFree(kernel: Kernel, memory: Memory): void {
  if (memory.name !== 'page') return;
  for (const tlb of liveTlbs(kernel)) {
    for (const [cpu, entries] of tlb.cpus) {
      for (const [number, { page }] of entries) {
        if (page.memory !== memory) continue;
        report(
          kernel,
          `CPU ${cpu} translates ${text(number * 4096)} to a page that is being freed`,
        );
        return;
      }
    }
  }
}

function onEnd(kernel: Kernel): void {
  if (!kernel.isQuiet) return;
  for (const tlb of liveTlbs(kernel)) {
    for (const { cpu, address, text: what } of staleTranslations(tlb.container as MmStruct)) {
      report(
        kernel,
        `when all is over, what CPU ${cpu} has in its TLB for ${text(address)} ${what}`,
      );
    }
  }
}

function report(kernel: Kernel, message: string): void {
  kernel.report({ kind: 'invariant', object: 'page', invariant: INVARIANT, message });
}

function text(address: number): string {
  return `0x${address.toString(16)}`;
}
