/** Each thing that can happen to a program whose page tables a device walks, beside each other one, and three at once. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Scenario, Variant } from '../../check/scenario.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { LINUX_5_4, setBehaviour } from '../../mm/behaviour.ts';
import type { Machine } from '../../mm/machine.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  bind,
  moduleOf,
  OLD,
  prepare,
  unbind,
  unpin,
  write,
  type SvmState,
} from './intel-svm-subject.ts';

const ACTIONS: Readonly<Record<string, (state: SvmState) => Body<unknown>>> = {
  *bind(state) {
    yield* bind(state, { device: 1 });
  },
  *unbind(state) {
    yield* unbind(state, { device: 0, pasid: state.pasid });
  },
  *access(state) {
    yield* write(state);
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
  // The page is shared with a child: the store copies it.
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

const CLEAN_PAIR: Variant = { expect: { verdict: 'clean' } };
const BOUNDED_THREE: Variant = { preemptions: 2, expect: { verdict: 'bounded' } };

function pairs(): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      found[`${first}+${second}`] = CLEAN_PAIR;
    }
  }
  return found;
}

function taskOf(which: number) {
  return {
    cpu: which,
    *run(state: SvmState, variant: string): Body<void> {
      const name = variant.split('+')[which] as string;
      yield* (ACTIONS[name] as (state: SvmState) => Body<unknown>)(state);
      goal(`task ${which} is done`);
    },
  };
}

function pairsOf(name: string, version: string): Scenario<Machine, SvmState> {
  return defineScenario<SvmState>({
    name,
    about: `each thing that can happen to a program that a device is bound to, beside each other one (${version})`,
    variants: pairs(),
    setup(machine, variant) {
      if (version === 'v5.3') setBehaviour(machine, LINUX_5_4);
      const state = prepare(machine, { module: moduleOf(version) });
      if (variant.includes('cow')) machine.runNow(state.process.fork());
      // Otherwise the module cannot go.
      if (variant.includes('unload')) machine.runNow(state.process.close(state.fd));
      return state;
    },
    tasks: { first: taskOf(0), second: taskOf(1) },
    goals: ['task 0 is done', 'task 1 is done'],
    finally: unpin,
  });
}

const svmPairs = pairsOf('svm-pairs', 'converted');
const svmPairsV53 = pairsOf('svm-pairs-v5.3', 'v5.3');

const svmTriples = defineScenario<SvmState>({
  ...svmPairs,
  name: 'svm-triples',
  about: 'three things that can happen to a program that a device is bound to (converted)',
  variants: {
    'bind+unbind+munmap': BOUNDED_THREE,
    'access+unbind+munmap': BOUNDED_THREE,
    'access+munmap+fork': BOUNDED_THREE,
    'bind+unbind+exit': BOUNDED_THREE,
  },
  tasks: { ...svmPairs.tasks, third: taskOf(2) },
  goals: ['task 0 is done', 'task 1 is done', 'task 2 is done'],
});

export const SVM_PAIRS = [svmPairs, svmPairsV53, svmTriples] as const;
