/**
 * hmm: what all versions share, which is all but who keeps struct hmm alive.
 */
import { EAGAIN, EINVAL } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { perKernel, type Kernel } from '../../kernel/kernel.ts';
import {
  listAdd,
  listDel,
  listDelInit,
  listEmpty,
  listForEachEntry,
  listForEachEntrySafe,
} from '../../kernel/list.ts';
import { downRead, downReadTrylock, downWrite, upRead, upWrite } from '../../kernel/rwsem.ts';
import type { Body } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { spinLockIrqsave, spinUnlockIrqrestore } from '../../kernel/spinlock.ts';
import { dataRaceWrite } from '../../kernel/field.ts';
import { wakeUpAll } from '../../kernel/wait.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { HmmMirror, HmmRange, type Hmm, type HmmVersion } from './hmm-types.ts';

class VersionSlot {
  value: HmmVersion | null = null;
}

const slot = perKernel(() => new VersionSlot());

/** Says which version of hmm a machine has. For set-up, before anything uses it. */
export function setHmm(kernel: Kernel, version: HmmVersion): void {
  slot(kernel).value = version;
}

/** The version that the running kernel has. */
export function hmmVersion(): HmmVersion {
  const { value } = slot(running);
  return value ?? running.misuse('no version of hmm was chosen: call setHmm(machine, …) in set-up');
}

// ---- invalidation --------------------------------------------------------------------------------

/** An invalidation is over, or has failed. */
export const notifiersDecrement = fn(function* notifiersDecrement(hmm: Hmm) {
  const flags = yield* spinLockIrqsave(hmm.rangesLock);
  hmm.notifiers -= 1;
  if (hmm.notifiers === 0) {
    // All of them, also those that were invalidated, and whose pages have changed since they were read.
    if (hmmVersion().endMakesValid) {
      for (const range of listForEachEntry(hmm.ranges, HmmRange, 'list')) {
        if (!range.valid) yield* dataRaceWrite(range, 'valid', true);
      }
    }
    yield* wakeUpAll(hmm.wq);
  }
  yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
});

/** Ranges that overlap, or merely touch, are not valid any more. */
const invalidateRanges = fn(
  function* invalidateRanges(hmm: Hmm, update: MmuNotifierRange) {
    const flags = yield* spinLockIrqsave(hmm.rangesLock);
    hmm.notifiers += 1;
    for (const range of listForEachEntry(hmm.ranges, HmmRange, 'list')) {
      if (update.end < range.start || update.start >= range.end) continue;
      yield* dataRaceWrite(range, 'valid', false);
    }
    yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
  },
  { name: 'hmm_invalidate_range_start' },
);

/** Tells the mirrors: 0, or -EAGAIN. mirrors_sem is held. */
const syncMirrors = fn(
  function* syncMirrors(hmm: Hmm, update: MmuNotifierRange) {
    const isBlockable = mmuNotifierRangeBlockable(update);
    for (const mirror of listForEachEntry(hmm.mirrors, HmmMirror, 'list')) {
      const error = yield* mirror.ops!.syncCpuDevicePagetables(mirror, update);
      if (error === 0) continue;
      if (warnOn(isBlockable || error !== -EAGAIN, 'WARN_ON(blockable || rc != -EAGAIN)')) continue;
      return -EAGAIN;
    }
    return 0;
  },
  { name: 'hmm_invalidate_range_start' },
);

/**
 * What a start does, once it is sure that `hmm` is there: 0, or -EAGAIN with nothing counted. Sleeps if the range
 * is blockable.
 */
const hmmStart = fn(
  function* hmmStart(hmm: Hmm, update: MmuNotifierRange) {
    yield* invalidateRanges(hmm, update);
    let error = 0;
    if (mmuNotifierRangeBlockable(update)) yield* downRead(hmm.mirrorsSem);
    else if (!(yield* downReadTrylock(hmm.mirrorsSem))) error = -EAGAIN;
    if (error === 0) {
      error = yield* syncMirrors(hmm, update);
      yield* upRead(hmm.mirrorsSem);
    }
    if (error !== 0) yield* notifiersDecrement(hmm);
    return error;
  },
  { name: 'hmm_invalidate_range_start' },
);

