/**
 * Each thing that can happen to a ring beside each other one, and what three do together. For the two mended forms:
 * what is found here is known of no kernel.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { unloadModule } from '../../kernel/module.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESSES,
  kick,
  moduleOf,
  prepare,
  setAddresses,
  unpin,
  USED,
  type VhostState,
} from './vhost-subject.ts';

/** Those of the mm are about the page that the worker writes to. */
const ACTIONS: Actions<VhostState> = {
  *kick(state) {
    yield* kick(state);
  },
  *move(state) {
    yield* setAddresses(state, ADDRESSES);
  },
  *munmap({ process }) {
    yield* process.munmap(USED, PAGE_SIZE);
  },
  *drop({ process }) {
    yield* process.madvise(USED, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(USED, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    yield* process.fork();
  },
  // The page is shared with a child: the write copies it.
  *cow({ process }) {
    yield* process.store(USED + 8, 1);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, USED, true);
  },
  // The OOM reaper, which must not wait.
  *reap({ mm }) {
    yield* oomReapTaskMm(mm);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *close({ process, fd }) {
    yield* process.close(fd);
  },
  *unload({ module }) {
    yield* unloadModule(module);
  },
};

function beside(name: string, version: string) {
  return defineScenario<VhostState>({
    name,
    models: ['B-40'],
    about: `each thing that can happen to a ring, beside each other one (${version})`,
    variants: pairsOf(ACTIONS),
    setup(machine, variant) {
      const state = prepare(machine, { module: moduleOf(version), stage: 'mapped' });
      if (variant.includes('cow')) machine.runNow(state.process.fork());
      const isClosed = variant.includes('unload') && !variant.includes('close');
      if (isClosed) machine.runNow(state.process.close(state.fd));
      return state;
    },
    ...sideBySide(ACTIONS, 'first', 'second'),
    *finally(state) {
      yield* state.process.exit();
      yield* unpin(state);
    },
  });
}

export const vhostPairs = beside('vhost-pairs', 'fixed');
export const vhostIntervalPairs = beside('vhost-pairs-interval', 'interval');

export const vhostTriples = defineScenario<VhostState>({
  ...vhostIntervalPairs,
  name: 'vhost-triples',
  about: 'three things that can happen to a ring (interval)',
  variants: variantsOf([
    'kick+munmap+close',
    'kick+reclaim+close',
    'kick+mprotect+drop',
    'move+munmap+exit',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});
