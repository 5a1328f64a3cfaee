/**
 * umem_odp.c, as far as v5.3 and the series agree: counting ranges in progress, mapping pages for the adapter, and
 * unmapping them.
 *
 *   fault (a work)                             notifier
 *   seq = notifiers_seq
 *   get_user_pages
 *                                              start: umem_mutex { notifiers_count++ }
 *                                                     zaps the adapter's entries, unmaps
 *   umem_mutex {
 *     a range in progress, or another seq?
 *       -EAGAIN
 *     page_list, dma_list, entries
 *   }
 *                                              end:   umem_mutex { notifiers_seq++, notifiers_count-- }
 *
 * No page is referenced for longer than the fault takes: the notifier alone keeps the adapter from pages that are gone.
 * Left out: that the adapter has one page and get_user_pages finds another, which notifiers rule out.
 */
import { EAGAIN, EFAULT, EINVAL } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { completeAll, reinitCompletion } from '../../kernel/completion.ts';
import { dataRace, dataRaceWrite, writeOnce } from '../../kernel/field.ts';
import { intervalTreeForEach } from '../../kernel/interval-tree.ts';
import { dropHeld, SINGLE_DEPTH_NESTING } from '../../kernel/held-lock.ts';
import { lockdepAssertHeld } from '../../kernel/lockdep.ts';
import { mutexLock, mutexLockNested, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body, Operation } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { containerOf } from '../../kernel/struct.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmput } from '../../mm-types/mm-struct.ts';
import { pageToPfn, PG_DIRTY, setPageFlag, type Page } from '../../mm-types/page.ts';
import {
  ibUmemEnd,
  ibUmemStart,
  ibUverbs,
  ODP_DMA_UNIT,
  ODP_WRITE_ALLOWED_BIT,
  UmemOdp,
  umemVersion,
  type PerMm,
} from './ib-priv.ts';

const { fn } = ibUverbs;

/** umem_rwsem stays held for read until the end: whether lockdep hears of it says the version. */
export function keepForEnd({ umemRwsem }: PerMm): void {
  if (umemVersion().isAnnotated) dropHeld(current(), umemRwsem);
}

/** Takes the umem_mutex of an implicit region, inside which that of a child may be taken, and mmap_sem. */
export function lockParent({ umemMutex }: UmemOdp): Operation<void> {
  return umemVersion().isAnnotated
    ? mutexLockNested(umemMutex, SINGLE_DEPTH_NESTING)
    : mutexLock(umemMutex);
}

/** One more range is in progress: no page is mapped until all of them are over. */
export const ibUmemNotifierStartAccount = fn(function* ibUmemNotifierStartAccount(odp: UmemOdp) {
  yield* mutexLock(odp.umemMutex);
  const before = odp.notifiersCount;
  odp.notifiersCount += 1;
  // None was in progress, so nobody waits.
  if (before === 0) yield* reinitCompletion(odp.notifierCompletion);
  yield* mutexUnlock(odp.umemMutex);
});

/** A range is over. */
export const ibUmemNotifierEndAccount = fn(function* ibUmemNotifierEndAccount(odp: UmemOdp) {
  yield* mutexLock(odp.umemMutex);
  // Faults read it without the mutex. First, so that a fault that sees no range sees that there was one.
  yield* writeOnce(odp, 'notifiersSeq', odp.notifiersSeq + 1);
  odp.notifiersCount -= 1;
  if (odp.notifiersCount === 0) yield* completeAll(odp.notifierCompletion);
  yield* mutexUnlock(odp.umemMutex);
});

/** Whether what was looked up when `notifiers_seq` was `seq` may be stale. umem_mutex is held. */
export function ibUmemMmuNotifierRetry(odp: UmemOdp, seq: number): boolean {
  lockdepAssertHeld(odp.umemMutex);
  return odp.notifiersCount > 0 || odp.notifiersSeq !== seq;
}

