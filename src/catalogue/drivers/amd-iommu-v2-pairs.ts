/** Each thing that can happen to a program whose page tables a device walks, beside each other one, and three at once. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Scenario } from '../../check/scenario.ts';
import { amdUnplug } from '../../drivers/amd-iommu-v2/index.ts';
import { unloadModule } from '../../kernel/module.ts';
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
  type AmdState,
} from './amd-iommu-v2-subject.ts';

const ACTIONS: Actions<AmdState> = {
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

/** The bus lets no driver go while one of its devices does. */
const LEFT_OUT = new Set(['unplug+unload']);

function pairsIn(name: string, version: string): Scenario<Machine, AmdState> {
  return defineScenario<AmdState>({
    name,
    about: `each thing that can happen to a program that a device is bound to, beside each other one (${version})`,
    models: ['I8a', 'I8b'],
    variants: pairsOf(ACTIONS, { leftOut: LEFT_OUT }),
    setup(machine, variant) {
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

const amdPairs = pairsIn('iommuv2-pairs', 'fixed');

const amdTriples = defineScenario<AmdState>({
  ...amdPairs,
  name: 'iommuv2-triples',
  about: 'three things that can happen to a program that a device is bound to (fixed)',
  variants: variantsOf(['bind+unbind+munmap', 'access+munmap+fork', 'bind+unbind+exit']),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});

export const AMD_PAIRS = [amdPairs, amdTriples] as const;
