/**
 * kvm_main.c from v5.15 on, and what it would be without the part that holds slots back.
 *
 * A range that hits no slot takes no mmu_lock and is not counted; a fault waits only for ranges that its address is in.
 * Now it matters that start and end see the same slots:
 *
 *     CPU0                                  CPU1
 *     start: no slot at the range,
 *       nothing is counted
 *                                           a slot is added there
 *     end: a slot; count-- gives -1         [or the reverse: the slot goes, and the count stays]
 *
 * So whoever changes slots waits until no range is between its start and its end (52ac8b358b0c), which start and end
 * count in another counter, under a lock of its own. The optimisation came after that (071064f14d87), so that no kernel
 * was released without. An earlier version of the patch had a rwsem that is read-held from start to end. Its message tells
 * what lockdep said of that: ranges nest (who is in one may enter reclaim, which starts another), and the inner one waits
 * behind a writer who waits for the outer one.
 */
import { peek } from '../../kernel/await.ts';
import { dataRaceWrite, rcuAssignPointer } from '../../kernel/field.ts';
import type { Operation } from '../../kernel/operation.ts';
import { EAGAIN } from '../../base/errno.ts';
import { downRead, downReadTrylock, downWrite, upRead, upWrite } from '../../kernel/rwsem.ts';
import { lockdepAssertHeld } from '../../kernel/lockdep.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { schedule } from '../../kernel/sleep.ts';
import { finishWait, prepareToWait, wakeUp } from '../../kernel/wait.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { ULONG_MAX } from '../../base/ulong.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { kvmModule, type Kvm, type KvmMemslots, type KvmVersion } from './kvm.ts';
import {
  commonOps,
  gfnRanges,
  kvmCheckNotifierCount,
  kvmDecNotifierCount,
  kvmIncNotifierCount,
  mmuNotifierToKvm,
} from './notifier.ts';
import { gfnToPfnCacheInvalidateStart, hvaToPfnRetry, hvaToPfnRetryRacing } from './pfncache.ts';
import { kvmFlushRemoteTlbs, kvmUnmapGfnRange } from './spte.ts';

const { fn } = kvmModule;

/** Where ranges are that are being invalidated: one that contains them all. mmu_lock is held. */
function widen(kvm: Kvm, start: number, end: number): void {
  if (kvm.mmuNotifierCount === 1) {
    kvm.mmuNotifierRangeStart = start;
    kvm.mmuNotifierRangeEnd = end;
    return;
  }
  // It shrinks only when all have ended.
  kvm.mmuNotifierRangeStart = Math.min(kvm.mmuNotifierRangeStart, start);
  kvm.mmuNotifierRangeEnd = Math.max(kvm.mmuNotifierRangeEnd, end);
}

const unmapRanges = fn(
  function* unmapRanges(kvm: Kvm, start: number, end: number) {
    const index = yield* srcuReadLock(kvm.srcu);
    const ranges = yield* gfnRanges(kvm, start, end);
    if (ranges.length > 0) {
      yield* spinLock(kvm.mmuLock);
      yield* kvmIncNotifierCount(kvm);
      widen(kvm, start, end);
      for (const range of ranges) {
        if (yield* kvmUnmapGfnRange(kvm, range)) yield* kvmFlushRemoteTlbs(kvm, range);
      }
      yield* spinUnlock(kvm.mmuLock);
    }
    yield* srcuReadUnlock(kvm.srcu, index);
  },
  { name: '__kvm_handle_hva_range' },
);

const endRanges = fn(
  function* endRanges(kvm: Kvm, start: number, end: number) {
    const index = yield* srcuReadLock(kvm.srcu);
    if ((yield* gfnRanges(kvm, start, end)).length > 0) {
      yield* spinLock(kvm.mmuLock);
      yield* kvmDecNotifierCount(kvm);
      yield* spinUnlock(kvm.mmuLock);
    }
    yield* srcuReadUnlock(kvm.srcu, index);
  },
  { name: '__kvm_handle_hva_range' },
);

/** mn_invalidate_lock is held; a refresh of the cache looks at it without. */
function addActive(kvm: Kvm, by: number): Operation<void> {
  const count = kvm.mnActiveInvalidateCount + by;
  return dataRaceWrite(kvm, 'mnActiveInvalidateCount', count);
}

