/** file_ops.c: the device, its files, and the module by version. */
import { EINVAL, ENOMEM, ENOTTY } from '../../base/errno.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { allocWorkqueue, destroyWorkqueue } from '../../kernel/workqueue.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import { hfiPowerOn } from './hfi.ts';
import { globals, hfi1, Hfi1Filedata, version, type Hfi1Version } from './hfi1-priv.ts';
import { hfi1MmuRbRegister, hfi1MmuRbUnregister } from './mmu-rb.ts';
import {
  hfi1UserExpRcvClear,
  hfi1UserExpRcvFree,
  hfi1UserExpRcvInvalid,
  hfi1UserExpRcvSetup,
  tidRbOps,
} from './user-exp-rcv.ts';
import {
  contextMm,
  hfi1UserSdmaFreeQueues,
  hfi1UserSdmaProcessRequest,
  sdmaRbOps,
} from './user-sdma.ts';

const { fn } = hfi1;

export const HFI1_PATH = '/dev/hfi1_0';
/** Once for each file. */
export const HFI1_IOCTL_ASSIGN_CTXT = 'HFI1_IOCTL_ASSIGN_CTXT';
/** The argument is an address, page aligned; returns a TID. */
export const HFI1_IOCTL_TID_UPDATE = 'HFI1_IOCTL_TID_UPDATE';
/** The argument is a TID. */
export const HFI1_IOCTL_TID_FREE = 'HFI1_IOCTL_TID_FREE';
/** Returns a bit for each TID that has become invalid. */
export const HFI1_IOCTL_TID_INVAL_READ = 'HFI1_IOCTL_TID_INVAL_READ';
/** Stands for writev of a request: the argument is the address of the byte that is to be sent. */
export const HFI1_WRITEV = 'HFI1_WRITEV';

// ---- contexts ------------------------------------------------------------------------------------

/** The caches: 0, or -ENOMEM with what there is left to close. */
const userInit = fn(
  function* userInit(fd: Hfi1Filedata): Body<number> {
    const mm = contextMm(fd);
    const sdma = yield* hfi1MmuRbRegister(mm, sdmaRbOps);
    if (sdma === null) return -ENOMEM;
    if (version().tids === 'handler') {
      fd.tids = yield* hfi1MmuRbRegister(mm, tidRbOps);
      if (fd.tids === null) {
        yield* hfi1MmuRbUnregister(sdma);
        return -ENOMEM;
      }
    }
    fd.sdma = sdma;
    return 0;
  },
  { name: 'init_user_ctxt' },
);

const assignCtxt = fn(function* assignCtxt(fd: Hfi1Filedata): Body<number> {
  yield* mutexLock(fd.lock);
  const error = fd.sdma === null ? yield* userInit(fd) : -EINVAL;
  yield* mutexUnlock(fd.lock);
  return error;
});

// ---- files ---------------------------------------------------------------------------------------

const hfi1FileIoctl = fn(function* hfi1FileIoctl(
  file: File,
  command: number | string,
  argument: unknown,
) {
  const fd = file.privateData as Hfi1Filedata;
  if (command === HFI1_IOCTL_ASSIGN_CTXT) return yield* assignCtxt(fd);
  if (command === HFI1_IOCTL_TID_UPDATE) return yield* hfi1UserExpRcvSetup(fd, argument as number);
  if (command === HFI1_IOCTL_TID_FREE) return yield* hfi1UserExpRcvClear(fd, argument as number);
  if (command === HFI1_IOCTL_TID_INVAL_READ) return yield* hfi1UserExpRcvInvalid(fd);
  if (command === HFI1_WRITEV) return yield* hfi1UserSdmaProcessRequest(fd, argument as number);
  return -ENOTTY;
});

const hfi1FileOpen = fn(function* hfi1FileOpen(file: File) {
  const fd = yield* kzalloc(Hfi1Filedata, GFP_KERNEL);
  if (fd === null) return -ENOMEM;
  if (version().mm !== 'of the notifier') fd.mm = current().mm as MmStruct;
  if (version().mm === 'pinned') yield* mmgrab(current().mm as MmStruct);
  file.privateData = fd;
  return 0;
});

const hfi1FileClose = fn(function* hfi1FileClose(file: File) {
  const fd = file.privateData as Hfi1Filedata;
  if (fd.sdma !== null) {
    yield* hfi1UserSdmaFreeQueues(fd);
    if (fd.tids !== null) yield* hfi1MmuRbUnregister(fd.tids);
    else yield* hfi1UserExpRcvFree(fd);
  }
  if (version().mm === 'pinned') yield* mmdrop(fd.mm!);
  yield* kfree(fd);
});

const hfi1FileOps: FileOperations = {
  owner: hfi1.text,
  open: hfi1FileOpen,
  release: hfi1FileClose,
  ioctl: hfi1FileIoctl,
};

/** What the kernel takes for cache_size without a parameter, 256 MB, in pages. */
const CACHE_SIZE = 65_536;

/** The module of a version. @param cacheSize its parameter of that name, in pages here, of each file */
export function hfi1Module(which: Hfi1Version, cacheSize = CACHE_SIZE): ModuleType {
  const hfi1ModInit = fn(
    function* hfi1ModInit() {
      globals().version = which;
      globals().cacheSize = cacheSize;
      globals().wq = yield* allocWorkqueue('hfi1_mmu');
      if (globals().wq === null) return -ENOMEM;
      yield* hfiPowerOn();
      return yield* registerChrdev(HFI1_PATH, hfi1FileOps);
    },
    { name: 'hfi1_mod_init' },
  );
  const hfi1ModCleanup = fn(
    function* hfi1ModCleanup() {
      yield* unregisterChrdev(HFI1_PATH);
      yield* destroyWorkqueue(globals().wq!);
    },
    { name: 'hfi1_mod_cleanup' },
  );
  return hfi1.module({
    data: globals,
    init: hfi1ModInit,
    exit: hfi1ModCleanup,
  }) as unknown as ModuleType;
}
