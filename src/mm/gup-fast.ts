/**
 * The lockless part of get_user_pages_fast: pages that are there are taken without mmap_sem and without a fault.
 *
 * Modelled: with interrupts off, which keeps page tables from being freed; the entry is looked at again once the
 * reference is taken. Simplified: both looks and the reference are one step for each page, which has the effect of the
 * kernel's retry. Left out: huge pages, pins.
 */
import { fn } from '../kernel/call.ts';
import { access, COMMUTE, made, Operation, READ, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import { PTE_PROTNONE, ptePfn, ptePresent, pteSpecial, pteWrite } from '../mm-types/page-table.ts';
import { pfnToPage } from './frames.ts';
import { pteIndex } from './page-table-walk.ts';

interface Place {
  readonly mm: MmStruct;
  readonly address: number;
  readonly isWrite: boolean;
}

/** Takes a reference to the page at an address, if its entry lets the access through. */
class GupFast extends Operation<Page | null> {
  private find(task: Task): Page | null {
    const { mm, address, isWrite } = task.argument as Place;
    const table = mm.pageTables.find(address, 1);
    const pte = table === null ? 0 : (table.ptes[pteIndex(address)] as number);
    if (!ptePresent(pte) || pteSpecial(pte) || (pte & PTE_PROTNONE) !== 0) return null;
    return isWrite && !pteWrite(pte) ? null : pfnToPage(ptePfn(pte));
  }

  footprint(out: Access[], task: Task): void {
    const { mm, address } = task.argument as Place;
    mm.pageTables.walkFootprint(out, address, 1);
    const table = mm.pageTables.find(address, 1);
    if (table === null) return;
    out.push(access(table.lifeVariable, READ), access(table.variableOf(pteIndex(address)), READ));
    const page = this.find(task);
    if (page !== null) out.push(access(page.refCount.variable, COMMUTE));
  }

  perform(task: Task): Page | null {
    const page = this.find(task);
    if (page !== null) {
      page.refCount.value += 1;
      running.after(page.flags.publishedAt);
    }
    return page;
  }

  describe(task: Task): string {
    return `gup_pte_range(0x${(task.argument as Place).address.toString(16)})`;
  }
}

const gupFast = new GupFast(null);

/**
 * `__get_user_pages_fast(start, count, write)`: the pages from `start` on, up to the first that is not there or does not
 * let the access through, with a reference each; maybe none. The mm is in use. Never sleeps, takes no lock. Pairs with
 * `putUserPage`.
 */
export const getUserPagesFastOnly = fn(
  function* getUserPagesFastOnly(mm: MmStruct, start: number, count: number, isWrite: boolean) {
    const pages: Page[] = [];
    while (pages.length < count) {
      const page = yield* made(gupFast, { mm, address: start + pages.length * PAGE_SIZE, isWrite });
      if (page === null) break;
      pages.push(page);
    }
    return pages as readonly Page[];
  },
  { name: '__get_user_pages_fast' },
);
