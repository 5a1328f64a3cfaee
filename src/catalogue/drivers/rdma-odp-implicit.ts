/**
 * RDMA on-demand paging: regions of all memory, whose children faults make and invalidations end (B-11, B-12, B-13, B-14,
 *
 */
import { MADV_DONTNEED } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  rdmaFixed,
  rdmaRead,
  rdmaSeries,
  rdmaSeriesLateWake,
  rdmaV53,
  rdmaV54ListsLast,
  rdmaWrite,
} from '../../drivers/rdma-odp/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, dereg, exit, IMPLICIT, prepare, unpin, type Rdma } from './rdma-odp-subject.ts';

const CHILD_FREED = { name: 'a child was freed', calls: 'mr_leaf_free_action' } as const;
const CHILD_MADE = { name: 'a child was made', calls: 'implicit_mr_alloc' } as const;

/** The program gives the page back; it will be a new one when it is touched again. */
const zap: TaskDefinition<Rdma> = {
  *run({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

const DEATH = { 'v5.3': rdmaV53, series: rdmaSeries, 'v5.4': rdmaV54ListsLast } as const;
const TWICE: Variant = {
  about: 'both find the child without pages and not dying, and both have it destroyed',
  expect: { verdict: 'violation', kind: 'use-after-free', object: 'ib_umem_odp' },
};

export const odpDoubleDeath = defineScenario<Rdma>({
  name: 'odp-double-death',
  models: ['B-11'],
  about: 'two threads give the only page of a child back',
  variants: {
    'v5.3': TWICE,
    series: TWICE,
    'v5.4': {
      about: '9dc775e7f550: what is left is decided under umem_mutex',
      expect: { verdict: 'bounded' },
    },
  },
  preemptions: 2,
  setup: (machine, variant) =>
    prepare(machine, DEATH[variant as keyof typeof DEATH], { region: IMPLICIT, isMapped: true }),
  tasks: { zap, zapToo: zap },
  interchangeable: [['zap', 'zapToo']],
  goals: [CHILD_FREED],
  finally: unpin,
});

const LATE = {
  'v5.3': rdmaV53,
  series: rdmaSeries,
  'v5.4': rdmaV54ListsLast,
  'fixed-v5.6': rdmaFixed,
} as const;
const BUG: Variant = {
  about: 'the fault registers a notifier for an mm that nobody uses any more',
  expect: {
    verdict: 'violation',
    kind: 'bug',
    object: 'atomic_read(&mm->mm_users) <= 0',
    invariant: 'I5',
  },
  alsoKnown: [
    { name: 'it is not on behalf of the process', kind: 'warn', object: 'mm != current->mm' },
  ],
};

export const odpLateChild = defineScenario<Rdma>({
  name: 'odp-late-child',
  models: ['B-13', 'patch 6'],
  about: 'the remote side reads for the first time while the process exits',
  variants: {
    'v5.3': { about: "a child takes its parent's notifier", expect: { verdict: 'clean' } },
    series: BUG,
    'v5.4': BUG,
    'fixed-v5.6': {
      about: 'a4e63bce1414: the fault takes the mm into use, or gives up',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const state = prepare(machine, LATE[variant as keyof typeof LATE], {
      region: IMPLICIT,
      // A child is made wherever the remote side reads.
      hasMemory: false,
    });
    // A child has the same file open, so that the region stays.
    machine.runNow(state.process.fork());
    return state;
  },
  tasks: {
    remote: {
      *run({ nic, key }) {
        yield* rdmaRead(nic, { key, address: ADDRESS });
      },
    },
    exit,
  },
  goals: [CHILD_MADE],
  finally: unpin,
});

const STALE = { 'v5.3': rdmaV53, series: rdmaSeries, 'v5.4': rdmaV54ListsLast } as const;
const LOST: Variant = {
  about: 'the null key of the old child arrives after the key of the new one: nobody will mend it',
  expect: {
    verdict: 'violation',
    kind: 'warn',
    object: 'the remote side gave up on memory that is there',
  },
};

export const odpStaleEntry = defineScenario<Rdma>({
  name: 'odp-stale-entry',
  models: ['B-12'],
  about: 'a child dies, and the remote side writes to where it was',
  variants: {
    'v5.3': LOST,
    series: LOST,
    'v5.4': {
      about: "whoever rewrites the parent's table holds its umem_mutex",
      expect: { verdict: 'clean' },
    },
  },
  setup: (machine, variant) =>
    prepare(machine, STALE[variant as keyof typeof STALE], { region: IMPLICIT, isMapped: true }),
  tasks: {
    zap,
    remote: {
      *run({ nic, key }) {
        const error = yield* rdmaWrite(nic, { key, address: ADDRESS }, 7);
        warnOn(error !== 0, 'the remote side gave up on memory that is there');
      },
    },
  },
  goals: [CHILD_FREED, CHILD_MADE],
  finally: unpin,
});

const WAKE = { series: rdmaSeriesLateWake, fixed: rdmaSeries } as const;

export const odpLateWake = defineScenario<Rdma>({
  name: 'odp-late-wake',
  models: ['A-51'],
  about: 'a region of all memory is deregistered while its child is destroyed',
  variants: {
    series: {
      about: 'the work counts down, then wakes whoever waits: by then the region may be gone',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mlx5_ib_mr' },
    },
    fixed: {
      about: 'whoever has waited waits for mr_srcu, too, which the work is in',
      expect: { verdict: 'clean' },
    },
  },
  setup: (machine, variant) =>
    prepare(machine, WAKE[variant as keyof typeof WAKE], { region: IMPLICIT, isMapped: true }),
  tasks: { dereg },
  goals: [CHILD_FREED],
  finally: unpin,
});