/** What release does, once it is sure that `hmm` is there. */
const hmmReleaseMirrors = fn(
  function* hmmReleaseMirrors(hmm: Hmm) {
    const flags = yield* spinLockIrqsave(hmm.rangesLock);
    // Each of them keeps the mm from ending.
    warnOn(!listEmpty(hmm.ranges), '!list_empty(&hmm->ranges)');
    yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
    yield* downRead(hmm.mirrorsSem);
    for (const mirror of listForEachEntrySafe(hmm.mirrors, HmmMirror, 'list')) {
      const release = mirror.ops!.release;
      if (release !== undefined) yield* release(mirror);
    }
    yield* upRead(hmm.mirrorsSem);
  },
  { name: 'hmm_release' },
);

/** How a callback comes to its hmm, and what it does when it has done with it. */
export interface Access {
  /** NULL if it is on its way out. */
  readonly enter: (mn: MmuNotifier, mm: MmStruct) => Body<Hmm | null>;
  readonly leave: (hmm: Hmm) => Body<void>;
}

/** The callbacks. */
export function hmmCallbacks({ enter, leave }: Access): MmuNotifierOps {
  const release = fn(function* hmmRelease(mn: MmuNotifier, mm: MmStruct) {
    const hmm = yield* enter(mn, mm);
    if (hmm === null) return;
    yield* hmmReleaseMirrors(hmm);
    yield* leave(hmm);
  });
  const invalidateRangeStart = fn(function* hmmInvalidateRangeStart(
    mn: MmuNotifier,
    update: MmuNotifierRange,
  ) {
    const hmm = yield* enter(mn, update.mm);
    if (hmm === null) return 0;
    const error = yield* hmmStart(hmm, update);
    yield* leave(hmm);
    return error;
  });
  const invalidateRangeEnd = fn(function* hmmInvalidateRangeEnd(
    mn: MmuNotifier,
    update: MmuNotifierRange,
  ) {
    const hmm = yield* enter(mn, update.mm);
    if (hmm === null) return;
    yield* notifiersDecrement(hmm);
    yield* leave(hmm);
  });
  return { release, invalidateRangeStart, invalidateRangeEnd };
}

// ---- mirrors and ranges --------------------------------------------------------------------------

/** The arguments of hmm_mirror_register: 0 or -EINVAL. */
export function checkMirror(mirror: HmmMirror | null, mm: unknown): number {
  return mirror === null || mirror.ops === null || mm === null ? -EINVAL : 0;
}

/** Adds a mirror. mmap_sem is held for write. May sleep. */
export const addMirror = fn(
  function* addMirror(hmm: Hmm, mirror: HmmMirror) {
    mirror.hmm = hmm;
    yield* downWrite(hmm.mirrorsSem);
    listAdd(mirror.list, hmm.mirrors);
    yield* upWrite(hmm.mirrorsSem);
  },
  { name: 'hmm_mirror_register' },
);

/** Takes a mirror away: when it returns, no call of its ops is in progress or will come. May sleep. */
export const removeMirror = fn(
  function* removeMirror(hmm: Hmm, mirror: HmmMirror) {
    yield* downWrite(hmm.mirrorsSem);
    listDel(mirror.list);
    yield* upWrite(hmm.mirrorsSem);
  },
  { name: 'hmm_mirror_unregister' },
);

/** Adds a range. It is valid unless something is being invalidated, wherever that is. Never sleeps. */
export const addRange = fn(
  function* addRange(hmm: Hmm, range: HmmRange) {
    const flags = yield* spinLockIrqsave(hmm.rangesLock);
    range.hmm = hmm;
    listAdd(range.list, hmm.ranges);
    if (hmm.notifiers === 0) yield* dataRaceWrite(range, 'valid', true);
    yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
  },
  { name: 'hmm_range_register' },
);

/** Takes a range away. Never sleeps. */
export const removeRange = fn(
  function* removeRange(hmm: Hmm, range: HmmRange) {
    const flags = yield* spinLockIrqsave(hmm.rangesLock);
    listDelInit(range.list);
    yield* spinUnlockIrqrestore(hmm.rangesLock, flags);
  },
  { name: 'hmm_range_unregister' },
);
