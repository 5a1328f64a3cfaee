/** One page fault: what it was (FAULT_FLAG_*) and how it ended (VM_FAULT_*), with the kernel's values. */
import { fn } from '../kernel/call.ts';
import { readOnce } from '../kernel/field.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';

export const FAULT_FLAG_WRITE = 0x01;
export const FAULT_FLAG_USER = 0x40;
/** Not the current process's own access. */
export const FAULT_FLAG_REMOTE = 0x80;
/** A pin for reading: a private copy, but not writable. */
export const FAULT_FLAG_UNSHARE = 0x400;

export const VM_FAULT_OOM = 0x01;
export const VM_FAULT_SIGBUS = 0x02;
export const VM_FAULT_SIGSEGV = 0x40;
/** The entry was installed already, or has changed: try again. */
export const VM_FAULT_NOPAGE = 0x100;
export const VM_FAULT_LOCKED = 0x200;
export const VM_FAULT_RETRY = 0x400;
export const VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV;

/** struct vm_fault. */
export interface VmFault {
  readonly vma: VmArea;
  readonly mm: MmStruct;
  /** Page aligned. */
  readonly address: number;
  /** FAULT_FLAG_*. */
  readonly flags: number;
}

/**
 * `check_stable_address_space(mm)`: 0, or VM_FAULT_SIGBUS while the OOM reaper takes the pages of the mm: nothing may be
 * put where something was. Under the page-table lock.
 */
export const checkStableAddressSpace = fn(
  function* checkStableAddressSpace(mm: MmStruct) {
    return (yield* readOnce(mm, 'isUnstable')) ? VM_FAULT_SIGBUS : 0;
  },
  { name: 'check_stable_address_space' },
);
