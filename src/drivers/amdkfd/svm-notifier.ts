/**
 * The callback of a range, the deferred list, and the work that deals with it.
 *
 * A callback may run for one who holds mmap_sem, or a lock of the reverse map. So it must not end an mm: the last mmput
 * runs exit_mmap, which takes all of these.
 */
import { GFP_NOWAIT } from '../../kernel/gfp.ts';
import {
  listAddTail,
  listDelInit,
  listEmpty,
  listFirstEntry,
  listForEachEntry,
} from '../../kernel/list.ts';
import { mutexLock, mutexTrylock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { scheduleWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { mmgetNotZero, mmput, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { getTaskMm } from '../../mm-types/task-struct.ts';
import {
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_UNMAP,
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { amdkfd, globals, KfdProcess } from './kfd-priv.ts';
import { kfdLookupProcessByMm, kfdUnrefProcess } from './kfd-process.ts';
import { SvmRange, SvmRangeList, type SvmWorkListOp } from './svm-priv.ts';
import {
  svmRangeAddNotifierLocked,
  svmRangeAddToSvms,
  svmRangeFree,
  svmRangeNew,
  svmRangeRemoveNotifier,
  svmRangeUnlink,
  svmRangeUnmapFromGpus,
} from './svm-range.ts';

const { fn } = amdkfd;

/** Pages [start, last]. */
interface Pages {
  readonly start: number;
  readonly last: number;
}

// ---- in the callback -----------------------------------------------------------------------------

/** Puts a range on the deferred list, or changes what is to be done with it. Never sleeps. */
const svmRangeAddListWork = fn(function* svmRangeAddListWork(
  svms: SvmRangeList,
  range: SvmRange,
  mm: MmStruct,
  op: SvmWorkListOp,
) {
  const { pinnedBy } = globals().svm!.pinning;
  yield* spinLock(svms.deferredListLock);
  if (!listEmpty(range.deferredList)) {
    if (range.workOp !== 'unmap') range.workOp = op;
  } else if (pinnedBy === 'work' || (yield* mmgetNotZero(mm))) {
    // Pairs with the mmput of the work. An mm that ends takes its notifiers with it: nothing is to be done.
    range.workOp = op;
    range.workMm = mm;
    listAddTail(range.deferredList, svms.deferredRangeList);
  }
  yield* spinUnlock(svms.deferredListLock);
});

const scheduleDeferredListWork = fn(function* scheduleDeferredListWork(svms: SvmRangeList) {
  yield* spinLock(svms.deferredListLock);
  if (!listEmpty(svms.deferredRangeList)) yield* scheduleWork(svms.deferredListWork);
  yield* spinUnlock(svms.deferredListLock);
});

/** Splits pages off a range, as a child of it; without memory they stay. The range's lock is held. */
const addChild = fn(
  function* addChild(range: SvmRange, pages: Pages, op: SvmWorkListOp): Body<void> {
    // In the kernel memalloc_noreclaim keeps reclaim, and with it callbacks, out.
    const child = yield* svmRangeNew(range.svms as SvmRangeList, pages, GFP_NOWAIT);
    if (child === null) return;
    child.workOp = op;
    listAddTail(child.childNode, range.childList);
  },
  { name: 'svm_range_add_child' },
);

/** What is unmapped of a range goes; what is behind it becomes a range of its own. The range's lock is held. */
const svmRangeUnmapSplit = fn(function* svmRangeUnmapSplit(range: SvmRange, gone: Pages) {
  const { start, last } = range;
  if (gone.start > start) {
    if (gone.last < last) yield* addChild(range, { start: gone.last + 1, last }, 'add');
    yield* addChild(range, { start: gone.start, last: Math.min(gone.last, last) }, 'unmap');
    range.last = gone.start - 1;
  } else {
    yield* addChild(range, { start, last: gone.last }, 'unmap');
    range.start = gone.last + 1;
  }
});

/** The pages that both have; `start` after `last` if there are none. */
function common(range: SvmRange, { start, last }: Pages): Pages {
  return { start: Math.max(range.start, start), last: Math.min(range.last, last) };
}

/** Pages are unmapped. The range's lock is held. */
const svmRangeUnmapFromCpu = fn(function* svmRangeUnmapFromCpu(
  mm: MmStruct,
  range: SvmRange,
  pages: Pages,
) {
  const p = yield* kfdLookupProcessByMm(mm);
  if (p === null) return;
  for (const child of listForEachEntry(range.childList, SvmRange, 'childNode')) {
    const { start, last } = common(child, pages);
    if (start > last || child.workOp === 'unmap') continue;
    // It was to become a range of its own. What is left of it the GPU will miss.
    yield* svmRangeUnmapFromGpus(child, child.start, child.last);
    child.workOp = 'unmap';
  }
  const gone = common(range, pages);
  if (gone.start <= gone.last) {
    yield* svmRangeUnmapFromGpus(range, gone.start, gone.last);
    const isWhole = gone.start === range.start && gone.last === range.last;
    if (!isWhole) yield* svmRangeUnmapSplit(range, gone);
    yield* svmRangeAddListWork(p.svms, range, mm, isWhole ? 'unmap' : 'update notifier');
  }
  yield* scheduleDeferredListWork(p.svms);
  yield* kfdUnrefProcess(p);
});

/** Takes pages from the GPU; what is behind the range's end may still be a child's. The range's lock is held. */
export const svmRangeEvict = fn(function* svmRangeEvict(range: SvmRange, { start, last }: Pages) {
  for (const child of listForEachEntry(range.childList, SvmRange, 'childNode')) {
    yield* svmRangeUnmapFromGpus(child, start, last);
  }
  yield* svmRangeUnmapFromGpus(range, start, last);
});

/** Takes the range's lock, if that can be done: false where it would have to sleep and must not. */
const svmRangeLock = fn(function* svmRangeLock(range: SvmRange, told: MmuNotifierRange) {
  const { asksWhetherBlockable } = globals().svm!.pinning;
  if (asksWhetherBlockable && !mmuNotifierRangeBlockable(told)) {
    return yield* mutexTrylock(range.lock);
  }
  yield* mutexLock(range.lock);
  return true;
});

const svmRangeCpuInvalidatePagetables = fn(function* svmRangeCpuInvalidatePagetables(
  mni: MmuIntervalNotifier,
  told: MmuNotifierRange,
  seq: number,
) {
  // The process ends, and its ranges with it.
  if (told.event === MMU_NOTIFY_RELEASE) return true;
  const range = containerOf(mni, SvmRange, 'notifier');
  const { usesInCallback } = globals().svm!.pinning;
  if (usesInCallback && !(yield* mmgetNotZero(told.mm))) return true;
  const isDone = yield* svmRangeLock(range, told);
  if (isDone) {
    yield* mmuIntervalSetSeq(mni, seq);
    const pages = {
      start: Math.floor(told.start / PAGE_SIZE),
      last: Math.ceil(told.end / PAGE_SIZE) - 1,
    };
    if (told.event === MMU_NOTIFY_UNMAP) yield* svmRangeUnmapFromCpu(told.mm, range, pages);
    else yield* svmRangeEvict(range, pages);
    yield* mutexUnlock(range.lock);
  }
  if (usesInCallback) yield* mmput(told.mm);
  return isDone;
});

export const svmRangeMnOps: MmuIntervalNotifierOps = {
  invalidate: svmRangeCpuInvalidatePagetables,
};

// ---- later, by the work --------------------------------------------------------------------------

/** Does what is to be done with a range. mmap_sem is held for write, and svms.lock. May sleep. */
const svmRangeHandleListOp = fn(function* svmRangeHandleListOp(range: SvmRange, mm: MmStruct) {
  if (range.workOp === 'unmap') {
    yield* svmRangeUnlink(range);
    yield* svmRangeFree(range);
  } else if (range.workOp === 'update notifier') {
    if (globals().svm!.pinning.unmapsToUpdate) {
      yield* mutexLock(range.lock);
      yield* svmRangeUnmapFromGpus(range, range.start, range.last);
      yield* mutexUnlock(range.lock);
    }
    // Reclaim needs no mmap_sem. Whatever it takes before the notifier is there again, nobody tells of.
    yield* svmRangeRemoveNotifier(range);
    yield* svmRangeAddNotifierLocked(mm, range, svmRangeMnOps);
  } else if (range.workOp === 'add') {
    svmRangeAddToSvms(range);
    yield* svmRangeAddNotifierLocked(mm, range, svmRangeMnOps);
  }
});

/** Deals with a range of the list and with what was split from it. The mm is in use. May sleep. */
const handleDeferred = fn(
  function* handleDeferred(svms: SvmRangeList, range: SvmRange, mm: MmStruct) {
    yield* downWrite(mm.mmapSem);
    // No callback of an unmapping comes from here on: none puts it back on the list before it is freed.
    yield* spinLock(svms.deferredListLock);
    listDelInit(range.deferredList);
    yield* spinUnlock(svms.deferredListLock);
    yield* mutexLock(svms.lock);
    for (;;) {
      yield* mutexLock(range.lock);
      const child = listEmpty(range.childList)
        ? null
        : listFirstEntry(range.childList, SvmRange, 'childNode');
      if (child !== null) listDelInit(child.childNode);
      yield* mutexUnlock(range.lock);
      if (child === null) break;
      yield* svmRangeHandleListOp(child, mm);
    }
    yield* svmRangeHandleListOp(range, mm);
    yield* mutexUnlock(svms.lock);
    yield* upWrite(mm.mmapSem);
  },
  { name: 'svm_range_deferred_list_work' },
);

/** The function of the work. The last use of the mm may end here. */
export const svmRangeDeferredListWork = fn(function* svmRangeDeferredListWork(work: WorkStruct) {
  const svms = containerOf(work, SvmRangeList, 'deferredListWork');
  const p = containerOf(svms, KfdProcess, 'svms');
  const isPinnedHere = globals().svm!.pinning.pinnedBy === 'work';
  const mine = isPinnedHere ? yield* getTaskMm(p.leadThread!) : null;
  // Too late: what is on the list stays there.
  if (isPinnedHere && mine === null) return;
  for (;;) {
    yield* spinLock(svms.deferredListLock);
    const isEmpty = listEmpty(svms.deferredRangeList);
    const range = isEmpty ? null : listFirstEntry(svms.deferredRangeList, SvmRange, 'deferredList');
    const mm = range === null ? null : range.workMm;
    yield* spinUnlock(svms.deferredListLock);
    if (range === null || mm === null) break;
    yield* handleDeferred(svms, range, mm);
    // Pairs with the mmget of who put it on the list.
    if (!isPinnedHere) yield* mmput(mm);
  }
  if (mine !== null) yield* mmput(mine);
});
