/** Devices, files, and the module by version. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listForEachEntry, listForEachEntrySafe } from '../../kernel/list.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { allocWorkqueue, destroyWorkqueue } from '../../kernel/workqueue.ts';
import { xaErase, xaFind } from '../../kernel/xarray.ts';
import { powerOn } from './gpu.ts';
import { radeonCsIoctl, type RadeonCommand } from './radeon-cs.ts';
import {
  drmGemHandleDelete,
  radeonGemCreateIoctl,
  radeonGemUserptrIoctl,
  radeonGemWaitIdleIoctl,
  type UserptrRequest,
} from './radeon-gem.ts';
import { drmGemObjectPutUnlocked } from './radeon-object.ts';
import { DrmFile, globals, radeon, RadeonDevice, type UserptrVersion } from './radeon.ts';

const { fn } = radeon;

/** The argument is a size in bytes; returns a handle. */
export const DRM_RADEON_GEM_CREATE = 'DRM_RADEON_GEM_CREATE';
/** The argument is a {@link UserptrRequest}; returns a handle. */
export const DRM_RADEON_GEM_USERPTR = 'DRM_RADEON_GEM_USERPTR';
/** The argument is a handle. */
export const DRM_RADEON_GEM_WAIT_IDLE = 'DRM_RADEON_GEM_WAIT_IDLE';
/** The argument is a handle. */
export const DRM_IOCTL_GEM_CLOSE = 'DRM_IOCTL_GEM_CLOSE';
/** The argument is a list of {@link RadeonCommand}. */
export const DRM_RADEON_CS = 'DRM_RADEON_CS';

/** The path of device number `index`. */
export function radeonPath(index: number): string {
  return `/dev/dri/card${index}`;
}

const drmIoctl = fn(function* drmIoctl(file: File, command: number | string, argument: unknown) {
  const filp = file.privateData as DrmFile;
  if (command === DRM_RADEON_GEM_CREATE)
    return yield* radeonGemCreateIoctl(filp, argument as number);
  if (command === DRM_RADEON_GEM_USERPTR)
    return yield* radeonGemUserptrIoctl(filp, argument as UserptrRequest);
  if (command === DRM_RADEON_GEM_WAIT_IDLE)
    return yield* radeonGemWaitIdleIoctl(filp, argument as number);
  if (command === DRM_IOCTL_GEM_CLOSE) return yield* drmGemHandleDelete(filp, argument as number);
  if (command === DRM_RADEON_CS)
    return yield* radeonCsIoctl(filp, argument as readonly RadeonCommand[]);
  return -EINVAL;
});

/** The last user of the file is gone, and with it all its handles. */
const drmRelease = fn(function* drmRelease(file: File) {
  const filp = file.privateData as DrmFile;
  for (let at = yield* xaFind(filp.objectIdr, 0); at !== null;) {
    yield* xaErase(filp.objectIdr, at.index);
    yield* drmGemObjectPutUnlocked(at.entry);
    at = yield* xaFind(filp.objectIdr, at.index + 1);
  }
  yield* kfree(filp);
});

/** The device with that minor. */
function deviceAt(index: number): RadeonDevice | null {
  for (const rdev of listForEachEntry(globals().devices, RadeonDevice, 'node')) {
    if (rdev.index === index) return rdev;
  }
  return null;
}

function fopsOf(index: number): FileOperations {
  const drmOpen = fn(
    function* drmOpen(file: File) {
      const filp = yield* kzalloc(DrmFile, GFP_KERNEL);
      if (filp === null) return -ENOMEM;
      filp.rdev = deviceAt(index);
      file.privateData = filp;
      return 0;
    },
    { name: 'drm_open' },
  );
  return { owner: radeon.text, open: drmOpen, release: drmRelease, ioctl: drmIoctl };
}

const FOPS = [fopsOf(0), fopsOf(1)];

/** Makes device number `index`: 0 or -ENOMEM. */
const radeonDriverLoadKms = fn(function* radeonDriverLoadKms(index: number) {
  const rdev = yield* kzalloc(RadeonDevice, GFP_KERNEL);
  if (rdev === null) return -ENOMEM;
  rdev.index = index;
  rdev.ttmWq = yield* allocWorkqueue('ttm');
  if (rdev.ttmWq === null) {
    yield* kfree(rdev);
    return -ENOMEM;
  }
  listAddTail(rdev.node, globals().devices);
  yield* powerOn(index);
  const error = yield* registerChrdev(radeonPath(index), FOPS[index] as FileOperations);
  return error;
});

/** Takes all devices away, when what is being deleted is gone. No file is open. */
const pciUnregisterDriver = fn(function* pciUnregisterDriver() {
  for (const rdev of listForEachEntrySafe(globals().devices, RadeonDevice, 'node')) {
    yield* unregisterChrdev(radeonPath(rdev.index));
    yield* destroyWorkqueue(rdev.ttmWq!);
    listDel(rdev.node);
    yield* kfree(rdev);
  }
});

interface Version {
  readonly userptr: UserptrVersion;
  readonly synchronize?: KernelCallable<[], void>;
  /** Boards in the machine. */
  readonly devices?: number;
}

/** A module of a version. */
export function radeonModule({ userptr, synchronize, devices = 1 }: Version): ModuleType {
  const radeonInit = fn(
    function* radeonInit() {
      globals().userptr = userptr;
      for (let index = 0; index < devices; index += 1) {
        const error = yield* radeonDriverLoadKms(index);
        if (error !== 0) {
          yield* pciUnregisterDriver();
          return error;
        }
      }
      return 0;
    },
    { name: 'radeon_init' },
  );
  const radeonExit = fn(
    function* radeonExit() {
      yield* pciUnregisterDriver();
      if (synchronize !== undefined) yield* synchronize();
    },
    { name: 'radeon_exit' },
  );
  return radeon.module({
    data: globals,
    init: radeonInit,
    exit: radeonExit,
  }) as unknown as ModuleType;
}
