/**
 * nouveau: faults of the GPU, SVM_INIT, close and unloading, in pairs and threes with everything that changes what the
 * GPU may see. Where the kernel as the series leaves it is violated, a second variant says what it takes to mend it.
 */
import type { TaskDefinition, Variant } from '../../check/scenario.ts';
import { hmmSeries, setHmm } from '../../drivers/hmm/index.ts';
import {
  DRM_NOUVEAU_SVM_INIT,
  NOUVEAU_DEVICE,
  nouveauSeries,
  nouveauFixed,
  nouveauWithout,
} from '../../drivers/nouveau/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import { nouveauPairs } from './mirror-pairs.ts';
import {
  ADDRESS,
  close,
  copyOnWrite,
  dontneed,
  exit,
  FIXED,
  forked,
  gpuReads,
  gpuWrites,
  gpuWritesTwice,
  HOLE,
  mprotect,
  munmap,
  nouveauSubject,
  reaper,
  reclaim,
  touched,
  unpin,
  V53,
  type NouveauState,
  type Versions,
} from './nouveau-subject.ts';

/** As the series leaves both. */
const SERIES: Versions = { hmm: hmmSeries, module: nouveauSeries };
/** The driver mended, hmm as the series leaves it. */
const SERIES_HMM: Versions = { hmm: hmmSeries, module: nouveauFixed };

const VERSIONS: Readonly<Record<string, Versions>> = {
  'v5.3': V53,
  series: SERIES,
  fixed: FIXED,
  'hmm-series': SERIES_HMM,
  'A-6': { ...FIXED, module: nouveauWithout.unregistersOnTimeout },
  'A-7': { ...FIXED, module: nouveauWithout.holdsSvmMutex },
  'A-61': { ...FIXED, module: nouveauWithout.releases },
  'A-62': { ...FIXED, module: nouveauWithout.usesMm },
  'A-63': { ...FIXED, module: nouveauWithout.checksMirror },
  'no-synchronize': { ...FIXED, module: nouveauWithout.synchronizes },
};

function setup(machine: Machine, variant: string): NouveauState {
  return nouveauSubject(machine, VERSIONS[variant] as Versions);
}

const CLEAN: Variant = { expect: { verdict: 'clean' } };

/** What most scenarios have in common: one that violates says so itself. */
const common = { setup, finally: unpin, variants: { series: CLEAN, fixed: CLEAN } } as const;

// ---- faults of the GPU, and the mm --------------------------------------------------------------

const INVALIDATED = {
  name: 'the GPU forgot',
  calls: 'nouveau_svmm_invalidate',
} as const;

const faultMunmap = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-munmap',
  models: ['patch 5', 'I8a', 'I8b'],
  about: 'the GPU faults a page in, while the process unmaps it',
  tasks: { gpu: gpuWritesTwice, munmap },
  goals: ['the GPU wrote', 'the GPU gave up', INVALIDATED],
});

const faultMprotect = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-mprotect',
  models: ['patch 5', 'I8b'],
  about: 'the GPU faults a page in to write, while the process makes it read-only',
  tasks: { gpu: gpuWritesTwice, mprotect },
  goals: ['the GPU wrote', 'the GPU gave up', INVALIDATED],
});

const VALID_AGAIN: Variant = {
  about: 'the end of an invalidation makes the range valid again, whose pages were read before it',
  expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8b' },
  alsoKnown: [{ name: 'A-60', kind: 'use-after-free', object: 'page' }],
};
const SEQUENCE: Variant = {
  about: 'a range that was invalidated stays so until it is waited for again',
  expect: { verdict: 'clean' },
};

const faultReclaim = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-reclaim',
  models: ['A-60', 'I8a', 'I8b'],
  about: 'the GPU faults a page in, while reclaim takes it away',
  variants: { series: VALID_AGAIN, fixed: SEQUENCE },
  tasks: { gpu: gpuWrites, reclaim },
  goals: ['the GPU wrote', 'the page was reclaimed'],
});

const faultDontneed = defineScenario<NouveauState>({
  ...faultReclaim,
  name: 'nouveau-fault-dontneed',
  models: ['I8a', 'I8b'],
  about: 'the GPU faults a page in, while the process gives it back by MADV_DONTNEED',
  tasks: { gpu: gpuWrites, dontneed },
  goals: ['the GPU wrote'],
});

