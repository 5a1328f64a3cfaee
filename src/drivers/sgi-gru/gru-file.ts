/** /dev/gru: how programs reach the driver. */
import { EBADRQC, EFAULT, EINVAL, ENOMEM, EPERM } from '../../base/errno.ts';
import { isErr, ptrErr } from '../../kernel/err-ptr.ts';
import type { File, FileOperations } from '../../kernel/open-file.ts';
import { current } from '../../kernel/running.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { copyFromUser } from '../../kernel/usercopy.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { currentThread } from '../../mm-types/task-struct.ts';
import {
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_DONTEXPAND,
  VM_IO,
  VM_PFNMAP,
  VM_SHARED,
  VM_WRITE,
} from '../../mm-types/vm-flags.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { vmaLookup } from '../../mm/vma.ts';
import {
  gruAllocLockedGts,
  gruFindLockGts,
  gruHandleUserCallOs,
  gruUnlockGts,
} from './gru-fault.ts';
import { gruAllocVmaData } from './gru-gts.ts';
import { gruCheckContextPlacement, gruUnloadContext } from './gru-main.ts';
import { globals, GRU_GSEG_PAGESIZE, sgiGru, type GruVmaData } from './gru-priv.ts';
import { gruFlushTlbRange } from './gru-tlb-purge.ts';
import { gruVmOps } from './gru-vm-ops.ts';

const { fn } = sgiGru;

export const GRU_DEVICE = '/dev/gru';
/** Says what contexts of a mapping are to be like: {@link GruCreateContext}. */
export const GRU_CREATE_CONTEXT = 'GRU_CREATE_CONTEXT';
/** Makes the segment: {@link GruContextOption}. */
export const GRU_SET_CONTEXT_OPTION = 'GRU_SET_CONTEXT_OPTION';
/** The instruction of the segment at the address that is the argument waits for the OS. */
export const GRU_USER_CALL_OS = 'GRU_USER_CALL_OS';
/** Unloads the segment at the address that is the argument. */
export const GRU_USER_UNLOAD_CONTEXT = 'GRU_USER_UNLOAD_CONTEXT';
/** Flushes a range of addresses: {@link GruFlushTlb}. */
export const GRU_USER_FLUSH_TLB = 'GRU_USER_FLUSH_TLB';

export interface GruCreateContext {
  readonly gseg: number;
  /** GRU_OPT_*. */
  readonly options: number;
}

export interface GruContextOption {
  readonly gseg: number;
  /** `sco_gseg_owner` or `sco_blade_chiplet`; those about slices are left out. */
  readonly op: string;
  /** Of `sco_blade_chiplet`: the chiplet that is wanted, -1 for any. */
  readonly chiplet?: number;
}

export interface GruFlushTlb {
  readonly gseg: number;
  /** [vaddr, vaddr + length), in bytes. */
  readonly vaddr: number;
  readonly length: number;
}

const gruFileMmap = fn(function* gruFileMmap(_file: File, vma: VmArea) {
  const needed = VM_SHARED | VM_WRITE;
  if ((vma.vmFlags & needed) !== needed) return -EPERM;
  if ((vma.vmEnd - vma.vmStart) % GRU_GSEG_PAGESIZE !== 0) return -EINVAL;
  const vdata = yield* gruAllocVmaData();
  if (vdata === null) return -ENOMEM;
  vma.vmFlags |= VM_IO | VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP;
  vma.mapping = globals().mapping;
  vma.vmPrivateData = vdata;
  vma.vmOps = gruVmOps;
  return 0;
});

const gruCreateNewContext = fn(function* gruCreateNewContext(request: GruCreateContext) {
  if ((yield* copyFromUser()) !== 0) return -EFAULT;
  const mm = current().mm as MmStruct;
  yield* downWrite(mm.mmapSem);
  const vma = vmaLookup(mm, request.gseg);
  const isOurs = vma !== null && vma.vmOps === gruVmOps;
  if (isOurs) (vma.vmPrivateData as GruVmaData).vdUserOptions = request.options;
  yield* upWrite(mm.mmapSem);
  return isOurs ? 0 : -EINVAL;
});

const gruSetContextOption = fn(function* gruSetContextOption(request: GruContextOption) {
  if ((yield* copyFromUser()) !== 0) return -EFAULT;
  let gts = yield* gruFindLockGts(request.gseg);
  if (gts === null) {
    const made = yield* gruAllocLockedGts(request.gseg);
    if (isErr(made)) return ptrErr(made);
    gts = made;
  }
  const { op, chiplet = -1 } = request;
  let error = 0;
  if (op === 'sco_gseg_owner') {
    gts.tsTgidOwner = currentThread()!.pid;
  } else if (op !== 'sco_blade_chiplet' || chiplet >= globals().chipletCount) {
    error = -EINVAL;
  } else {
    gts.tsUserChipletId = chiplet;
    if (yield* gruCheckContextPlacement(gts)) {
      yield* gruUnlockGts(gts);
      yield* gruUnloadContext(gts, true);
      return 0;
    }
  }
  yield* gruUnlockGts(gts);
  return error;
});

const gruUserUnloadContext = fn(function* gruUserUnloadContext(gseg: number) {
  if ((yield* copyFromUser()) !== 0) return -EFAULT;
  const gts = yield* gruFindLockGts(gseg);
  if (gts === null) return -EINVAL;
  if (gts.tsGru !== null) yield* gruUnloadContext(gts, true);
  yield* gruUnlockGts(gts);
  return 0;
});

/** Nothing holds the GMS once the segment is unlocked. */
const gruUserFlushTlb = fn(function* gruUserFlushTlb(request: GruFlushTlb) {
  if ((yield* copyFromUser()) !== 0) return -EFAULT;
  const gts = yield* gruFindLockGts(request.gseg);
  if (gts === null) return -EINVAL;
  const gms = gts.tsGms!;
  const { flushesLocked } = globals().life!;
  if (!flushesLocked) yield* gruUnlockGts(gts);
  yield* gruFlushTlbRange(gms, request.vaddr, request.length);
  if (flushesLocked) yield* gruUnlockGts(gts);
  return 0;
});

const gruFileUnlockedIoctl = fn(function* gruFileUnlockedIoctl(
  _file: File,
  command: number | string,
  argument: unknown,
) {
  switch (command) {
    case GRU_CREATE_CONTEXT:
      return yield* gruCreateNewContext(argument as GruCreateContext);
    case GRU_SET_CONTEXT_OPTION:
      return yield* gruSetContextOption(argument as GruContextOption);
    case GRU_USER_CALL_OS:
      return yield* gruHandleUserCallOs(argument as number);
    case GRU_USER_UNLOAD_CONTEXT:
      return yield* gruUserUnloadContext(argument as number);
    case GRU_USER_FLUSH_TLB:
      return yield* gruUserFlushTlb(argument as GruFlushTlb);
    default:
      return -EBADRQC;
  }
});

export const gruFops: FileOperations = {
  owner: sgiGru.text,
  ioctl: gruFileUnlockedIoctl as NonNullable<FileOperations['ioctl']>,
  mmap: gruFileMmap as NonNullable<FileOperations['mmap']>,
};
