/**
 * From the flags of a VMA to those of its page-table entries.
 */
import {
  mkPte,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_ACCESS_FLAGS, VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';

/**
 * `vma->vm_page_prot`: the rights that an entry has from the start. Private memory begins without the right
 * to write, which a fault gives; memory of tmpfs that is shared does not, since nobody needs to know when it
 * is written. x86 can read whatever is mapped with any right.
 */
export function vmPageProt(vmFlags: number): number {
  if ((vmFlags & VM_ACCESS_FLAGS) === 0) return PTE_PRESENT | PTE_PROTNONE;
  const isWritable = (vmFlags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);
  return isWritable ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT;
}

/** Whether the VMA permits any access. `vma_is_accessible(vma)`. */
export function isAccessible(vmFlags: number): boolean {
  return (vmFlags & VM_ACCESS_FLAGS) !== 0;
}

/** An entry that a fault installs; young, since somebody is about to use it. */
export function faultPte(pfn: number, vmFlags: number): Pte {
  return mkPte(pfn, vmPageProt(vmFlags) | PTE_ACCESSED);
}

/** The same for a write: dirty, and writable if the VMA is. `maybe_mkwrite(pte_mkdirty(…))`. */
export function writtenPte(pfn: number, vmFlags: number): Pte {
  const write = (vmFlags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  return mkPte(pfn, vmPageProt(vmFlags) | PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY | write);
}
