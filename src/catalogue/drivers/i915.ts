/**
 * i915's user pointers: the bugs that were published, what is doubtful about them, and what an interval notifier for
 * each buffer changes.
 *
 * Who drives it: a program by system calls, reclaim, and the GPU, which executes the jobs that were submitted.
 */
import {
  DRM_I915_GEM_CREATE,
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_WAIT,
} from '../../drivers/i915/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import { running } from '../../kernel/running.ts';
import { usedPages } from '../../mm/frames.ts';
import { armDirectReclaim, reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { i915IntervalPairs, i915Pairs, i915Triples } from './i915-pairs.ts';
import { i915Interrupted, i915Life, i915Reaper, i915Use, i915Worker } from './i915-use.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  CLEAN,
  moduleOf,
  GOES_ON,
  prepare,
  STALE,
  submitWrite,
  unpin,
  userptr,
  type I915State,
} from './i915-subject.ts';

/** The handle of a second buffer, with pages of its own. */
const PLAIN = 2;

/** Start is called by whoever has the page locked, and wants to lock it. */
const pageLock = defineScenario<I915State>({
  name: 'i915-page-lock',
  models: ['B-21'],
  about: 'reclaim comes to a page that the GPU was to write to',
  variants: {
    'v5.3': {
      about: 'put_pages locks the page that reclaim has locked',
      expect: { verdict: 'violation', kind: 'deadlock', object: 'page.lock' },
    },
    trylock: { about: 'a page that is locked is not marked dirty', expect: CLEAN },
    'get-put': { about: 'the same', expect: CLEAN },
    'v6.1': { about: 'nothing is let go of; reclaim leaves pinned pages alone', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), made: 'busy' }),
  tasks: {
    kswapd: {
      *run({ mm }) {
        const isFreed = yield* reclaimPage(mm, ADDRESS, true);
        goal(isFreed ? 'reclaimed' : 'kept');
      },
    },
  },
  goals: [{ name: 'the GPU did its job', calls: 'gpu_job' }],
  finally: unpin,
});

/** A submission with a buffer whose pages are allocated, in that moment, by whoever holds struct_mutex. */
function allocating(others: (state: I915State) => readonly object[]) {
  return function* run(state: I915State) {
    const { process, fd } = state;
    const plain = yield* process.ioctl(fd, DRM_I915_GEM_CREATE, PAGE_SIZE);
    const commands = [...others(state), { op: 'write', to: { handle: plain, offset: 0 }, byte: 7 }];
    const error = yield* process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, commands);
    goal(error === 0 ? 'submitted' : 'to be tried again');
  };
}

/** What lockdep says of that in any execution: start flushes, with reclaim's locks, what takes mm.lock. */
const FLUSHES = { name: 'B-22', kind: 'lock-order' } as const;

const recursion = defineScenario<I915State>({
  name: 'i915-recursion',
  models: ['B-22'],
  about:
    'a submission allocates pages for a buffer; the allocation enters reclaim, which comes to a page of the program',
  variants: {
    'v5.0': {
      about: 'start waits for a work, which waits for the struct_mutex that the submission holds',
      expect: {
        verdict: 'violation',
        kind: 'deadlock',
        object: 'i915-userptr-release, struct_mutex',
      },
      alsoKnown: [FLUSHES],
    },
    'v5.3': { about: 'start sees that its own task has struct_mutex', expect: CLEAN },
    'get-put': { about: 'the same', expect: CLEAN },
    'v6.1': { about: 'start takes nothing that a submission holds', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), made: 'pages' });
    armDirectReclaim(machine, state.mm, ADDRESS, 1);
    return state;
  },
  tasks: { submit: { run: allocating(() => []) } },
  goals: ['submitted'],
  finally: unpin,
});

/** What the core says of a blockable start that fails, before it goes on as if it had not. */
const REFUSED = {
  verdict: 'violation',
  kind: 'warn',
  object: 'blockable || ret != -EAGAIN',
} as const;
const IS_STALE = { name: 'A-10', kind: 'invariant', object: 'page' } as const;

const unbindError = defineScenario<I915State>({
  name: 'i915-unbind-error',
  models: ['A-10'],
  about: 'the same, where the submission uses the page that reclaim comes to',
  variants: {
    'v5.3': {
      about: 'the buffer is pinned by the submission: start fails, and the page goes all the same',
      expect: REFUSED,
      alsoKnown: [IS_STALE],
    },
    'get-put': { about: 'the same', expect: REFUSED, alsoKnown: [IS_STALE] },
    'v6.1': { about: 'pages are pinned, and reclaim leaves them alone', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), made: 'pages' });
    armDirectReclaim(machine, state.mm, ADDRESS, 1);
    return state;
  },
  tasks: {
    submit: {
      run: allocating(({ handle }) => [{ op: 'write', to: { handle, offset: 0 }, byte: 5 }]),
    },
  },
  goals: ['submitted'],
  finally: unpin,
});

const killed = defineScenario<I915State>({
  name: 'i915-killed',
  models: ['A-10'],
  about:
    'a program that is being killed unmaps memory that the GPU writes to, while another thread submits something else',
  variants: {
    'v5.3': {
      about: 'the signal ends a wait of start, which fails; the page goes, and the GPU writes on',
      expect: REFUSED,
      alsoKnown: [IS_STALE],
    },
    'get-put': { about: 'the same', expect: REFUSED, alsoKnown: [IS_STALE] },
    'v6.1': { about: 'waits without regard to signals', expect: CLEAN },
  },
  faults: { signals: 1 },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), made: 'busy' });
    const { process, fd } = state;
    machine.runNow(process.ioctl(fd, DRM_I915_GEM_CREATE, PAGE_SIZE));
    machine.runNow(process.ioctl(fd, DRM_I915_GEM_SET_DOMAIN, PLAIN));
    return state;
  },
  tasks: {
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
    submit: {
      *run(state) {
        const error = yield* submitWrite(state, PLAIN);
        if (error === 0) goal('submitted');
      },
    },
  },
  goals: ['submitted', { name: 'the GPU did its job', calls: 'gpu_job' }],
  finally: unpin,
});

