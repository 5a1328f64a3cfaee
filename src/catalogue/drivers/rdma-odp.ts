/** RDMA on-demand paging: its scenarios. */
import type { Scenario } from '../../check/scenario.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Consumer } from '../consumer.ts';
import {
  odpHalfMade,
  odpLists,
  odpLockdep,
  odpNested,
  odpRecheck,
  odpRefused,
  odpShortGrace,
} from './rdma-odp-bugs.ts';
import {
  odpDoubleDeath,
  odpHalfMadeChild,
  odpLateChild,
  odpLateWake,
  odpStaleEntry,
} from './rdma-odp-implicit.ts';
import { odpKeptParent, odpLateWakeLater, odpRequeued, odpRevoked } from './rdma-odp-later.ts';
import { odpLostEnd, odpPairs, odpUnload } from './rdma-odp-pairs.ts';
import type { Rdma } from './rdma-odp-subject.ts';
import { odpFailing, odpTraffic } from './rdma-odp-traffic.ts';
import { odpImplicitPairs, odpLateZap, odpTriples } from './rdma-odp-triples.ts';

export const RDMA_ODP_SCENARIOS: readonly Scenario<Machine, Rdma>[] = [
  odpRefused,
  odpDoubleDeath,
  odpStaleEntry,
  odpLateChild,
  odpHalfMade,
  odpHalfMadeChild,
  odpRecheck,
  odpNested,
  odpLockdep,
  odpLists,
  odpRequeued,
  odpKeptParent,
  odpRevoked,
  odpShortGrace,
  odpLateWake,
  odpLateWakeLater,
  odpLateZap,
  odpLostEnd,
  odpUnload,
  odpPairs,
  odpImplicitPairs,
  odpTriples,
  odpTraffic,
  odpFailing,
];

export const RDMA_ODP: Consumer = {
  name: 'rdma-odp',
  object: 'struct ib_ucontext_per_mm; from v5.5 on struct ib_umem_odp',
  key: 'one for each context and mm (v5.3), for each mm (series), for each region (v5.5)',
  locks: 'umem_rwsem (up to v5.4), umem_mutex',
  callbacks: [
    'release',
    'invalidate_range_start',
    'invalidate_range_end',
    'alloc_notifier',
    'free_notifier',
    'invalidate',
  ],
  teardown:
    'with the last region: unregister_no_release and call_srcu (v5.3), put under umem_rwsem (series); interval remove (v5.5)',
  versions: ['v5.3', 'series', 'v5.4', 'v5.6', 'v6.13', 'v6.14'],
  // Only a scenario's own file knows its state.
  scenarios: RDMA_ODP_SCENARIOS as unknown as Consumer['scenarios'],
};
