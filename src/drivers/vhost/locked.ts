/**
 * What the mended forms share: the worker uses a map with mmu_lock held, so who takes it away under that lock finds
 * nobody using it, has nothing to wait for, and need not block.
 */
import { writeOnce } from '../../kernel/field.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { vhostSetMapDirty } from './vhost-map.ts';
import {
  partsOf,
  vhost,
  type VhostMap,
  type VhostUaddr,
  type VhostVirtqueue,
} from './vhost-priv.ts';

const { fn } = vhost;

/** Takes the map of a part away and frees it. mmu_lock is held, and the pages are still there. Never sleeps. */
export const vhostMapDrop = fn(
  function* vhostMapDrop(part: VhostUaddr) {
    const { map } = part;
    if (map === null) return;
    // Marked, for the worker's look without the lock.
    yield* writeOnce(part, 'map', null);
    // Nobody writes any more.
    yield* vhostSetMapDirty(part, map);
    yield* kfree(map);
  },
  { name: 'vhost_map_unprefetch' },
);

/** Takes all maps away. Before callbacks cease: the pages must still be there to be marked. Never sleeps. */
export const vhostUninitVqMaps = fn(function* vhostUninitVqMaps(vq: VhostVirtqueue) {
  yield* spinLock(vq.mmuLock);
  for (const part of partsOf(vq)) yield* vhostMapDrop(part);
  yield* spinUnlock(vq.mmuLock);
});

export const lockedAccess = {
  beginAccess: fn(
    function* beginAccess(vq: VhostVirtqueue, part: VhostUaddr): Body<VhostMap | null> {
      yield* spinLock(vq.mmuLock);
      return part.map;
    },
    { name: 'vhost_vq_access_map_begin' },
  ),
  endAccess: fn(
    function* endAccess(vq: VhostVirtqueue) {
      yield* spinUnlock(vq.mmuLock);
    },
    { name: 'vhost_vq_access_map_end' },
  ),
} as const;
