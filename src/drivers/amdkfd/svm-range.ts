/**
 * Ranges of shared virtual memory: making and freeing them, their notifiers, and what the GPU has of them.
 */
import { EAGAIN } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import type { Gfp } from '../../kernel/gfp.ts';
import { listAddTail, listDelInit, listEmpty, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  mmuIntervalNotifierInsertLocked,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import { amdkfd, KfdProcess } from './kfd-priv.ts';
import { gpuVm } from './svm-gpu.ts';
import { SvmRange, type SvmRangeList } from './svm-priv.ts';

const { fn } = amdkfd;

/** The process of a range. */
export function processOf(range: SvmRange): KfdProcess {
  return containerOf(range.svms as SvmRangeList, KfdProcess, 'svms');
}

/** A range of pages [start, last], which nobody knows yet; NULL without memory. */
export const svmRangeNew = fn(function* svmRangeNew(
  svms: SvmRangeList,
  pages: { readonly start: number; readonly last: number },
  gfp: Gfp,
) {
  const range = yield* kzalloc(SvmRange, gfp);
  if (range === null) return null;
  range.svms = svms;
  range.start = pages.start;
  range.last = pages.last;
  return range;
});

/** Frees a range that is on no list and has no notifier. */
export const svmRangeFree = fn(function* svmRangeFree(range: SvmRange) {
  yield* kfree(range);
});

/** Makes the range known. svms.lock is held. */
export function svmRangeAddToSvms(range: SvmRange): void {
  listAddTail(range.list, (range.svms as SvmRangeList).list);
}

/**
 * The range that has a page, or NULL, by the bounds that its notifier has: those of a range that is being split change
 * under its own lock. svms.lock is held.
 */
export function svmRangeFromAddr(svms: SvmRangeList, page: number): SvmRange | null {
  const address = page * PAGE_SIZE;
  for (const range of listForEachEntry(svms.list, SvmRange, 'list')) {
    const { start, last } = range.notifier.intervalTree;
    if (start <= address && address <= last) return range;
  }
  return null;
}

/** Says how the GPU's table follows the mm's. The range is new, or its pages are not the GPU's. */
function follow(range: SvmRange, mm: MmStruct): void {
  const { start: first, last } = range;
  const vm = gpuVm(processOf(range).pasid);
  declareCoherence(vm, { first, end: last + 1, cpuPage: first, mm, by: 'start' });
}

/** Has the mm tell of the range: 0 or -errno. mmap_sem is held for write. May sleep. */
export const svmRangeAddNotifierLocked = fn(function* svmRangeAddNotifierLocked(
  mm: MmStruct,
  range: SvmRange,
  ops: MmuIntervalNotifierOps,
) {
  const { start, last } = range;
  const interval = { start: start * PAGE_SIZE, length: (last - start + 1) * PAGE_SIZE };
  const error = yield* mmuIntervalNotifierInsertLocked(range.notifier, mm, interval, ops);
  if (error !== 0) range.notifier.mm = null;
  else follow(range, mm);
  return error;
});

/** No callback of the range runs when it returns. Sleeps; not with a lock held that callbacks take. */
export const svmRangeRemoveNotifier = fn(function* svmRangeRemoveNotifier(range: SvmRange) {
  if (range.notifier.mm === null) return;
  yield* mmuIntervalNotifierRemove(range.notifier);
  range.notifier.mm = null;
});

/** Takes pages [start, last] from the GPU. The range's lock is held. Never sleeps. */
export const svmRangeUnmapFromGpus = fn(function* svmRangeUnmapFromGpus(
  range: SvmRange,
  start: number,
  last: number,
) {
  const vm = gpuVm(processOf(range).pasid);
  const end = Math.min(last, range.last);
  for (let page = Math.max(start, range.start); page <= end; page += 1) {
    yield* setDeviceEntry(vm, page, null);
  }
});

/** Takes a range that goes from the list and from the GPU, with its notifier. svms.lock is held. Sleeps. */
export const svmRangeUnlink = fn(function* svmRangeUnlink(range: SvmRange) {
  yield* svmRangeRemoveNotifier(range);
  listDelInit(range.list);
  withdrawCoherence(gpuVm(processOf(range).pasid), range.start, range.last + 1);
});

/** Enters the frames of pages from `start` on, unless they are not there any more: 0 or -EAGAIN. */
const mapToGpus = fn(
  function* mapToGpus(range: SvmRange, seq: number, start: number, pfns: readonly number[]) {
    const { pasid } = processOf(range);
    yield* mutexLock(range.lock);
    // Split meanwhile, too: what is beyond belongs to others.
    const isStale = mmuIntervalReadRetry(range.notifier, seq) || !listEmpty(range.childList);
    for (const [at, pfn] of isStale ? [] : pfns.entries()) {
      yield* setDeviceEntry(gpuVm(pasid), start + at, { pfn, isWritable: true });
    }
    yield* mutexUnlock(range.lock);
    return isStale ? -EAGAIN : 0;
  },
  { name: 'svm_range_map_to_gpus' },
);

/**
 * Looks the pages of a range up and maps them to the GPU: 0, -EAGAIN if they changed meanwhile, or -errno. mmap_sem is
 * held for read, and svms.lock. May sleep.
 */
export const svmRangeValidateAndMap = fn(function* svmRangeValidateAndMap(
  mm: MmStruct,
  range: SvmRange,
) {
  const seq = yield* mmuIntervalReadBegin(range.notifier);
  yield* mutexLock(range.lock);
  const { start, last } = range;
  yield* mutexUnlock(range.lock);
  const pages = yield* getUserPages(mm, start * PAGE_SIZE, last - start + 1, true);
  if (typeof pages === 'number') return pages;
  const pfns = pages.map((page) => pageToPfn(page));
  // hmm_range_fault takes no references: the sequence says whether it is still true.
  for (const page of pages) yield* putUserPage(page);
  return yield* mapToGpus(range, seq, start, pfns);
});
