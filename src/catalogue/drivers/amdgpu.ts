/**
 * amdgpu's user pointers: submission, queues of programs, closing and unloading, in pairs and threes with everything
 * that changes what the GPU may see.
 */
import { EINTR } from '../../base/errno.ts';
import type { TaskDefinition, Variant } from '../../check/scenario.ts';
import {
  AMDGPU_GEM_USERPTR_REGISTER,
  amdgpuSeries,
  amdgpuV53,
  amdgpuV55,
  DRM_AMDGPU_GEM_USERPTR,
} from '../../drivers/amdgpu/index.ts';
import { hmmFixed, hmmSeries, hmmV53 } from '../../drivers/hmm/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  close,
  doorbell,
  dontneed,
  exit,
  fork,
  gemClose,
  mprotect,
  munmap,
  opened,
  reaper,
  reclaim,
  rmmod,
  submit,
  unpin,
  USERPTR,
  withHsaMemory,
  withUserptr,
  type AmdgpuState,
  type AmdgpuVersions,
} from './amdgpu-subject.ts';
import { amdgpuPairs } from './mirror-pairs.ts';

const VERSIONS: Readonly<Record<string, AmdgpuVersions>> = {
  'v5.3': { hmm: hmmV53, module: amdgpuV53 },
  series: { hmm: hmmSeries, module: amdgpuSeries },
  'hmm-fixed': { hmm: hmmFixed, module: amdgpuSeries },
  'v5.5': { hmm: hmmSeries, module: amdgpuV55 },
};

function setup(machine: Machine, variant: string): AmdgpuState {
  return withUserptr(machine, VERSIONS[variant] as AmdgpuVersions);
}

function setupHsa(machine: Machine, variant: string): AmdgpuState {
  return withHsaMemory(machine, VERSIONS[variant] as AmdgpuVersions);
}

const CLEAN: Variant = { expect: { verdict: 'clean' } };
const BOTH = { series: CLEAN, 'v5.5': CLEAN } as const;

// ---- submission, and the mm ------------------------------------------------------------------------

/** a job is submitted whose pages were read before an invalidation, from its beginning to its end. */
const validAgain = (isFreed: boolean): Variant => ({
  about: 'the end of an invalidation makes the range valid again, whose pages were read before it',
  expect: isFreed
    ? { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' }
    : { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8b' },
  ...(isFreed ? { alsoKnown: [{ name: 'A-60', kind: 'invariant', object: 'page' }] } : {}),
});

const versions = (isFreed: boolean): Readonly<Record<string, Variant>> => ({
  series: validAgain(isFreed),
  'hmm-fixed': { about: 'a range that was invalidated stays so until it is waited for', ...CLEAN },
  'v5.5': { about: 'an interval notifier for each BO, and its sequence', ...CLEAN },
});

const submitReclaim = defineScenario<AmdgpuState>({
  name: 'amdgpu-submit-reclaim',
  models: ['patch 5', 'I8a', 'I8b'],
  about: 'a job is submitted for a page, while reclaim takes it away',
  variants: versions(true),
  setup,
  finally: unpin,
  tasks: { submit, reclaim },
  goals: ['submitted', 'the page was reclaimed'],
});

const submitMunmap = defineScenario<AmdgpuState>({
  ...submitReclaim,
  name: 'amdgpu-submit-munmap',
  models: ['A-60', 'patch 5', 'I8a', 'I8b'],
  about: 'a job is submitted for a page, while the process unmaps it',
  tasks: { submit, munmap },
  goals: ['submitted', 'not submitted'],
});

const submitDontneed = defineScenario<AmdgpuState>({
  ...submitReclaim,
  name: 'amdgpu-submit-dontneed',
  about: 'a job is submitted for a page, while the process gives it back by MADV_DONTNEED',
  tasks: { submit, dontneed },
  goals: ['submitted'],
});

const submitMprotect = defineScenario<AmdgpuState>({
  ...submitReclaim,
  name: 'amdgpu-submit-mprotect',
  about: 'a job is submitted for a page, while the process makes it read-only',
  variants: versions(false),
  tasks: { submit, mprotect },
  goals: ['submitted', 'not submitted'],
});

const submitFork = defineScenario<AmdgpuState>({
  ...submitReclaim,
  name: 'amdgpu-submit-fork',
  about: 'a job is submitted for a page, while the process forks, which makes it read-only',
  variants: versions(false),
  tasks: { submit, fork },
  goals: ['submitted', 'forked'],
});

const submitClose = defineScenario<AmdgpuState>({
  ...submitMunmap,
  name: 'amdgpu-submit-close',
  models: ['patch 5', 'I8a'],
  about: 'a job is submitted for a page, while its BO is closed',
  variants: BOTH,
  tasks: { submit, close: gemClose },
});

// ---- the end ---------------------------------------------------------------------------------------

const submitExit = defineScenario<AmdgpuState>({
  name: 'amdgpu-submit-exit',
  models: ['A-12', 'I6', 'I8a'],
  about: 'the process exits, while the GPU is at a job of it',
  variants: {
    series: {
      about: 'release leaves waiting for the GPU to a work: the pages are freed before',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'the same', kind: 'invariant', object: 'page' }],
    },
    'v5.5': { about: 'the end of the mm is an invalidation, which waits', ...CLEAN },
  },
  setup,
  finally: unpin,
  tasks: {
    submit: {
      *run(state, variant) {
        yield* submit.run(state, variant);
        yield* exit.run(state, variant);
      },
    },
  },
  goals: ['submitted'],
});