const faultCow = defineScenario<NouveauState>({
  ...faultReclaim,
  name: 'nouveau-fault-cow',
  models: ['I8b'],
  about:
    'the GPU reads a page that is shared after fork, while the process writes to it: copy on write',
  variants: { series: { ...VALID_AGAIN, alsoKnown: [] }, fixed: SEQUENCE },
  setup: (machine, variant) => forked(machine, setup(machine, variant)),
  tasks: { gpu: gpuReads, cow: copyOnWrite },
  goals: ['the GPU read', 'the page was copied'],
});

// ---- faults of the GPU, and the end ----------------------------------------------------------------

/** What follows once the work goes on with an svmm, and through it a struct hmm, that is gone. */
const FREED_UNDER_THE_WORK: Variant['alsoKnown'] = (
  [
    'use-after-free',
    'data-race',
    'warn',
    'bug',
    'deadlock',
    'leak',
    'refcount',
    'invariant',
  ] as const
).map((kind) => ({ name: 'what the svmm led to', kind }));

const faultClose = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-close',
  models: ['A-7'],
  about: 'the GPU faults, while the file of its client is closed',
  variants: {
    'A-7': {
      about: 'svm->mutex is released before the svmm is used: it is freed meanwhile',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'nouveau_svmm' },
      alsoKnown: FREED_UNDER_THE_WORK,
    },
    fixed: { about: 'svm->mutex is held until the faults are handled', ...CLEAN },
  },
  tasks: { gpu: gpuWrites, close },
  goals: ['the GPU wrote', 'the GPU gave up'],
});

const faultExit = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-exit',
  models: ['A-61', 'A-62', 'I8a'],
  about: 'the GPU faults, while the process exits',
  variants: {
    'A-61': {
      about:
        'release is empty: the GPU has the pages until the file is closed, after they were freed',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'the same', kind: 'invariant', object: 'page' }],
    },
    'A-62': {
      about:
        'the range has the last use of the mm, which then ends under the lock that its end needs',
      expect: { verdict: 'violation', kind: 'deadlock', object: 'nouveau_svmm.mutex' },
      alsoKnown: [{ name: 'the fault is never answered', kind: 'deadlock' }],
    },
    fixed: { about: 'mmget_not_zero first, and a release that takes everything back', ...CLEAN },
  },
  tasks: { gpu: gpuWritesTwice, exit },
  goals: ['the GPU wrote', 'the GPU gave up', { name: 'hmm was released', calls: 'hmm_release' }],
});

const faultTimeout = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-timeout',
  models: ['A-6'],
  about: 'a range does not become valid in time, because reclaim takes its page away',
  variants: {
    'A-6': {
      about: 'the range, on the stack, stays on the list of struct hmm, and the mm in use',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'hmm_range' },
      alsoKnown: [{ name: 'the mm is never left', kind: 'leak' }],
    },
    fixed: { about: 'it is taken off the list', ...CLEAN },
  },
  faults: { timeouts: 1 },
  tasks: { gpu: gpuWrites, reclaim },
  *finally(state) {
    // What is still on the list is met now.
    yield* state.process.munmap(ADDRESS, PAGE_SIZE);
    yield* unpin(state);
  },
  goals: ['the GPU wrote', 'the GPU gave up'],
});

// ---- SVM_INIT, close, unloading ----------------------------------------------------------------

const init: TaskDefinition<NouveauState> = {
  *run({ process }) {
    const fd = yield* process.open(NOUVEAU_DEVICE);
    if (fd < 0) return;
    const error = yield* process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, HOLE);
    goal(error === 0 ? 'SVM was enabled' : 'SVM was not enabled');
    yield* process.close(fd);
  },
};

/** No client yet. */
const unopened = (machine: Machine, variant: string): NouveauState => {
  const { hmm, module } = VERSIONS[variant] as Versions;
  setHmm(machine, hmm);
  const process = touched(machine);
  machine.load(module);
  return { process, mm: process.mm!, fd: -1, space: -1, module, child: null };
};

const initFails = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-init-fails',
  models: ['A-63', 'patch 5'],
  about: 'SVM_INIT runs out of memory, or of patience, at each place where it can',
  variants: {
    'A-63': {
      about: 'the unwind unregisters a mirror that never was registered',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    fixed: { about: 'it asks first', ...CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: unopened,
  finally: () => undefined,
  tasks: { init },
  goals: ['SVM was enabled', 'SVM was not enabled'],
});

const initMunmap = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-init-munmap',
  models: ['patch 5'],
  about: 'a client enables SVM and is closed, while another thread unmaps',
  setup: unopened,
  finally: () => undefined,
  tasks: { init, munmap },
  goals: ['SVM was enabled'],
});

