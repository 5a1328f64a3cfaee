/**
 * The swap cache, seen from a page: whether it has a slot, and giving that up.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite, glimpse } from '../kernel/field.ts';
import type { Page } from '../mm-types/page.ts';
import { putPage } from './frames.ts';
import { trylockPage, unlockPage } from './page-cache.ts';
import { dropSwapSlotCache, swapFree } from './swap.ts';

/** `folio_test_swapcache(page)`. It can change at once unless the page is locked. */
export const isInSwapCache = fn(
  function* isInSwapCache(page: Page) {
    return (yield* dataRace(page, 'swapSlot')) !== 0;
  },
  { name: 'folio_test_swapcache' },
);

/**
 * `folio_free_swap(page)`: a locked page gives up its slot, if it has one and no entry refers to that. Whether it is
 * in the cache no more. The caller has a reference.
 */
export const dropSwapCache = fn(
  function* dropSwapCache(page: Page) {
    const slot = page.swapSlot;
    if (slot === 0) return true;
    if (!(yield* dropSwapSlotCache(slot))) return false;
    yield* dataRaceWrite(page, 'swapSlot', 0);
    yield* putPage(page);
    return true;
  },
  { name: 'folio_free_swap' },
);

/**
 * `free_swap_cache(page)`: as {@link dropSwapCache} for a page that is mapped no more and whose lock is free. The
 * caller has a reference. Never sleeps.
 */
export const freeSwapCache = fn(function* freeSwapCache(page: Page) {
  // Looked at without a lock, as a hint.
  if (glimpse(page, 'swapSlot') === 0 || !(yield* trylockPage(page))) return;
  if ((yield* atomicRead(page.mapCount)) === 0) yield* dropSwapCache(page);
  yield* unlockPage(page);
});

/** `free_swap_and_cache(entry)`: one entry less, and no cached page for a slot that nobody needs. Never sleeps. */
export const freeSwap = fn(
  function* freeSwap(slot: number) {
    const page = yield* swapFree(slot);
    if (page === null) return;
    yield* freeSwapCache(page);
    yield* putPage(page);
  },
  { name: 'free_swap_and_cache' },
);
