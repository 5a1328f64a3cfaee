/**
 * RDMA on-demand paging: explicit regions, and what went wrong with them. Notifier, umem_rwsem and the lists of a region
 * (B-10, B-14, B-47, A-5, A-18, A-50).
 */
import {
  IB_ACCESS_LOCAL_WRITE,
  rdmaFixed,
  rdmaSeries,
  rdmaSeriesNoRecheck,
  rdmaSeriesShortGrace,
  rdmaSeriesUnannotated,
  rdmaSeriesUnpublished,
  rdmaV53,
  rdmaV53NoRecheck,
  rdmaV53Unannotated,
  rdmaV53Unlocking,
  rdmaV54,
  rdmaV54ListsLast,
  rdmaV54Unpublished,
  rdmaV614Unmapping,
  REG_MR,
} from '../../drivers/rdma-odp/index.ts';
import { goal } from '../../kernel/choose.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { armDirectReclaim } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmgetNotZero, mmput } from '../../mm-types/mm-struct.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  dereg,
  EXPLICIT,
  munmap,
  setUpWith,
  unpin,
  zap,
  type Rdma,
} from './rdma-odp-subject.ts';

const INVALIDATED = {
  name: 'a region was told to invalidate',
  calls: 'mlx5_ib_invalidate_range',
} as const;

export const odpRefused = defineScenario<Rdma>({
  name: 'odp-refused',
  models: ['B-10', 'patch 6'],
  about: 'the OOM reaper comes to a region that is paged on demand; the program deregisters it',
  variants: {
    'v5.3': {
      about: 'a start that refuses the range keeps umem_rwsem, and nobody says the end',
      expect: { verdict: 'violation', kind: 'deadlock', object: 'ib_ucontext_per_mm.umem_rwsem' },
    },
    'fixed-7608bf40cf24': { about: 'it gives umem_rwsem back', expect: { verdict: 'clean' } },
    series: { about: 'as does the series', expect: { verdict: 'clean' } },
    'v5.4': { expect: { verdict: 'clean' } },
  },
  setup: setUpWith(
    {
      'v5.3': rdmaV53,
      'fixed-7608bf40cf24': rdmaV53Unlocking,
      series: rdmaSeries,
      'v5.4': rdmaV54,
    },
    { region: EXPLICIT },
  ),
  tasks: {
    reap: {
      *run({ mm }) {
        if (!(yield* mmgetNotZero(mm))) return;
        if (!(yield* oomReapTaskMm(mm))) goal('the reaper gave up');
        yield* mmput(mm);
      },
    },
    dereg,
  },
  goals: ['the reaper gave up'],
  finally: unpin,
});

export const odpHalfMade = defineScenario<Rdma>({
  name: 'odp-half-made',
  models: ['B-14'],
  about: 'a region is registered while its memory is given back',
  variants: {
    series: {
      about: 'the notifier looks at a region that is still being made',
      expect: { verdict: 'violation', kind: 'data-race', object: 'mlx5_ib_mr.ibmr.pd' },
    },
    'v5.4': {
      about: 'the same',
      expect: { verdict: 'violation', kind: 'data-race', object: 'mlx5_ib_mr.ibmr.pd' },
    },
    'fixed-v5.5': {
      about: 'without a mapped page the notifier does not look at it',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    {
      series: rdmaSeriesUnpublished,
      'v5.4': rdmaV54Unpublished,
      'fixed-v5.5': rdmaFixed,
    },
    { region: null },
  ),
  tasks: {
    register: {
      *run({ process, fd }) {
        yield* process.ioctl(fd, REG_MR, EXPLICIT);
      },
    },
    zap,
  },
  goals: [INVALIDATED],
  finally: unpin,
});

export const odpRecheck = defineScenario<Rdma>({
  name: 'odp-recheck',
  models: ['B-47', 'patch 6'],
  about: 'the last region of a process goes while a range is invalidated',
  variants: {
    'v5.3-no-recheck': {
      about: 'the end gives back what a start has not kept that found the notifier inactive',
      expect: {
        verdict: 'violation',
        kind: 'lock-misuse',
        object: 'ib_ucontext_per_mm.umem_rwsem',
      },
    },
    'v5.3': { about: 'the end looks at active again', expect: { verdict: 'clean' } },
    'series-no-recheck': {
      about: 'the last put unlinks under umem_rwsem: what start finds put has no end',
      expect: { verdict: 'clean' },
    },
    series: { about: 'the end looks at users again', expect: { verdict: 'clean' } },
  },
  setup: setUpWith(
    {
      'v5.3-no-recheck': rdmaV53NoRecheck,
      'v5.3': rdmaV53,
      'series-no-recheck': rdmaSeriesNoRecheck,
      series: rdmaSeries,
    },
    { region: EXPLICIT },
  ),
  tasks: { munmap, dereg },
  goals: [INVALIDATED],
  finally: unpin,
});

export const odpLists = defineScenario<Rdma>({
  name: 'odp-lists',
  models: ['A-18'],
  about: 'a region ends while its memory is given back: when do its lists of pages go?',
  variants: {
    'v5.3': { about: 'after it has left the tree', expect: { verdict: 'clean' } },
    series: { about: 'likewise', expect: { verdict: 'clean' } },
    'v5.4': {
      about: 'before: an invalidation in between reads freed memory',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'dma_list' },
    },
    fixed: { about: 'v5.4 with the order of the series', expect: { verdict: 'clean' } },
  },
  setup: setUpWith(
    {
      'v5.3': rdmaV53,
      series: rdmaSeries,
      'v5.4': rdmaV54,
      fixed: rdmaV54ListsLast,
    },
    { region: EXPLICIT, isMapped: true },
  ),
  tasks: { munmap, dereg },
  goals: [INVALIDATED],
  finally: unpin,
});

