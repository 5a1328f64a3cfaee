/** gntdev: its scenarios, and what it is as a consumer of notifiers. */
import type { Consumer } from '../consumer.ts';
import {
  gntdevAuto,
  gntdevDropTwice,
  gntdevBadGrant,
  gntdevNoMemory,
  gntdevProtect,
  gntdevReclaim,
  gntdevReferenced,
  gntdevSplitLower,
  gntdevSplitUpper,
} from './gntdev-bugs.ts';
import { gntdevI915 } from './gntdev-i915.ts';
import {
  gntdevBounds,
  gntdevInherited,
  gntdevPairs,
  gntdevTriples,
  gntdevUse,
  gntdevWhole,
} from './gntdev-pairs.ts';

/** What `list` and the table of consumers say of gntdev. */
export const GNTDEV: Consumer = {
  name: 'gntdev',
  object: 'gntdev_priv, one for each open file; from v5.5 on gntdev_grant_map',
  key: 'none: the file; maps by the bounds of their VMA',
  locks: 'gntdev_priv.lock; from v5.5 on none; fixed: gntdev_grant_map.lock',
  callbacks: ['invalidate_range_start', 'release'],
  teardown: 'unregister when the file is released; from v5.5 on remove when the VMA goes',
  versions: ['v5.3', 'v5.5', 'v5.5-auto', 'initialised-auto', 'async', 'fixed'],
  // Only a scenario's own file knows its state.
  scenarios: [
    gntdevI915,
    gntdevAuto,
    gntdevSplitLower,
    gntdevSplitUpper,
    gntdevReclaim,
    gntdevReferenced,
    gntdevBounds,
    gntdevDropTwice,
    gntdevBadGrant,
    gntdevNoMemory,
    gntdevProtect,
    gntdevUse,
    gntdevWhole,
    gntdevInherited,
    gntdevPairs,
    gntdevTriples,
  ] as unknown as Consumer['scenarios'],
};