/** submit_init reads the sequence under the reservation, which invalidation does not take. */
const SEQ_RACE = {
  verdict: 'violation',
  kind: 'data-race',
  object: 'drm_i915_gem_object.notifier.invalidate_seq',
} as const;

const lookUpRace = defineScenario<I915State>({
  name: 'i915-lookup-race',
  models: ['A-80', 'A-83', 'C1'],
  about: 'a program submits a job while another thread unmaps the memory that the job writes to',
  variants: {
    'v5.3': {
      about:
        'the page is looked up without mmap_sem, and the buffer is in the tree only afterwards',
      expect: STALE,
    },
    'get-put': { about: 'the same', expect: STALE },
    'v6.1': {
      about: 'the sequence is asked when the fence is in the buffer; and before, without its lock',
      expect: SEQ_RACE,
    },
    fixed: { about: 'always under its lock (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), made: 'a handle' }),
  tasks: {
    submit: {
      *run(state) {
        const error = yield* submitWrite(state, state.handle);
        goal(error === 0 ? 'submitted' : 'to be tried again');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['submitted', 'to be tried again'],
  finally: unpin,
});

const exit = defineScenario<I915State>({
  name: 'i915-exit',
  models: ['A-81'],
  about: 'a program exits while the GPU has a job that writes to its memory',
  variants: {
    'v5.3': {
      about: 'has no release: nobody is told that all is unmapped, and the GPU writes on',
      expect: GOES_ON,
    },
    'get-put': { about: 'the same', expect: GOES_ON },
    'v6.1': { about: 'is told, and does not wait for who exits', expect: GOES_ON },
    fixed: { about: 'waits for the GPU (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), made: 'busy' }),
  tasks: {
    exit: {
      *run({ process }) {
        yield* process.exit();
      },
    },
  },
  goals: [{ name: 'the GPU did its job', calls: 'gpu_job' }],
  finally: unpin,
});

/** What start does with the buffer then. */
const OUTLIVES = (['warn', 'use-after-free', 'leak'] as const).map((kind) => ({
  name: 'A-84',
  kind,
}));

const unload = defineScenario<I915State>({
  name: 'i915-unload',
  models: ['A-84', 'I12'],
  about: 'a program closes the device, the module is unloaded, and the program unmaps its memory',
  variants: {
    'v5.3': {
      about: 'a buffer that start has a reference to outlives the device, and keeps the notifier',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'i915', invariant: 'I12' },
      alsoKnown: OUTLIVES,
    },
    'get-put': { about: 'waits for all buffers, then for what was put (ours)', expect: CLEAN },
    'v6.1': { about: 'a notifier goes with its buffer', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), made: 'pages' }),
  tasks: {
    rmmod: {
      cpu: 0,
      *run({ process, fd, module }) {
        yield* process.close(fd);
        if ((yield* unloadModule(module)) === 0) goal('unloaded');
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['unloaded'],
  finally: unpin,
});

const PAGES_LEFT = 'pages are left when all is over';

const noMemory = defineScenario<I915State>({
  name: 'i915-no-memory',
  models: ['A-82'],
  about: 'an allocation fails while a program uses its memory for the first time',
  variants: {
    'v5.3': { expect: CLEAN },
    'get-put': { expect: CLEAN },
    'v6.1': {
      about: 'no memory for the table of pages: the pages stay pinned, and nobody knows them',
      expect: { verdict: 'violation', kind: 'warn', object: PAGES_LEFT },
    },
    fixed: { about: 'unpins them (ours)', expect: CLEAN },
  },
  faults: { allocations: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const handle = yield* userptr(state);
        const error = handle < 0 ? handle : yield* submitWrite(state, handle);
        goal(error < 0 ? 'refused' : 'submitted');
        if (error === 0) yield* state.process.ioctl(state.fd, DRM_I915_GEM_WAIT, handle);
        yield* state.process.exit();
      },
    },
  },
  goals: ['refused', 'submitted'],
  *finally(state) {
    yield* unpin(state);
    warnOn(usedPages(running).length > 0, PAGES_LEFT);
  },
});

/** What `list` and the table of consumers say of i915. */
export const I915: Consumer = {
  name: 'i915',
  object: 'i915_mmu_notifier; v6.1: drm_i915_gem_object',
  key: 'mm_struct, by hash; get-put: by mmu_notifier_get; v6.1: each buffer has its own',
  locks: 'i915_mmu_notifier.lock, struct_mutex, mm.lock; v6.1: notifier_lock',
  callbacks: ['invalidate_range_start'],
  teardown:
    'unregister in a work when the last buffer goes; get-put: put; v6.1: remove with the buffer',
  versions: ['v5.0', 'v5.3', 'trylock', 'get-put', 'v6.1', 'fixed'],
  scenarios: [
    pageLock,
    recursion,
    unbindError,
    killed,
    lookUpRace,
    exit,
    unload,
    noMemory,
    i915Use,
    i915Interrupted,
    i915Life,
    i915Reaper,
    i915Worker,
    i915Pairs,
    i915IntervalPairs,
    i915Triples,
  ] as unknown as Consumer['scenarios'],
};
