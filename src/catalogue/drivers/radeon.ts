/**
 * radeon's user pointers: what patch 8 mends, what it leaves, and what it adds.
 *
 * Who drives it: a program by system calls, and the GPU, which executes the jobs that were submitted.
 */
import { MADV_DONTNEED } from '../../base/mman.ts';
import {
  DRM_IOCTL_GEM_CLOSE,
  DRM_RADEON_CS,
  DRM_RADEON_GEM_CREATE,
} from '../../drivers/radeon/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import { armDirectReclaim } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import { radeonInterrupted, radeonReaper, radeonUse } from './radeon-use.ts';
import { radeonIntervalPairs, radeonPairs, radeonTriples } from './radeon-pairs.ts';
import {
  ADDRESS,
  BOUND,
  D8_4,
  moduleOf,
  CLEAN,
  prepare,
  REGISTERED,
  submitWrite,
  unpin,
  userptr,
  type RadeonState,
} from './radeon-subject.ts';

/** The buffer was registered with the lock held that the callback takes, over an allocation. */
const NODE_UNDER_LOCK = {
  verdict: 'violation',
  kind: 'lock-order',
  object: 'fs_reclaim, mmu_notifier_invalidate_range_start, radeon_mn.lock',
} as const;
const GPU_WRITES_ON = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I6',
} as const;

/** The work unregisters, which calls release again, which queues the work again: see radeon-release-twice. */
const RELEASED_TWICE = { name: 'A-30', kind: 'use-after-free', object: 'radeon_mn' } as const;

