/**
 * RDMA on-demand paging beside what programs, other threads and the kernel do: every pair of them on one page, and what
 * comes of unloading the modules.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  DEREG_MR,
  ibUverbs,
  mlx5Ib,
  rdmaSeries,
  rdmaV53,
  rdmaWrite,
  REG_MR,
} from '../../drivers/rdma-odp/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, EXPLICIT, OLD, prefetch, prepare, unpin, type Rdma } from './rdma-odp-subject.ts';

const WRITTEN = 7;

/** What can happen to a process that has a region. */
const ACTIONS: Readonly<Record<string, (state: Rdma) => Body<unknown>>> = {
  *register({ process, fd }) {
    yield* process.ioctl(fd, REG_MR, EXPLICIT);
  },
  *dereg({ process, fd, key }) {
    yield* process.ioctl(fd, DEREG_MR, key);
  },
  *access({ nic, key }) {
    yield* rdmaWrite(nic, { key, address: ADDRESS }, WRITTEN);
  },
  *prefetch(state) {
    yield* prefetch(state);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *dontneed({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    yield* process.fork();
    // The sharing ends here; the child stays.
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *unload() {
    if ((yield* unloadModule(mlx5Ib.text)) === 0) yield* unloadModule(ibUverbs.text);
  },
};

const LOST_END = {
  verdict: 'violation',
  kind: 'deadlock',
  object: 'ib_ucontext_per_mm.umem_rwsem',
} as const;
/** Too much can happen in them to see all of it. */
const BOUNDED: Variant = { preemptions: 3, expect: { verdict: 'bounded' } };
const SPECIAL: Readonly<Record<string, Variant>> = {
  // Each fault is a work: these are three and four tasks.
  'access+access': { preemptions: 2, expect: { verdict: 'bounded' } },
  'access+fork': { preemptions: 2, expect: { verdict: 'bounded' } },
  'fork+fork': BOUNDED,
  'fork+reclaim': { preemptions: 2, expect: { verdict: 'bounded' } },
  'reclaim+exit': {
    about: 'see odp-lost-end',
    preemptions: 2,
    expect: LOST_END,
  },
  'exit+unload': {
    about: 'see odp-unload',
    expect: { verdict: 'violation', kind: 'unloaded-code', object: 'ib_uverbs' },
  },
};

function pairs(): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      const pair = `${first}+${second}`;
      found[pair] = SPECIAL[pair] ?? { expect: { verdict: 'clean' } };
    }
  }
  return found;
}

function act(state: Rdma, variant: string, which: 0 | 1): Body<unknown> {
  const name = variant.split('+')[which] as string;
  return (ACTIONS[name] as (typeof ACTIONS)[string])(state);
}

export const odpPairs = defineScenario<Rdma>({
  name: 'odp-pairs',
  models: ['patch 6', 'patch 7'],
  about: 'two of what can happen to a process with a region that is paged on demand, side by side',
  variants: pairs(),
  // The adapter has the page, unless the pair is about how it gets it.
  setup: (machine, variant) =>
    prepare(machine, rdmaSeries, { region: EXPLICIT, isMapped: !/access|prefetch/.test(variant) }),
  tasks: {
    first: {
      *run(state, variant) {
        yield* act(state, variant, 0);
        goal('the first is done');
      },
    },
    second: {
      *run(state, variant) {
        yield* act(state, variant, 1);
        goal('the second is done');
      },
    },
  },
  goals: ['the first is done', 'the second is done'],
  finally: unpin,
});

const LOST = { 'v5.3': rdmaV53, series: rdmaSeries } as const;
const HANGS: Variant = {
  about: 'exit unlinks the notifier: the end does not reach it, and umem_rwsem stays held',
  expect: LOST_END,
};

export const odpLostEnd = defineScenario<Rdma>({
  name: 'odp-lost-end',
  models: ['A-53'],
  about: 'reclaim, which holds nothing of the mm in use, unmaps a page while the process exits',
  variants: { 'v5.3': HANGS, series: HANGS },
  preemptions: 2,
  setup: (machine, variant) =>
    prepare(machine, LOST[variant as keyof typeof LOST], { region: EXPLICIT }),
  tasks: {
    reclaim: {
      *run({ mm }) {
        yield* reclaimPage(mm, ADDRESS, true);
      },
    },
    exit: {
      *run({ process }) {
        yield* process.exit();
      },
    },
  },
  goals: [{ name: 'a range was started', calls: 'ib_umem_notifier_start_account' }],
  finally: unpin,
});

const UNLOADED = { 'v5.3': rdmaV53, series: rdmaSeries, 'one-cpu': rdmaSeries } as const;

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
  setup: (machine, variant) =>
    prepare(machine, UNLOADED[variant as keyof typeof UNLOADED], { region: EXPLICIT }),
  tasks: {
    exit: {
      cpu: 0,
      *run({ process }, variant) {
        yield* process.exit();
        // Nothing else runs on this CPU.
        if (variant === 'one-cpu') yield* unload();
      },
    },
    unload: {
      cpu: 1,
      *run(_state, variant) {
        if (variant !== 'one-cpu') yield* unload();
      },
    },
  },
  goals: [{ name: 'ib_uverbs was unloaded', calls: 'ib_uverbs_cleanup' }],
  finally: unpin,
});

function* unload(): Body<void> {
  if ((yield* unloadModule(mlx5Ib.text)) === 0) yield* unloadModule(ibUverbs.text);
}
