/**
 * RDMA on-demand paging in its later form, where each region has an interval notifier: what was published about it, and
 * what one of the fixes leaves (B-15, B-16, A-54).
 */
import {
  DEREG_MR,
  rdmaV613,
  rdmaV614Keeping,
  rdmaV613Revoking,
  rdmaV614,
  rdmaV614LateWake,
  rdmaV614Unmapping,
} from '../../drivers/rdma-odp/index.ts';
import { atomic, atomicIncReturn } from '../../kernel/atomic.ts';
import type { Body } from '../../kernel/operation.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mmu-notifier/invalidate.ts';
import {
  MMU_NOTIFY_PROTECTION_PAGE,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  dereg,
  EXPLICIT,
  fault,
  IMPLICIT,
  prefetch,
  setUpWith,
  unpin,
  zap,
  type Rdma,
} from './rdma-odp-subject.ts';

/** A range is invalidated in which nothing changes: as little as the mm can do. */
function* invalidate({ mm }: Rdma): Body<void> {
  const range: MmuNotifierRange = {
    mm,
    vma: null,
    start: ADDRESS,
    end: ADDRESS + PAGE_SIZE,
    event: MMU_NOTIFY_PROTECTION_PAGE,
    flags: 0,
  };
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* mmuNotifierInvalidateRangeEnd(range);
}

const EXCHANGES =
  'd3d930411ce3: whoever takes the child out of the array destroys it, and nobody else';
const CHILD_DESTROYED = { name: 'a child was destroyed', calls: 'free_implicit_child_mr_work' };

/** Pages the child, which has a page, and has it lose its page again. */
function* pageAndInvalidate(state: Rdma): Body<void> {
  yield* prefetch(state);
  yield* invalidate(state);
}

export const odpRequeued = defineScenario<Rdma>({
  name: 'odp-requeued',
  models: ['B-15'],
  about: 'a child of a region of all memory is paged while two ranges are invalidated',
  variants: {
    'v6.13': {
      about:
        'the fault maps a page of a child that is being destroyed, which is then queued once more',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mlx5_ib_mr' },
      alsoKnown: [
        { name: 'B-16', kind: 'warn', object: 'reg umr failed' },
        { name: 'the work is made anew while it is queued', kind: 'warn' },
      ],
    },
    'fixed-d3d930411ce3': { about: EXCHANGES, expect: { verdict: 'bounded' } },
  },
  // The work that destroys the child is a third task.
  preemptions: 2,
  setup: setUpWith(
    { 'v6.13': rdmaV613, 'fixed-d3d930411ce3': rdmaV614Keeping },
    { region: IMPLICIT, isMapped: true },
  ),
  tasks: {
    fault: {
      *run(state) {
        yield* pageAndInvalidate(state);
      },
    },
    invalidate: {
      *run(state) {
        yield* invalidate(state);
      },
    },
  },
  goals: [CHILD_DESTROYED],
  finally: unpin,
});

const Ended = struct('ended', { count: atomic(0) });

interface WithEnd extends Rdma {
  readonly ended: InstanceOf<typeof Ended>;
}

/** Whoever of two comes to an end last deregisters the region. */
function* deregAtTheEnd({ ended, process, fd, key }: WithEnd): Body<void> {
  if ((yield* atomicIncReturn(ended.count)) === 2) yield* process.ioctl(fd, DEREG_MR, key);
}

const kept = setUpWith(
  { 'fixed-d3d930411ce3': rdmaV614Keeping, 'v6.14': rdmaV614Unmapping },
  { region: IMPLICIT, isMapped: true },
);

export const odpKeptParent = defineScenario<WithEnd>({
  name: 'odp-kept-parent',
  models: ['B-15'],
  about: 'the same, and then the region is deregistered',
  variants: {
    'fixed-d3d930411ce3': {
      about: 'whoever finds the child taken keeps the parent, which waits for that for ever',
      expect: { verdict: 'violation', kind: 'deadlock', object: 'mlx5_ib_mr.unused' },
    },
    'v6.14': { about: 'it gives the parent back', expect: { verdict: 'bounded' } },
  },
  // The work that destroys the child is a third task.
  preemptions: 2,
  setup: (machine, variant) => ({
    ...kept(machine, variant),
    ended: allocateStatic(machine, Ended),
  }),
  tasks: {
    fault: {
      *run(state) {
        yield* pageAndInvalidate(state);
        yield* deregAtTheEnd(state);
      },
    },
    invalidate: {
      *run(state) {
        yield* invalidate(state);
        yield* deregAtTheEnd(state);
      },
    },
  },
  goals: [CHILD_DESTROYED],
  finally: unpin,
});

export const odpRevoked = defineScenario<Rdma>({
  name: 'odp-revoked',
  models: ['B-16', 'A-54'],
  about: 'a page is unmapped while its region is deregistered',
  variants: {
    'v6.13': {
      about: 'the notifier has the adapter change an entry of a key that is gone',
      expect: { verdict: 'violation', kind: 'warn', object: 'reg umr failed' },
    },
    'fixed-abb604a1a9c8': {
      about:
        'the key goes under umem_mutex, and the memory forgets its region: its page is not unmapped',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page' },
    },
    'v6.14': {
      about: 'likewise',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page' },
    },
    fixed: {
      about: 'memory that has lost its region is still unmapped (ours)',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    {
      'v6.13': rdmaV613,
      'fixed-abb604a1a9c8': rdmaV613Revoking,
      'v6.14': rdmaV614,
      fixed: rdmaV614Unmapping,
    },
    { region: EXPLICIT, isMapped: true },
  ),
  tasks: { zap, dereg },
  goals: [{ name: 'a region was told to invalidate', calls: 'mlx5_ib_invalidate_range' }],
  finally: unpin,
});

export const odpLateWakeLater = defineScenario<Rdma>({
  name: 'odp-late-wake-later',
  models: ['A-51'],
  about: 'a region is deregistered while a fault on it comes to its end',
  variants: {
    'v6.14': {
      about:
        'the fault gives up the last use, then wakes whoever waits: by then the region may be gone',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mlx5_ib_mr' },
    },
    fixed: {
      about: 'a completion in the place of the counter and its wait queue (ours)',
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    { 'v6.14': rdmaV614LateWake, fixed: rdmaV614Unmapping },
    { region: EXPLICIT, isMapped: true },
  ),
  tasks: { fault, dereg },
  goals: [{ name: 'a page was mapped', calls: 'ib_umem_odp_map_dma_and_lock' }],
  finally: unpin,
});