/** A start: slots are not changed until its end. */
const holdMemslots = fn(
  function* holdMemslots(kvm: Kvm) {
    yield* spinLock(kvm.mnInvalidateLock);
    yield* addActive(kvm, 1);
    yield* spinUnlock(kvm.mnInvalidateLock);
  },
  { name: 'kvm_mmu_notifier_invalidate_range_start' },
);

const letMemslotsGo = fn(
  function* letMemslotsGo(kvm: Kvm) {
    yield* spinLock(kvm.mnInvalidateLock);
    yield* addActive(kvm, -1);
    const isLast = kvm.mnActiveInvalidateCount === 0;
    yield* spinUnlock(kvm.mnInvalidateLock);
    // There is one at most who waits: it holds slots_lock.
    if (isLast) yield* wakeUp(kvm.mnMemslotsUpdateRcuwait);
  },
  { name: 'kvm_mmu_notifier_invalidate_range_end' },
);

/** Waits until no range is between start and end, and publishes before another one starts. */
const publishMemslotsAtRest = fn(
  function* publishMemslotsAtRest(kvm: Kvm, slots: KvmMemslots) {
    yield* spinLock(kvm.mnInvalidateLock);
    while (kvm.mnActiveInvalidateCount > 0) {
      yield* prepareToWait(kvm.mnMemslotsUpdateRcuwait, 'uninterruptible');
      yield* spinUnlock(kvm.mnInvalidateLock);
      yield* schedule();
      yield* finishWait(kvm.mnMemslotsUpdateRcuwait);
      yield* spinLock(kvm.mnInvalidateLock);
    }
    yield* rcuAssignPointer(kvm, 'memslots', slots);
    yield* spinUnlock(kvm.mnInvalidateLock);
  },
  { name: 'install_new_memslots' },
);

/** Read-held until the end. A range that must not block is not held up by a writer who waits: it is refused. */
const holdMemslotsByRwsem = fn(
  function* holdMemslotsByRwsem(kvm: Kvm, range: MmuNotifierRange) {
    if (!mmuNotifierRangeBlockable(range)) return yield* downReadTrylock(kvm.mmuNotifierSlotsLock);
    yield* downRead(kvm.mmuNotifierSlotsLock);
    return true;
  },
  { name: 'kvm_mmu_notifier_invalidate_range_start' },
);

const publishMemslotsByRwsem = fn(
  function* publishMemslotsByRwsem(kvm: Kvm, slots: KvmMemslots) {
    yield* downWrite(kvm.mmuNotifierSlotsLock);
    yield* rcuAssignPointer(kvm, 'memslots', slots);
    yield* upWrite(kvm.mmuNotifierSlotsLock);
  },
  { name: 'install_new_memslots' },
);

const publishMemslotsAnyTime = fn(
  function* publishMemslotsAnyTime(kvm: Kvm, slots: KvmMemslots) {
    yield* rcuAssignPointer(kvm, 'memslots', slots);
  },
  { name: 'install_new_memslots' },
);

/** What differs between the versions here. */
interface Differences {
  /** By what slots are held back from start to end. */
  readonly holdsMemslots: 'count' | 'rwsem' | null;
  readonly hvaToPfnRetry: KvmVersion['hvaToPfnRetry'];
  readonly releasesCache?: boolean;
}

/** No kernel's: the mm ends, and the cache with it. */
const kvmMmuNotifierReleaseAll = fn(
  function* kvmMmuNotifierReleaseAll(mn: MmuNotifier, mm: MmStruct) {
    yield* gfnToPfnCacheInvalidateStart(mmuNotifierToKvm(mn), 0, ULONG_MAX);
    yield* commonOps.release!(mn, mm);
  },
  { name: 'kvm_mmu_notifier_release' },
);

