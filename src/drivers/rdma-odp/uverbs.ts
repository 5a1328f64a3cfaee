/**
 * uverbs: how a program registers memory with an adapter (drivers/infiniband/core, ib_uverbs).
 *
 *     fd = open('/dev/infiniband/uverbs0')
 *     ioctl(fd, GET_CONTEXT)
 *     ioctl(fd, REG_MR, { start, length, access })     the key, which is the handle as well
 *     ioctl(fd, ADVISE_MR, { advice, flags, sgList })
 *     ioctl(fd, DEREG_MR, key)
 *     close(fd)                                        destroys the regions that are left, then the context
 *
 * A file belongs to who opened it, but it can be passed on: a region is of the process that registers it. Whoever
 * exits leaves its mm first and closes its files afterwards, so regions outlive the notifier's release.
 *
 * Modelled: that the module and the driver's module stay while a file is open; that a region is destroyed once, by
 * DEREG_MR or by the close. Left out: objects other than regions, rereg, file descriptors of events, cgroups.
 */
import { EBUSY, EINVAL, ENODEV, ENOENT, ENOMEM, ENOTTY, ENXIO } from '../../base/errno.ts';
import type { Text } from '../../kernel/call.ts';
import { isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { smpLoadAcquire, smpStoreRelease } from '../../kernel/field.ts';
import { registerChrdev, unregisterChrdev, type File } from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { modulePut, tryModuleGet, type ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { xaErase, xaErr, xaFind, xaStore } from '../../kernel/xarray.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import {
  globals,
  ibUverbs,
  IbUcontext,
  IbUverbsFile,
  type AdviseMrArgs,
  type IbDevice,
  type RegMrArgs,
  type UmemVersion,
} from './ib-priv.ts';
import { IB_ACCESS_LOCAL_WRITE, IB_ACCESS_REMOTE_ATOMIC, IB_ACCESS_REMOTE_WRITE } from './nic.ts';

const { fn } = ibUverbs;

export const UVERBS_DEVICE = '/dev/infiniband/uverbs0';
export const GET_CONTEXT = 'IB_USER_VERBS_CMD_GET_CONTEXT';
export const REG_MR = 'IB_USER_VERBS_CMD_REG_MR';
export const DEREG_MR = 'IB_USER_VERBS_CMD_DEREG_MR';
export const ADVISE_MR = 'UVERBS_METHOD_ADVISE_MR';

/** `ib_check_mr_access`: who writes from afar may write here. */
function ibCheckMrAccess(access: number): number {
  const needsLocal = (access & (IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_REMOTE_WRITE)) !== 0;
  return needsLocal && (access & IB_ACCESS_LOCAL_WRITE) === 0 ? -EINVAL : 0;
}

/** Makes the context of a file. */
const ibUverbsGetContext = fn(function* ibUverbsGetContext(file: IbUverbsFile) {
  yield* mutexLock(file.ucontextLock);
  let error = -EINVAL;
  if ((yield* smpLoadAcquire(file, 'ucontext')) === null) {
    const ucontext = yield* kzalloc(IbUcontext, GFP_KERNEL);
    error = ucontext === null ? -ENOMEM : 0;
    if (ucontext !== null) {
      ucontext.device = globals().device;
      ucontext.pd.device = ucontext.device;
      yield* smpStoreRelease(file, 'ucontext', ucontext);
    }
  }
  yield* mutexUnlock(file.ucontextLock);
  return error;
});

/** Registers memory: a key, or -errno. */
const ibUverbsRegMr = fn(function* ibUverbsRegMr(
  file: IbUverbsFile,
  ucontext: IbUcontext,
  args: RegMrArgs,
) {
  const error = ibCheckMrAccess(args.access);
  if (error !== 0) return error;
  const { deregMr, regUserMr } = ucontext.device!.ops!;
  const mr = yield* regUserMr(ucontext, args);
  if (isErr(mr)) return ptrErr(mr);
  const { lkey } = mr;
  const stored = xaErr(yield* xaStore(file.idr, lkey, mr, GFP_KERNEL));
  if (stored === 0) return lkey;
  yield* deregMr(mr);
  return stored;
});

const ibUverbsDeregMr = fn(function* ibUverbsDeregMr(
  file: IbUverbsFile,
  ucontext: IbUcontext,
  key: number,
) {
  // Whoever takes it out of the table destroys it.
  const mr = yield* xaErase(file.idr, key);
  if (mr === null) return -ENOENT;
  yield* ucontext.device!.ops!.deregMr(mr);
  return 0;
});

const ibUverbsIoctl = fn(function* ibUverbsIoctl(
  opened: File,
  command: number | string,
  argument: unknown,
) {
  const file = opened.privateData as IbUverbsFile;
  if (command === GET_CONTEXT) return yield* ibUverbsGetContext(file);
  const ucontext = yield* smpLoadAcquire(file, 'ucontext');
  if (ucontext === null) return -EINVAL;
  if (command === REG_MR) return yield* ibUverbsRegMr(file, ucontext, argument as RegMrArgs);
  if (command === DEREG_MR) return yield* ibUverbsDeregMr(file, ucontext, argument as number);
  if (command !== ADVISE_MR) return -ENOTTY;
  return yield* ucontext.device!.ops!.adviseMr(ucontext, argument as AdviseMrArgs);
});

/** The module of the adapter's driver, which a file keeps, too. */
const DRIVER: Text = { moduleName: 'mlx5_ib' };

const ibUverbsOpen = fn(function* ibUverbsOpen(opened: File) {
  if (!(yield* tryModuleGet(DRIVER))) return -ENXIO;
  const file = yield* kzalloc(IbUverbsFile, GFP_KERNEL);
  if (file === null) {
    yield* modulePut(DRIVER);
    return -ENOMEM;
  }
  opened.privateData = file;
  return 0;
});

/** Nobody uses the file any more: the regions go, then the context. May run after the process has left its mm. */
const uverbsDestroyUfileHw = fn(function* uverbsDestroyUfileHw(file: IbUverbsFile) {
  const { ucontext } = file;
  if (ucontext === null) return;
  for (let at = yield* xaFind(file.idr, 0); at !== null; at = yield* xaFind(file.idr, 0)) {
    yield* ibUverbsDeregMr(file, ucontext, at.index);
  }
  yield* kfree(ucontext);
});

const ibUverbsClose = fn(function* ibUverbsClose(opened: File) {
  const file = opened.privateData as IbUverbsFile;
  yield* uverbsDestroyUfileHw(file);
  yield* kfree(file);
  yield* modulePut(DRIVER);
});

// ---- the adapter's driver ---------------------------------------------------------------------------

/** `ib_register_device(device)`: programs can open it. 0, -ENOMEM, or -EBUSY for a second one. May sleep. */
export const ibRegisterDevice = fn(function* ibRegisterDevice(device: IbDevice) {
  if (globals().device !== null) return -EBUSY;
  globals().device = device;
  const error = yield* registerChrdev(UVERBS_DEVICE, {
    owner: ibUverbs.text,
    open: ibUverbsOpen,
    release: ibUverbsClose,
    ioctl: ibUverbsIoctl,
  });
  if (error !== 0) globals().device = null;
  return error;
});

/** `ib_unregister_device(device)`. Its module goes, so no file is open. May sleep. */
export const ibUnregisterDevice = fn(function* ibUnregisterDevice(device: IbDevice) {
  if (globals().device !== device) return -ENODEV;
  yield* unregisterChrdev(UVERBS_DEVICE);
  globals().device = null;
  return 0;
});

/** The module of a version. @param synchronizes patch 6: its exit waits for notifiers that were put. */
export function uverbsModule(umem: UmemVersion, synchronizes: boolean): ModuleType {
  const init = fn(function* ibUverbsInit() {
    globals().umem = umem;
    return 0;
  });
  const exit = fn(function* ibUverbsCleanup() {
    if (synchronizes) yield* mmuNotifierSynchronize();
  });
  return ibUverbs.module({ data: globals, init, exit }) as unknown as ModuleType;
}
