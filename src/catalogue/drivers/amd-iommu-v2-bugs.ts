/** amd_iommu_v2: what was published, what was suspected, and what get and put would do to it. */
import { EINTR, ENOMEM } from '../../base/errno.ts';
import { amdDevice, amdRead, amdUnplug, amdWrite } from '../../drivers/amd-iommu-v2/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { running } from '../../kernel/running.ts';
import { MADV_DONTNEED, MADV_FREE } from '../../base/mman.ts';
import { usedPages } from '../../mm/frames.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  bind,
  CLEAN,
  moduleOf,
  prepare,
  read,
  unbind,
  unpin,
  write,
  type AmdState,
} from './amd-iommu-v2-subject.ts';

/** In the middle of the other's range, of which the device is to know nothing until its end. */
const STALE = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I8b',
} as const;
const FREED = { name: 'I8a', kind: 'use-after-free', object: 'page' } as const;
const RELEASE = { name: 'released', calls: 'mn_release' } as const;

const freeInRelease = defineScenario<AmdState>({
  name: 'iommuv2-free-in-release',
  models: ['B-41', 'I1'],
  about: 'a program exits that a device is bound to',
  variants: {
    'v3.16': {
      about: 'release comes, and frees what the walk of the list stands on',
      expect: {
        verdict: 'violation',
        kind: 'use-after-free',
        object: 'pasid_state',
        invariant: 'I1',
      },
    },
    'v5.3': { about: 'release unbinds, and who binds frees', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    exit: {
      *run({ process }) {
        yield* process.exit();
      },
    },
  },
  goals: [RELEASE],
  finally: unpin,
});

const nested = defineScenario<AmdState>({
  name: 'iommuv2-nested',
  models: ['B-45', 'I8b'],
  about: 'two threads drop a page each, while a device reads one of them',
  variants: {
    'v3.17': {
      about: 'the end of one brings the page table back in the middle of the other',
      expect: STALE,
      alsoKnown: [FREED],
    },
    'v3.18': {
      about: 'starts are counted, but the switch comes after the count',
      expect: STALE,
      alsoKnown: [FREED],
    },
    'v3.19': { about: 'count and switch under one lock', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    drop: {
      *run({ process }) {
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
        goal('dropped');
      },
    },
    // Of pages that were never there.
    other: {
      *run({ process }) {
        yield* process.madvise(ADDRESS + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
      },
    },
    device: {
      *run() {
        yield* read();
      },
    },
  },
  goals: ['dropped'],
  finally: unpin,
});

const unheeded = defineScenario<AmdState>({
  name: 'iommuv2-unheeded',
  models: ['A-8'],
  about:
    'a bind whose registration may be interrupted or run out of memory; then the program exits, and the device writes',
  faults: { signals: 1, allocations: 1 },
  variants: {
    'v5.3': {
      about:
        'it goes on without a notifier: nobody stops the device, and the mm is dropped once too often',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mm_struct' },
    },
    fixed: { about: 'it fails (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), devices: [] }),
  tasks: {
    program: {
      *run(state) {
        const error = yield* bind(state, 0);
        if (error === 0) goal('bound');
        if (error === -EINTR) goal('interrupted');
        if (error === -ENOMEM) goal('no memory');
        yield* state.process.exit();
        yield* write();
      },
    },
  },
  goals: ['bound'],
  finally: unpin,
});

const lastPut = defineScenario<AmdState>({
  name: 'iommuv2-last-put',
  models: ['A-9'],
  about:
    'a request for a page that the program does not have is answered, while the PASID is unbound',
  variants: {
    'v5.3': {
      about: 'who unbinds sees the count at zero and frees; then the work wakes it',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'pasid_state' },
    },
    fixed: { about: 'counted down and woken under a lock (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(state.process.munmap(ADDRESS, PAGE_SIZE));
    return state;
  },
  tasks: {
    device: {
      *run() {
        if ((yield* read()) < 0) goal('answered');
      },
    },
    unbind: {
      *run(state) {
        yield* unbind(state, 0);
        goal('unbound');
      },
    },
  },
  goals: ['answered', 'unbound'],
  finally: unpin,
});

const lateRequest = defineScenario<AmdState>({
  name: 'iommuv2-late-request',
  models: ['A-9'],
  about: 'a device asks for a page to write to, while the program exits',
  variants: {
    'put-mended': {
      about:
        'v5.3, but for the last put: a work is queued when release has waited for all works, and maps a page when exit has unmapped all',
      expect: { verdict: 'violation', kind: 'warn', object: 'a page of the program is left' },
    },
    fixed: { about: 'looked at and queued under a lock that release takes (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(state.process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED));
    return state;
  },
  tasks: {
    device: {
      *run() {
        if ((yield* write()) >= 0) goal('answered');
      },
    },
    exit: {
      *run({ process }) {
        yield* process.exit();
      },
    },
  },
  goals: ['answered', RELEASE],
  *finally(state) {
    warnOn(usedPages(running).length > 0, 'a page of the program is left');
    yield* unpin(state);
  },
});

const boundTwice = defineScenario<AmdState>({
  name: 'iommuv2-bound-twice',
  models: ['I8b'],
  about:
    'one program is bound for two devices, each with a notifier; one is unbound, while a thread unmaps',
  variants: { 'v5.3': { expect: CLEAN }, fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), devices: [0, 1] }),
  tasks: {
    unbind: {
      *run(state) {
        yield* unbind(state, 0);
        goal('unbound');
        if ((yield* read(1)) >= 0) goal('the other device goes on');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['unbound', 'the other device goes on'],
  finally: unpin,
});

const unplug = defineScenario<AmdState>({
  name: 'iommuv2-unplug',
  models: ['I8b'],
  about: 'a device goes that is bound, while the program exits or unmaps',
  variants: {
    exit: { expect: CLEAN },
    munmap: { expect: CLEAN },
    access: { expect: CLEAN },
  },
  setup: (machine) => prepare(machine, { module: moduleOf('fixed') }),
  tasks: {
    unplug: {
      *run() {
        yield* amdUnplug(0);
        goal('unplugged');
      },
    },
    other: {
      *run({ process }, variant) {
        if (variant === 'exit') yield* process.exit();
        else if (variant === 'munmap') yield* process.munmap(ADDRESS, PAGE_SIZE);
        else yield* read();
      },
    },
  },
  goals: ['unplugged'],
  finally: unpin,
});

const unplugRequest = defineScenario<AmdState>({
  name: 'iommuv2-unplug-request',
  models: ['A-170'],
  about: 'a device goes that is bound and asks for a page',
  variants: {
    'v5.3': {
      about: 'the request finds the PASID in the table when it has been ended',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'pasid_state' },
      alsoKnown: [{ name: 'A-170', kind: 'use-after-free' }],
    },
    fixed: {
      about: 'out of the table first, and who puts last does so under a lock (ours)',
      expect: CLEAN,
    },
  },
  setup: (machine, variant) => {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(state.process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED));
    return state;
  },
  tasks: {
    unplug: {
      *run() {
        yield* amdUnplug(0);
        goal('unplugged');
      },
    },
    device: {
      *run() {
        if ((yield* write()) >= 0) goal('answered');
      },
    },
  },
  goals: ['unplugged', 'answered'],
  finally: unpin,
});

const use = defineScenario<AmdState>({
  name: 'iommuv2-use',
  models: ['I8b'],
  about:
    'a program and a device pass a byte to and fro, while another thread gives the page up; then it unmaps, and the device faults',
  variants: { 'v5.3': { expect: CLEAN }, fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run({ process }) {
        yield* process.store(ADDRESS + 1, 7);
        warnOn((yield* amdRead(amdDevice(0), 0, ADDRESS + 1)) !== 7, 'the device reads it');
        yield* amdWrite(amdDevice(0), 0, ADDRESS + 2, 8);
        warnOn((yield* process.load(ADDRESS + 2)) !== 8, 'the program reads it');
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        if ((yield* read()) < 0) goal('the device faults');
      },
    },
    drop: {
      *run({ process }) {
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_FREE);
      },
    },
  },
  goals: ['the device faults'],
  finally: unpin,
});

export const AMD_BUGS = [
  use,
  unheeded,
  lastPut,
  lateRequest,
  freeInRelease,
  nested,
  boundTwice,
  unplug,
  unplugRequest,
] as const;
