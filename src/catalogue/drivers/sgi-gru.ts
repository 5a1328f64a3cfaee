/** sgi-gru: patch 4 with B-6, the drop-in with A-11. What else there is: sgi-gru-pairs.ts, sgi-gru-candidates.ts. */
import type { Variant } from '../../check/scenario.ts';
import {
  GRU_OPT_MISS_FMM_INTR,
  gruSeries,
  gruSeriesLateUnload,
  gruSeriesReadLock,
  gruV53,
  gruV53LateUnload,
  gruV53ReadLock,
} from '../../drivers/sgi-gru/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import { GRU_CANDIDATES } from './sgi-gru-candidates.ts';
import { GRU_PAIRS } from './sgi-gru-pairs.ts';
import {
  act,
  CLEAN,
  doing,
  DROPPED_IN,
  prepare,
  STARTED,
  unpin,
  type GruSetUp,
  type GruState,
} from './sgi-gru-subject.ts';

const FIND_FREE_MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': gruV53,
  'v5.3-read-lock': gruV53ReadLock,
  series: gruSeries,
  'series-read-lock': gruSeriesReadLock,
};

const TAKES_ALL_LOCKS = {
  name: 'who finds nobody registers, which is never right under a lock for reading',
  kind: 'bug',
  object: 'down_read_trylock(&mm->mmap_sem)',
} as const;

const gruFindFree = defineScenario<GruState>({
  name: 'gru-find-free',
  models: ['patch 4', 'B-6'],
  about: 'one thread makes a second segment, while another ends the mapping of the first',
  variants: {
    'v5.3': {
      about:
        'found under the wrong RCU, counted without a test; mmap_sem alone keeps the two apart',
      ...CLEAN,
    },
    'v5.3-read-lock': {
      about: 'the ioctl holds mmap_sem for reading: what it has found is freed before it counts',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'gru_mm_struct' },
    },
    series: { about: 'found and counted under the lock of the list', ...CLEAN },
    'series-read-lock': {
      about: 'the same ioctl: mmu_notifier_get_locked says at once what it lacks',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'lockdep_assert_held_write(&mm_struct.mmap_sem)',
      },
      alsoKnown: [TAKES_ALL_LOCKS],
    },
  },
  setup: (machine, variant) =>
    prepare(machine, FIND_FREE_MODULES[variant] as ModuleType, { hasSecond: true }),
  tasks: { register: doing('register', 0), unmap: doing('unmap', 1) },
  goals: ['registered', { name: 'a user went', calls: 'gru_drop_mmu_notifier' }],
  finally: unpin,
});

const RELEASE_FREE_MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': gruV53,
  'v5.3-late-unload': gruV53LateUnload,
  'series-late-unload': gruSeriesLateUnload,
};

const gruReleaseFree = defineScenario<GruState>({
  name: 'gru-release-free',
  models: ['patch 4', 'B-6'],
  about: 'a program exits, while another steals the context that it has',
  variants: {
    'v5.3': {
      about: 'its mapping drops last, after exit has waited: only the pin of the mm is forgotten',
      expect: { verdict: 'violation', kind: 'leak', object: 'mm_struct' },
      alsoKnown: [{ name: 'A-42', kind: 'use-after-free', object: 'page table' }],
    },
    'v5.3-late-unload': {
      about:
        'the thief drops last: it sees that release has run, and does not wait for its callers',
      expect: {
        verdict: 'violation',
        kind: 'use-after-free',
        object: 'gru_mm_struct',
        invariant: 'I1',
      },
      alsoKnown: [
        { name: 'B-6: no lock', kind: 'data-race', object: 'gru_mm_struct.ms_released' },
        // The thief unregisters from its own mm, and so under the lock of another list.
        { name: 'current->mm', kind: 'data-race', object: 'mmu_notifier_mm.list.first' },
        {
          name: 'current->mm',
          kind: 'data-race',
          object: 'gru_mm_struct.ms_notifier.hlist.pprev',
        },
      ],
    },
    'series-late-unload': { about: 'the thief puts last, which waits for all callbacks', ...CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, RELEASE_FREE_MODULES[variant] as ModuleType, {
      contexts: 1,
      hasForeign: true,
      isTouched: true,
      holdsMm: variant !== 'v5.3',
    });
    if (variant.endsWith('late-unload')) machine.runNow(act(state, 'unmap') as never);
    return state;
  },
  tasks: { exit: doing('exit', 0), steal: doing('steal', 1) },
  goals: ['the other program has a context'],
  finally: unpin,
});

