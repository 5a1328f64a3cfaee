/**
 * RDMA on-demand paging beside what programs, other threads and the kernel do: every pair of them on one page, and what
 * comes of unloading the modules.
 */
import type { Variant } from '../../check/scenario.ts';
import { rdmaSeries, rdmaV53, rdmaV614Unmapping } from '../../drivers/rdma-odp/index.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide } from './pairs.ts';
import { ACTIONS, unloadModules } from './rdma-odp-actions.ts';
import {
  ADDRESS,
  EXPLICIT,
  exit,
  prepare,
  setUpWith,
  unpin,
  type Rdma,
} from './rdma-odp-subject.ts';

const LOST_END = {
  verdict: 'violation',
  kind: 'deadlock',
  object: 'ib_ucontext_per_mm.umem_rwsem',
} as const;

export const odpPairs = defineScenario<Rdma>({
  name: 'odp-pairs',
  models: ['patch 6', 'patch 7'],
  about: 'two of what can happen to a process with a region that is paged on demand, side by side',
  variants: pairsOf(ACTIONS, {
    special: {
      'reclaim+exit': { about: 'see odp-lost-end', expect: LOST_END },
      'exit+unload': {
        about: 'see odp-unload',
        expect: { verdict: 'violation', kind: 'unloaded-code', object: 'ib_uverbs' },
      },
    },
  }),
  setup(machine, variant) {
    // The adapter has the page, unless the pair is about how it gets it.
    const isMapped = !/access|prefetch/.test(variant);
    const state = prepare(machine, rdmaSeries, { region: EXPLICIT, isMapped });
    if (variant.includes('cow')) machine.runNow(state.process.fork());
    return state;
  },
  ...sideBySide(ACTIONS, 'first', 'second'),
  finally: unpin,
});

const HANGS: Variant = {
  about: 'exit unlinks the notifier: the end does not reach it, and umem_rwsem stays held',
  expect: LOST_END,
};

export const odpLostEnd = defineScenario<Rdma>({
  name: 'odp-lost-end',
  models: ['A-53'],
  about: 'reclaim, which holds nothing of the mm in use, unmaps a page while the process exits',
  variants: {
    'v5.3': HANGS,
    series: HANGS,
    'v6.14': {
      about: 'an interval notifier holds no lock from start to end, and has no end',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    { 'v5.3': rdmaV53, series: rdmaSeries, 'v6.14': rdmaV614Unmapping },
    { region: EXPLICIT },
  ),
  tasks: {
    reclaim: {
      *run({ mm }) {
        yield* reclaimPage(mm, ADDRESS, true);
      },
    },
    exit,
  },
  goals: [{ name: 'a region was told to invalidate', calls: 'mlx5_ib_invalidate_range' }],
  finally: unpin,
});

export const odpUnload = defineScenario<Rdma>({
  name: 'odp-unload',
  models: ['patch 6', 'A-13'],
  about: 'a program ends, and the modules are unloaded as soon as they let',
  variants: {
    'v5.3': {
      about: 'nobody waits for the callback that frees the notifier',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'ib_uverbs' },
    },
    series: {
      about: 'mmu_notifier_synchronize does not wait for callbacks of other CPUs (A-13)',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'ib_uverbs' },
    },
    'one-cpu': {
      about: 'on one CPU callbacks run in order',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    { 'v5.3': rdmaV53, series: rdmaSeries, 'one-cpu': rdmaSeries },
    { region: EXPLICIT },
  ),
  tasks: {
    exit: {
      cpu: 0,
      *run({ process }, variant) {
        yield* process.exit();
        // Nothing else runs on this CPU.
        if (variant === 'one-cpu') yield* unloadModules();
      },
    },
    unload: {
      cpu: 1,
      *run(_state, variant) {
        if (variant !== 'one-cpu') yield* unloadModules();
      },
    },
  },
  goals: [{ name: 'ib_uverbs was unloaded', calls: 'ib_uverbs_cleanup' }],
  finally: unpin,
});
