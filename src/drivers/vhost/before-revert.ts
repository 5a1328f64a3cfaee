/**
 * The maps of v5.3-rc1, as they were published: the worker uses them in RCU read sections, and an invalidation takes
 * them away and waits for a grace period.
 *
 *     worker                            start                           end
 *     prefetch: mmu_lock,               mmu_lock, count++, set dirty,   mmu_lock, count--
 *       not if count > 0                  map = NULL, unlock
 *     rcu_read_lock, uses the map       synchronize_rcu
 *     rcu_read_unlock                   forgets the map
 */
import { EAGAIN } from '../../base/errno.ts';
import { rcuAssignPointer, rcuDereference } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { rcuReadLock, rcuReadUnlock, synchronizeRcu } from '../../kernel/rcu.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import {
  checkVringAddr,
  setVringAddr,
  vhostMapCreate,
  vhostMapRangeOverlap,
  vhostSetMapDirty,
  vhostSetupVqUaddr,
} from './vhost-map.ts';
import {
  partsOf,
  vhost,
  VhostDev,
  type MetadataOps,
  type VhostMap,
  type VhostUaddr,
  type VhostVirtqueue,
  type VringAddr,
} from './vhost-priv.ts';

const { fn } = vhost;

/** Lets go of the pages. Not of the map itself: nobody does. */
function vhostMapUnprefetch(map: VhostMap): void {
  map.pages = null;
}

const vhostInvalidateVqStart = fn(function* vhostInvalidateVqStart(
  vq: VhostVirtqueue,
  part: VhostUaddr,
) {
  yield* spinLock(vq.mmuLock);
  vq.invalidateCount += 1;
  const { map } = part;
  if (map !== null) {
    // Who is in a read section goes on writing.
    yield* vhostSetMapDirty(part, map);
    yield* rcuAssignPointer(part, 'map', null);
  }
  yield* spinUnlock(vq.mmuLock);
  if (map === null) return;
  yield* synchronizeRcu();
  vhostMapUnprefetch(map);
});

const vhostInvalidateRangeStart = fn(function* vhostInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
): Body<number> {
  const { vq } = containerOf(mn, VhostDev, 'mmuNotifier');
  // Whether or not the range has anything to do with the ring.
  if (!mmuNotifierRangeBlockable(range)) return -EAGAIN;
  for (const part of partsOf(vq)) {
    if (!vhostMapRangeOverlap(part, range.start, range.end)) continue;
    yield* vhostInvalidateVqStart(vq, part);
  }
  return 0;
});

/** What the fixes did not touch: each part that is hit now is one less. Never sleeps. */
export const vhostInvalidateRangeEnd = fn(function* vhostInvalidateRangeEnd(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const { vq } = containerOf(mn, VhostDev, 'mmuNotifier');
  for (const part of partsOf(vq)) {
    if (!vhostMapRangeOverlap(part, range.start, range.end)) continue;
    yield* spinLock(vq.mmuLock);
    vq.invalidateCount -= 1;
    yield* spinUnlock(vq.mmuLock);
  }
});

const vhostMmuNotifierOps: MmuNotifierOps = {
  invalidateRangeStart: vhostInvalidateRangeStart,
  invalidateRangeEnd: vhostInvalidateRangeEnd,
};

/** Takes all maps away. The worker does not run, and the notifier is gone. May sleep. */
const vhostUninitVqMaps = fn(function* vhostUninitVqMaps(vq: VhostVirtqueue) {
  const maps: VhostMap[] = [];
  yield* spinLock(vq.mmuLock);
  for (const part of partsOf(vq)) {
    if (part.map === null) continue;
    maps.push(part.map);
    yield* rcuAssignPointer(part, 'map', null);
  }
  yield* spinUnlock(vq.mmuLock);
  yield* synchronizeRcu();
  for (const map of maps) vhostMapUnprefetch(map);
});

const start = fn(
  function* start(dev: VhostDev) {
    dev.mmuNotifier.ops = vhostMmuNotifierOps;
    return yield* mmuNotifierRegisterV53(dev.mmuNotifier, dev.mm!);
  },
  { name: 'vhost_dev_set_owner' },
);

const stop = fn(
  function* stop(dev: VhostDev) {
    yield* mmuNotifierUnregister(dev.mmuNotifier, dev.mm!);
    yield* vhostUninitVqMaps(dev.vq);
  },
  { name: 'vhost_dev_cleanup' },
);

const setAddr = fn(
  function* setAddr(dev: VhostDev, request: VringAddr) {
    const { vq } = dev;
    // So that callbacks need no lock to look at the addresses.
    yield* mmuNotifierUnregister(dev.mmuNotifier, dev.mm!);
    yield* vhostUninitVqMaps(vq);
    const error = checkVringAddr(request);
    if (error === 0) setVringAddr(vq, request);
    // Also of what was refused.
    vhostSetupVqUaddr(vq, request);
    // What it returns is not looked at.
    yield* mmuNotifierRegisterV53(dev.mmuNotifier, dev.mm!);
    return error;
  },
  { name: 'vhost_vring_set_num_addr' },
);

const prefetch = fn(
  function* prefetch(dev: VhostDev, part: VhostUaddr) {
    const { vq } = dev;
    yield* spinLock(vq.mmuLock);
    if (vq.invalidateCount === 0) {
      const map = yield* vhostMapCreate(dev.mm!, part);
      if (map !== null) yield* rcuAssignPointer(part, 'map', map);
    }
    yield* spinUnlock(vq.mmuLock);
  },
  { name: 'vhost_map_prefetch' },
);

export const metadataBeforeRevert: MetadataOps = {
  start,
  stop,
  setVringAddr: setAddr,
  prefetch,
  beginAccess: fn(
    function* beginAccess(_vq: VhostVirtqueue, part: VhostUaddr) {
      yield* rcuReadLock();
      return (yield* rcuDereference(part, 'map')) as VhostMap | null;
    },
    { name: 'vhost_access' },
  ),
  endAccess: fn(
    function* endAccess(_vq: VhostVirtqueue) {
      yield* rcuReadUnlock();
    },
    { name: 'vhost_access' },
  ),
};
