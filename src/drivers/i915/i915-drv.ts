/** The device, its files, and the module by version. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { atomicRead, type Atomic } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { waitEvent } from '../../kernel/wait.ts';
import { allocWorkqueue, destroyWorkqueue, flushWorkqueue } from '../../kernel/workqueue.ts';
import { xaErase, xaFind } from '../../kernel/xarray.ts';
import { powerOn } from './gpu.ts';
import { i915GemExecbuffer2Ioctl, type I915Command } from './i915-gem-execbuffer.ts';
import {
  drmGemHandleDelete,
  i915GemCreateIoctl,
  i915GemSetDomainIoctl,
  i915GemUserptrIoctl,
  i915GemWaitIoctl,
  type UserptrRequest,
} from './i915-gem-ioctl.ts';
import { i915GemObjectPut } from './i915-gem-object.ts';
import { DrmFile, globals, i915, type UserptrVersion } from './i915.ts';

const { fn } = i915;

/** The argument is a size in bytes; returns a handle. */
export const DRM_I915_GEM_CREATE = 'DRM_I915_GEM_CREATE';
/** The argument is a {@link UserptrRequest}; returns a handle. */
export const DRM_I915_GEM_USERPTR = 'DRM_I915_GEM_USERPTR';
/** The argument is a handle. */
export const DRM_I915_GEM_WAIT = 'DRM_I915_GEM_WAIT';
/** The argument is a handle. Gets the buffer's pages. */
export const DRM_I915_GEM_SET_DOMAIN = 'DRM_I915_GEM_SET_DOMAIN';
/** The argument is a list of {@link I915Command}. */
export const DRM_I915_GEM_EXECBUFFER2 = 'DRM_I915_GEM_EXECBUFFER2';
/** The argument is a handle. */
export const DRM_IOCTL_GEM_CLOSE = 'DRM_IOCTL_GEM_CLOSE';

export const I915_PATH = '/dev/dri/renderD128';

const i915Ioctl = fn(
  function* i915Ioctl(file: File, command: number | string, argument: unknown) {
    const drm = file.privateData as DrmFile;
    if (command === DRM_I915_GEM_CREATE) return yield* i915GemCreateIoctl(drm, argument as number);
    if (command === DRM_I915_GEM_USERPTR)
      return yield* i915GemUserptrIoctl(drm, argument as UserptrRequest);
    if (command === DRM_I915_GEM_SET_DOMAIN)
      return yield* i915GemSetDomainIoctl(drm, argument as number);
    if (command === DRM_I915_GEM_WAIT) return yield* i915GemWaitIoctl(drm, argument as number);
    if (command === DRM_IOCTL_GEM_CLOSE) return yield* drmGemHandleDelete(drm, argument as number);
    if (command === DRM_I915_GEM_EXECBUFFER2)
      return yield* i915GemExecbuffer2Ioctl(drm, argument as readonly I915Command[]);
    return -EINVAL;
  },
  { name: 'drm_ioctl' },
);

const i915DriverOpen = fn(
  function* i915DriverOpen(file: File) {
    const drm = yield* kzalloc(DrmFile, GFP_KERNEL);
    if (drm === null) return -ENOMEM;
    file.privateData = drm;
    return 0;
  },
  { name: 'drm_open' },
);

/** The last user of the file is gone, and with it all its handles. */
const i915DriverRelease = fn(
  function* i915DriverRelease(file: File) {
    const drm = file.privateData as DrmFile;
    for (let at = yield* xaFind(drm.objectIdr, 0); at !== null;) {
      yield* xaErase(drm.objectIdr, at.index);
      yield* i915GemObjectPut(at.entry);
      at = yield* xaFind(drm.objectIdr, at.index + 1);
    }
    yield* kfree(drm);
  },
  { name: 'drm_release' },
);

const FOPS: FileOperations = {
  owner: i915.text,
  open: i915DriverOpen,
  release: i915DriverRelease,
  ioctl: i915Ioctl,
};

/** Makes the device: 0 or -ENOMEM, with what there is left to {@link remove}. */
const probe = fn(
  function* probe(version: UserptrVersion) {
    const device = globals();
    device.userptr = version;
    device.wq = yield* allocWorkqueue('i915');
    if (device.wq === null) return -ENOMEM;
    if (version.locks === 'struct_mutex') {
      device.userptrWq = yield* allocWorkqueue('i915-userptr-acquire');
      if (device.userptrWq === null) return -ENOMEM;
    }
    yield* powerOn();
    return yield* registerChrdev(I915_PATH, FOPS);
  },
  { name: 'i915_driver_probe' },
);

/** Waits until a counter is zero. May sleep. */
const waitForNone = fn(
  function* waitForNone(counter: Atomic) {
    yield* waitEvent(globals().idle, () => isZero(counter));
  },
  { name: 'i915_gem_suspend' },
);

function* isZero(counter: Atomic): Body<boolean> {
  return (yield* atomicRead(counter)) === 0;
}

/**
 * Takes the device away, when the GPU is idle and what is being freed is gone. No file is open. A buffer that start has
 * a reference to is not being freed yet: nothing but `waitsForBuffers` waits for it.
 */
const remove = fn(
  function* remove() {
    const { wq, userptrWq, userptr, jobCount, bufferCount } = globals();
    yield* unregisterChrdev(I915_PATH);
    yield* waitForNone(jobCount);
    if (userptr!.waitsForBuffers === true) yield* waitForNone(bufferCount);
    // A look-up that is over may drop a buffer, and a buffer that goes may leave its notifier to a work.
    if (userptrWq !== null) yield* flushWorkqueue(userptrWq);
    if (wq !== null) yield* destroyWorkqueue(wq);
    if (userptrWq !== null) yield* destroyWorkqueue(userptrWq);
  },
  { name: 'i915_driver_remove' },
);

interface Version {
  readonly userptr: UserptrVersion;
  readonly synchronize?: KernelCallable<[], void>;
}

/** A module of a version. */
export function i915Module({ userptr, synchronize }: Version): ModuleType {
  const i915Init = fn(
    function* i915Init() {
      const error = yield* probe(userptr);
      if (error !== 0) yield* remove();
      return error;
    },
    { name: 'i915_init' },
  );
  const i915Exit = fn(
    function* i915Exit() {
      yield* remove();
      if (synchronize !== undefined) yield* synchronize();
    },
    { name: 'i915_exit' },
  );
  return i915.module({ data: globals, init: i915Init, exit: i915Exit }) as unknown as ModuleType;
}
