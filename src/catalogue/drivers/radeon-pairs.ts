/**
 * Each thing that can happen to a program whose memory the GPU uses, beside each other one, and what three do together.
 * For the two mended forms: what is found here is known of no kernel.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { DRM_IOCTL_GEM_CLOSE } from '../../drivers/radeon/index.ts';
import type { Variant } from '../../check/scenario.ts';
import { unloadModule } from '../../kernel/module.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESS,
  BOUND,
  D8_4,
  moduleOf,
  OLD,
  prepare,
  REGISTERED,
  submitWrite,
  unpin,
  userptr,
  type RadeonState,
} from './radeon-subject.ts';

const ACTIONS: Actions<RadeonState> = {
  *register(state) {
    yield* userptr(state, ADDRESS, REGISTERED);
  },
  *unregister({ process, fd, handle }) {
    yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
  },
  *access(state) {
    yield* submitWrite(state, state.handle);
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
  // The page is shared with a child: the write copies it.
  *cow({ process }) {
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
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

const STALE = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I8b',
} as const;

const COPIES_UNDER_RESERVATION: Variant = {
  about: 'a copy on write tells the notifiers with the reservation held (D8-4)',
  expect: {
    verdict: 'violation',
    kind: 'lock-order',
    object: 'mmu_notifier_invalidate_range_start, radeon_bo.resv',
  },
  alsoKnown: [D8_4],
};

type Special = Readonly<Record<string, Variant>>;

/** What a form that looks pages up with reservations held, and without a retry, cannot avoid. */
const OF_FIXED: Special = {
  'access+drop': { about: 'see radeon-rebind', expect: STALE, alsoKnown: [D8_4] },
  'access+reclaim': { about: 'see radeon-rebind', expect: STALE, alsoKnown: [D8_4] },
  'access+fork': COPIES_UNDER_RESERVATION,
  'access+cow': COPIES_UNDER_RESERVATION,
};

const OF_RETRYING: Special = {};

function scenarioOf(name: string, version: string, special: Special) {
  return defineScenario<RadeonState>({
    name,
    models: ['patch 8'],
    about: `each thing that can happen to memory that the GPU uses, beside each other one (${version})`,
    variants: pairsOf(ACTIONS, { special }),
    setup(machine, variant) {
      const module = moduleOf(version);
      const state = prepare(machine, { flags: BOUND, module });
      if (variant.includes('cow')) machine.runNow(state.process.fork());
      // Otherwise the module cannot go.
      const isClosed = variant.includes('unload') && !variant.includes('close');
      if (isClosed) machine.runNow(state.process.close(state.fd));
      return state;
    },
    ...sideBySide(ACTIONS, 'first', 'second'),
    finally: unpin,
  });
}

/** v5.4's form, mended as far as it can be. */
export const radeonPairs = scenarioOf('radeon-pairs', 'fixed', OF_FIXED);
/** v5.5's form, mended. */
export const radeonIntervalPairs = scenarioOf('radeon-pairs-interval', 'retrying', OF_RETRYING);

export const radeonTriples = defineScenario<RadeonState>({
  ...radeonIntervalPairs,
  name: 'radeon-triples',
  about: 'three things that can happen to memory that the GPU uses (retrying)',
  variants: variantsOf([
    'access+register+close',
    'unregister+munmap+drop',
    'unregister+drop+exit',
    'register+unregister+drop',
    'register+munmap+close',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});