export const odpShortGrace = defineScenario<Rdma>({
  name: 'odp-short-grace',
  models: ['A-50', 'D6-1', 'patch 6'],
  about: 'a program deregisters its last region, and nobody is in the way of a grace period',
  variants: {
    series: {
      about:
        'umem_rwsem is given back after the put that frees it, if the grace period is that short',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'ib_ucontext_per_mm' },
    },
    patient: {
      about: 'no grace period is as short as that, which other scenarios take for granted',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith({ series: rdmaSeriesShortGrace, patient: rdmaSeries }, { region: EXPLICIT }),
  tasks: { dereg },
  goals: [{ name: 'the notifier was freed', calls: 'ib_umem_free_notifier' }],
  finally: unpin,
});

const DEADLOCK = {
  about: 'the fork waits for the writer, which waits for the fork',
  expect: { verdict: 'violation', kind: 'deadlock', object: 'ib_ucontext_per_mm.umem_rwsem' },
} as const;

const nested = setUpWith(
  { 'v5.3': rdmaV53, series: rdmaSeries, 'v6.14': rdmaV614Unmapping },
  { region: EXPLICIT, isMapped: true },
);

export const odpNested = defineScenario<Rdma>({
  name: 'odp-nested',
  models: ['A-5'],
  about:
    'a fork copies a pinned page and enters reclaim, which invalidates another; a region is deregistered',
  variants: {
    'v5.3': DEADLOCK,
    series: DEADLOCK,
    'v6.14': { about: 'nothing is held from start to end', expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    const state = nested(machine, variant);
    const pinned = { ...EXPLICIT, start: ADDRESS + PAGE_SIZE, access: IB_ACCESS_LOCAL_WRITE };
    machine.runNow(state.process.mmap(pinned.start, PAGE_SIZE));
    machine.runNow(state.process.ioctl(state.fd, REG_MR, pinned));
    armDirectReclaim(machine, state.mm, ADDRESS, 1);
    return state;
  },
  tasks: {
    fork: {
      *run({ process }) {
        yield* process.fork();
      },
    },
    dereg,
  },
  goals: [{ name: 'reclaim was entered', calls: 'try_to_unmap' }],
  finally: unpin,
});

const CYCLE = {
  about: 'the end, with umem_rwsem held for read, reaches what a start takes it in',
  expect: {
    verdict: 'violation',
    kind: 'lock-order',
    object: 'ib_ucontext_per_mm.umem_rwsem, mmu_notifier_invalidate_range_start',
  },
} as const;

export const odpLockdep = defineScenario<Rdma>({
  name: 'odp-lockdep',
  models: ['A-5'],
  about: 'what lockdep says of a lock that is held from start to end, with one task alone',
  variants: { 'v5.3': CYCLE, series: CYCLE },
  setup: setUpWith(
    { 'v5.3': rdmaV53Unannotated, series: rdmaSeriesUnannotated },
    { region: EXPLICIT },
  ),
  tasks: { munmap },
  goals: [INVALIDATED],
  finally: unpin,
});
