/** VMs from their making to their end, the calls of programs, and the module by version. */
import { EIO, ENOMEM, ENOTTY } from '../../base/errno.ts';
import type { Body } from '../../kernel/operation.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel } from '../../kernel/list.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { cleanupSrcuStruct } from '../../kernel/srcu.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import { globals, Kvm, KvmMemslots, kvmModule, type KvmVersion } from './kvm.ts';
import {
  kvmSetMemoryRegion,
  kvmVmIoctlGetDirtyLog,
  type KvmUserspaceMemoryRegion,
} from './memory-region.ts';
import { kvmGfnToPfnCacheInit, kvmXenSetEvtchn, kvmXenSetEvtchnFast } from './pfncache.ts';
import { kvmArchVcpuIoctlRun, kvmVmIoctlCreateVcpu, type KvmRun } from './vcpu.ts';

const { fn } = kvmModule;

/** Opening it makes a VM. */
export const KVM_DEVICE = '/dev/kvm';
/** The argument is a vCPU's number. */
export const KVM_CREATE_VCPU = 'KVM_CREATE_VCPU';
/** The argument is a {@link KvmRun}. */
export const KVM_RUN = 'KVM_RUN';
/** The argument is a {@link KvmUserspaceMemoryRegion}. */
export const KVM_SET_USER_MEMORY_REGION = 'KVM_SET_USER_MEMORY_REGION';
/** The argument is a slot; returns the bits of pages that were written. */
export const KVM_GET_DIRTY_LOG = 'KVM_GET_DIRTY_LOG';
/** From v5.17 on: the guest physical address of a page that the host writes to. */
export const KVM_XEN_HVM_SET_ATTR = 'KVM_XEN_HVM_SET_ATTR';
/** From v5.17 on: the host writes the byte to that page. */
export const KVM_XEN_HVM_EVTCHN_SEND = 'KVM_XEN_HVM_EVTCHN_SEND';

/**
 * From v5.17 on, and for anybody who has the descriptor: stands for a write to an eventfd that was bound to the VM by
 * KVM_IRQFD; the host writes the byte to that page if it can do so at once.
 */
export const EVENTFD_SIGNAL = 'EVENTFD_SIGNAL';

/** A VM of current's mm: the file's. 0, -ENOMEM or -EINTR. */
const kvmCreateVm = fn(function* kvmCreateVm(file: File) {
  const kvm = yield* kzalloc(Kvm, GFP_KERNEL);
  if (kvm === null) return -ENOMEM;
  const mm = current().mm as MmStruct;
  // So that the pointer can be compared, and used by who unregisters.
  yield* mmgrab(mm);
  kvm.mm = mm;
  kvm.memslots = yield* kzalloc(KvmMemslots, GFP_KERNEL);
  const error = kvm.memslots === null ? -ENOMEM : yield* globals().version!.register(kvm);
  if (error !== 0) {
    yield* kfree(kvm.memslots);
    yield* mmdrop(mm);
    yield* kfree(kvm);
    return error;
  }
  yield* mutexLock(globals().kvmLock);
  listAddTail(kvm.vmList, globals().vmList);
  yield* mutexUnlock(globals().kvmLock);
  file.privateData = kvm;
  return 0;
});

/** The last user of the file is gone: of any mm, or of none. */
const kvmDestroyVm = fn(function* kvmDestroyVm(file: File) {
  const kvm = file.privateData as Kvm;
  const mm = kvm.mm!;
  yield* mutexLock(globals().kvmLock);
  listDel(kvm.vmList);
  yield* mutexUnlock(globals().kvmLock);
  // First of all: callbacks use what is freed below.
  yield* globals().version!.unregister(kvm);
  yield* kfree(kvm.memslots);
  yield* cleanupSrcuStruct(kvm.srcu);
  yield* mmdrop(mm);
  yield* kfree(kvm);
});

/** What versions with a cache have. */
function* xenIoctl(kvm: Kvm, command: number | string, argument: number): Body<number> {
  if (globals().version!.hvaToPfnRetry === null) return -ENOTTY;
  if (command === KVM_XEN_HVM_EVTCHN_SEND) return yield* kvmXenSetEvtchn(kvm, argument);
  if (command !== KVM_XEN_HVM_SET_ATTR) return -ENOTTY;
  yield* mutexLock(kvm.slotsLock);
  yield* kvmGfnToPfnCacheInit(kvm, argument);
  yield* mutexUnlock(kvm.slotsLock);
  return 0;
}

const kvmVmIoctl = fn(function* kvmVmIoctl(
  file: File,
  command: number | string,
  argument: unknown,
) {
  const kvm = file.privateData as Kvm;
  const hasCache = globals().version!.hvaToPfnRetry !== null;
  if (command === EVENTFD_SIGNAL && hasCache) {
    return yield* kvmXenSetEvtchnFast(kvm, argument as number);
  }
  // A descriptor that was inherited or passed on: the notifier is for another mm.
  if (kvm.mm !== current().mm) return -EIO;
  switch (command) {
    case KVM_CREATE_VCPU:
      return yield* kvmVmIoctlCreateVcpu(kvm, argument as number);
    case KVM_RUN:
      return yield* kvmArchVcpuIoctlRun(kvm, argument as KvmRun);
    case KVM_SET_USER_MEMORY_REGION:
      return yield* kvmSetMemoryRegion(kvm, argument as KvmUserspaceMemoryRegion);
    case KVM_GET_DIRTY_LOG:
      return yield* kvmVmIoctlGetDirtyLog(kvm, argument as number);
    default:
      return yield* xenIoctl(kvm, command, argument as number);
  }
});

const KVM_FOPS: FileOperations = {
  owner: kvmModule.text,
  open: kvmCreateVm,
  release: kvmDestroyVm,
  ioctl: kvmVmIoctl,
};

/** The module of a version. */
export function kvmModuleOf(version: KvmVersion): ModuleType {
  const kvmInit = fn(
    function* kvmInit() {
      globals().version = version;
      return yield* registerChrdev(KVM_DEVICE, KVM_FOPS);
    },
    { name: 'kvm_init' },
  );
  const kvmExit = fn(
    function* kvmExit() {
      yield* unregisterChrdev(KVM_DEVICE);
    },
    { name: 'kvm_exit' },
  );
  return kvmModule.module({ data: globals, init: kvmInit, exit: kvmExit }) as unknown as ModuleType;
}
