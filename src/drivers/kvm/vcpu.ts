/** vCPUs: made, and run by a thread of the program, which is the guest meanwhile. */
import { EEXIST, EFAULT, EINTR, EINVAL } from '../../base/errno.ts';
import { deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { mutexLock, mutexLockKillable, mutexUnlock } from '../../kernel/mutex.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { GUEST_PAGE_COUNT, KVM_MAX_VCPUS, kvmModule, type Kvm } from './kvm.ts';
import { KVM_EXIT_MMIO, kvmMmuPageFault } from './page-fault.ts';

const { fn } = kvmModule;

/** What a guest can do: a byte at a guest physical address. */
export type GuestInstruction =
  | { readonly op: 'load'; readonly gpa: number }
  | { readonly op: 'store'; readonly gpa: number; readonly byte: number }
  | { readonly op: 'add'; readonly gpa: number; readonly addend: number };

/** What KVM_RUN is asked. */
export interface KvmRun {
  readonly vcpu: number;
  readonly code: readonly GuestInstruction[];
}

/** One attempt, by the hardware. */
function attempt({ spt }: Kvm, instruction: GuestInstruction) {
  const { op, gpa } = instruction;
  if (op === 'load') return deviceLoad(spt, gpa);
  if (op === 'store') return deviceStore(spt, gpa, instruction.byte);
  return deviceFetchAdd(spt, gpa, instruction.addend);
}

/** An instruction of the guest, with all the faults that it takes: the byte that was there, or why the guest stopped. */
const execute = fn(
  function* execute(kvm: Kvm, instruction: GuestInstruction) {
    const { op, gpa } = instruction;
    const gfn = Math.floor(gpa / PAGE_SIZE);
    if (gfn < 0 || gfn >= GUEST_PAGE_COUNT) return KVM_EXIT_MMIO;
    for (;;) {
      const byte = yield* attempt(kvm, instruction);
      if (byte !== -EFAULT) return byte;
      const result = yield* kvmMmuPageFault(kvm, { gfn, isWrite: op !== 'load' });
      if (result !== 0) return result;
    }
  },
  { name: 'vcpu_enter_guest' },
);

/**
 * KVM_RUN: runs the code to its end, or to the instruction that does not work. Returns the byte that the last
 * instruction found (0 to 255; a store's is what was there before), KVM_EXIT_MMIO, -EFAULT where the program has no memory,
 * -EINTR if it was killed before the vCPU was free, -EINVAL if there is none. Sleeps.
 */
export const kvmArchVcpuIoctlRun = fn(function* kvmArchVcpuIoctlRun(
  kvm: Kvm,
  { vcpu: id, code }: KvmRun,
) {
  if (id < 0 || id >= KVM_MAX_VCPUS) return -EINVAL;
  const vcpu = kvm.vcpus.get(id);
  if ((yield* mutexLockKillable(vcpu.mutex)) !== 0) return -EINTR;
  let result = vcpu.isCreated ? 0 : -EINVAL;
  for (const instruction of result === 0 ? code : []) {
    result = yield* execute(kvm, instruction);
    if (result < 0 || result === KVM_EXIT_MMIO) break;
  }
  yield* mutexUnlock(vcpu.mutex);
  return result;
});

/** KVM_CREATE_VCPU: 0, -EINVAL, or -EEXIST. Sleeps. */
export const kvmVmIoctlCreateVcpu = fn(function* kvmVmIoctlCreateVcpu(kvm: Kvm, id: number) {
  if (id < 0 || id >= KVM_MAX_VCPUS) return -EINVAL;
  const vcpu = kvm.vcpus.get(id);
  yield* mutexLock(vcpu.mutex);
  const error = vcpu.isCreated ? -EEXIST : 0;
  vcpu.isCreated = true;
  yield* mutexUnlock(vcpu.mutex);
  return error;
});
