/** Memory slots as readers use them: by page number of the guest, and by address of the program. */
import { srcuReadLockHeld } from '../../kernel/srcu.ts';
import { bugOn } from '../../kernel/assertion.ts';
import { rcuDereference } from '../../kernel/field.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import {
  KVM_MEM_SLOTS_NUM,
  KVM_MEMSLOT_INVALID,
  kvmModule,
  type Kvm,
  type KvmMemorySlot,
  type KvmMemslots,
} from './kvm.ts';

const { fn } = kvmModule;

/** The slots, in an SRCU section of the VM, until it ends. */
export const kvmMemslots = fn(function* kvmMemslots(kvm: Kvm) {
  bugOn(!srcuReadLockHeld(kvm.srcu), '!srcu_read_lock_held(&kvm->srcu)');
  return (yield* rcuDereference(kvm, 'memslots'))!;
});

/** The slots that there are. */
export function usedSlots({ memslots }: KvmMemslots): KvmMemorySlot[] {
  const found: KvmMemorySlot[] = [];
  for (let id = 0; id < KVM_MEM_SLOTS_NUM; id += 1) {
    const slot = memslots.get(id);
    if (slot.npages > 0) found.push(slot);
  }
  return found;
}

/** `gfn_to_memslot`: the slot that has this page of the guest, if it is there to be used. */
export function gfnToMemslot(slots: KvmMemslots, gfn: number): KvmMemorySlot | null {
  for (const slot of usedSlots(slots)) {
    if (gfn < slot.baseGfn || gfn >= slot.baseGfn + slot.npages) continue;
    return (slot.flags & KVM_MEMSLOT_INVALID) === 0 ? slot : null;
  }
  return null;
}

/** Where the program has a page of the guest. */
export function gfnToHva(slot: KvmMemorySlot, gfn: number): number {
  return slot.userspaceAddr + (gfn - slot.baseGfn) * PAGE_SIZE;
}

/** Page numbers [first, end) of the guest. */
export interface GfnRange {
  readonly first: number;
  readonly end: number;
}

/** The part of a slot that is at [start, end) of the program, or null. Slots that are going count, too. */
export function hvaRangeInSlot(slot: KvmMemorySlot, start: number, end: number): GfnRange | null {
  const { userspaceAddr, npages, baseGfn } = slot;
  const from = Math.max(start, userspaceAddr);
  const to = Math.min(end, userspaceAddr + npages * PAGE_SIZE);
  if (from >= to) return null;
  const first = baseGfn + Math.floor((from - userspaceAddr) / PAGE_SIZE);
  return { first, end: baseGfn + Math.ceil((to - userspaceAddr) / PAGE_SIZE) };
}