/** What changes the page under the drop-in, and how the miss is told. */
const DROP_INS: Readonly<Record<string, { readonly by: string } & GruSetUp>> = {
  'no-interlock': { by: 'dontneed', ignoresLate: false },
  'no-interlock-interrupt': { by: 'dontneed', ignoresLate: false, options: GRU_OPT_MISS_FMM_INTR },
  series: { by: 'dontneed' },
  'series-reclaim': { by: 'reclaim' },
  'series-copy': { by: 'copy' },
  'series-interrupt': { by: 'dontneed', options: GRU_OPT_MISS_FMM_INTR },
  'series-trylock': { by: 'munmap', options: GRU_OPT_MISS_FMM_INTR },
};

const STALE: Variant = {
  expect: { verdict: 'violation', kind: 'use-after-free', object: 'page' },
  alsoKnown: [{ name: 'before the page is freed', kind: 'invariant', object: 'page' }],
};

const gruDropin = defineScenario<GruState>({
  name: 'gru-dropin',
  models: ['patch 4', 'A-11'],
  about: 'the GRU misses a translation and is given it, while the page is taken away',
  variants: {
    'no-interlock': {
      about: 'a chiplet that takes every drop-in: the entry of a page that is gone stays',
      ...STALE,
    },
    'no-interlock-interrupt': { about: 'the same from the interrupt handler', ...STALE },
    series: { about: 'it ignores a drop-in that an invalidation has overtaken', ...CLEAN },
    'series-reclaim': { about: 'the page is reclaimed', ...CLEAN },
    'series-copy': { about: 'the page is shared since a fork, and copied by a store', ...CLEAN },
    'series-interrupt': { about: 'from the interrupt handler', ...CLEAN },
    'series-trylock': { about: 'which does not get mmap_sem: the page is unmapped', ...CLEAN },
  },
  setup(machine, variant) {
    const { by, ...setUp } = DROP_INS[variant] as (typeof DROP_INS)[string];
    const state = prepare(machine, gruSeries, { ...setUp, contexts: 1, isTouched: true });
    if (by === 'copy') machine.runNow(state.process.fork() as never);
    return state;
  },
  tasks: {
    gru: doing('load', 0),
    change: {
      cpu: 1,
      *run(state, variant) {
        yield* act(state, (DROP_INS[variant] as (typeof DROP_INS)[string]).by);
      },
    },
  },
  goals: ['the GRU loaded', STARTED, DROPPED_IN],
  finally: unpin,
});

/** All scenarios of sgi-gru. */
export const GRU_SCENARIOS = [
  gruFindFree,
  gruReleaseFree,
  gruDropin,
  ...GRU_CANDIDATES,
  ...GRU_PAIRS,
];

export const SGI_GRU: Consumer = {
  name: 'sgi-gru',
  object: 'gru_mm_struct',
  key: 'v5.3: the ops, on the list of the mm; series: by mmu_notifier_get_locked',
  locks: 'gru_mm_struct.ms_asid_lock, gru_tlb_global_handle.lock',
  callbacks: ['release', 'invalidate_range_start', 'invalidate_range_end'],
  teardown:
    'v5.3: unregister with the last segment, unless release has run; series: put with the last segment',
  versions: ['v5.3', 'series', 'mended'],
  // Only a scenario's own file knows its state.
  scenarios: GRU_SCENARIOS as unknown as Consumer['scenarios'],
};
