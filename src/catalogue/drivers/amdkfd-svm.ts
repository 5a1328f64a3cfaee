/**
 * Shared virtual memory of amdkfd: what becomes of its ranges when the program unmaps, is reclaimed from, or ends.
 *
 * Who drives it: a program by system calls; the GPU, which uses the program's addresses; kswapd and the OOM reaper.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import {
  AMDKFD_IOC_SVM,
  amdkfdSvm,
  amdkfdSvmMended,
  amdkfdSvmUsing,
  amdkfdSvmV514,
  KFD_DEVICE,
  svmGpuStore,
} from '../../drivers/amdkfd/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule, type ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { mmdrop, mmget, mmgrab, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { Machine } from '../../mm/machine.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import type { Process } from '../../mm/process.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';

const ADDRESS = 0x40_0000;
/** The first process of the machine has it. */
const PASID = 1;
const OLD = 1;
const WRITTEN = 7;
const CLEAN = { verdict: 'clean' } as const;

interface SvmState {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
}

interface SetUp {
  readonly module: ModuleType;
  readonly pages?: number;
  /** Whether the pages are the GPU's already. */
  readonly isShared?: boolean;
}

function share({ process, fd }: SvmState, pages: number) {
  return process.ioctl(fd, AMDKFD_IOC_SVM, { start: ADDRESS, size: pages * PAGE_SIZE });
}

function prepare(machine: Machine, { module, pages = 1, isShared = true }: SetUp): SvmState {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, pages * PAGE_SIZE));
  for (let page = 0; page < pages; page += 1) {
    machine.runNow(process.store(ADDRESS + page * PAGE_SIZE, OLD));
  }
  machine.load(module);
  const fd = machine.runNow<number>(process.open(KFD_DEVICE));
  const state = { process, mm, module, fd };
  if (isShared) machine.runNow(share(state, pages));
  return state;
}

function* unpin({ mm }: SvmState): Body<void> {
  yield* mmdrop(mm);
}

/** The versions, as variants call them. */
const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.14': amdkfdSvmV514,
  using: amdkfdSvmUsing,
  later: amdkfdSvm,
  mended: amdkfdSvmMended,
};

function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

const svmExit = defineScenario<SvmState>({
  name: 'kfd-svm-exit',
  models: ['B-38', 'C7'],
  about: 'a program unmaps half of what the GPU shares, and exits before the work has come to it',
  variants: {
    'v5.14': {
      about: 'the work finds no mm, and leaves what was split off where it is',
      expect: { verdict: 'violation', kind: 'leak', object: 'svm_range' },
    },
    using: { about: 'who puts a range on the list takes the mm into use', expect: CLEAN },
    later: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), pages: 2 }),
  tasks: {
    program: {
      *run({ process }) {
        yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
        yield* process.exit();
        goal('exited');
      },
    },
  },
  goals: ['exited', { name: 'the work came', calls: 'svm_range_deferred_list_work' }],
  finally: unpin,
});

const svmMmput = defineScenario<SvmState>({
  name: 'kfd-svm-mmput',
  models: ['B-48', 'C2', 'I11'],
  about:
    'a page that the GPU shares is reclaimed; the program has exited, and who still looked into its memory lets go',
  preemptions: 2,
  variants: {
    using: {
      about:
        'the callback has the last use of the mm: it ends it, with the lock of the reverse map held',
      expect: {
        verdict: 'violation',
        kind: 'deadlock',
        object: 'anon_vma.rwsem',
        invariant: 'I11',
      },
      alsoKnown: [
        { name: 'B-48', kind: 'lock-order' },
        { name: 'B-48', kind: 'deadlock', object: 'schedule' },
      ],
    },
    later: { about: 'the callback takes nothing', expect: { verdict: 'bounded' } },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(mmget(state.mm));
    machine.runNow(state.process.exit());
    return state;
  },
  tasks: {
    user: {
      *run({ mm }) {
        yield* mmput(mm);
        goal('let go');
      },
    },
    reclaim: {
      *run({ mm }) {
        yield* reclaimPage(mm, ADDRESS, true);
        goal('reclaimed');
      },
    },
  },
  goals: ['let go', 'reclaimed'],
  finally: unpin,
});

