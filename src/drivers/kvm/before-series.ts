/**
 * kvm_main.c of v5.3, which the series does not change.
 *
 * Each start counts, whether or not it hits a slot, and each end counts back: that slots come and go in between makes
 * no difference. Each fault of a VM waits for each range that is being invalidated in the program.
 */
import { rcuAssignPointer } from '../../kernel/field.ts';
import { lockdepAssertHeld } from '../../kernel/lockdep.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { peek } from '../../kernel/await.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { kvmModule, type Kvm, type KvmMemslots, type KvmVersion } from './kvm.ts';
import {
  commonOps,
  gfnRanges,
  kvmCheckNotifierCount,
  kvmDecNotifierCount,
  kvmIncNotifierCount,
  mmuNotifierToKvm,
} from './notifier.ts';
import { kvmFlushRemoteTlbs, kvmUnmapGfnRange } from './spte.ts';

const { fn } = kvmModule;

/** Spins for mmu_lock, which a range that must not block permits. */
const kvmMmuNotifierInvalidateRangeStart = fn(function* kvmMmuNotifierInvalidateRangeStart(
  mn: MmuNotifier,
  { start, end }: MmuNotifierRange,
) {
  const kvm = mmuNotifierToKvm(mn);
  const index = yield* srcuReadLock(kvm.srcu);
  yield* spinLock(kvm.mmuLock);
  // From here on nothing that is looked up is used.
  yield* kvmIncNotifierCount(kvm);
  for (const range of yield* gfnRanges(kvm, start, end)) {
    // Under the lock: whoever finds no SPTE must not find a translation either.
    if (yield* kvmUnmapGfnRange(kvm, range)) yield* kvmFlushRemoteTlbs(kvm, range);
  }
  yield* spinUnlock(kvm.mmuLock);
  yield* srcuReadUnlock(kvm.srcu, index);
  return 0;
});

const kvmMmuNotifierInvalidateRangeEnd = fn(function* kvmMmuNotifierInvalidateRangeEnd(
  mn: MmuNotifier,
  _range: MmuNotifierRange,
) {
  const kvm = mmuNotifierToKvm(mn);
  yield* spinLock(kvm.mmuLock);
  yield* kvmDecNotifierCount(kvm);
  yield* spinUnlock(kvm.mmuLock);
  yield* kvmCheckNotifierCount(kvm);
});

/** The callbacks. */
export const kvmMmuNotifierOps: MmuNotifierOps = {
  ...commonOps,
  invalidateRangeStart: kvmMmuNotifierInvalidateRangeStart,
  invalidateRangeEnd: kvmMmuNotifierInvalidateRangeEnd,
};

const kvmInitMmuNotifier = fn(function* kvmInitMmuNotifier(kvm: Kvm) {
  kvm.mmuNotifier.ops = kvmMmuNotifierOps;
  return yield* mmuNotifierRegister(kvm.mmuNotifier, kvm.mm!);
});

const kvmExitMmuNotifier = fn(
  function* kvmExitMmuNotifier(kvm: Kvm) {
    yield* mmuNotifierUnregister(kvm.mmuNotifier, kvm.mm!);
  },
  { name: 'kvm_destroy_vm' },
);

const publishMemslots = fn(
  function* publishMemslots(kvm: Kvm, slots: KvmMemslots) {
    yield* rcuAssignPointer(kvm, 'memslots', slots);
  },
  { name: 'install_new_memslots' },
);

const mmuNotifierRetry = fn(function* mmuNotifierRetry(kvm: Kvm, seq: number, _hva: number) {
  lockdepAssertHeld(kvm.mmuLock);
  return kvm.mmuNotifierCount > 0 || kvm.mmuNotifierSeq !== seq;
});

/** Raw: who waits asks at any time. */
function isAnyInvalidated(kvm: Kvm): boolean {
  return peek(kvm, 'mmuNotifierCount') > 0;
}

export const kvmVersionV53: KvmVersion = {
  register: kvmInitMmuNotifier,
  unregister: kvmExitMmuNotifier,
  publishMemslots,
  mmuNotifierRetry,
  isHeldUp: isAnyInvalidated,
  hvaToPfnRetry: null,
};

/** With half of the question that a fault asks. */
function halfOf(isOld: (kvm: Kvm, seq: number) => boolean): KvmVersion {
  const mmuNotifierRetryHalf = fn(
    function* mmuNotifierRetryHalf(kvm: Kvm, seq: number, _hva: number) {
      lockdepAssertHeld(kvm.mmuLock);
      return isOld(kvm, seq);
    },
    { name: 'mmu_notifier_retry' },
  );
  return { ...kvmVersionV53, mmuNotifierRetry: mmuNotifierRetryHalf };
}

/** Does not notice ranges that were over by then. No kernel has it. */
export const kvmVersionCountOnly = halfOf((kvm) => kvm.mmuNotifierCount > 0);

/** Does not notice ranges that have not ended yet. No kernel has it. */
export const kvmVersionSeqOnly = halfOf((kvm, seq) => kvm.mmuNotifierSeq !== seq);
