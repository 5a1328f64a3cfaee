/**
 * I8a for CPUs: no TLB translates to a page that is freed, or given to another owner. And when all is over, no TLB
 * permits what the page tables do not.
 *
 * The first is found when the page goes, whether or not the CPU uses the translation afterwards: the frame may
 * be handed out again at once. A use that comes later is a use after free of the page besides.
 * Left out: translations of devices, which are judged when they are used.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Memory } from '../../kernel/memory.ts';
import type { Watch } from '../../kernel/watch.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { pteSpecial } from '../../mm-types/page-table.ts';
import { liveTlbs, type MmTlb, type TlbEntry } from '../../mm-types/tlb.ts';
import { reportBroken } from '../../mmu-notifier/detector/invariant.ts';
import { staleTranslations } from '../audit.ts';

/** Finds translations in TLBs that should have been flushed. */
export function staleTranslation(): Watch {
  return { onFree, onEnd };
}

function onFree(kernel: Kernel, memory: Memory): void {
  if (memory.name === 'page') reportTranslators(kernel, memory, 'that is being freed');
}

/** Reports the first CPU that translates to the page `memory`, with which something happens: `what`. */
export function reportTranslators(kernel: Kernel, memory: Memory, what: string): void {
  for (const tlb of liveTlbs(kernel)) {
    for (const [cpu, entries] of tlb.cpus) {
      for (const [number, entry] of entries) {
        if (entry.page.memory !== memory || isHarmless(tlb, entry)) continue;
        const where = text(number * 4096);
        reportBroken(kernel, 'I8a', {
          object: 'page',
          message: `CPU ${cpu} translates ${where} to a page ${what}`,
          place: kernel.place(),
        });
        return;
      }
    }
  }
}

/** Whether nobody can use it: exit unmaps without asking when the driver takes back what it has mapped. */
function isHarmless({ container }: MmTlb, { pte }: TlbEntry): boolean {
  return pteSpecial(pte) && (container as MmStruct).mmUsers.value === 0;
}

function onEnd(kernel: Kernel): void {
  if (!kernel.isQuiet) return;
  for (const tlb of liveTlbs(kernel)) {
    for (const { cpu, address, text: what } of staleTranslations(tlb.container as MmStruct)) {
      kernel.report({
        kind: 'invariant',
        object: 'page',
        invariant: 'stale-translation',
        message: `when all is over, what CPU ${cpu} has in its TLB for ${text(address)} ${what}`,
      });
    }
  }
}

function text(address: number): string {
  return `0x${address.toString(16)}`;
}
