/** What the callbacks of all versions share. */
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { bugOn } from '../../kernel/assertion.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import type { Body } from '../../kernel/operation.ts';
import { lockdepAssertHeld } from '../../kernel/lockdep.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { containerOf } from '../../kernel/struct.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { ptePfn, pteWrite } from '../../mm-types/page-table.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { Kvm, kvmModule } from './kvm.ts';
import { hvaRangeInSlot, kvmMemslots, usedSlots, type GfnRange } from './memslot.ts';
import { kvmAgeGfnRange, kvmArchFlushShadowAll, kvmFlushRemoteTlbs } from './spte.ts';

const { fn } = kvmModule;

/** `mmu_notifier_to_kvm`. */
export function mmuNotifierToKvm(mn: MmuNotifier): Kvm {
  return containerOf(mn, Kvm, 'mmuNotifier');
}

/** The pages of the guest that are at [start, end) of the program. In an SRCU section of the VM. */
export const gfnRanges = fn(
  function* gfnRanges(kvm: Kvm, start: number, end: number) {
    const slots = usedSlots(yield* kvmMemslots(kvm));
    return slots.map((slot) => hvaRangeInSlot(slot, start, end)).filter((range) => range !== null);
  },
  { name: 'kvm_handle_hva_range' },
);

/** One more range between start and end. mmu_lock is held. */
export const kvmIncNotifierCount = fn(function* kvmIncNotifierCount(kvm: Kvm) {
  lockdepAssertHeld(kvm.mmuLock);
  // Faults that wait look at it without the lock.
  yield* dataRaceWrite(kvm, 'mmuNotifierCount', kvm.mmuNotifierCount + 1);
});

/** One less: what was looked up meanwhile is old, and what is looked up from now on is not. mmu_lock is held. */
export const kvmDecNotifierCount = fn(function* kvmDecNotifierCount(kvm: Kvm) {
  lockdepAssertHeld(kvm.mmuLock);
  yield* kvmNextNotifierSeq(kvm);
  // Whoever sees the count at zero sees the new sequence: smp_wmb() here, the lock there.
  yield* dataRaceWrite(kvm, 'mmuNotifierCount', kvm.mmuNotifierCount - 1);
});

const kvmNextNotifierSeq = fn(function* kvmNextNotifierSeq(kvm: Kvm) {
  yield* dataRaceWrite(kvm, 'mmuNotifierSeq', kvm.mmuNotifierSeq + 1);
});

/** After {@link kvmDecNotifierCount}, without the lock. */
export const kvmCheckNotifierCount = fn(function* kvmCheckNotifierCount(kvm: Kvm) {
  bugOn((yield* dataRace(kvm, 'mmuNotifierCount')) < 0, 'kvm->mmu_notifier_count < 0');
});

/** Does something for pages of the guest with mmu_lock held; says which of them to flush the TLBs for. */
type Handler = (kvm: Kvm, range: GfnRange) => Body<boolean>;

/** In an SRCU section of the VM and with mmu_lock held: whether the handler said yes for one of the ranges. */
const handleHvaRange = fn(
  function* handleHvaRange(kvm: Kvm, start: number, end: number, handler: Handler) {
    const index = yield* srcuReadLock(kvm.srcu);
    yield* spinLock(kvm.mmuLock);
    const result = yield* handleRanges(kvm, start, end, handler);
    yield* spinUnlock(kvm.mmuLock);
    yield* srcuReadUnlock(kvm.srcu, index);
    return result;
  },
  { name: 'kvm_handle_hva_range' },
);

function* handleRanges(kvm: Kvm, start: number, end: number, handler: Handler): Body<boolean> {
  let result = false;
  for (const range of yield* gfnRanges(kvm, start, end)) {
    if (yield* handler(kvm, range)) result = true;
  }
  return result;
}

function* ageAndFlush(kvm: Kvm, range: GfnRange): Body<boolean> {
  const isYoung = yield* kvmAgeGfnRange(kvm, range, true);
  // Otherwise the next use leaves no mark.
  if (isYoung) yield* kvmFlushRemoteTlbs(kvm, range);
  return isYoung;
}

function* age(kvm: Kvm, range: GfnRange): Body<boolean> {
  return yield* kvmAgeGfnRange(kvm, range, true);
}

function* test(kvm: Kvm, range: GfnRange): Body<boolean> {
  return yield* kvmAgeGfnRange(kvm, range, false);
}

const kvmMmuNotifierClearFlushYoung = fn(function* kvmMmuNotifierClearFlushYoung(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  return yield* handleHvaRange(mmuNotifierToKvm(mn), start, end, ageAndFlush);
});

/** Without the flush: some uses are missed, which who asks so can bear. */
const kvmMmuNotifierClearYoung = fn(function* kvmMmuNotifierClearYoung(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  return yield* handleHvaRange(mmuNotifierToKvm(mn), start, end, age);
});

const kvmMmuNotifierTestYoung = fn(function* kvmMmuNotifierTestYoung(
  mn: MmuNotifier,
  _mm: MmStruct,
  address: number,
) {
  return yield* handleHvaRange(mmuNotifierToKvm(mn), address, address + PAGE_SIZE, test);
});

/**
 * `kvm_set_spte_hva`: an SPTE of the old page becomes one of the new page. Since a start has come before, there is
 * none, unless somebody calls this without. That v6.1 counts as v5.3 does is unverified.
 */
const kvmMmuNotifierChangePte = fn(function* kvmMmuNotifierChangePte(
  mn: MmuNotifier,
  _mm: MmStruct,
  address: number,
  pte: number,
) {
  const kvm = mmuNotifierToKvm(mn);
  function* set(_: Kvm, range: GfnRange): Body<boolean> {
    if (!kvm.spt.table.has(range.first)) return false;
    // What the program may write is looked up anew, and so is marked as written.
    const entry = pteWrite(pte) ? null : { pfn: ptePfn(pte), isWritable: false };
    yield* setDeviceEntry(kvm.spt, range.first, entry);
    yield* kvmFlushRemoteTlbs(kvm, range);
    return true;
  }
  const index = yield* srcuReadLock(kvm.srcu);
  yield* spinLock(kvm.mmuLock);
  // What was looked up is old, also where no slot is.
  yield* kvmNextNotifierSeq(kvm);
  yield* handleRanges(kvm, address, address + PAGE_SIZE, set);
  yield* spinUnlock(kvm.mmuLock);
  yield* srcuReadUnlock(kvm.srcu, index);
});

/** The mm ends, or the VM does. No vCPU runs: their threads were of this mm. */
const kvmMmuNotifierRelease = fn(function* kvmMmuNotifierRelease(mn: MmuNotifier, _mm: MmStruct) {
  const kvm = mmuNotifierToKvm(mn);
  const index = yield* srcuReadLock(kvm.srcu);
  yield* kvmArchFlushShadowAll(kvm);
  yield* srcuReadUnlock(kvm.srcu, index);
});

/** All but start and end. */
export const commonOps: MmuNotifierOps = {
  clearFlushYoung: kvmMmuNotifierClearFlushYoung,
  clearYoung: kvmMmuNotifierClearYoung,
  testYoung: kvmMmuNotifierTestYoung,
  changePte: kvmMmuNotifierChangePte,
  release: kvmMmuNotifierRelease,
};
