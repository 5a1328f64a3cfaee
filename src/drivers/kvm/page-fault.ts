/**
 * Faults of the guest: the page is looked up without a lock, and used only if nothing was invalidated meanwhile.
 *
 *     vCPU                                        who changes the page table
 *     seq = mmu_notifier_seq
 *     hva_to_pfn: the page, as it is now
 *                                                 start: count++, SPTEs go
 *                                                 the page table changes, the page is freed
 *                                                 end: seq++, count--
 *     mmu_lock; count or another seq? again
 *
 * Both are needed: the count for a start without its end, the sequence for a pair that was over by then.
 *
 * Simplified: a vCPU that has to try again because a range is being invalidated would enter the guest and fault over
 * and over; it waits in one step until no such range is left instead. What the rounds in between would do, beside
 * looking the page up in vain, is left out. A signal ends the real loop, and not this wait.
 */
import { EFAULT } from '../../base/errno.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { awaitCondition } from '../../kernel/await.ts';
import { dataRace } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { pageToPfn, type Page } from '../../mm-types/page.ts';
import {
  globals,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  kvmModule,
  type Kvm,
  type KvmMemorySlot,
} from './kvm.ts';
import { gfnToHva, gfnToMemslot, kvmMemslots } from './memslot.ts';
import { kvmFlushRemoteTlbs } from './spte.ts';

const { fn } = kvmModule;

/** What KVM_RUN returns, beside bytes (0 to 255) and -errno: the guest has accessed what is not memory. */
export const KVM_EXIT_MMIO = 0x100;
const RET_PF_RETRY = 'RET_PF_RETRY';

/** `hva_to_pfn(hva)`: the page with a reference, or -EFAULT or -ENOMEM. May sleep, and tell notifiers. */
export const hvaToPfn = fn(function* hvaToPfn(kvm: Kvm, hva: number, isWrite: boolean) {
  const mm = kvm.mm!;
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, hva, 1, isWrite);
  yield* upRead(mm.mmapSem);
  return typeof pages === 'number' ? pages : (pages[0] as Page);
});

interface Fault {
  readonly gfn: number;
  readonly isWrite: boolean;
}

/** `__direct_map`: mmu_lock is held. */
const directMap = fn(
  function* directMap(kvm: Kvm, slot: KvmMemorySlot, { gfn, isWrite }: Fault, page: Page) {
    const there = kvm.spt.table.get(gfn);
    const pfn = pageToPfn(page);
    // Another vCPU was faster.
    if (there?.pfn === pfn && (there.isWritable || !isWrite)) return;
    if (isWrite && (slot.flags & KVM_MEM_LOG_DIRTY_PAGES) !== 0) kvm.dirtyBitmap |= 1 << gfn;
    yield* setDeviceEntry(kvm.spt, gfn, { pfn, isWritable: isWrite });
    // What the hardware has for an address goes with the fault.
    if (there !== undefined) yield* kvmFlushRemoteTlbs(kvm, { first: gfn, end: gfn + 1 });
  },
  { name: '__direct_map' },
);

/** What became of a fault, and where a fault that is to be tried again was. */
interface Outcome {
  readonly result: number | typeof RET_PF_RETRY;
  readonly hva: number;
}

/** `tdp_page_fault`: in an SRCU section of the VM. */
const tdpPageFault = fn(function* tdpPageFault(kvm: Kvm, fault: Fault): Body<Outcome> {
  const { gfn, isWrite } = fault;
  const { mmuNotifierRetry } = globals().version!;
  // Ahead of the lookup. Written under mmu_lock by others: what counts is whether it is the same later.
  const seq = yield* dataRace(kvm, 'mmuNotifierSeq');
  const slot = gfnToMemslot(yield* kvmMemslots(kvm), gfn);
  if (slot === null || (isWrite && (slot.flags & KVM_MEM_READONLY) !== 0)) {
    return { result: KVM_EXIT_MMIO, hva: 0 };
  }
  const hva = gfnToHva(slot, gfn);
  const page = yield* hvaToPfn(kvm, hva, isWrite);
  if (typeof page === 'number') return { result: -EFAULT, hva };
  yield* spinLock(kvm.mmuLock);
  const isOld = yield* mmuNotifierRetry(kvm, seq, hva);
  if (!isOld) yield* directMap(kvm, slot, fault, page);
  yield* spinUnlock(kvm.mmuLock);
  // The SPTE keeps no reference: the notifier takes it away before the page can go.
  yield* putUserPage(page);
  return { result: isOld ? RET_PF_RETRY : 0, hva };
});

/**
 * `kvm_mmu_page_fault`: 0 if the guest may try its access again, KVM_EXIT_MMIO, or -EFAULT. By the thread of a vCPU.
 * May sleep.
 */
export const kvmMmuPageFault = fn(function* kvmMmuPageFault(kvm: Kvm, fault: Fault) {
  for (;;) {
    const index = yield* srcuReadLock(kvm.srcu);
    const { result, hva } = yield* tdpPageFault(kvm, fault);
    yield* srcuReadUnlock(kvm.srcu, index);
    if (result !== RET_PF_RETRY) return result;
    const { isHeldUp } = globals().version!;
    yield* awaitCondition('kvm.mmu_notifier_is_idle', () => !isHeldUp(kvm, hva), [
      [kvm, 'mmuNotifierCount'],
    ]);
  }
});
