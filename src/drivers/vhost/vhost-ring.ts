/**
 * The worker: takes what the program has put on the ring, and says what it is done with.
 *
 * It runs with vq.mutex held, and in the owner's address space, of which the device has a use. A part of the ring that
 * has no map is copied from and to as any memory of a program is: that may fault and sleep.
 */
import { EFAULT } from '../../base/errno.ts';
import { deviceLoad, deviceStore } from '../../device/access.ts';
import { dataRace } from '../../kernel/field.ts';
import { perKernel } from '../../kernel/kernel.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { WorkStruct } from '../../kernel/workqueue.ts';
import { userLoad, userStore } from '../../mm/user-access.ts';
import { VRING_HEADER } from './vhost-map.ts';
import {
  partsOf,
  vhost,
  VhostDev,
  VhostVirtqueue,
  VHOST_ADDR_AVAIL,
  VHOST_ADDR_DESC,
  VHOST_ADDR_USED,
  VRING_NUM,
} from './vhost-priv.ts';

const { fn } = vhost;

/** Where the index is in avail and used. */
const VRING_IDX = 2;

/** What has been sent. */
const wire = perKernel(() => [] as number[]);

/** The bytes that have left by the device, in order; for who listens outside. */
export function vhostWire(): readonly number[] {
  return wire(running);
}

/** Where the copy of a part begins. */
const COPIED_FROM = ['desc', 'avail', 'used'] as const;

/** Reads byte `offset` of a part of the ring, or -EFAULT. May sleep. */
const vhostGetUser = fn(function* vhostGetUser(dev: VhostDev, index: 0 | 1, offset: number) {
  const { vq } = dev;
  const part = vq.uaddrs.get(index);
  const map = yield* dev.meta!.beginAccess(vq, part);
  const byte = map === null ? -EFAULT : yield* deviceLoad(map.translations, part.uaddr + offset);
  yield* dev.meta!.endAccess(vq);
  if (map !== null) return byte;
  return yield* userLoad(dev.mm!, vq[COPIED_FROM[index]] + offset);
});

/** Writes byte `offset` of the used ring: 0 or -errno. May sleep. */
const vhostPutUser = fn(function* vhostPutUser(
  dev: VhostDev,
  offset: number,
  byte: number,
): Body<number> {
  const { vq } = dev;
  const part = vq.uaddrs.get(VHOST_ADDR_USED);
  const map = yield* dev.meta!.beginAccess(vq, part);
  if (map !== null) yield* deviceStore(map.translations, part.uaddr + offset, byte);
  yield* dev.meta!.endAccess(vq);
  if (map !== null) return 0;
  return yield* userStore(dev.mm!, vq.used + offset, byte);
});

/** Handles the next request: whether there was one. */
const handleNext = fn(
  function* handleNext(dev: VhostDev): Body<boolean> {
    const { vq } = dev;
    const available = yield* vhostGetUser(dev, VHOST_ADDR_AVAIL, VRING_IDX);
    if (available < 0 || available === vq.lastAvailIdx) return false;
    const at = VRING_HEADER + (vq.lastAvailIdx % VRING_NUM);
    const head = yield* vhostGetUser(dev, VHOST_ADDR_AVAIL, at);
    if (head < 0) return false;
    const byte = yield* vhostGetUser(dev, VHOST_ADDR_DESC, head % VRING_NUM);
    if (byte < 0) return false;
    wire(running).push(byte);
    vq.lastAvailIdx = (vq.lastAvailIdx + 1) & 255;
    if ((yield* vhostPutUser(dev, at, head)) < 0) return false;
    return (yield* vhostPutUser(dev, VRING_IDX, vq.lastAvailIdx)) === 0;
  },
  { name: 'handle_tx' },
);

/** `vq_meta_prefetch`: makes the maps that are missing, as far as can be done now. vq.mutex is held. May sleep. */
export const vqMetaPrefetch = fn(function* vqMetaPrefetch(dev: VhostDev) {
  for (const part of partsOf(dev.vq)) {
    // A hint: callbacks take maps away at any time.
    const isMapped = (yield* dataRace(part, 'map')) !== null;
    if (part.size > 0 && !isMapped) yield* dev.meta!.prefetch(dev, part);
  }
});

/** The function of the queue's work: handles what is on the ring. */
export const handleKick = fn(
  function* handleKick(work: WorkStruct) {
    const vq = containerOf(work, VhostVirtqueue, 'poll');
    const dev = containerOf(vq, VhostDev, 'vq');
    yield* mutexLock(vq.mutex);
    if (vq.hasBackend) {
      yield* vqMetaPrefetch(dev);
      while (yield* handleNext(dev));
    }
    yield* mutexUnlock(vq.mutex);
  },
  { name: 'handle_tx_kick' },
);
