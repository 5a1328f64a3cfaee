/**
 * The form that would have kept it (v5.5): an interval notifier for each part of the ring. No counter, and so none that
 * can be wrong; no filter of its own; and no end.
 */
import type { Body } from '../../kernel/operation.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import type { MmuNotifierRange } from '../../mmu-notifier/mmu-notifier.ts';
import { lockedAccess, vhostMapDrop, vhostUninitVqMaps } from './locked.ts';
import { checkVringAddr, setVringAddr, vhostMapCreate, vhostSetupVqUaddr } from './vhost-map.ts';
import {
  partsOf,
  vhost,
  VhostUaddr,
  type MetadataOps,
  type VhostDev,
  type VhostVirtqueue,
  type VringAddr,
} from './vhost-priv.ts';

const { fn } = vhost;

const vhostInvalidate = fn(function* vhostInvalidate(
  mni: MmuIntervalNotifier,
  _range: MmuNotifierRange,
  seq: number,
) {
  const part = containerOf(mni, VhostUaddr, 'notifier');
  const vq = part.vq as VhostVirtqueue;
  yield* spinLock(vq.mmuLock);
  yield* mmuIntervalSetSeq(mni, seq);
  yield* vhostMapDrop(part);
  yield* spinUnlock(vq.mmuLock);
  return true;
});

const vhostIntervalOps: MmuIntervalNotifierOps = { invalidate: vhostInvalidate };

/** Takes maps and notifiers away. The worker does not run. May sleep. */
const stop = fn(
  function* stop({ vq }: VhostDev) {
    yield* vhostUninitVqMaps(vq);
    for (const part of partsOf(vq)) {
      if (part.notifier.mm === null) continue;
      yield* mmuIntervalNotifierRemove(part.notifier);
      part.notifier.mm = null;
    }
  },
  { name: 'vhost_dev_cleanup' },
);

/** A part whose notifier cannot be inserted is copied. */
const setAddr = fn(
  function* setAddr(dev: VhostDev, request: VringAddr): Body<number> {
    const refused = checkVringAddr(request);
    if (refused !== 0) return refused;
    yield* stop(dev);
    setVringAddr(dev.vq, request);
    vhostSetupVqUaddr(dev.vq, request);
    let result = 0;
    for (const { notifier, uaddr: begin, size: length } of partsOf(dev.vq)) {
      const interval = { start: begin, length };
      const error = yield* mmuIntervalNotifierInsert(notifier, dev.mm!, interval, vhostIntervalOps);
      if (error === 0) continue;
      notifier.mm = null;
      result = error;
    }
    return result;
  },
  { name: 'vhost_vring_set_num_addr' },
);

const prefetch = fn(
  function* prefetch({ mm, vq }: VhostDev, part: VhostUaddr) {
    if (part.notifier.mm === null) return;
    const seq = yield* mmuIntervalReadBegin(part.notifier);
    yield* spinLock(vq.mmuLock);
    // Under the lock of the callback: if it has come it is noticed, and if it comes it finds the map.
    if (!mmuIntervalReadRetry(part.notifier, seq)) part.map = yield* vhostMapCreate(mm!, part);
    yield* spinUnlock(vq.mmuLock);
  },
  { name: 'vhost_map_prefetch' },
);

export const metadataByInterval: MetadataOps = {
  start: fn(
    // oxlint-disable-next-line require-yield
    function* start(_dev: VhostDev) {
      return 0;
    },
    { name: 'vhost_dev_set_owner' },
  ),
  stop,
  setVringAddr: setAddr,
  prefetch,
  ...lockedAccess,
};
