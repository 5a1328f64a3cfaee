/**
 * The device: a file, its owner, the ioctls.
 *
 * Who keeps what: the file the vhost_dev; the vhost_dev a use of its owner's address space, from VHOST_SET_OWNER to the
 * last close. So that space does not end as long as the device is open, and no callback comes from exit.
 */
import { EBUSY, ENOMEM, ENOTTY, EPERM } from '../../base/errno.ts';
import type { File, FileOperations } from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { allocWorkqueue, destroyWorkqueue, initWork, queueWork } from '../../kernel/workqueue.ts';
import { currentMm, mmput } from '../../mm-types/mm-struct.ts';
import { currentThread, getTaskMm } from '../../mm-types/task-struct.ts';
import { vhost, VhostDev, type MetadataOps, type VringAddr } from './vhost-priv.ts';
import { handleKick, vqMetaPrefetch } from './vhost-ring.ts';

const { fn } = vhost;

export const VHOST_DEVICE = '/dev/vhost-net';
/** The calling process is the one whose memory the ring is in. */
export const VHOST_SET_OWNER = 'VHOST_SET_OWNER';
/** The argument says where the ring is: a {@link VringAddr}. */
export const VHOST_SET_VRING_ADDR = 'VHOST_SET_VRING_ADDR';
/** There is something behind the device: kicks are heard from now on. */
export const VHOST_NET_SET_BACKEND = 'VHOST_NET_SET_BACKEND';
/** Stands for a write to the eventfd: there is something on the ring. */
export const VHOST_KICK = 'VHOST_KICK';
/** What a file in debugfs would say: invalidations of the ring that have begun and not ended. */
export const VHOST_DEBUG_INVALIDATING = 'VHOST_DEBUG_INVALIDATING';

/** 0, -EBUSY with an owner, or -ENOMEM. dev.mutex is held. */
const vhostDevSetOwner = fn(function* vhostDevSetOwner(dev: VhostDev): Body<number> {
  if (dev.mm !== null) return -EBUSY;
  dev.worker = yield* allocWorkqueue('vhost', { isOrdered: true });
  if (dev.worker === null) return -ENOMEM;
  dev.mm = yield* getTaskMm(currentThread()!);
  const error = yield* dev.meta!.start(dev);
  if (error === 0) return 0;
  yield* mmput(dev.mm!);
  dev.mm = null;
  yield* destroyWorkqueue(dev.worker);
  dev.worker = null;
  return error;
});

const vhostVringSetAddr = fn(
  function* vhostVringSetAddr(dev: VhostDev, request: VringAddr) {
    yield* mutexLock(dev.vq.mutex);
    const error = yield* dev.meta!.setVringAddr(dev, request);
    yield* mutexUnlock(dev.vq.mutex);
    return error;
  },
  { name: 'vhost_vring_ioctl' },
);

const vhostNetSetBackend = fn(function* vhostNetSetBackend(dev: VhostDev) {
  yield* mutexLock(dev.vq.mutex);
  dev.vq.hasBackend = true;
  yield* vqMetaPrefetch(dev);
  yield* mutexUnlock(dev.vq.mutex);
  return 0;
});

const ofOwner = fn(
  function* ofOwner(dev: VhostDev, command: number | string, argument: unknown): Body<number> {
    if (dev.mm === null || dev.mm !== currentMm()) return -EPERM;
    if (command === VHOST_SET_VRING_ADDR) {
      return yield* vhostVringSetAddr(dev, argument as VringAddr);
    }
    if (command === VHOST_NET_SET_BACKEND) return yield* vhostNetSetBackend(dev);
    if (command === VHOST_KICK) {
      yield* queueWork(dev.worker!, dev.vq.poll);
      return 0;
    }
    if (command !== VHOST_DEBUG_INVALIDATING) return -ENOTTY;
    yield* spinLock(dev.vq.mmuLock);
    const count = dev.vq.invalidateCount;
    yield* spinUnlock(dev.vq.mmuLock);
    return count;
  },
  { name: 'vhost_dev_ioctl' },
);

const vhostIoctl = fn(
  function* vhostIoctl(file: File, command: number | string, argument: unknown) {
    const dev = file.privateData as VhostDev;
    yield* mutexLock(dev.mutex);
    const result =
      command === VHOST_SET_OWNER
        ? yield* vhostDevSetOwner(dev)
        : yield* ofOwner(dev, command, argument);
    yield* mutexUnlock(dev.mutex);
    return result;
  },
  { name: 'vhost_net_ioctl' },
);

/** Nobody uses the file any more. May sleep; the last use of the address space may end here. */
const vhostRelease = fn(
  function* vhostRelease(file: File) {
    const dev = file.privateData as VhostDev;
    if (dev.mm !== null) {
      yield* destroyWorkqueue(dev.worker!);
      yield* dev.meta!.stop(dev);
      yield* mmput(dev.mm);
    }
    yield* kfree(dev);
  },
  { name: 'vhost_dev_cleanup' },
);

/** The file operations of a version of the driver, told apart by how it keeps maps. */
export function vhostFops(meta: MetadataOps): FileOperations {
  const open = fn(
    function* open(file: File) {
      const dev = yield* kzalloc(VhostDev, GFP_KERNEL);
      if (dev === null) return -ENOMEM;
      dev.meta = meta;
      initWork(dev.vq.poll, handleKick);
      file.privateData = dev;
      return 0;
    },
    { name: 'vhost_net_open' },
  );
  return { owner: vhost.text, open, ioctl: vhostIoctl, release: vhostRelease };
}
