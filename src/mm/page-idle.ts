/**
 * Page aging: was a page used since somebody last looked? By reclaim, which must not be wrong often, and by idle
 * page tracking, which may.
 *
 * Modelled: for every mapping of the page the accessed bit is cleared under the table's lock and the secondary
 * MMUs are asked; reclaim's form flushes the TLBs too, so that the next use is seen. No start and no end.
 * Simplified: x86 leaves the flush out, which loses a few uses; here it is done, as the generic code does.
 */
import { fn } from '../kernel/call.ts';
import { spinUnlock } from '../kernel/spinlock.ts';
import type { Page } from '../mm-types/page.ts';
import { ptepTestAndClearYoung } from '../mm-types/page-table.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierClearFlushYoung, mmuNotifierClearYoung } from '../mmu-notifier/young.ts';
import { pteIndex } from './page-table-walk.ts';
import { mapsPage, pageVmaMapped, rmapWalk } from './rmap.ts';
import { flushTlbRange } from './tlb.ts';

/** What a walk has found so far. */
interface Ages {
  readonly flushes: boolean;
  /** Mappings through which the page was used. */
  referenced: number;
}

const ageOne = fn(
  function* ageOne(page: Page, vma: VmArea, argument: unknown) {
    const ages = argument as Ages;
    const at = yield* pageVmaMapped(page, vma, mapsPage);
    if (at === null) return true;
    const { mm, address, table } = at;
    const end = address + 4096;
    let isYoung = yield* ptepTestAndClearYoung(table, pteIndex(address));
    if (ages.flushes) {
      if (isYoung) yield* flushTlbRange(mm, address, end);
      if (yield* mmuNotifierClearFlushYoung(mm, address, end)) isYoung = true;
    } else if (yield* mmuNotifierClearYoung(mm, address, end)) {
      isYoung = true;
    }
    yield* spinUnlock(table.ptl);
    if (isYoung) ages.referenced += 1;
    return true;
  },
  { name: 'folio_referenced_one' },
);

/**
 * `page_referenced(page)`: through how many mappings the page was used since it was last asked, CPUs and secondary
 * MMUs alike. The page is locked. May sleep.
 */
export const pageReferenced = fn(function* pageReferenced(page: Page) {
  const ages: Ages = { flushes: true, referenced: 0 };
  yield* rmapWalk(page, ageOne, ages);
  return ages.referenced;
});

/**
 * Idle page tracking: whether the page was used, without flushing, so that uses through a TLB that knows the page
 * may be missed. The page is locked. May sleep.
 *
 * @kernel page_idle_clear_pte_refs
 */
export const pageIdleClearPteRefs = fn(function* pageIdleClearPteRefs(page: Page) {
  const ages: Ages = { flushes: false, referenced: 0 };
  yield* rmapWalk(page, ageOne, ages);
  return ages.referenced > 0;
});
