/** kvm by version: the modules that a scenario can load. */
import { kvmVersionCountOnly, kvmVersionSeqOnly, kvmVersionV53 } from './before-series.ts';
import { kvmVersionGetPut } from './get-put.ts';
import { kvmModuleOf } from './kvm-main.ts';
import {
  kvmVersionReleasing,
  kvmVersionRwsem,
  kvmVersionUnblocked,
  kvmVersionV517,
  kvmVersionV61,
} from './later.ts';

export {
  GUEST_PAGE_COUNT,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  KVM_MAX_VCPUS,
} from './kvm.ts';
export {
  EVENTFD_SIGNAL,
  KVM_CREATE_VCPU,
  KVM_DEVICE,
  KVM_GET_DIRTY_LOG,
  KVM_RUN,
  KVM_SET_USER_MEMORY_REGION,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_SET_ATTR,
} from './kvm-main.ts';
export { KVM_EXIT_MMIO } from './page-fault.ts';
export type { KvmUserspaceMemoryRegion } from './memory-region.ts';
export type { GuestInstruction, KvmRun } from './vcpu.ts';

/** v5.3, which v5.4 has, too. */
export const kvmV53 = kvmModuleOf(kvmVersionV53);

/** v5.3 with half of the protocol: a fault asks for the count alone, or for the sequence alone. */
export const kvmCountOnly = kvmModuleOf(kvmVersionCountOnly);
export const kvmSeqOnly = kvmModuleOf(kvmVersionSeqOnly);

/** v5.3 with get and put: what would become of it. */
export const kvmGetPut = kvmModuleOf(kvmVersionGetPut);

/** Ranges that hit no slot are not counted, and slots come and go meanwhile. */
export const kvmUnblocked = kvmModuleOf(kvmVersionUnblocked);

/** Slots are held back by a rwsem from start to end. */
export const kvmRwsem = kvmModuleOf(kvmVersionRwsem);

/** v5.17: slots do not change meanwhile. */
export const kvmV517 = kvmModuleOf(kvmVersionV517);

/** v6.1: and the cache asks under its lock. */
export const kvmV61 = kvmModuleOf(kvmVersionV61);

/** v6.1, mended. */
export const kvmReleasing = kvmModuleOf(kvmVersionReleasing);
