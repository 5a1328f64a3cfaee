/** RDMA on-demand paging: its scenarios. */
import type { Scenario } from '../../check/scenario.ts';
import type { Machine } from '../../mm/machine.ts';
import {
  odpHalfMade,
  odpLists,
  odpLockdep,
  odpNested,
  odpRecheck,
  odpRefused,
  odpShortGrace,
} from './rdma-odp-bugs.ts';
import { odpDoubleDeath, odpLateChild, odpLateWake, odpStaleEntry } from './rdma-odp-implicit.ts';
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
  odpRecheck,
  odpNested,
  odpLockdep,
  odpLists,
  odpShortGrace,
  odpLateWake,
  odpLateZap,
  odpLostEnd,
  odpUnload,
  odpPairs,
  odpImplicitPairs,
  odpTriples,
  odpTraffic,
  odpFailing,
];