const outlives = defineScenario<AmdgpuState>({
  name: 'amdgpu-mirror-outlives-module',
  models: ['A-64', 'I12'],
  about: 'the file is closed and the module unloaded, while the process, which lives on, unmaps',
  variants: {
    series: {
      about: 'the mirror stays until the mm ends: its callback is in a module that is gone',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'amdgpu' },
    },
    'v5.5': { about: 'each BO takes its notifier along', ...CLEAN },
  },
  setup,
  finally: unpin,
  tasks: {
    close: {
      *run(state, variant) {
        yield* close.run(state, variant);
        yield* rmmod.run(state, variant);
      },
    },
    munmap,
  },
  goals: ['unloaded'],
});

const workOutlives = defineScenario<AmdgpuState>({
  ...outlives,
  name: 'amdgpu-work-outlives-module',
  models: ['A-64', 'I12'],
  about: 'the process exits, and the module is unloaded while the work of release has not run',
  variants: {
    series: {
      about: 'nothing waits for the work that release has scheduled',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'amdgpu' },
    },
    'v5.5': { about: 'there is no such work', ...CLEAN },
  },
  tasks: {
    exit: {
      *run(state, variant) {
        yield* exit.run(state, variant);
        yield* rmmod.run(state, variant);
      },
    },
  },
});

// ---- registration ----------------------------------------------------------------------------------

const register: TaskDefinition<AmdgpuState> = {
  *run({ process, fd }) {
    // The page is looked up by who submits.
    const args = { ...USERPTR, flags: AMDGPU_GEM_USERPTR_REGISTER };
    const handle = yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, args);
    if (handle > 0) goal('registered');
  },
};

const setupOpened = (machine: Machine, variant: string): AmdgpuState =>
  opened(machine, VERSIONS[variant] as AmdgpuVersions);

const registerFails = defineScenario<AmdgpuState>({
  name: 'amdgpu-register-fails',
  models: ['patch 5'],
  about: 'a BO is made, registered and closed, with memory or patience lacking at each place',
  variants: { 'v5.3': CLEAN, ...BOTH },
  faults: { allocations: 1, signals: 1 },
  setup: setupOpened,
  finally: unpin,
  tasks: {
    register: {
      *run(state, variant) {
        const { process, fd } = state;
        // With the look-up of its pages.
        const handle = yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, USERPTR);
        goal(handle > 0 ? 'registered' : 'not registered');
        yield* exit.run(state, variant);
      },
    },
  },
  goals: ['registered', 'not registered'],
});

const registerMunmap = defineScenario<AmdgpuState>({
  ...registerFails,
  name: 'amdgpu-register-munmap',
  about: 'a BO is made of a page, while the process unmaps it',
  variants: BOTH,
  faults: {},
  tasks: { register, munmap },
  goals: ['registered'],
});

const registerTwice = defineScenario<AmdgpuState>({
  ...registerMunmap,
  name: 'amdgpu-register-twice',
  about: 'two BOs are made of the same page at the same time: one mirror, one node',
  tasks: { one: register, other: register },
  interchangeable: [['one', 'other']],
  goals: ['registered'],
});

// ---- queues of programs ----------------------------------------------------------------------------

const RESTORED = { name: 'restored', calls: 'kgd2kfd_resume_mm' } as const;
const EVICTED = { name: 'evicted', calls: 'kgd2kfd_quiesce_mm' } as const;

const hsaReclaim = defineScenario<AmdgpuState>({
  name: 'amdgpu-hsa-reclaim',
  models: ['patch 5', 'I8a', 'I8b'],
  about: 'a program rings the doorbell of its queue, while reclaim takes the page',
  variants: BOTH,
  setup: setupHsa,
  finally: unpin,
  tasks: { doorbell, reclaim },
  goals: ['the page was reclaimed', EVICTED, RESTORED],
});

const hsaMunmap = defineScenario<AmdgpuState>({
  ...hsaReclaim,
  name: 'amdgpu-hsa-munmap',
  about: 'a program rings the doorbell of its queue, while it unmaps the page',
  tasks: { doorbell, munmap },
  goals: [EVICTED, RESTORED],
});

