/**
 * Backing of buffers: looking up the program's pages, binding them into the GART, and taking them out again.
 *
 * The pages of a user pointer are referenced from bind to unbind, so they are not freed as long as the board may reach
 * them, whatever becomes of the mm. What the notifier is for is that the board and the program see the same page.
 */
import { ENOMEM, EPERM } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { dmaFenceWait } from '../../device/fence.ts';
import { flushDeviceTlb, setDeviceEntry } from '../../device/translations.ts';
import { dataRaceWrite } from '../../kernel/field.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { PG_DIRTY, setPageFlag, pageToPfn, type Page } from '../../mm-types/page.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { findVma, PAGE_SIZE } from '../../mm/vma.ts';
import { GART_PAGE_COUNT, radeonBoard } from './gpu.ts';
import { radeon, type RadeonBo, type RadeonDevice } from './radeon.ts';

const { fn } = radeon;

export const RADEON_GEM_USERPTR_READONLY = 1;
export const RADEON_GEM_USERPTR_ANONONLY = 2;
export const RADEON_GEM_USERPTR_VALIDATE = 4;
export const RADEON_GEM_USERPTR_REGISTER = 8;

export function isReadonly(bo: RadeonBo): boolean {
  return (bo.userflags & RADEON_GEM_USERPTR_READONLY) !== 0;
}

/** `radeon_bo_reserve(bo, true)`. Not from a callback that holds another reservation. May sleep. */
export const radeonBoReserve = fn(function* radeonBoReserve(bo: RadeonBo) {
  yield* mutexLock(bo.resv);
});

export const radeonBoUnreserve = fn(function* radeonBoUnreserve(bo: RadeonBo) {
  yield* mutexUnlock(bo.resv);
});

/** Waits until the GPU no longer uses the buffer, without a timeout. It is reserved, so that no job is added. */
export const radeonBoWait = fn(
  function* radeonBoWait(bo: RadeonBo) {
    if (bo.fence !== null) yield* dmaFenceWait(bo.fence);
  },
  { name: 'dma_resv_wait_timeout_rcu' },
);

// ---- the GART ------------------------------------------------------------------------------------

/** The lowest run of free pages, or -ENOMEM. */
const gartAllocate = fn(
  function* gartAllocate(rdev: RadeonDevice, count: number) {
    const mask = (1 << count) - 1;
    yield* spinLock(rdev.gartLock);
    let start = 0;
    while (start + count <= GART_PAGE_COUNT && (rdev.gartBitmap & (mask << start)) !== 0)
      start += 1;
    const isFound = start + count <= GART_PAGE_COUNT;
    if (isFound) rdev.gartBitmap |= mask << start;
    yield* spinUnlock(rdev.gartLock);
    return isFound ? start : -ENOMEM;
  },
  { name: 'ttm_bo_man_get_node' },
);

const gartFree = fn(
  function* gartFree(rdev: RadeonDevice, start: number, count: number) {
    yield* spinLock(rdev.gartLock);
    rdev.gartBitmap &= ~(((1 << count) - 1) << start);
    yield* spinUnlock(rdev.gartLock);
  },
  { name: 'ttm_bo_man_put_node' },
);

// ---- the program's pages -------------------------------------------------------------------------

/**
 * References to the pages of a user pointer; -EPERM for another process, or for memory of a file where the buffer is
 * for anonymous memory only; what get_user_pages says. mmap_sem of current is held for read. May sleep, fault, and
 * enter reclaim.
 */
export const radeonTtmTtPinUserptr = fn(function* radeonTtmTtPinUserptr(
  bo: RadeonBo,
): Body<readonly Page[] | number> {
  const { userptr, pageCount } = bo;
  const mm = current().mm as MmStruct | null;
  if (mm === null || mm !== bo.usermm) return -EPERM;
  if ((bo.userflags & RADEON_GEM_USERPTR_ANONONLY) !== 0) {
    const vma = findVma(mm, userptr);
    // Pages of a file would be written back while the GPU writes them.
    if (vma === null || vma.mapping !== null) return -EPERM;
    if (vma.vmEnd < userptr + pageCount * PAGE_SIZE) return -EPERM;
  }
  return yield* getUserPages(mm, userptr, pageCount, !isReadonly(bo));
});

