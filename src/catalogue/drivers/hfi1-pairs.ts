/** Each thing that can happen to memory that the adapter uses, beside each other one; triples; and what programs do. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import {
  HFI1_IOCTL_ASSIGN_CTXT,
  HFI1_IOCTL_TID_FREE,
  hfiReceive,
  hfiSent,
  hfiWaitDone,
} from '../../drivers/hfi1/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESS,
  CLEAN,
  moduleOf,
  NEW,
  OLD,
  prepare,
  RECEIVED,
  send,
  tidInvalid,
  tidUpdate,
  type Hfi1State,
} from './hfi1-subject.ts';

const ACTIONS: Actions<Hfi1State> = {
  *receive(state) {
    yield* tidUpdate(state);
  },
  *free({ process, fd, tid }) {
    yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, tid);
  },
  *arrive({ tid }) {
    yield* hfiReceive(tid, RECEIVED);
  },
  *send(state) {
    yield* send(state);
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
  *fork({ process }) {
    yield* process.fork();
  },
  *cow({ process }) {
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ process }) {
    if (process.mm !== null) yield* reclaimPage(process.mm, ADDRESS, true);
  },
  *close({ process, fd }) {
    yield* process.close(fd);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *unload({ module }) {
    yield* unloadModule(module);
  },
};

export const hfi1Pairs = defineScenario<Hfi1State>({
  name: 'hfi1-pairs',
  models: ['B-17', 'B-18', 'B-19', 'B-20'],
  about:
    'each thing that can happen to memory that the adapter uses, beside each other one (fixed)',
  // Nobody reclaims memory of a process that has ended: it needs a use of the mm.
  variants: pairsOf(ACTIONS, { leftOut: new Set(['reclaim+exit']) }),
  setup: (machine) => prepare(machine, moduleOf('fixed'), 'tid'),
  ...sideBySide(ACTIONS, 'first', 'second'),
});

export const hfi1Triples = defineScenario<Hfi1State>({
  ...hfi1Pairs,
  name: 'hfi1-triples',
  about: 'three things that can happen to memory that the adapter uses (fixed)',
  variants: variantsOf(['free+munmap+arrive', 'receive+drop+close', 'arrive+mprotect+free']),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});

const SAME = 'program and adapter see the same memory';

export const hfi1Use = defineScenario<Hfi1State>({
  name: 'hfi1-use',
  models: ['I8a'],
  about:
    'a program sends what it stores, receives to the same page, changes the mapping, and frees the TID; an allocation may fail, or a signal come',
  variants: { 'v6.5': { expect: CLEAN }, fixed: { expect: CLEAN } },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'context'),
  tasks: {
    program: {
      *run(state) {
        const { process, fd } = state;
        for (const byte of [NEW]) {
          yield* process.store(ADDRESS, byte);
          const before = hfiSent().length;
          if ((yield* send(state)) === 0) {
            yield* hfiWaitDone(before + 1);
            warnOn(hfiSent()[before] !== byte, SAME);
            goal('sent');
          } else goal('refused');
          const tid = yield* tidUpdate(state);
          if (tid < 0) continue;
          yield* hfiReceive(tid, RECEIVED);
          warnOn((yield* process.load(ADDRESS)) !== RECEIVED, SAME);
          yield* process.munmap(ADDRESS, PAGE_SIZE);
          warnOn(((yield* tidInvalid(state)) & (1 << tid)) === 0, 'the program is told');
          yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, tid);
          goal('received');
        }
      },
    },
  },
  goals: ['sent', 'received', 'refused'],
  *finally({ process }) {
    yield* process.exit();
  },
});

export const hfi1NoContext = defineScenario<Hfi1State>({
  name: 'hfi1-no-context',
  models: ['I8a'],
  about: 'an allocation fails, or a signal comes, while a program gets a context and a TID',
  variants: {
    'v5.3': { expect: CLEAN },
    'v5.10': { expect: CLEAN },
    'v6.5': { expect: CLEAN },
    fixed: { expect: CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'open'),
  tasks: {
    program: {
      *run(state) {
        const { process, fd } = state;
        if ((yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT)) < 0) goal('no context');
        const tid = yield* tidUpdate(state);
        goal(tid < 0 ? 'no TID' : 'a TID');
        if (tid >= 0) yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, tid);
      },
    },
  },
  goals: ['no context', 'no TID', 'a TID'],
  *finally({ process }) {
    yield* process.exit();
  },
});

export const hfi1CoverReaper = defineScenario<Hfi1State>({
  name: 'hfi1-cover-reaper',
  models: ['A-164', 'I9'],
  about: 'the OOM reaper, which must not wait, comes while pages are being pinned for a TID',
  variants: {
    fixed: { about: 'tries for the lock of the covering notifier (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'context'),
  tasks: {
    update: {
      *run(state) {
        if ((yield* tidUpdate(state)) >= 0) goal('a TID');
      },
    },
    reaper: {
      *run({ mm }) {
        goal((yield* oomReapTaskMm(mm)) ? 'reaped' : 'left to exit');
      },
    },
  },
  goals: ['a TID', 'reaped', 'left to exit'],
  *finally({ process }) {
    yield* process.exit();
  },
});
