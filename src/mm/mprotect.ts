/**
 * mprotect: VMA by VMA, each is split or merged, gets its flags, and its entries get its rights.
 *
 * A VMA whose flags do not change is passed over: no merge, no notification. A hole ends the call with
 * -ENOMEM after all before it was changed. TLBs are flushed at the end, after the notifiers' ends.
 * Left out: protection keys, PROT_GROWSDOWN, hugetlb, READ_IMPLIES_EXEC.
 */
import { EACCES, EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_WRITE } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { downWriteKillable, upWrite } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  VM_ACCESS_FLAGS,
  VM_ACCOUNT,
  VM_LOCKED,
  VM_NORESERVE,
  VM_SHARED,
  VM_WRITE,
} from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { changeProtection } from './change-protection.ts';
import { tlbFinishMmu, tlbGatherMmu, type MmuGather } from './mmu-gather.ts';
import { populateVmaPageRange } from './populate.ts';
import { pageAlignWord, userFlags, userWord } from './user-word.ts';
import { vmaModifyFlags } from './vma-merge.ts';
import { findVma, PAGE_SIZE, vmaLookup } from './vma.ts';

/** PROT_SEM is accepted and means nothing. */
const KNOWN_PROT = PROT_READ | PROT_WRITE | PROT_EXEC | 0x8;

/** The flags after a change of rights: what becomes private and writable is charged for. */
function accounted(vma: VmArea, flags: number): number {
  const before = vma.vmFlags;
  if ((flags & VM_WRITE) !== 0) {
    const isCharged = (before & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE)) !== 0;
    return isCharged ? flags : flags | VM_ACCOUNT;
  }
  // The charge is given back only where there cannot be a page yet.
  const isUntouched = vma.vmFile === null && vma.anonVma === null;
  return (before & VM_ACCOUNT) !== 0 && isUntouched ? flags & ~VM_ACCOUNT : flags;
}

/**
 * `mprotect_fixup`: gives [start, end), a part of `vma`, new flags. Returns the VMA that has it then, or
 * -ENOMEM. mmap_sem is held for write.
 */
const mprotectFixup = fn(function* mprotectFixup(
  tlb: MmuGather,
  vma: VmArea,
  range: { readonly start: number; readonly end: number },
  wanted: number,
) {
  const before = vma.vmFlags;
  if (wanted === before) return vma;
  const { start, end } = range;
  const flags = accounted(vma, wanted);
  const changed = yield* vmaModifyFlags(vma, start, end, flags);
  if (typeof changed === 'number') return changed;
  yield* writeOnce(changed, 'vmFlags', flags);
  yield* changeProtection(tlb, changed, start, end);
  const wasReadOnlyLocked = (before & (VM_WRITE | VM_SHARED | VM_LOCKED)) === VM_LOCKED;
  // Locked memory must not fault: what would be copied at the first write is copied now.
  if (wasReadOnlyLocked && (flags & VM_WRITE) !== 0) {
    yield* populateVmaPageRange(changed, start, end);
  }
  return changed;
});

const mprotectRange = fn(
  function* mprotectRange(mm: MmStruct, range: { start: number; end: number }, prot: number) {
    const { start, end } = range;
    let vma = vmaLookup(mm, start);
    if (vma === null) return -ENOMEM;
    const tlb = yield* tlbGatherMmu(mm);
    let error = 0;
    let at = start;
    while (at < end) {
      if (vma === null || vma.vmStart > at) {
        error = -ENOMEM;
        break;
      }
      const wanted = (vma.vmFlags & ~VM_ACCESS_FLAGS) | prot;
      // The VM_MAY flags are four bits above.
      if ((wanted & ~(wanted >> 4) & VM_ACCESS_FLAGS) !== 0) {
        error = -EACCES;
        break;
      }
      const part = { start: at, end: Math.min(vma.vmEnd, end) };
      const changed: VmArea | number = yield* mprotectFixup(tlb, vma, part, wanted);
      if (typeof changed === 'number') {
        error = changed;
        break;
      }
      at = changed.vmEnd;
      if (at < end) vma = findVma(mm, at);
    }
    yield* tlbFinishMmu(tlb);
    return error;
  },
  { name: 'do_mprotect_pkey' },
);

/**
 * `mprotect(start, length, prot)`: 0, -EINVAL, -ENOMEM, -EACCES, or -EINTR if a fatal signal came. Takes
 * mmap_sem for write.
 */
export const vmMprotect = fn(
  function* vmMprotect(mm: MmStruct, start: number, length: number, prot: number) {
    const from = userWord('the address', start);
    const bytes = userWord('the length', length);
    const wanted = userFlags('the protection', prot);
    const grows = wanted & (PROT_GROWSDOWN | PROT_GROWSUP);
    if (grows === (PROT_GROWSDOWN | PROT_GROWSUP)) return -EINVAL;
    if (from % PAGE_SIZE !== 0) return -EINVAL;
    if (bytes === 0) return 0;
    const size = pageAlignWord(bytes);
    const end = from + size;
    if (size === 0 || end >= 2 ** 48) return -ENOMEM;
    if ((wanted & ~grows & ~KNOWN_PROT) !== 0) return -EINVAL;
    // No VMA of the model grows.
    if (grows !== 0) return -EINVAL;
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const result = yield* mprotectRange(mm, { start: from, end }, wanted & VM_ACCESS_FLAGS);
    yield* upWrite(mm.mmapSem);
    return result;
  },
  { name: 'do_mprotect' },
);