function opsWith({ holdsMemslots, releasesCache = false }: Differences): MmuNotifierOps {
  const kvmMmuNotifierInvalidateRangeStart = fn(function* kvmMmuNotifierInvalidateRangeStart(
    mn: MmuNotifier,
    range: MmuNotifierRange,
  ) {
    const { start, end } = range;
    const kvm = mmuNotifierToKvm(mn);
    if (holdsMemslots === 'count') yield* holdMemslots(kvm);
    else if (holdsMemslots === 'rwsem' && !(yield* holdMemslotsByRwsem(kvm, range))) return -EAGAIN;
    // Ahead of the count: a refresh that finds its address held up is told so by the other counter.
    yield* gfnToPfnCacheInvalidateStart(kvm, start, end);
    yield* unmapRanges(kvm, start, end);
    return 0;
  });

  const kvmMmuNotifierInvalidateRangeEnd = fn(function* kvmMmuNotifierInvalidateRangeEnd(
    mn: MmuNotifier,
    { start, end }: MmuNotifierRange,
  ) {
    const kvm = mmuNotifierToKvm(mn);
    yield* endRanges(kvm, start, end);
    if (holdsMemslots === 'count') yield* letMemslotsGo(kvm);
    else if (holdsMemslots === 'rwsem') yield* upRead(kvm.mmuNotifierSlotsLock);
    yield* kvmCheckNotifierCount(kvm);
  });

  return {
    ...commonOps,
    ...(releasesCache ? { release: kvmMmuNotifierReleaseAll } : {}),
    invalidateRangeStart: kvmMmuNotifierInvalidateRangeStart,
    invalidateRangeEnd: kvmMmuNotifierInvalidateRangeEnd,
  };
}

/** Whether an address is in the range that contains all that are being invalidated; raw, as who waits asks. */
function isHeldUp(kvm: Kvm, hva: number): boolean {
  if (peek(kvm, 'mmuNotifierCount') === 0) return false;
  return hva >= peek(kvm, 'mmuNotifierRangeStart') && hva < peek(kvm, 'mmuNotifierRangeEnd');
}

const mmuNotifierRetryHva = fn(function* mmuNotifierRetryHva(kvm: Kvm, seq: number, hva: number) {
  lockdepAssertHeld(kvm.mmuLock);
  const { mmuNotifierCount: count, mmuNotifierRangeStart: start, mmuNotifierRangeEnd: end } = kvm;
  if (count > 0 && hva >= start && hva < end) return true;
  return kvm.mmuNotifierSeq !== seq;
});

const kvmExitMmuNotifier = fn(
  function* kvmExitMmuNotifier(kvm: Kvm) {
    yield* mmuNotifierUnregister(kvm.mmuNotifier, kvm.mm!);
  },
  { name: 'kvm_destroy_vm' },
);

const PUBLISH = {
  count: publishMemslotsAtRest,
  rwsem: publishMemslotsByRwsem,
  none: publishMemslotsAnyTime,
} as const;

function version(differences: Differences): KvmVersion {
  const { holdsMemslots, hvaToPfnRetry: refresh } = differences;
  const kvmMmuNotifierOps = opsWith(differences);
  const kvmInitMmuNotifier = fn(function* kvmInitMmuNotifier(kvm: Kvm) {
    kvm.mmuNotifier.ops = kvmMmuNotifierOps;
    return yield* mmuNotifierRegister(kvm.mmuNotifier, kvm.mm!);
  });
  return {
    register: kvmInitMmuNotifier,
    unregister: kvmExitMmuNotifier,
    publishMemslots: PUBLISH[holdsMemslots ?? 'none'],
    mmuNotifierRetry: mmuNotifierRetryHva,
    isHeldUp,
    hvaToPfnRetry: refresh,
    refreshesAlone: refresh === hvaToPfnRetry,
  };
}

/** Ranges that hit no slot are not counted, and nothing holds slots back: what 52ac8b358b0c came before to prevent. */
export const kvmVersionUnblocked = version({
  holdsMemslots: null,
  hvaToPfnRetry: null,
});

/** An earlier version of 52ac8b358b0c. No kernel was released with it. */
export const kvmVersionRwsem = version({ holdsMemslots: 'rwsem', hvaToPfnRetry: null });

/** v5.17: slots are held back, and the cache is refreshed as it first was. */
export const kvmVersionV517 = version({
  holdsMemslots: 'count',
  hvaToPfnRetry: hvaToPfnRetryRacing,
});

/** v6.1: with 58cd407ca4c6. */
export const kvmVersionV61 = version({ holdsMemslots: 'count', hvaToPfnRetry });

/** The same, with a release that makes the cache invalid, too. No kernel has it. */
export const kvmVersionReleasing = version({
  holdsMemslots: 'count',
  hvaToPfnRetry,
  releasesCache: true,
});