const svmReaper = defineScenario<SvmState>({
  name: 'kfd-svm-reaper',
  models: ['A-96', 'I9', 'C11'],
  about:
    'the OOM reaper, which must not wait, takes memory that the GPU shares, while it is shared again',
  variants: {
    later: {
      about: 'the callback never asks whether it may sleep, and takes a mutex',
      expect: {
        verdict: 'violation',
        kind: 'sleeping-in-atomic',
        object: 'mutex_lock(&svm_range.lock)',
        invariant: 'I9',
      },
    },
    mended: { about: 'it tries, and says if it cannot (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    share: {
      *run(state) {
        yield* share(state, 1);
      },
    },
    reaper: {
      *run({ mm }) {
        goal((yield* oomReapTaskMm(mm)) ? 'reaped' : 'left to exit');
      },
    },
  },
  goals: ['reaped'],
  finally: unpin,
});

const svmShrink = defineScenario<SvmState>({
  name: 'kfd-svm-shrink',
  models: ['A-97'],
  about:
    'half of a range is unmapped; the page that is left is reclaimed, and the GPU writes to it',
  variants: {
    later: {
      about:
        'the work removes the notifier and inserts it anew; in between nobody tells of the reclaim',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
    },
    mended: {
      about: 'the GPU loses the range first (ours)',
      expect: CLEAN,
    },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), pages: 2 }),
  tasks: {
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
      },
    },
    reclaim: {
      *run({ mm }) {
        yield* reclaimPage(mm, ADDRESS, true);
        yield* svmGpuStore(PASID, ADDRESS, WRITTEN);
        goal('written');
      },
    },
  },
  goals: ['written'],
  finally: unpin,
});

const ACTIONS: Actions<SvmState> = {
  *share(state) {
    yield* share(state, 1);
  },
  *access() {
    yield* svmGpuStore(PASID, ADDRESS, WRITTEN);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *drop({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  /** The child stays. */
  *fork({ process }) {
    yield* process.fork();
  },
  /** Of a page that set-up has shared with a child. */
  *cow({ process }) {
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *unload({ module }) {
    yield* unloadModule(module);
  },
};

/** The GPU's interrupts are amdgpu's, which stays; and kfd-svm-mmput is about the other. */
const ELSEWHERE = ['access+unload', 'reclaim+exit'];

/** Of the mm's own kinds each is beside the driver's, and munmap and reclaim beside all. */
const BY_MM = ['drop', 'mprotect', 'fork', 'cow'];
const AMONG_THEM = BY_MM.flatMap((first) => BY_MM.map((second) => `${first}+${second}`));

const svmPairs = defineScenario<SvmState>({
  name: 'kfd-svm-pairs',
  models: ['B-38', 'B-48'],
  about: 'each thing that can happen to memory that the GPU shares, beside each other one (mended)',
  variants: pairsOf(ACTIONS, { leftOut: new Set([...ELSEWHERE, ...AMONG_THEM]) }),
  setup(machine, variant) {
    const state = prepare(machine, { module: amdkfdSvmMended });
    // Otherwise the module cannot go.
    if (variant.includes('unload')) machine.runNow(state.process.close(state.fd));
    if (variant.includes('cow')) machine.runNow(state.process.fork());
    return state;
  },
  ...sideBySide(ACTIONS, 'first', 'second'),
  finally: unpin,
});

const svmTriples = defineScenario<SvmState>({
  ...svmPairs,
  name: 'kfd-svm-triples',
  about: 'three things that can happen to memory that the GPU shares (mended)',
  variants: variantsOf([
    'share+munmap+reclaim',
    'access+drop+mprotect',
    'access+munmap+fork',
    'share+drop+exit',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});

export const AMDKFD_SVM_SCENARIOS = [svmExit, svmMmput, svmReaper, svmShrink, svmPairs, svmTriples];