/** Gives them back. Never sleeps. Pairs with {@link radeonTtmTtPinUserptr}. */
export const radeonTtmTtUnpinUserptr = fn(function* radeonTtmTtUnpinUserptr(
  pages: readonly Page[],
  isWritable: boolean,
) {
  for (const page of pages) {
    if (isWritable) yield* setPageFlag(page, PG_DIRTY);
    yield* putUserPage(page);
  }
});

function isRegistered(bo: RadeonBo): boolean {
  return (bo.userflags & RADEON_GEM_USERPTR_REGISTER) !== 0;
}

/**
 * Binds the buffer to its pages: 0 or -errno. It is reserved; without `pinned` pages of a user pointer are looked up
 * here, under mmap_sem. May sleep.
 */
export const radeonTtmBackendBind = fn(function* radeonTtmBackendBind(
  bo: RadeonBo,
  pinned: readonly Page[] | null,
) {
  const rdev = bo.rdev!;
  const isWritable = !isReadonly(bo);
  if (bo.isUserptr) {
    const pages = pinned ?? (yield* radeonTtmTtPinUserptr(bo));
    if (typeof pages === 'number') return pages;
    bo.pages = pages;
  }
  const pages = bo.pages!;
  const start = yield* gartAllocate(rdev, pages.length);
  if (start < 0) {
    if (bo.isUserptr) yield* radeonTtmTtUnpinUserptr(pages, isWritable);
    return start;
  }
  const { gart } = radeonBoard(rdev.index);
  for (const [at, page] of pages.entries()) {
    yield* setDeviceEntry(gart, start + at, { pfn: pageToPfn(page), isWritable });
  }
  yield* flushDeviceTlb(gart, start, start + pages.length);
  bo.gartStart = start;
  // Callbacks look at it without the reservation.
  yield* dataRaceWrite(bo, 'isBound', true);
  if (bo.isUserptr && bo.usermm !== null) {
    const by = isRegistered(bo) ? 'start' : 'pinned';
    const cpuPage = bo.userptr / PAGE_SIZE;
    declareCoherence(gart, { first: start, end: start + pages.length, cpuPage, mm: bo.usermm, by });
  }
  return 0;
});

/** Takes the buffer out of the GART and lets go of the program's pages. It is reserved, and the GPU done with it. */
export const radeonTtmBackendUnbind = fn(function* radeonTtmBackendUnbind(bo: RadeonBo) {
  const { gart } = radeonBoard(bo.rdev!.index);
  const pages = bo.pages!;
  const start = bo.gartStart;
  for (const at of pages.keys()) yield* setDeviceEntry(gart, start + at, null);
  yield* flushDeviceTlb(gart, start, start + pages.length);
  withdrawCoherence(gart, start, start + pages.length);
  yield* gartFree(bo.rdev!, start, pages.length);
  yield* dataRaceWrite(bo, 'isBound', false);
  if (!bo.isUserptr) return;
  bo.pages = null;
  yield* radeonTtmTtUnpinUserptr(pages, !isReadonly(bo));
});

/** Where a buffer is to be. */
export type Domain = 'RADEON_GEM_DOMAIN_CPU' | 'RADEON_GEM_DOMAIN_GTT';

/**
 * `ttm_bo_validate(bo, placement, ctx)`: 0 or -errno. It is reserved. To GTT: as {@link radeonTtmBackendBind}. To the
 * CPU: the GPU is done with it.
 */
export const ttmBoValidate = fn(function* ttmBoValidate(
  bo: RadeonBo,
  domain: Domain,
  pinned: readonly Page[] | null = null,
) {
  const isWanted = domain === 'RADEON_GEM_DOMAIN_GTT';
  if (bo.isBound === isWanted) {
    if (pinned !== null) yield* radeonTtmTtUnpinUserptr(pinned, false);
    return 0;
  }
  if (isWanted) return yield* radeonTtmBackendBind(bo, pinned);
  yield* radeonTtmBackendUnbind(bo);
  return 0;
});
