/**
 * gntdev from v5.5 on: an interval notifier for each map. The file's lock is not taken in callbacks any more.
 *
 *     v5.5           read_begin also where no notifier was inserted: in auto-translated guests (B-24)
 *     initialised    only where one was
 *     async          start does not wait for references to pages: a work does (B-23); mmap is refused meanwhile
 *     fixed          ours: the notifier stays until the last VMA is gone and goes by the map's bounds (B-25); entries go
 *                    at once, and only what the kernel has mapped, which is what references need, waits; a lock for
 *                    callbacks that run at the same time
 */
import { EAGAIN, EINVAL } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import {
  atomicDecAndTest,
  atomicInc,
  atomicRead,
  atomicSet,
  atomicSub,
} from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { refcountInc } from '../../kernel/refcount.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initDelayedWork, scheduleDelayedWork, type DelayedWork } from '../../kernel/workqueue.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import {
  mmuIntervalNotifierInsertLocked,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { unmapGrantPages } from './before-series.ts';
import {
  gntdev,
  GrantMap,
  NO_HANDLE,
  UnmapData,
  type GntdevPriv,
  type GntdevVersion,
} from './gntdev-priv.ts';
import {
  gntdevPutMap,
  gnttabUnmapEntries,
  gnttabUnmapKernel,
  gnttabWaitForPages,
  runsOf,
  type SlotRange,
} from './grant-map.ts';

const { fn } = gntdev;

type Unmap = KernelCallable<[GrantMap, number, number], void>;

// ---- unmapping without waiting -------------------------------------------------------------------

/** Forgets the slots, and the reference that kept the map for that. */
const unmapGrantPagesDone = fn(
  function* unmapGrantPagesDone(map: GrantMap, range: SlotRange) {
    yield* gnttabUnmapKernel(map, range);
    // Last: now mmap may use the map again.
    yield* atomicSub(map.liveGrants, range.count);
    yield* gntdevPutMap(null, map);
  },
  { name: '__unmap_grant_pages_done' },
);

/** Whether somebody has references to one of the pages. */
const isReferenced = fn(
  function* isReferenced(map: GrantMap, { offset, count }: SlotRange): Body<boolean> {
    for (let at = offset; at < offset + count; at += 1) {
      if ((yield* atomicRead(map.slots.get(at).page!.refCount)) > 1) return true;
    }
    return false;
  },
  { name: 'gnttab_unmap_refs_async' },
);

/** The work: simplified, it looks again and again, where the kernel's queues itself again. */
const unmapAllWork = fn(
  function* unmapAllWork(work: DelayedWork) {
    const data = containerOf(work, UnmapData, 'gnttabWork');
    const map = data.map as GrantMap;
    const range = { offset: data.offset, count: data.count };
    yield* gnttabWaitForPages(map, range);
    yield* gnttabUnmapEntries(map, range);
    yield* unmapGrantPagesDone(map, range);
  },
  { name: 'gnttab_unmap_work' },
);

/** Ours: the entry is gone already. */
const unmapKernelWork = fn(
  function* unmapKernelWork(work: DelayedWork) {
    const data = containerOf(work, UnmapData, 'gnttabWork');
    const map = data.map as GrantMap;
    const slot = { offset: data.offset, count: 1 };
    yield* gnttabWaitForPages(map, slot);
    yield* mutexLock(map.lock);
    yield* gnttabUnmapKernel(map, slot);
    yield* mutexUnlock(map.lock);
    yield* atomicSub(map.liveGrants, 1);
    yield* gntdevPutMap(null, map);
  },
  { name: 'gnttab_unmap_work' },
);

/** The slots that nobody is removing yet. */
function runsToRemove(map: GrantMap, range: SlotRange) {
  return runsOf(map, range, (at) => {
    const { handle, beingRemoved } = map.slots.get(at);
    return handle !== NO_HANDLE && !beingRemoved;
  });
}

function markRemoved(map: GrantMap, { offset, count }: SlotRange): void {
  for (let at = offset; at < offset + count; at += 1) map.slots.get(at).beingRemoved = true;
}

/** dbe97cff7dd9 (v5.19, unverified): all of it waits for references, the entries too. */
const unmapAsync = fn(
  function* unmapAsync(map: GrantMap, offset: number, count: number) {
    if ((yield* atomicRead(map.liveGrants)) === 0) return;
    for (const run of runsToRemove(map, { offset, count })) {
      markRemoved(map, run);
      yield* refcountInc(map.users);
      const data = map.unmapData;
      data.map = map;
      data.offset = run.offset;
      data.count = run.count;
      // There is one for the map, whether or not it is waiting for other slots.
      initDelayedWork(data.gnttabWork, unmapAllWork);
      if (yield* isReferenced(map, run)) {
        yield* scheduleDelayedWork(data.gnttabWork, 1);
        continue;
      }
      yield* gnttabUnmapEntries(map, run);
      yield* unmapGrantPagesDone(map, run);
    }
  },
  { name: 'unmap_grant_pages' },
);

/** Takes what the kernel has mapped of a slot whose entry is gone; a work does if somebody has a reference. */
const unmapSlot = fn(
  function* unmapSlot(map: GrantMap, at: number) {
    const slot = { offset: at, count: 1 };
    if (!(yield* isReferenced(map, slot))) {
      yield* gnttabUnmapKernel(map, slot);
      yield* atomicSub(map.liveGrants, 1);
      return;
    }
    yield* refcountInc(map.users);
    // It is not queued: the slot was not being removed.
    const data = map.slots.get(at).unmapData;
    data.map = map;
    data.offset = at;
    initDelayedWork(data.gnttabWork, unmapKernelWork);
    yield* scheduleDelayedWork(data.gnttabWork, 1);
  },
  { name: '__unmap_grant_pages' },
);

/** Ours: the entries go at once, and nobody returns before they are gone. */
const unmapFixed = fn(
  function* unmapFixed(map: GrantMap, offset: number, count: number) {
    yield* mutexLock(map.lock);
    for (const run of runsToRemove(map, { offset, count })) {
      markRemoved(map, run);
      yield* gnttabUnmapEntries(map, run);
      for (let at = run.offset; at < run.offset + run.count; at += 1) yield* unmapSlot(map, at);
    }
    yield* mutexUnlock(map.lock);
  },
  { name: 'unmap_grant_pages' },
);

// ---- the notifier --------------------------------------------------------------------------------

/** The bounds by which a map is hit, in bytes; NULL if it is mapped nowhere. */
type BoundsOf = KernelCallable<[GrantMap], { readonly start: number; readonly end: number } | null>;

function opsWith(boundsOf: BoundsOf, unmap: Unmap): MmuIntervalNotifierOps {
  const gntdevInvalidate = fn(function* gntdevInvalidate(
    mni: MmuIntervalNotifier,
    range: MmuNotifierRange,
    _seq: number,
  ): Body<boolean> {
    const map = containerOf(mni, GrantMap, 'notifier');
    if (!mmuNotifierRangeBlockable(range)) return false;
    const bounds = yield* boundsOf(map);
    if (bounds === null || bounds.start >= range.end || bounds.end <= range.start) return true;
    const from = Math.max(range.start, bounds.start);
    const to = Math.min(range.end, bounds.end);
    yield* unmap(map, (from - bounds.start) / PAGE_SIZE, (to - from) / PAGE_SIZE);
    return true;
  });
  return { invalidate: gntdevInvalidate };
}

/** v5.5: the VMA's, which a split changes. */
const boundsOfVma: BoundsOf = fn(
  function* boundsOfVma(map: GrantMap) {
    const vma = yield* dataRace(map, 'vma');
    return vma === null ? null : { start: vma.vmStart, end: vma.vmEnd };
  },
  { name: 'gntdev_invalidate' },
);

const boundsOfMap: BoundsOf = fn(
  // oxlint-disable-next-line require-yield
  function* boundsOfMap({ pagesVmStart: start, count }: GrantMap) {
    return { start, end: start + count * PAGE_SIZE };
  },
  { name: 'gntdev_invalidate' },
);

// ---- the versions --------------------------------------------------------------------------------

/** Inserts the notifier for the whole map: 0 or -errno. mmap_sem (write) is held. May sleep. */
function watchWith(ops: MmuIntervalNotifierOps) {
  return fn(
    function* watch(map: GrantMap, vma: VmArea) {
      const interval = { start: vma.vmStart, length: vma.vmEnd - vma.vmStart };
      yield* dataRaceWrite(map, 'vma', vma);
      map.pagesVmStart = vma.vmStart;
      yield* atomicSet(map.liveVmas, 1);
      const mm = vma.vmMm as MmStruct;
      const error = yield* mmuIntervalNotifierInsertLocked(map.notifier, mm, interval, ops);
      if (error === 0) return 0;
      map.notifier.mm = null;
      yield* dataRaceWrite(map, 'vma', null);
      return error;
    },
    { name: 'gntdev_mmap' },
  );
}

const unwatch = fn(
  function* unwatch(_priv: GntdevPriv, map: GrantMap) {
    yield* mmuIntervalNotifierRemove(map.notifier);
    yield* dataRaceWrite(map, 'vma', null);
  },
  { name: 'gntdev_mmap' },
);

/** v5.5: whichever VMA goes, nothing is watched any more. */
const vmaClose = fn(
  function* vmaClose(priv: GntdevPriv, map: GrantMap, vma: VmArea) {
    warnOn((yield* dataRace(map, 'vma')) !== vma, 'map->vma != vma');
    yield* unwatch(priv, map);
  },
  { name: 'gntdev_vma_close' },
);

const readBegin = fn(
  function* readBegin(map: GrantMap) {
    // mmap_sem is held, so that nobody changes what Xen is told: there is nothing to try again.
    yield* mmuIntervalReadBegin(map.notifier);
  },
  { name: 'gntdev_mmap' },
);

const refuses = fn(
  function* refuses(_priv: GntdevPriv, map: GrantMap, _vma: VmArea) {
    return (yield* dataRace(map, 'vma')) === null ? 0 : -EINVAL;
  },
  { name: 'gntdev_mmap' },
);

/** Not while Xen still has something of it mapped. */
const refusesLive = fn(
  function* refusesLive(priv: GntdevPriv, map: GrantMap, vma: VmArea) {
    const error = yield* refuses(priv, map, vma);
    if (error !== 0) return error;
    return (yield* atomicRead(map.liveGrants)) === 0 ? 0 : -EAGAIN;
  },
  { name: 'gntdev_mmap' },
);

/** What some versions have nothing to do for. */
/* oxlint-disable require-yield */
const none = {
  open: fn(
    function* open(_priv: GntdevPriv) {
      return 0;
    },
    { name: 'gntdev_open' },
  ),
  release: fn(function* release(_priv: GntdevPriv) {}, { name: 'gntdev_release' }),
  vmaOpen: fn(function* vmaOpen(_map: GrantMap) {}, { name: 'gntdev_vma_open' }),
  readBegin: fn(function* noReadBegin(_map: GrantMap) {}, { name: 'gntdev_mmap' }),
  vmaClose: fn(function* noVmaClose(_priv: GntdevPriv, _map: GrantMap, _vma: VmArea) {}, {
    name: 'gntdev_vma_close',
  }),
};
/* oxlint-enable require-yield */

/** v5.5 in a paravirtualised guest. */
export const gntdevVersionV55: GntdevVersion = {
  ...none,
  usePtemod: true,
  hasFreeableMaps: false,
  refuses,
  watch: watchWith(opsWith(boundsOfVma, unmapGrantPages)),
  readBegin,
  unwatch,
  vmaClose,
  unmap: unmapGrantPages,
};

/** v5.5 in an auto-translated one. */
export const gntdevVersionV55Auto: GntdevVersion = {
  ...gntdevVersionV55,
  usePtemod: false,
  vmaClose: none.vmaClose,
};

/** The same with 9293724192a7. */
export const gntdevVersionInitialisedAuto: GntdevVersion = {
  ...gntdevVersionV55Auto,
  readBegin: none.readBegin,
};

/** With dbe97cff7dd9 (v5.19). */
export const gntdevVersionAsync: GntdevVersion = {
  ...gntdevVersionV55,
  refuses: refusesLive,
  watch: watchWith(opsWith(boundsOfVma, unmapAsync)),
  unmap: unmapAsync,
};

/** Ours. */
export const gntdevVersionFixed: GntdevVersion = {
  ...gntdevVersionV55,
  refuses: refusesLive,
  watch: watchWith(opsWith(boundsOfMap, unmapFixed)),
  unmap: unmapFixed,
  vmaOpen: fn(
    function* countVma(map: GrantMap) {
      yield* atomicInc(map.liveVmas);
    },
    { name: 'gntdev_vma_open' },
  ),
  vmaClose: fn(
    function* uncountVma(priv: GntdevPriv, map: GrantMap, _vma: VmArea) {
      if (yield* atomicDecAndTest(map.liveVmas)) yield* unwatch(priv, map);
    },
    { name: 'gntdev_vma_close' },
  ),
};
