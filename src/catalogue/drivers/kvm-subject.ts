/** What scenarios of kvm share: a program with memory, and a VM that has it. */
import {
  KVM_CREATE_VCPU,
  KVM_DEVICE,
  KVM_RUN,
  KVM_SET_USER_MEMORY_REGION,
  kvmCountOnly,
  kvmGetPut,
  kvmReleasing,
  kvmRwsem,
  kvmSeqOnly,
  kvmUnblocked,
  kvmV517,
  kvmV53,
  kvmV61,
  type GuestInstruction,
  type KvmRun,
  type KvmUserspaceMemoryRegion,
} from '../../drivers/kvm/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** What the program has stored before, and what the guest writes. */
export const OLD = 1;
export const WRITTEN = 42;

/** The versions, as variants call them. */
const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': kvmV53,
  'get-put': kvmGetPut,
  'count-only': kvmCountOnly,
  'seq-only': kvmSeqOnly,
  unblocked: kvmUnblocked,
  rwsem: kvmRwsem,
  'v5.17': kvmV517,
  'v6.1': kvmV61,
  releasing: kvmReleasing,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export const CLEAN = { verdict: 'clean' } as const;
/** The variants of what both versions do. */
export const BOTH = { 'v5.3': { expect: CLEAN }, 'v6.1': { expect: CLEAN } } as const;

/** A guest that reads or writes a page which is not the program's any more. */
export const STALE = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I8b',
} as const;

export interface KvmState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  /** The VM. */
  readonly fd: number;
}

interface SetUp {
  readonly module: ModuleType;
  /** Pages of the mapping and of slot 0, all of which are there. */
  readonly pages?: number;
  /** Whether slot 0 has them. */
  readonly hasSlot?: boolean;
  /** Whether the guest has written to the first already. */
  readonly isMapped?: boolean;
}

/** `pages` pages of the guest from address 0 on are those of the program at `userspaceAddr`. */
export function region(userspaceAddr: number, pages = 1, slot = 0): KvmUserspaceMemoryRegion {
  return { slot, guestPhysAddr: 0, memorySize: pages * PAGE_SIZE, userspaceAddr };
}

export function setRegion({ process, fd }: KvmState, wanted: KvmUserspaceMemoryRegion) {
  return process.ioctl(fd, KVM_SET_USER_MEMORY_REGION, wanted);
}

/** Has a vCPU run an instruction: the byte that was there, or why it stopped. */
export function runGuest({ process, fd }: KvmState, vcpu: number, instruction: GuestInstruction) {
  const argument: KvmRun = { vcpu, code: [instruction] };
  return process.ioctl(fd, KVM_RUN, argument);
}

export function guestStore(state: KvmState, gpa = 0, byte = WRITTEN) {
  return runGuest(state, 0, { op: 'store', gpa, byte });
}

export function guestLoad(state: KvmState, gpa = 0) {
  return runGuest(state, 0, { op: 'load', gpa });
}

/** A VM of the process with a vCPU, and with slot 0 if it is to have one. For set-up. */
export function makeVm(machine: Machine, state: Omit<KvmState, 'fd'>, pages: number): KvmState {
  const { process } = state;
  const fd = machine.runNow<number>(process.open(KVM_DEVICE));
  machine.runNow(process.ioctl(fd, KVM_CREATE_VCPU, 0));
  const made = { ...state, fd };
  if (pages > 0) machine.runNow(setRegion(made, region(ADDRESS, pages)));
  return made;
}

/** For set-up. */
export function prepare(machine: Machine, options: SetUp): KvmState {
  const { module, pages = 1, hasSlot = true, isMapped = false } = options;
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, pages * PAGE_SIZE));
  for (let at = 0; at < pages; at += 1) {
    machine.runNow(process.store(ADDRESS + at * PAGE_SIZE, OLD));
  }
  machine.load(module);
  const state = makeVm(machine, { process, mm, module }, hasSlot ? pages : 0);
  if (isMapped) machine.runNow(guestStore(state, 0, OLD));
  return state;
}

/** For `finally`. */
export function* unpin({ mm }: { readonly mm: MmStruct }): Body<void> {
  yield* mmdrop(mm);
}