const radeonExit = defineScenario<RadeonState>({
  name: 'radeon-exit',
  models: ['patch 8', 'B-7', 'A-1', 'D8-2'],
  about: 'a program exits while the GPU has a job that writes to its memory',
  variants: {
    'v5.3': {
      about: 'release leaves all to a work: exit unmaps, and the GPU writes on',
      expect: GPU_WRITES_ON,
      alsoKnown: [RELEASED_TWICE],
    },
    series: {
      about: 'release passes a range that must not block: -EAGAIN, and nothing is invalidated',
      expect: GPU_WRITES_ON,
    },
    'v5.4': { about: 'the same', expect: GPU_WRITES_ON },
    fixed: { about: 'the range of release may block (ours)', expect: CLEAN },
    'v5.5': { about: 'the event of the mm’s end may block', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { flags: REGISTERED, module: moduleOf(variant) });
    machine.runNow(submitWrite(state, state.handle));
    return state;
  },
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

const releasedTwice = defineScenario<RadeonState>({
  name: 'radeon-release-twice',
  models: ['A-30'],
  about: 'a program exits that the driver watches; the GPU has nothing to do',
  variants: {
    'v5.3': {
      about: 'the work that release queues unregisters, which calls release, which queues the work',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'radeon_mn' },
    },
    series: { about: 'release queues nothing', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { flags: REGISTERED, module: moduleOf(variant) }),
  tasks: {
    exit: {
      *run({ process }) {
        yield* process.exit();
      },
    },
  },
  goals: [{ name: 'released', calls: 'radeon_mn_release' }],
  finally: unpin,
});

const radeonUnload = defineScenario<RadeonState>({
  name: 'radeon-unload',
  models: ['patch 8', 'B-8', 'I12'],
  about: 'a program closes the device, the module is unloaded, and the program unmaps its memory',
  variants: {
    'v5.3': {
      about: 'the notifier stays until the mm ends, with callbacks in the module',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'radeon', invariant: 'I12' },
    },
    series: {
      about: 'the last buffer puts it, and module exit waits; all that is left is D8-4',
      expect: NODE_UNDER_LOCK,
    },
    fixed: { about: 'the same, without D8-4 (ours)', expect: CLEAN },
    'v5.5': { about: 'a notifier goes with its buffer', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { flags: BOUND, module: moduleOf(variant) }),
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

const radeonUnpaired = defineScenario<RadeonState>({
  name: 'radeon-unpaired',
  models: ['patch 8', 'B-9', 'A-3', 'D8-1'],
  about:
    'a program closes a buffer that is none of its memory, while another thread closes one that is',
  variants: {
    'v5.3': { about: 'looks whether it is registered', expect: CLEAN },
    series: {
      about: 'takes the lock of what is not there',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    'v5.4': { about: 'looks, as v5.3 does', expect: CLEAN },
    'v5.5': { about: 'looks whether its notifier has an mm', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { flags: BOUND, module: moduleOf(variant) }),
  tasks: {
    plain: {
      *run({ process, fd }) {
        const handle = yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, PAGE_SIZE);
        if ((yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle)) === 0)
          goal('closed the plain one');
      },
    },
    user: {
      *run({ process, fd, handle }) {
        if ((yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle)) === 0) goal('closed the other');
      },
    },
  },
  goals: ['closed the plain one', 'closed the other'],
  finally: unpin,
});

const radeonNoMemory = defineScenario<RadeonState>({
  name: 'radeon-no-memory',
  models: ['patch 8', 'A-2', 'D8-3'],
  about: 'an allocation or a wait fails while a program registers memory; then the program exits',
  variants: {
    series: {
      about: 'the buffer is unregistered that was never registered (D8-1), which comes first',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    'v5.4': {
      about: 'no memory for a node: the get before it is never put',
      expect: { verdict: 'violation', kind: 'leak', object: 'radeon_mn' },
    },
    fixed: { about: 'puts it (ours)', expect: CLEAN },
    'v5.5': { about: 'no node, and no get', expect: CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const handle = yield* userptr(state, ADDRESS, BOUND);
        goal(handle < 0 ? 'refused' : 'registered');
        yield* state.process.exit();
      },
    },
  },
  goals: ['refused', 'registered'],
  finally: unpin,
});

const DEADLOCK = { verdict: 'violation', kind: 'deadlock' } as const;

const radeonReclaim = defineScenario<RadeonState>({
  name: 'radeon-reclaim',
  models: ['patch 8', 'D8-4'],
  about:
    'a job needs a page that is not there yet; the allocation enters reclaim, which comes to a page of another buffer of it',
  variants: {
    'v5.4': {
      about: 'the callback waits for the reservation that the submission holds',
      expect: DEADLOCK,
      alsoKnown: [D8_4],
    },
    'v5.5': { about: 'the same', expect: DEADLOCK, alsoKnown: [D8_4] },
    retrying: { about: 'pages are looked up before anything is reserved (ours)', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { pages: 2, flags: BOUND, module: moduleOf(variant) });
    machine.runNow(userptr(state, ADDRESS + PAGE_SIZE, REGISTERED));
    armDirectReclaim(machine, state.mm, ADDRESS, 1);
    return state;
  },
  tasks: {
    submit: {
      *run({ process, fd }) {
        const commands = [
          { op: 'copy', from: { handle: 1, offset: 0 }, to: { handle: 2, offset: 0 } },
        ];
        const error = yield* process.ioctl(fd, DRM_RADEON_CS, commands);
        goal(error === 0 ? 'submitted' : 'to be tried again');
      },
    },
  },
  goals: ['submitted', { name: 'reclaim told the driver', calls: 'radeon_mn_invalidate' }],
  *finally(state) {
    yield* state.process.exit();
    yield* unpin(state);
  },
});

const STALE = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I8b',
} as const;

const radeonRebind = defineScenario<RadeonState>({
  name: 'radeon-rebind',
  models: ['C1'],
  about: 'a program submits a job while another thread drops the page that the job writes to',
  variants: {
    'v5.4': {
      about: 'the page is looked up again between the start and the change of the page table',
      expect: STALE,
      alsoKnown: [D8_4],
    },
    'v5.5': {
      about: 'the same: the sequence is not asked',
      expect: STALE,
      alsoKnown: [D8_4],
    },
    retrying: { about: 'asks the sequence when the buffer is reserved (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { flags: REGISTERED, module: moduleOf(variant) }),
  tasks: {
    submit: {
      *run(state) {
        const error = yield* submitWrite(state, state.handle);
        goal(error === 0 ? 'submitted' : 'to be tried again');
      },
    },
    drop: {
      *run({ process }) {
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
      },
    },
  },
  goals: ['submitted'],
  finally: unpin,
});

const radeonCloseBusy = defineScenario<RadeonState>({
  name: 'radeon-close-busy',
  models: ['A-31'],
  about: 'a program closes a buffer while the GPU has a job for it, and drops the page',
  variants: {
    'v5.3': { about: 'the buffer is watched no more; the GPU writes on', expect: STALE },
    'v5.4': { about: 'the same, after the put', expect: STALE, alsoKnown: [D8_4] },
    fixed: { about: 'watched until the GPU is done (ours)', expect: CLEAN },
    'v5.5': { about: 'as before: removed first', expect: STALE, alsoKnown: [D8_4] },
    retrying: { about: 'watched until the GPU is done (ours)', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { flags: REGISTERED, module: moduleOf(variant) });
    machine.runNow(submitWrite(state, state.handle));
    return state;
  },
  tasks: {
    program: {
      *run({ process, fd, handle }) {
        yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
      },
    },
  },
  goals: [{ name: 'the GPU did its job', calls: 'gpu_job' }],
  finally: unpin,
});

/** The scenarios of radeon. */
export const RADEON_SCENARIOS = [
  radeonExit,
  releasedTwice,
  radeonUnload,
  radeonUnpaired,
  radeonNoMemory,
  radeonReclaim,
  radeonRebind,
  radeonCloseBusy,
  radeonUse,
  radeonInterrupted,
  radeonReaper,
  radeonPairs,
  radeonIntervalPairs,
  radeonTriples,
];

export const RADEON: Consumer = {
  name: 'radeon',
  object: 'radeon_mn; v5.5: radeon_bo',
  key: 'v5.3: mm_struct, in a hash table of each device; series: by mmu_notifier_get; v5.5: each buffer has its own',
  locks: 'radeon_mn.lock, radeon_bo.resv',
  callbacks: ['release', 'invalidate_range_start', 'invalidate'],
  teardown:
    'v5.3: unregister in a work that release queues; series: put with the last buffer; v5.5: remove with the buffer',
  versions: ['v5.3', 'series', 'v5.4', 'fixed', 'v5.5', 'retrying'],
  scenarios: RADEON_SCENARIOS as unknown as Consumer['scenarios'],
};
