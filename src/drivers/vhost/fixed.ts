/**
 * The same notifier with what the fixes that followed asked for: registration is looked at, a counter begins anew with
 * a registration, maps are freed and marked when they go, only addresses that were accepted are mapped, and nobody waits
 * for a grace period. Those fixes were never merged; this form is ours.
 */
import type { Body } from '../../kernel/operation.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { vhostInvalidateRangeEnd } from './before-revert.ts';
import { lockedAccess, vhostMapDrop, vhostUninitVqMaps } from './locked.ts';
import {
  checkVringAddr,
  setVringAddr,
  vhostMapCreate,
  vhostMapRangeOverlap,
  vhostSetupVqUaddr,
} from './vhost-map.ts';
import {
  partsOf,
  vhost,
  VhostDev,
  type MetadataOps,
  type VhostUaddr,
  type VringAddr,
} from './vhost-priv.ts';

const { fn } = vhost;

const vhostInvalidateRangeStart = fn(function* vhostInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
): Body<number> {
  const { vq } = containerOf(mn, VhostDev, 'mmuNotifier');
  for (const part of partsOf(vq)) {
    if (!vhostMapRangeOverlap(part, range.start, range.end)) continue;
    yield* spinLock(vq.mmuLock);
    vq.invalidateCount += 1;
    yield* vhostMapDrop(part);
    yield* spinUnlock(vq.mmuLock);
  }
  return 0;
});

const vhostMmuNotifierOps: MmuNotifierOps = {
  invalidateRangeStart: vhostInvalidateRangeStart,
  invalidateRangeEnd: vhostInvalidateRangeEnd,
};

/** 0, or -errno with no notifier: then the ring is copied. May sleep. */
const vhostRegister = fn(
  function* vhostRegister(dev: VhostDev) {
    dev.mmuNotifier.ops = vhostMmuNotifierOps;
    const error = yield* mmuNotifierRegisterV53(dev.mmuNotifier, dev.mm!);
    dev.hasNotifier = error === 0;
    return error;
  },
  { name: 'vhost_dev_set_owner' },
);

/** Takes maps and notifier away. The worker does not run. May sleep. */
const stop = fn(
  function* stop(dev: VhostDev) {
    const { vq } = dev;
    yield* vhostUninitVqMaps(vq);
    if (!dev.hasNotifier) return;
    yield* mmuNotifierUnregister(dev.mmuNotifier, dev.mm!);
    dev.hasNotifier = false;
    // Of what has begun nobody will say the end. Who registers waits until none is going on.
    vq.invalidateCount = 0;
  },
  { name: 'vhost_dev_cleanup' },
);

const setAddr = fn(
  function* setAddr(dev: VhostDev, request: VringAddr) {
    const error = checkVringAddr(request);
    if (error !== 0) return error;
    yield* stop(dev);
    setVringAddr(dev.vq, request);
    vhostSetupVqUaddr(dev.vq, request);
    return yield* vhostRegister(dev);
  },
  { name: 'vhost_vring_set_num_addr' },
);

const prefetch = fn(
  function* prefetch(dev: VhostDev, part: VhostUaddr) {
    const { vq } = dev;
    if (!dev.hasNotifier) return;
    yield* spinLock(vq.mmuLock);
    if (vq.invalidateCount === 0) part.map = yield* vhostMapCreate(dev.mm!, part);
    yield* spinUnlock(vq.mmuLock);
  },
  { name: 'vhost_map_prefetch' },
);

export const metadataFixed: MetadataOps = {
  start: vhostRegister,
  stop,
  setVringAddr: setAddr,
  prefetch,
  ...lockedAccess,
};
