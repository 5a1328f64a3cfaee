/** Each thing that can happen to a program whose page tables a device walks, beside each other one, and three at once. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Scenario, Variant } from '../../check/scenario.ts';
import { amdUnplug } from '../../drivers/amd-iommu-v2/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
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
  type AmdState,
} from './amd-iommu-v2-subject.ts';

const ACTIONS: Readonly<Record<string, (state: AmdState) => Body<unknown>>> = {
  *bind(state) {
    yield* bind(state, 1);
  },
  *unbind(state) {
    yield* unbind(state, 0);
  },
  *access() {
    yield* write();
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
  *unplug() {
    yield* amdUnplug(0);
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
      const pair = `${first}+${second}`;
      // The bus lets no driver go while one of its devices does.
      if (pair !== 'unplug+unload') found[pair] = CLEAN_PAIR;
    }
  }
  return found;
}

function taskOf(which: number) {
  return {
    cpu: which,
    *run(state: AmdState, variant: string): Body<void> {
      const name = variant.split('+')[which] as string;
      yield* (ACTIONS[name] as (state: AmdState) => Body<unknown>)(state);
      goal(`task ${which} is done`);
    },
  };
}

function pairsOf(name: string, version: string): Scenario<Machine, AmdState> {
  return defineScenario<AmdState>({
    name,
    about: `each thing that can happen to a program that a device is bound to, beside each other one (${version})`,
    variants: pairs(),
    setup(machine, variant) {
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

const amdPairs = pairsOf('iommuv2-pairs', 'fixed');

const amdTriples = defineScenario<AmdState>({
  ...amdPairs,
  name: 'iommuv2-triples',
  about: 'three things that can happen to a program that a device is bound to (fixed)',
  variants: {
    'bind+unbind+munmap': BOUNDED_THREE,
    'access+munmap+fork': BOUNDED_THREE,
    'bind+unbind+exit': BOUNDED_THREE,
  },
  tasks: { ...amdPairs.tasks, third: taskOf(2) },
  goals: ['task 0 is done', 'task 1 is done', 'task 2 is done'],
});

export const AMD_PAIRS = [amdPairs, amdTriples] as const;
