/**
 * get_user_pages and pins.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';

/** `get_user_pages(start, count, FOLL_WRITE?)`: references to the pages, or -errno. mmap_sem held for read. */
export const getUserPages = fn(function* getUserPages(
  _mm: MmStruct,
  _start: number,
  _count: number,
  _isWrite: boolean,
): Generator<never, Page[] | number, unknown> {
  running.misuse('not there yet');
});

/** `pin_user_pages(…, FOLL_PIN | FOLL_LONGTERM)`: as getUserPages, and fork copies what is pinned. */
export const pinUserPages = fn(function* pinUserPages(
  _mm: MmStruct,
  _start: number,
  _count: number,
  _isWrite: boolean,
): Generator<never, Page[] | number, unknown> {
  running.misuse('not there yet');
});

/** `unpin_user_page(page)`. */
export const unpinUserPage = fn(function* unpinUserPage(
  _page: Page,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});

/** `put_page(page)`. */
export const putUserPage = fn(function* putUserPage(_page: Page): Generator<never, void, unknown> {
  running.misuse('not there yet');
});