/** The regions of an mm that [start, end) touches. umem_rwsem is held. */
export function* umemsInRange(perMm: PerMm, start: number, end: number): Generator<UmemOdp> {
  if (start === end) return;
  for (const node of intervalTreeForEach(perMm.umemTree, start, end - 1)) {
    yield containerOf(node, UmemOdp, 'intervalTree');
  }
}

/** Called by a start for each region. `ib_umem_notifier_invalidate_range_start` holds umem_rwsem. */
export const invalidateRangeStartTrampoline = fn(function* invalidateRangeStartTrampoline(
  odp: UmemOdp,
  start: number,
  end: number,
) {
  yield* ibUmemNotifierStartAccount(odp);
  yield* umemVersion().ibdevOf(odp.umem).ops!.invalidateRange!(odp, start, end);
});

/** Tells every region that [start, end) touches. 0, or -EAGAIN at the first one if it must not block. */
export const startInRange = fn(
  function* startInRange(
    perMm: PerMm,
    range: { readonly start: number; readonly end: number },
    isBlockable: boolean,
  ) {
    for (const odp of umemsInRange(perMm, range.start, range.end)) {
      if (!isBlockable) return -EAGAIN;
      yield* invalidateRangeStartTrampoline(odp, range.start, range.end);
    }
    return 0;
  },
  { name: 'rbt_ib_umem_for_each_in_range' },
);

/** The mm ends: for every region a range that is never over, so that no page is mapped any more. */
export const releaseAll = fn(
  function* releaseAll(perMm: PerMm) {
    for (const odp of umemsInRange(perMm, 0, Number.MAX_SAFE_INTEGER)) {
      yield* ibUmemNotifierStartAccount(odp);
      // Faults that wait find out that the mm is gone.
      yield* completeAll(odp.notifierCompletion);
      const { ops } = umemVersion().ibdevOf(odp.umem);
      yield* ops!.invalidateRange!(odp, ibUmemStart(odp), ibUmemEnd(odp));
    }
  },
  { name: 'ib_umem_notifier_release' },
);

// ---- pages ------------------------------------------------------------------------------------------

/** What a fault wants. */
export interface MapRequest {
  /** In bytes; page aligned. */
  readonly address: number;
  readonly pages: number;
  /** ODP_READ_ALLOWED_BIT, and perhaps ODP_WRITE_ALLOWED_BIT. */
  readonly accessMask: number;
  /** `notifiers_seq` from before anything was looked up; up to v5.4. */
  readonly currentSeq?: number;
}

/** Maps one page for the adapter: false if it has another in that place. umem_mutex is held. */
export function storePage(odp: UmemOdp, index: number, page: Page, accessMask: number): boolean {
  const dma = odp.dmaList!.at.get(index);
  const slot = odp.pageList!.at.get(index);
  if (dma.address === 0) {
    dma.address = pageToPfn(page) * ODP_DMA_UNIT + accessMask;
    slot.page = page;
    odp.npages += 1;
    return true;
  }
  const isOther = slot.page !== page;
  if (warnOn(isOther, 'got different pages in IB device and from get_user_pages')) return false;
  dma.address = pageToPfn(page) * ODP_DMA_UNIT + ((dma.address % ODP_DMA_UNIT) | accessMask);
  return true;
}

/** Maps one page for the adapter: 0 or -EAGAIN. umem_mutex is held; gives the page's reference back. */
const ibUmemOdpMapDmaSinglePage = fn(function* ibUmemOdpMapDmaSinglePage(
  odp: UmemOdp,
  index: number,
  page: Page,
  { accessMask, currentSeq }: MapRequest,
) {
  const isStale = ibUmemMmuNotifierRetry(odp, currentSeq!);
  const error = !isStale && storePage(odp, index, page, accessMask) ? 0 : -EAGAIN;
  // Not pinned: the notifier will say when it goes.
  yield* putUserPage(page);
  return error;
});

