/** Each thing that can happen to a program whose page tables a device walks, beside each other one, and three at once. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Scenario } from '../../check/scenario.ts';
import { unloadModule } from '../../kernel/module.ts';
import { LINUX_5_4, setBehaviour } from '../../mm/behaviour.ts';
import type { Machine } from '../../mm/machine.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
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

const ACTIONS: Actions<SvmState> = {
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

function pairsIn(name: string, version: string): Scenario<Machine, SvmState> {
  return defineScenario<SvmState>({
    name,
    about: `each thing that can happen to a program that a device is bound to, beside each other one (${version})`,
    models: ['I8a', 'I8b'],
    variants: pairsOf(ACTIONS),
    setup(machine, variant) {
      if (version === 'v5.3') setBehaviour(machine, LINUX_5_4);
      const state = prepare(machine, { module: moduleOf(version) });
      if (variant.includes('cow')) machine.runNow(state.process.fork());
      // Otherwise the module cannot go.
      if (variant.includes('unload')) machine.runNow(state.process.close(state.fd));
      return state;
    },
    ...sideBySide(ACTIONS, 'first', 'second'),
    finally: unpin,
  });
}

const svmPairs = pairsIn('svm-pairs', 'converted');
const svmPairsV53 = pairsIn('svm-pairs-v5.3', 'v5.3');

const svmTriples = defineScenario<SvmState>({
  ...svmPairs,
  name: 'svm-triples',
  about: 'three things that can happen to a program that a device is bound to (converted)',
  variants: variantsOf([
    'bind+unbind+munmap',
    'access+unbind+munmap',
    'access+munmap+fork',
    'bind+unbind+exit',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});

export const SVM_PAIRS = [svmPairs, svmPairsV53, svmTriples] as const;
