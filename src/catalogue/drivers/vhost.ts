/** vhost: what `list` says of it, and its scenarios. */
import type { Consumer } from '../consumer.ts';
import { VHOST_BUGS } from './vhost-bugs.ts';
import { vhostIntervalPairs, vhostPairs, vhostTriples } from './vhost-pairs.ts';
import { VHOST_USE } from './vhost-use.ts';

export const VHOST: Consumer = {
  name: 'vhost',
  object: 'vhost_dev; mended: an interval notifier for each part of the ring',
  key: 'one for each open device',
  locks: 'vq.mmu_lock',
  callbacks: ['invalidate_range_start', 'invalidate_range_end'],
  teardown: 'unregister, when the ring moves and at the last close, with a use of the mm held',
  versions: ['v5.3-rc', 'fixed', 'interval'],
  scenarios: [
    ...VHOST_BUGS,
    ...VHOST_USE,
    vhostPairs,
    vhostIntervalPairs,
    vhostTriples,
  ] as unknown as Consumer['scenarios'],
};
