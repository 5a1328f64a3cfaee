/**
 * KVM_SET_USER_MEMORY_REGION, and the log of dirty pages.
 *
 * Slots are replaced as a whole, by a copy: readers see the one or the other. A slot that goes or moves is marked first,
 * so that nobody makes SPTEs for it any more once all readers have ended; only then its SPTEs are taken away.
 */
import { EEXIST, EINVAL, ENOENT, ENOMEM } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { synchronizeSrcu } from '../../kernel/srcu.ts';
import { PAGE_SIZE, TASK_SIZE } from '../../mm-types/mm-struct.ts';
import {
  globals,
  GUEST_PAGE_COUNT,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  KVM_MEM_SLOTS_NUM,
  KVM_MEMSLOT_INVALID,
  KvmMemslots,
  kvmModule,
  type Kvm,
  type KvmMemorySlot,
} from './kvm.ts';
import { kvmFlushRemoteTlbs, kvmMmuWriteProtect, kvmZapGfnRange } from './spte.ts';
import { usedSlots, type GfnRange } from './memslot.ts';

const { fn } = kvmModule;

/** `struct kvm_userspace_memory_region`. Addresses and sizes in bytes; a size of 0 deletes the slot. */
export interface KvmUserspaceMemoryRegion {
  readonly slot: number;
  readonly flags?: number;
  readonly guestPhysAddr: number;
  readonly memorySize: number;
  readonly userspaceAddr: number;
}

/** What a slot is to be. */
interface Wanted {
  readonly baseGfn: number;
  readonly npages: number;
  readonly userspaceAddr: number;
  readonly flags: number;
}

type Change = 'create' | 'delete' | 'move' | 'flags' | 'none';

function isAligned(...values: number[]): boolean {
  return values.every((value) => value >= 0 && value % PAGE_SIZE === 0);
}

function checkRegion(region: KvmUserspaceMemoryRegion): number {
  const { slot, flags = 0, guestPhysAddr, memorySize, userspaceAddr } = region;
  if ((flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) !== 0) return -EINVAL;
  if (!isAligned(guestPhysAddr, memorySize, userspaceAddr)) return -EINVAL;
  if (slot < 0 || slot >= KVM_MEM_SLOTS_NUM) return -EINVAL;
  if (userspaceAddr + memorySize > TASK_SIZE) return -EINVAL;
  return guestPhysAddr + memorySize > GUEST_PAGE_COUNT * PAGE_SIZE ? -EINVAL : 0;
}

/** What kind of change it is, or -EINVAL for one that is not possible. */
function changeOf(old: KvmMemorySlot, wanted: Wanted): Change | number {
  if (wanted.npages === 0) return old.npages === 0 ? -EINVAL : 'delete';
  if (old.npages === 0) return 'create';
  const isOther = old.userspaceAddr !== wanted.userspaceAddr || old.npages !== wanted.npages;
  if (isOther || ((old.flags ^ wanted.flags) & KVM_MEM_READONLY) !== 0) return -EINVAL;
  if (old.baseGfn !== wanted.baseGfn) return 'move';
  return old.flags === wanted.flags ? 'none' : 'flags';
}

function overlaps(slots: KvmMemslots, self: KvmMemorySlot, { baseGfn, npages }: Wanted): boolean {
  return usedSlots(slots).some(
    (slot) =>
      slot !== self && baseGfn < slot.baseGfn + slot.npages && slot.baseGfn < baseGfn + npages,
  );
}

function copySlot(to: KvmMemorySlot, from: Wanted): void {
  to.baseGfn = from.baseGfn;
  to.npages = from.npages;
  to.userspaceAddr = from.userspaceAddr;
  to.flags = from.flags;
}

/** Puts other slots in place, and waits for who looks at those before, which it returns. */
const installNewMemslots = fn(function* installNewMemslots(kvm: Kvm, slots: KvmMemslots) {
  const before = kvm.memslots!;
  slots.generation = before.generation + 1;
  yield* globals().version!.publishMemslots(kvm, slots);
  yield* synchronizeSrcu(kvm.srcu);
  return before;
});

function rangeOf({ baseGfn, npages }: Wanted): GfnRange {
  return { first: baseGfn, end: baseGfn + npages };
}

/** What is said about how a slot's translations are kept: as the notifier's start promises. */
function declareSlot(kvm: Kvm, wanted: Wanted): void {
  if (wanted.npages === 0) return;
  const cpuPage = wanted.userspaceAddr / PAGE_SIZE;
  declareCoherence(kvm.spt, { ...rangeOf(wanted), cpuPage, mm: kvm.mm!, by: 'start' });
}

