/** amd_iommu_v2 by version: the modules that a scenario can load, with a file by which programs bind devices. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { registerChrdev, unregisterChrdev, type File } from '../../kernel/file.ts';
import { GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { allocWorkqueue, destroyWorkqueue } from '../../kernel/workqueue.ts';
import { xaErase, xaFind, xarray, xaStore } from '../../kernel/xarray.ts';
import { currentThread } from '../../mm-types/task-struct.ts';
import { amdIommuV2, globals, type Version } from './amd-iommu-v2.ts';
import {
  amdIommuBindPasid,
  amdIommuFreeDevice,
  amdIommuInitDevice,
  amdIommuUnbindPasid,
} from './bind.ts';
import { iommuMn } from './callbacks.ts';
import { countedOps, freeingOps, lockedOps, uncountedOps } from './historic.ts';
import {
  amdDevice,
  amdIommuRegisterPprNotifier,
  amdIommuUnregisterPprNotifier,
  PASID_COUNT,
} from './iommu.ts';
import { pprNotifier } from './ppr.ts';

export { amdDevice, amdRead, amdWrite } from './iommu.ts';

const { fn } = amdIommuV2;

export const AMD_DEVICE = '/dev/iommu_v2';
/** The argument is an {@link AmdRequest}; returns 0. */
export const AMD_BIND = 'AMD_BIND';
export const AMD_UNBIND = 'AMD_UNBIND';

export interface AmdRequest {
  readonly device: number;
  readonly pasid: number;
}

/** One open of the device: what it has bound, so that closing unbinds it. */
const AmdFile = struct('amd_file', { bound: xarray<number>() });
type AmdFile = InstanceOf<typeof AmdFile>;

const bindFor = fn(function* bindFor({ bound }: AmdFile, { device, pasid }: AmdRequest) {
  const error = yield* amdIommuBindPasid(amdDevice(device), pasid, currentThread()!);
  const key = device * PASID_COUNT + pasid;
  if (error === 0) yield* xaStore(bound, key, key, GFP_KERNEL | GFP_NOFAIL);
  return error;
});

const unbindFor = fn(function* unbindFor({ bound }: AmdFile, { device, pasid }: AmdRequest) {
  if ((yield* xaErase(bound, device * PASID_COUNT + pasid)) === null) return -EINVAL;
  yield* amdIommuUnbindPasid(amdDevice(device), pasid);
  return 0;
});

const amdIoctl = fn(function* amdIoctl(file: File, command: number | string, argument: unknown) {
  if (command !== AMD_BIND && command !== AMD_UNBIND) return -EINVAL;
  const { contexts } = globals();
  const act = command === AMD_BIND ? bindFor : unbindFor;
  yield* mutexLock(contexts);
  const result = yield* act(file.privateData as AmdFile, argument as AmdRequest);
  yield* mutexUnlock(contexts);
  return result;
});

const amdOpen = fn(function* amdOpen(file: File) {
  const opened = yield* kzalloc(AmdFile, GFP_KERNEL);
  if (opened === null) return -ENOMEM;
  file.privateData = opened;
  return 0;
});

const amdRelease = fn(function* amdRelease(file: File) {
  const opened = file.privateData as AmdFile;
  const { contexts } = globals();
  yield* mutexLock(contexts);
  for (let at = yield* xaFind(opened.bound, 0); at !== null;) {
    yield* xaErase(opened.bound, at.index);
    const device = amdDevice(Math.floor(at.index / PASID_COUNT));
    yield* amdIommuUnbindPasid(device, at.index % PASID_COUNT);
    at = yield* xaFind(opened.bound, at.index + 1);
  }
  yield* mutexUnlock(contexts);
  yield* kfree(opened);
});

/** Device number `index` is pulled out. Sleeps. */
export const amdUnplug = fn(function* amdUnplug(index: number) {
  const { contexts } = globals();
  yield* mutexLock(contexts);
  yield* amdIommuFreeDevice(amdDevice(index));
  yield* mutexUnlock(contexts);
});

/** A module of a version. */
export function amdModule(version: Version): ModuleType {
  const amdInit = fn(
    function* amdInit() {
      globals().version = version;
      globals().workqueue = yield* allocWorkqueue('amd_iommu_v2');
      if (globals().workqueue === null) return -ENOMEM;
      for (const index of [0, 1]) {
        const error = yield* amdIommuInitDevice(amdDevice(index));
        if (error !== 0) return error;
      }
      // Up to v3.19, as here, nobody answers requests.
      if (version.by === 'invalidateRange') yield* amdIommuRegisterPprNotifier(pprNotifier);
      const operations = {
        owner: amdIommuV2.text,
        open: amdOpen,
        release: amdRelease,
        ioctl: amdIoctl,
      };
      return yield* registerChrdev(AMD_DEVICE, operations);
    },
    { name: 'amd_iommu_v2_init' },
  );
  const amdExit = fn(
    function* amdExit() {
      yield* unregisterChrdev(AMD_DEVICE);
      yield* amdIommuUnregisterPprNotifier();
      for (const index of [0, 1]) yield* amdIommuFreeDevice(amdDevice(index));
      yield* destroyWorkqueue(globals().workqueue!);
    },
    { name: 'amd_iommu_v2_exit' },
  );
  return amdIommuV2.module({
    data: globals,
    init: amdInit,
    exit: amdExit,
  }) as unknown as ModuleType;
}

const v53: Version = { ops: iommuMn, by: 'invalidateRange' };

/** v3.16, but for the use of the mm that it never gave up, so that release never came: it frees what its caller stands on. */
export const amdFreeing = amdModule({ ops: freeingOps, by: 'start' });
/** v3.17: from start to end the device has an empty table, whoever else has begun. */
export const amdUncounted = amdModule({ ops: uncountedOps, by: 'start' });
/** v3.18 (e79df31): starts are counted, and the switch comes after the count. */
export const amdCounted = amdModule({ ops: countedOps, by: 'start' });
/** v3.19 (d73a6d722a67): both under a lock. */
export const amdLocked = amdModule({ ops: lockedOps, by: 'start' });
/** v5.3; v6.1 does not differ in this. */
export const amdV53 = amdModule(v53);
/** v5.3, but for who drops the last reference (ours). */
export const amdPutMended = amdModule({ ...v53, putsUnderLock: true });
/** v5.3, mended (ours). */
export const amdFixed = amdModule({
  ...v53,
  heedsRegister: true,
  putsUnderLock: true,
  queuesUnderLock: true,
  removesLast: true,
});