const hsaFork = defineScenario<AmdgpuState>({
  ...hsaReclaim,
  name: 'amdgpu-hsa-fork',
  about: 'a program rings the doorbell of its queue, while it forks',
  tasks: { doorbell, fork },
  goals: [EVICTED, RESTORED, 'forked'],
});

const hsaExit = defineScenario<AmdgpuState>({
  ...hsaReclaim,
  name: 'amdgpu-hsa-exit',
  models: ['I6', 'I8a'],
  about: 'a program rings the doorbell of its queue, and exits',
  variants: {
    series: {
      about: 'release leaves stopping the queue to a work, which does not even do that',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'the same', kind: 'invariant', object: 'page' }],
    },
    'v5.5': { about: 'the end of the mm evicts', ...CLEAN },
  },
  tasks: { doorbell, exit },
  goals: [{ name: 'the mm ended', calls: 'exit_mmap' }],
});

const submitReaper = defineScenario<AmdgpuState>({
  ...submitReclaim,
  name: 'amdgpu-submit-reaper',
  models: ['patch 5'],
  about: 'a job is submitted for a page, while the OOM reaper comes: -EAGAIN, and no count is left',
  variants: BOTH,
  tasks: { submit, reaper },
  goals: ['submitted', 'refused'],
});

const closeReaper = defineScenario<AmdgpuState>({
  ...submitReaper,
  name: 'amdgpu-close-reaper',
  about: 'a BO is closed, while the OOM reaper comes',
  tasks: { close: gemClose, reaper },
  goals: ['reaped', 'refused'],
});

const submitMunmapClose = defineScenario<AmdgpuState>({
  ...submitMunmap,
  name: 'amdgpu-submit-munmap-close',
  models: ['I8a', 'I8b'],
  about: 'a job is submitted for a page, while the process unmaps it and closes the BO',
  variants: { 'hmm-fixed': CLEAN, 'v5.5': CLEAN },
  tasks: { submit, munmap, close: gemClose },
});

const registerMunmapExit = defineScenario<AmdgpuState>({
  ...registerMunmap,
  name: 'amdgpu-register-munmap-exit',
  models: ['I1', 'I6'],
  about: 'a BO is made of a page, while the process unmaps it and exits',
  tasks: { register, munmap, exit },
});

const hsaClose = defineScenario<AmdgpuState>({
  ...hsaReclaim,
  name: 'amdgpu-hsa-close',
  models: ['patch 5', 'I8a'],
  about: 'a program rings the doorbell of its queue, and closes the file',
  tasks: { doorbell, close },
  goals: [{ name: 'the work was waited for', calls: 'destroy_kfd_vm' }],
});

const hsaCloseMunmap = defineScenario<AmdgpuState>({
  ...hsaClose,
  name: 'amdgpu-hsa-close-munmap',
  about: 'the file of a program with a queue is closed, while the page is unmapped',
  tasks: { close, munmap },
});

const registerInterrupted = defineScenario<AmdgpuState>({
  ...registerMunmap,
  name: 'amdgpu-register-interrupted',
  about: 'a BO is made, but a signal that kills comes while it waits for mmap_sem',
  faults: { signals: 1 },
  tasks: {
    register: {
      *run({ process, fd }) {
        const handle = yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, USERPTR);
        goal(handle === -EINTR ? 'interrupted' : 'registered');
      },
    },
    munmap,
  },
  goals: ['registered', 'interrupted'],
});

export const AMDGPU_SCENARIOS = [
  hsaClose,
  hsaCloseMunmap,
  registerInterrupted,
  submitReaper,
  closeReaper,
  submitMunmapClose,
  registerMunmapExit,
  submitReclaim,
  submitMunmap,
  submitMprotect,
  submitDontneed,
  submitFork,
  submitClose,
  submitExit,
  outlives,
  workOutlives,
  registerFails,
  registerMunmap,
  registerTwice,
  hsaReclaim,
  hsaMunmap,
  hsaFork,
  hsaExit,
];

export const AMDGPU: Consumer = {
  name: 'amdgpu',
  object: 'amdgpu_mn, by its hmm_mirror; v5.5: amdgpu_bo',
  key: 'v5.3: mm_struct, in a hash table of the device; v5.5: each buffer has its own',
  locks: 'hmm.mirrors_sem, amdgpu_mn.lock; v5.5: notifier_lock',
  callbacks: ['sync_cpu_device_pagetables', 'release', 'invalidate'],
  teardown: 'v5.3: a work that release queues unregisters the mirror; v5.5: remove with the buffer',
  versions: ['v5.3', 'series', 'v5.5'],
  // Only a scenario's own file knows its state.
  scenarios: [...AMDGPU_SCENARIOS, amdgpuPairs] as unknown as Consumer['scenarios'],
};
