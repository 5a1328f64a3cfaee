/**
 * Loads and stores of programs: through the TLB of the task's CPU, with a page fault where that does not do.
 *
 * Simplified: a byte at a time; a fault without memory is tried again, as after the OOM killer has been. Left out:
 * per-VMA locks, retries without mmap_sem, stack growth.
 */
import { SIGBUS, SIGSEGV } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { downRead, upRead } from '../kernel/rwsem.ts';
import { TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VM_ACCESS_FLAGS, VM_WRITE } from '../mm-types/vm-flags.ts';
import { handleMmFault } from './fault.ts';
import { cpuLoad, cpuStore, TLB_FAULT, TLB_FILLED } from './tlb.ts';
import {
  FAULT_FLAG_USER,
  FAULT_FLAG_WRITE,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vm-fault.ts';
import { findVma } from './vma.ts';

/** `do_user_addr_fault`: 0 if the access is to be tried again, or a negated signal. Takes mmap_sem. */
const doUserAddrFault = fn(function* doUserAddrFault(
  mm: MmStruct,
  address: number,
  isWrite: boolean,
) {
  yield* downRead(mm.mmapSem);
  const vma = findVma(mm, address);
  const needed = isWrite ? VM_WRITE : VM_ACCESS_FLAGS;
  if (vma === null || vma.vmStart > address || (vma.vmFlags & needed) === 0) {
    yield* upRead(mm.mmapSem);
    return -SIGSEGV;
  }
  const flags = FAULT_FLAG_USER | (isWrite ? FAULT_FLAG_WRITE : 0);
  const result = yield* handleMmFault(vma, address, flags);
  yield* upRead(mm.mmapSem);
  if ((result & VM_FAULT_SIGSEGV) !== 0) return -SIGSEGV;
  return (result & VM_FAULT_SIGBUS) !== 0 ? -SIGBUS : 0;
});

/** A load by the CPU of the task: the byte, -SIGSEGV or -SIGBUS. May sleep. */
export const userLoad = fn(function* userLoad(mm: MmStruct, address: number) {
  if (address >= TASK_SIZE) return -SIGSEGV;
  for (;;) {
    const result = yield* cpuLoad(mm, address);
    if (result === TLB_FILLED) continue;
    if (result !== TLB_FAULT) return result;
    const signal = yield* doUserAddrFault(mm, address, false);
    if (signal !== 0) return signal;
  }
});

/** A store: 0, -SIGSEGV or -SIGBUS. May sleep. */
export const userStore = fn(function* userStore(mm: MmStruct, address: number, byte: number) {
  if (address >= TASK_SIZE) return -SIGSEGV;
  for (;;) {
    const result = yield* cpuStore(mm, address, byte);
    if (result === TLB_FILLED) continue;
    if (result !== TLB_FAULT) return result;
    const signal = yield* doUserAddrFault(mm, address, true);
    if (signal !== 0) return signal;
  }
});
