/**
 * tmpfs: what its files do when a page of them is needed.
 *
 * Modelled: a page within the file's size that is not cached is made, zeroed; the size is looked at before and,
 * with the page locked, after. Left out: swap of shared memory, quotas, faults that wait for a hole to be
 * punched (both orders of the two are explored all the same).
 */
import { EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { readOnce } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE } from '../mm-types/mm-struct.ts';
import type { Page } from '../mm-types/page.ts';
import { allocPage, putPage } from './frames.ts';
import {
  addToPageCache,
  findLockPage,
  lockPage,
  removeFromPageCache,
  unlockPage,
} from './page-cache.ts';

/** Whether page `index` lies within the size. */
const isInside = fn(
  function* isInside(mapping: AddressSpace, index: number) {
    return index * PAGE_SIZE < (yield* readOnce(mapping, 'size'));
  },
  { name: 'i_size_read' },
);

/**
 * `shmem_get_folio(inode, index, SGP_CACHE)`: the page with a reference and locked, or -EINVAL beyond the
 * size, or -ENOMEM. May sleep.
 */
export const shmemGetPage = fn(
  function* shmemGetPage(mapping: AddressSpace, index: number) {
    for (;;) {
      if (!(yield* isInside(mapping, index))) return -EINVAL;
      const found = yield* findLockPage(mapping, index);
      const page = found ?? (yield* makePage(mapping, index));
      if (page === 'again') continue;
      if (page === null) return -ENOMEM;
      // Truncation sets the size first and takes pages out under their locks afterwards.
      if (yield* isInside(mapping, index)) return page;
      // It may have passed this index already: a new page would stay behind the end.
      if (found === null) yield* removeFromPageCache(mapping, page);
      yield* unlockPage(page);
      yield* putPage(page);
      return -EINVAL;
    }
  },
  { name: 'shmem_get_folio_gfp' },
);

/** A new page in the cache, locked; `again` if another task was first. */
const makePage = fn(
  function* makePage(mapping: AddressSpace, index: number) {
    const page: Page | null = yield* allocPage(GFP_KERNEL);
    if (page === null) return null;
    yield* lockPage(page);
    const result = yield* addToPageCache(mapping, page, index);
    if (result === 0) return page;
    yield* unlockPage(page);
    yield* putPage(page);
    return result > 0 ? ('again' as const) : null;
  },
  { name: 'shmem_alloc_and_add_folio' },
);