/**
 * Gets pages of the process and maps them for the adapter: how many, or -EINVAL once the process has left its mm,
 * -EFAULT, -ENOMEM, or -EAGAIN when a range was invalidated meanwhile. Takes mmap_sem, then umem_mutex. May sleep.
 */
export const ibUmemOdpMapDmaPages = fn(function* ibUmemOdpMapDmaPages(
  odp: UmemOdp,
  request: MapRequest,
) {
  const { address, pages, accessMask } = request;
  if (address < ibUmemStart(odp) || address + pages * PAGE_SIZE > ibUmemEnd(odp)) return -EFAULT;
  const owningMm = yield* umemVersion().getMm(odp);
  if (owningMm === null) return -EINVAL;
  const isWrite = (accessMask & ODP_WRITE_ALLOWED_BIT) !== 0;
  yield* downRead(owningMm.mmapSem);
  const found = yield* getUserPages(owningMm, address, pages, isWrite);
  yield* upRead(owningMm.mmapSem);
  let result = typeof found === 'number' ? found : pages;
  if (typeof found !== 'number') {
    const first = (address - ibUmemStart(odp)) / PAGE_SIZE;
    yield* mutexLock(odp.umemMutex);
    for (const [at, page] of found.entries()) {
      if (result < 0) yield* putUserPage(page);
      else {
        const error = yield* ibUmemOdpMapDmaSinglePage(odp, first + at, page, request);
        if (error !== 0) result = error;
      }
    }
    yield* mutexUnlock(odp.umemMutex);
  }
  // Perhaps the last use: then the mm ends here, and with it the notifier's release runs.
  yield* mmput(owningMm);
  return result;
});

/** Unmaps what is mapped of [start, end). umem_mutex is held. */
const unmapPages = fn(
  function* unmapPages(odp: UmemOdp, start: number, end: number) {
    const isShared = !umemVersion().locksUnmap;
    const from = Math.max(start, ibUmemStart(odp));
    const to = Math.min(end, ibUmemEnd(odp));
    for (let address = from; address < to; address += PAGE_SIZE) {
      const index = Math.floor((address - ibUmemStart(odp)) / PAGE_SIZE);
      const dma = odp.dmaList!.at.get(index);
      if (dma.address === 0) continue;
      const slot = odp.pageList!.at.get(index);
      if ((dma.address & ODP_WRITE_ALLOWED_BIT) !== 0) yield* setPageFlag(slot.page!, PG_DIRTY);
      slot.page = null;
      // Another invalidation looks at both without the mutex.
      if (isShared) {
        yield* dataRaceWrite(dma, 'address', 0);
        yield* dataRaceWrite(odp, 'npages', odp.npages - 1);
      } else {
        dma.address = 0;
        odp.npages -= 1;
      }
    }
  },
  { name: 'ib_umem_odp_unmap_dma_pages' },
);

/**
 * Forgets the pages of [start, end); the adapter has been told. Takes umem_mutex itself up to v5.3; from 9dc775e7f550 on
 * the caller holds it. May sleep.
 */
export const ibUmemOdpUnmapDmaPages = fn(function* ibUmemOdpUnmapDmaPages(
  odp: UmemOdp,
  start: number,
  end: number,
): Body<void> {
  if (umemVersion().locksUnmap) {
    lockdepAssertHeld(odp.umemMutex);
    yield* unmapPages(odp, start, end);
    return;
  }
  yield* mutexLock(odp.umemMutex);
  yield* unmapPages(odp, start, end);
  yield* mutexUnlock(odp.umemMutex);
});

/** The DMA address of a page of the region, 0 for none. Under umem_mutex, or as `locksUnmap` says without. */
export const dmaAddressOf = fn(
  function* dmaAddressOf(odp: UmemOdp, index: number, isLocked: boolean) {
    const dma = odp.dmaList!.at.get(index);
    return isLocked ? dma.address : yield* dataRace(dma, 'address');
  },
  { name: 'mlx5_ib_invalidate_range' },
);
