/**
 * amdkfd beside what programs, other threads and the kernel do: every pair of them, and what comes of an eviction or
 * of unloading the module while a process ends.
 *
 * Who drives it: a program by system calls and by doorbells, which the GPU executes; amdgpu by its call for an eviction;
 * whoever unloads the module.
 */
import { EINTR } from '../../base/errno.ts';
import { PROT_READ } from '../../base/mman.ts';
import {
  AMDKFD_IOC_CREATE_QUEUE,
  AMDKFD_IOC_DESTROY_QUEUE,
  amdkfdHolding,
  amdkfdSeries,
  amdkfdV53,
  amdkfdV61,
  KFD_DEVICE,
  kgd2kfdScheduleEvictAndRestoreProcess,
  ringDoorbell,
} from '../../drivers/amdkfd/index.ts';
import type { Variant } from '../../check/scenario.ts';
import { goal } from '../../kernel/choose.ts';
import { modulePut, tryModuleGet, unloadModule, type ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { Machine } from '../../mm/machine.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import type { Process } from '../../mm/process.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import { kfdUnregister } from '../series/kfd-unregister.ts';
import { AMDKFD_SVM_SCENARIOS } from './amdkfd-svm.ts';

const ADDRESS = 0x40_0000;
const OLD = 1;
const WRITTEN = 7;

interface State {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly module: ModuleType;
  /** -1 before the device was opened. */
  readonly fd: number;
}

interface SetUp {
  readonly isOpen: boolean;
  readonly hasQueue: boolean;
  readonly isClosed: boolean;
}

/** A process with one page, as far with the device as it is to be. Its mm's memory stays until the end. */
function prepare(
  machine: Machine,
  module: ModuleType,
  { isOpen, hasQueue, isClosed }: SetUp,
): State {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = isOpen ? machine.runNow<number>(process.open(KFD_DEVICE)) : -1;
  if (hasQueue) machine.runNow(process.ioctl(fd, AMDKFD_IOC_CREATE_QUEUE));
  if (isClosed) machine.runNow(process.close(fd));
  return { process, mm, module, fd };
}

/** What can happen to a process that uses the device. */
const ACTIONS: Readonly<Record<string, (state: State) => Body<unknown>>> = {
  *open({ process }) {
    yield* process.open(KFD_DEVICE);
  },
  *create({ process, fd }) {
    yield* process.ioctl(fd, AMDKFD_IOC_CREATE_QUEUE);
  },
  *destroy({ process, fd }) {
    yield* process.ioctl(fd, AMDKFD_IOC_DESTROY_QUEUE, 0);
  },
  *access() {
    yield* ringDoorbell(0, { op: 'write', address: ADDRESS, byte: WRITTEN });
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *mprotect({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    const child = yield* process.fork();
    yield* process.store(ADDRESS, OLD);
    if (typeof child !== 'number') yield* child.exit();
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *evict({ mm, module }) {
    // amdgpu, which the module is part of.
    if (!(yield* tryModuleGet(module))) return;
    yield* kgd2kfdScheduleEvictAndRestoreProcess(mm);
    yield* modulePut(module);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *unload({ module }) {
    yield* unloadModule(module);
  },
};

/** What the pair needs: the module cannot go while the device is open. */
function setUpFor(actions: readonly string[]): SetUp {
  const isOpen = !actions.includes('open');
  return {
    isOpen,
    hasQueue: isOpen && actions.some((name) => USES_QUEUE.has(name)),
    isClosed: actions.includes('unload'),
  };
}

const USES_QUEUE = new Set(['destroy', 'access', 'evict', 'exit']);

/** What else comes of it, where a process is left behind. */
const KNOWN_AT_UNLOAD = [
  { name: 'the work queue goes', kind: 'warn' },
  { name: 'the work queue is gone', kind: 'use-after-free', object: 'workqueue_struct' },
  { name: 'the work queue is gone', kind: 'data-race', object: 'kfd_process_wq' },
  { name: 'the work queue is gone', kind: 'null-dereference' },
  { name: 'the table is gone', kind: 'use-after-free', object: 'amdkfd' },
  { name: 'nobody frees the process', kind: 'leak', object: 'kfd_process' },
] as const;

const UNLOADED = { verdict: 'violation', kind: 'unloaded-code', object: 'amdkfd' } as const;

/** Where it is known to break. */
const BROKEN: Readonly<Record<string, Variant>> = {
  'evict+exit': {
    about: 'the eviction is scheduled after release cancelled it (A-19)',
    expect: { verdict: 'violation', kind: 'use-after-free', object: 'kfd_process' },
  },
  'exit+unload': {
    about: 'see kfd-unload',
    expect: UNLOADED,
    alsoKnown: KNOWN_AT_UNLOAD,
  },
};

const BY_MM = new Set(['munmap', 'mprotect', 'fork', 'reclaim']);

function pairs(): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      // The driver has no part in what the mm does by itself: nothing is called.
      if (BY_MM.has(first) && BY_MM.has(second)) continue;
      const pair = `${first}+${second}`;
      found[pair] = BROKEN[pair] ?? { expect: { verdict: 'clean' } };
    }
  }
  return found;
}

function act(state: State, variant: string, which: 0 | 1): Body<unknown> {
  const name = variant.split('+')[which] as string;
  return (ACTIONS[name] as (typeof ACTIONS)[string])(state);
}

const kfdPairs = defineScenario<State>({
  name: 'kfd-pairs',
  models: ['patch 9', 'patch 10', 'A-19'],
  about: 'each thing that can happen to a process with queues on the GPU, beside each other one',
  variants: pairs(),
  // In the series a module that goes leaves its processes behind; see kfd-unload.
  setup(machine, variant) {
    const actions = variant.split('+');
    return prepare(
      machine,
      actions.includes('unload') ? amdkfdV61 : amdkfdSeries,
      setUpFor(actions),
    );
  },
  tasks: {
    first: {
      cpu: 0,
      *run(state, variant) {
        yield* act(state, variant, 0);
        goal('the first is done');
      },
    },
    second: {
      cpu: 1,
      *run(state, variant) {
        yield* act(state, variant, 1);
        goal('the second is done');
      },
    },
  },
  goals: ['the first is done', 'the second is done'],
  *finally({ mm }) {
    yield* mmdrop(mm);
  },
});

const UNLOAD_MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': amdkfdV53,
  series: amdkfdSeries,
  'v6.1': amdkfdV61,
  holding: amdkfdHolding,
};

const kfdUnload = defineScenario<State>({
  name: 'kfd-unload',
  models: ['patch 10', 'A-20'],
  about: 'a program has closed the device and exits, while the module is unloaded',
  variants: {
    'v5.3': {
      about: 'its notifier stays until the mm ends, the module does not',
      expect: UNLOADED,
      alsoKnown: KNOWN_AT_UNLOAD,
    },
    series: {
      about: 'the same: mmu_notifier_synchronize waits for those that were put',
      expect: UNLOADED,
      alsoKnown: KNOWN_AT_UNLOAD,
    },
    'v6.1': {
      about:
        'module exit ends the processes that are left, not the one that release has just taken',
      expect: UNLOADED,
      alsoKnown: KNOWN_AT_UNLOAD,
    },
    holding: {
      about: 'each process keeps the module loaded until its last work (ours)',
      expect: { verdict: 'clean' },
    },
  },
  setup: (machine, variant) =>
    prepare(machine, UNLOAD_MODULES[variant] as ModuleType, {
      isOpen: true,
      hasQueue: false,
      isClosed: true,
    }),
  tasks: {
    exit: {
      cpu: 0,
      *run({ process }) {
        yield* process.exit();
        goal('exited');
      },
    },
    rmmod: { cpu: 1, run: unload },
  },
  goals: ['exited'],
  *finally({ mm }) {
    yield* mmdrop(mm);
  },
});

function* unload({ module }: State): Body<void> {
  yield* unloadModule(module);
}

function prepareToOpen(machine: Machine, variant: string): State {
  return prepare(machine, variant === 'series' ? amdkfdSeries : amdkfdV61, {
    isOpen: false,
    hasQueue: false,
    isClosed: false,
  });
}

const kfdOpen = defineScenario<State>({
  name: 'kfd-open',
  models: ['patch 9', 'patch 10', 'A-22'],
  about: 'two threads open the device first, and any allocation may fail',
  variants: {
    series: { about: 'the program exits, too', expect: { verdict: 'clean' } },
    'v6.1': {
      about: 'an open that fails puts its notifier late: the next open gets it (A-22)',
      expect: { verdict: 'violation', kind: 'bug', object: 'mn != &process->mmu_notifier' },
      alsoKnown: [{ name: 'A-21', kind: 'leak', object: 'queue_slot_bitmap' }],
    },
  },
  faults: { allocations: 1 },
  setup: prepareToOpen,
  tasks: {
    open: {
      cpu: 0,
      *run({ process }, variant) {
        if ((yield* process.open(KFD_DEVICE)) < 0) goal('open failed');
        if (variant === 'series') yield* process.exit();
      },
    },
    again: {
      cpu: 1,
      *run({ process }) {
        if ((yield* process.open(KFD_DEVICE)) >= 0) goal('opened');
      },
    },
  },
  goals: ['open failed', 'opened'],
  *finally({ mm }) {
    yield* mmdrop(mm);
  },
});

const kfdOpenInterrupted = defineScenario<State>({
  name: 'kfd-open-interrupted',
  models: ['patch 9', 'patch 10', 'A-21'],
  about: 'a signal interrupts the first open, while another thread unmaps; then the program exits',
  variants: {
    series: { expect: { verdict: 'clean' } },
    'v6.1': {
      about: 'the trap handler cannot be mapped: the queue slots are left behind (A-21)',
      expect: { verdict: 'violation', kind: 'leak', object: 'queue_slot_bitmap' },
    },
  },
  faults: { signals: 1 },
  setup: prepareToOpen,
  tasks: {
    open: {
      cpu: 0,
      *run({ process }) {
        if ((yield* process.open(KFD_DEVICE)) === -EINTR) goal('open was interrupted');
        yield* process.exit();
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['open was interrupted'],
  *finally({ mm }) {
    yield* mmdrop(mm);
  },
});

const kfdReaper = defineScenario<State>({
  name: 'kfd-reaper',
  models: ['patch 10', 'C11'],
  about: 'queues are evicted and restored while the OOM reaper takes what the GPU writes to',
  variants: { series: { expect: { verdict: 'clean' } } },
  setup(machine) {
    const state = prepare(machine, amdkfdSeries, { isOpen: true, hasQueue: true, isClosed: false });
    machine.runNow(ringDoorbell(0, { op: 'write', address: ADDRESS, byte: WRITTEN }));
    return state;
  },
  tasks: {
    evict: {
      *run({ mm }) {
        yield* kgd2kfdScheduleEvictAndRestoreProcess(mm);
      },
    },
    reaper: {
      *run({ mm }) {
        // A callback has only release: nobody is asked, and nobody can refuse.
        if (yield* oomReapTaskMm(mm)) goal('reaped');
      },
    },
  },
  goals: ['reaped', { name: 'evicted', calls: 'kfd_process_evict_queues' }],
  *finally({ mm }) {
    yield* mmdrop(mm);
  },
});

/** The scenarios of amdkfd besides that of patch 9, which is among those of the series. */
export const AMDKFD_SCENARIOS = [
  kfdPairs,
  kfdUnload,
  kfdOpen,
  kfdOpenInterrupted,
  kfdReaper,
  ...AMDKFD_SVM_SCENARIOS,
];

export const AMDKFD: Consumer = {
  name: 'amdkfd',
  object: 'kfd_process; from v5.14 on also an interval notifier for each svm_range',
  key: 'kfd_processes_table, by the mm; ranges by their addresses',
  locks: 'kfd_processes_mutex, kfd_process.mutex, dqm_lock; svm_range.lock, deferred_list_lock',
  callbacks: ['release', 'invalidate'],
  teardown:
    'release puts it (v5.3: unregister_no_release, call_srcu; v6.1: also module exit); ranges by a work',
  versions: ['v5.3', 'series', 'v6.1', 'v5.14', 'using', 'later', 'mended'],
  scenarios: [kfdUnregister, ...AMDKFD_SCENARIOS] as unknown as Consumer['scenarios'],
};
