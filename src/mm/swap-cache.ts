/**
 * The swap cache, seen from a page: whether it has a slot, and giving that up.
 */
import { fn } from '../kernel/call.ts';
import { dataRace } from '../kernel/field.ts';
import type { Page } from '../mm-types/page.ts';
import { putPage } from './frames.ts';
import { dropSwapSlotCache } from './swap.ts';

/** `folio_test_swapcache(page)`. It can change at once unless the page is locked. */
export const isInSwapCache = fn(
  function* isInSwapCache(page: Page) {
    return (yield* dataRace(page, 'swapSlot')) !== 0;
  },
  { name: 'folio_test_swapcache' },
);

/** `folio_free_swap(page)`: a locked page gives up its slot, if it has one. The caller has a reference. */
export const dropSwapCache = fn(
  function* dropSwapCache(page: Page) {
    const slot = page.swapSlot;
    if (slot === 0) return;
    page.swapSlot = 0;
    const cached = yield* dropSwapSlotCache(slot);
    if (cached !== null) yield* putPage(cached);
  },
  { name: 'folio_free_swap' },
);