/** `kvm_set_memslot`: carries a change out. `slots_lock` is held. 0 or -ENOMEM. */
const kvmSetMemslot = fn(function* kvmSetMemslot(
  kvm: Kvm,
  id: number,
  wanted: Wanted,
  change: Change,
) {
  let slots = yield* kzalloc(KvmMemslots, GFP_KERNEL);
  if (slots === null) return -ENOMEM;
  const there = kvm.memslots!;
  for (let at = 0; at < KVM_MEM_SLOTS_NUM; at += 1) {
    copySlot(slots.memslots.get(at), there.memslots.get(at));
  }
  const old = there.memslots.get(id);
  const range = rangeOf(old);
  if (change === 'delete' || change === 'move') {
    slots.memslots.get(id).flags |= KVM_MEMSLOT_INVALID;
    // What was there before is the copy for the second change: nobody looks at it any more.
    slots = yield* installNewMemslots(kvm, slots);
    yield* kvmZapGfnRange(kvm, range);
    withdrawCoherence(kvm.spt, range.first, range.end);
  }
  copySlot(slots.memslots.get(id), wanted);
  if (change !== 'flags') declareSlot(kvm, wanted);
  yield* kfree(yield* installNewMemslots(kvm, slots));
  const logs = (wanted.flags & KVM_MEM_LOG_DIRTY_PAGES) !== 0;
  if (change === 'flags' && logs) yield* writeProtectRange(kvm, rangeOf(wanted));
  return 0;
});

/** From now on the first write to each page faults. Takes mmu_lock. */
const writeProtectRange = fn(
  function* writeProtectRange(kvm: Kvm, range: GfnRange) {
    yield* spinLock(kvm.mmuLock);
    if (yield* kvmMmuWriteProtect(kvm, range)) yield* kvmFlushRemoteTlbs(kvm, range);
    yield* spinUnlock(kvm.mmuLock);
  },
  { name: 'kvm_mmu_slot_remove_write_access' },
);

function* setMemoryRegion(kvm: Kvm, region: KvmUserspaceMemoryRegion): Body<number> {
  const error = checkRegion(region);
  if (error !== 0) return error;
  const { slot: id, flags = 0, guestPhysAddr, memorySize, userspaceAddr } = region;
  const npages = memorySize / PAGE_SIZE;
  const wanted = { baseGfn: guestPhysAddr / PAGE_SIZE, npages, userspaceAddr, flags };
  // Nobody else changes them while slots_lock is held.
  const slots = kvm.memslots!;
  const old = slots.memslots.get(id);
  const change = changeOf(old, wanted);
  if (typeof change === 'number') return change;
  if (change === 'none') return 0;
  const needsRoom = change === 'create' || change === 'move';
  if (needsRoom && overlaps(slots, old, wanted)) return -EEXIST;
  return yield* kvmSetMemslot(kvm, id, wanted, change);
}

/** Adds, deletes or moves a slot, or changes its flags: 0, -EINVAL, -EEXIST, -ENOMEM. Sleeps. */
export const kvmSetMemoryRegion = fn(function* kvmSetMemoryRegion(
  kvm: Kvm,
  region: KvmUserspaceMemoryRegion,
) {
  yield* mutexLock(kvm.slotsLock);
  const result = yield* setMemoryRegion(kvm, region);
  yield* mutexUnlock(kvm.slotsLock);
  return result;
});

/**
 * Which pages of a slot were written since this was last asked: one bit for each, or -ENOENT without a log. Written
 * pages are made read-only again, so that the next write is seen. Sleeps.
 */
export const kvmVmIoctlGetDirtyLog = fn(function* kvmVmIoctlGetDirtyLog(kvm: Kvm, id: number) {
  if (id < 0 || id >= KVM_MEM_SLOTS_NUM) return -EINVAL;
  yield* mutexLock(kvm.slotsLock);
  const slot = kvm.memslots!.memslots.get(id);
  let result = -ENOENT;
  if (slot.npages > 0 && (slot.flags & KVM_MEM_LOG_DIRTY_PAGES) !== 0) {
    const mask = ((1 << slot.npages) - 1) << slot.baseGfn;
    yield* spinLock(kvm.mmuLock);
    result = (kvm.dirtyBitmap & mask) >> slot.baseGfn;
    kvm.dirtyBitmap &= ~mask;
    const range = rangeOf(slot);
    // Before the program looks at the pages: what is written later must fault.
    if (yield* kvmMmuWriteProtect(kvm, range)) yield* kvmFlushRemoteTlbs(kvm, range);
    yield* spinUnlock(kvm.mmuLock);
  }
  yield* mutexUnlock(kvm.slotsLock);
  return result;
});