const initClose = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-init-close',
  models: ['patch 5'],
  about:
    'a client enables SVM, while another of the same process is closed: get against the last put',
  variants: { 'v5.3': CLEAN, series: CLEAN },
  tasks: { init, close },
  goals: ['SVM was enabled', { name: 'struct hmm was freed', calls: 'hmm_mirror_unregister' }],
});

const initCloseMunmap = defineScenario<NouveauState>({
  ...initClose,
  name: 'nouveau-init-close-munmap',
  about: 'the same, while a third thread unmaps',
  variants: { series: CLEAN },
  tasks: { init, close, munmap },
});

const rmmod: TaskDefinition<NouveauState> = {
  *run({ module }) {
    if ((yield* unloadModule(module)) === 0) goal('unloaded');
  },
};

const unloadClose = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-unload-close',
  models: ['patch 5', 'I12'],
  about: 'the last client is closed, and the module unloaded, while the process unmaps',
  variants: {
    'no-synchronize': {
      about:
        'without the wait that patch 5 adds: mirrors are waited for when they are unregistered',
      ...CLEAN,
    },
    series: CLEAN,
  },
  tasks: {
    close: {
      cpu: 0,
      *run(state, variant) {
        yield* close.run(state, variant);
        yield* rmmod.run(state, variant);
      },
    },
    munmap,
  },
  goals: ['unloaded', INVALIDATED],
});

const unloadExit = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-unload-exit',
  models: ['patch 5', 'I12'],
  about: 'the module is unloaded, while the process, its only client, exits',
  tasks: { exit, rmmod },
  goals: ['unloaded'],
});

const closeReclaim = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-close-reclaim',
  models: ['patch 5', 'I1'],
  about: 'the last mirror is unregistered, while reclaim takes a page',
  tasks: { close, reclaim },
  goals: ['the page was reclaimed'],
});

const faultReclaimMunmap = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-reclaim-munmap',
  models: ['I8a', 'I8b'],
  about: 'the GPU faults a page in, while reclaim takes it and the process unmaps it',
  variants: { fixed: SEQUENCE },
  tasks: { gpu: gpuWrites, reclaim, munmap },
  goals: ['the GPU wrote', 'the GPU gave up', 'the page was reclaimed'],
});

const faultReclaimClose = defineScenario<NouveauState>({
  ...faultReclaimMunmap,
  name: 'nouveau-fault-reclaim-close',
  models: ['I8a', 'I8b'],
  about: 'the GPU faults a page in, while reclaim takes it and the file of its client is closed',
  tasks: { gpu: gpuWrites, reclaim, close },
});

const faultReaper = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-fault-reaper',
  models: ['patch 5'],
  about: 'the GPU faults a page in, while the OOM reaper comes: -EAGAIN, and no count is left',
  tasks: { gpu: gpuWritesTwice, reaper },
  goals: ['the GPU wrote again', 'refused'],
});

const closeReaper = defineScenario<NouveauState>({
  ...common,
  name: 'nouveau-close-reaper',
  models: ['patch 5'],
  about: 'the last mirror is unregistered, while the OOM reaper comes',
  tasks: { close, reaper },
  goals: ['reaped', 'refused'],
});

export const NOUVEAU_SCENARIOS = [
  faultReaper,
  closeReaper,
  faultMunmap,
  faultMprotect,
  faultReclaim,
  faultDontneed,
  faultCow,
  faultClose,
  faultExit,
  faultTimeout,
  initFails,
  initMunmap,
  initClose,
  initCloseMunmap,
  unloadClose,
  unloadExit,
  closeReclaim,
  faultReclaimMunmap,
  faultReclaimClose,
];

export const NOUVEAU: Consumer = {
  name: 'nouveau',
  object: 'nouveau_svmm, by its hmm_mirror',
  key: 'none: a client has a mirror of its own',
  locks: 'hmm.mirrors_sem, nouveau_svmm.mutex',
  callbacks: ['sync_cpu_device_pagetables', 'release'],
  teardown: 'hmm_mirror_unregister when the client is closed',
  versions: ['v5.3', 'series', 'fixed'],
  // Only a scenario's own file knows its state.
  scenarios: [...NOUVEAU_SCENARIOS, nouveauPairs] as unknown as Consumer['scenarios'],
};
