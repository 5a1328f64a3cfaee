/** Each thing that can happen to memory that the adapter uses, beside each other one; triples; and what programs do. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import { HFI1_IOCTL_TID_FREE, hfiReceive, hfiSent, hfiWaitDone } from '../../drivers/hfi1/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
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

type Action = (state: Hfi1State) => Body<unknown>;

const ACTIONS: Readonly<Record<string, Action>> = {
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

function pairs(): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      // Nobody reclaims memory of a process that has ended: it needs a use of the mm.
      if (first === 'reclaim' && second === 'exit') continue;
      found[`${first}+${second}`] = { expect: CLEAN };
    }
  }
  return found;
}

function act(state: Hfi1State, variant: string, which: number): Body<unknown> {
  return (ACTIONS[variant.split('+')[which] as string] as Action)(state);
}

export const hfi1Pairs = defineScenario<Hfi1State>({
  name: 'hfi1-pairs',
  models: ['B-17', 'B-18', 'B-19', 'B-20'],
  about:
    'each thing that can happen to memory that the adapter uses, beside each other one (fixed)',
  variants: pairs(),
  setup: (machine) => prepare(machine, moduleOf('fixed'), 'tid'),
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
});

const THREE: Variant = { preemptions: 2, expect: { verdict: 'bounded' } };

export const hfi1Triples = defineScenario<Hfi1State>({
  ...hfi1Pairs,
  name: 'hfi1-triples',
  about: 'three things that can happen to memory that the adapter uses (fixed)',
  variants: {
    'free+munmap+arrive': THREE,
    'receive+drop+close': THREE,
    'arrive+mprotect+free': THREE,
  },
  tasks: {
    ...hfi1Pairs.tasks,
    third: {
      cpu: 2,
      *run(state, variant) {
        yield* act(state, variant, 2);
        goal('the third is done');
      },
    },
  },
  goals: ['the first is done', 'the second is done', 'the third is done'],
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
