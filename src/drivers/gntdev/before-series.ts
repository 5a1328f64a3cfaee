/**
 * gntdev in v5.3: a notifier for each open file, which looks for the maps that a range hits by the bounds of their VMAs.
 *
 * A map knows one VMA. Splitting leaves two: which of them `map->vma` is then is chance, its bounds are not those of the
 * map, and when it goes the other one is forgotten (B-25).
 */
import { EAGAIN, EINVAL } from '../../base/errno.ts';
import { listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexTrylock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { containerOf } from '../../kernel/struct.ts';
import { PAGE_SIZE, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { getTaskMm, type TaskStruct } from '../../mm-types/task-struct.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { gntdev, GntdevPriv, GrantMap, NO_HANDLE, type GntdevVersion } from './gntdev-priv.ts';
import { gnttabUnmapEntries, gnttabUnmapKernel, gnttabWaitForPages, runsOf } from './grant-map.ts';

const { fn } = gntdev;

/** Waits until nobody has references to the pages, and has Xen take them away. May sleep. */
export const unmapGrantPages = fn(function* unmapGrantPages(
  map: GrantMap,
  offset: number,
  count: number,
) {
  const isMapped = (at: number): boolean => map.slots.get(at).handle !== NO_HANDLE;
  for (const run of runsOf(map, { offset, count }, isMapped)) {
    yield* gnttabWaitForPages(map, run);
    yield* gnttabUnmapEntries(map, run);
    yield* gnttabUnmapKernel(map, run);
  }
});

// ---- the notifier --------------------------------------------------------------------------------

const unmapIfInRange = fn(function* unmapIfInRange(
  map: GrantMap,
  { start, end }: MmuNotifierRange,
  isBlockable: boolean,
) {
  const { vma } = map;
  if (vma === null || vma.vmStart >= end || vma.vmEnd <= start) return 0;
  if (!isBlockable) return -EAGAIN;
  const from = Math.max(start, vma.vmStart);
  const to = Math.min(end, vma.vmEnd);
  yield* unmapGrantPages(map, (from - vma.vmStart) / PAGE_SIZE, (to - from) / PAGE_SIZE);
  return 0;
});

const mnInvlRangeStart = fn(function* mnInvlRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
): Body<number> {
  const priv = containerOf(mn, GntdevPriv, 'mn');
  const isBlockable = mmuNotifierRangeBlockable(range);
  if (isBlockable) yield* mutexLock(priv.lock);
  else if (!(yield* mutexTrylock(priv.lock))) return -EAGAIN;
  let error = 0;
  for (const list of [priv.maps, priv.freeableMaps]) {
    for (const map of listForEachEntry(list, GrantMap, 'next')) {
      if (error === 0) error = yield* unmapIfInRange(map, range, isBlockable);
    }
  }
  yield* mutexUnlock(priv.lock);
  return error;
});

const mnRelease = fn(function* mnRelease(mn: MmuNotifier, _mm: MmStruct) {
  const priv = containerOf(mn, GntdevPriv, 'mn');
  yield* mutexLock(priv.lock);
  for (const list of [priv.maps, priv.freeableMaps]) {
    for (const map of listForEachEntry(list, GrantMap, 'next')) {
      if (map.vma !== null) yield* unmapGrantPages(map, 0, map.count);
    }
  }
  yield* mutexUnlock(priv.lock);
});

const gntdevMmuOps: MmuNotifierOps = {
  release: mnRelease,
  invalidateRangeStart: mnInvlRangeStart,
};

// ---- the version ---------------------------------------------------------------------------------

const open = fn(
  function* open(priv: GntdevPriv) {
    const mm = (yield* getTaskMm(current().process as TaskStruct)) as MmStruct;
    priv.mm = mm;
    priv.mn.ops = gntdevMmuOps;
    const error = yield* mmuNotifierRegisterV53(priv.mn, mm);
    yield* mmput(mm);
    return error;
  },
  { name: 'gntdev_open' },
);

const release = fn(
  function* release(priv: GntdevPriv) {
    yield* mmuNotifierUnregister(priv.mn, priv.mm!);
  },
  { name: 'gntdev_release' },
);

/** Nobody watches the VMA any more. */
const forget = fn(
  function* forget(priv: GntdevPriv, map: GrantMap) {
    // A callback may be at it.
    yield* mutexLock(priv.lock);
    map.vma = null;
    yield* mutexUnlock(priv.lock);
  },
  { name: 'gntdev_vma_close' },
);

/* oxlint-disable require-yield */
export const gntdevVersionV53: GntdevVersion = {
  usePtemod: true,
  open,
  release,
  hasFreeableMaps: true,
  refuses: fn(
    function* refuses(priv: GntdevPriv, map: GrantMap, vma: VmArea) {
      // A file that was inherited or passed on: the notifier is for another mm.
      return map.vma !== null || priv.mm !== vma.vmMm ? -EINVAL : 0;
    },
    { name: 'gntdev_mmap' },
  ),
  watch: fn(
    function* watch(map: GrantMap, vma: VmArea) {
      map.vma = vma;
      return 0;
    },
    { name: 'gntdev_mmap' },
  ),
  readBegin: fn(function* readBegin(_map: GrantMap) {}, { name: 'gntdev_mmap' }),
  unwatch: forget,
  vmaOpen: fn(function* vmaOpen(_map: GrantMap) {}, { name: 'gntdev_vma_open' }),
  vmaClose: fn(
    function* vmaClose(priv: GntdevPriv, map: GrantMap, _vma: VmArea) {
      yield* forget(priv, map);
    },
    { name: 'gntdev_vma_close' },
  ),
  unmap: unmapGrantPages,
};
/* oxlint-enable require-yield */

/** What A-15 supposes of it: an allocation under the lock that callbacks take. */
export const gntdevVersionAllocatesLocked: GntdevVersion = {
  ...gntdevVersionV53,
  allocatesLocked: true,
};
