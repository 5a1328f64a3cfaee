/**
 * Each thing that can happen to a program whose memory the GPU uses, beside each other one, and what three do together.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { DRM_IOCTL_GEM_CLOSE } from '../../drivers/i915/index.ts';
import type { Variant } from '../../check/scenario.ts';
import { unloadModule } from '../../kernel/module.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESS,
  GOES_ON,
  moduleOf,
  OLD,
  prepare,
  STALE,
  submitWrite,
  unpin,
  userptr,
  type I915State,
} from './i915-subject.ts';

const ACTIONS: Actions<I915State> = {
  *register(state) {
    yield* userptr(state);
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

type Special = Readonly<Record<string, Variant>>;

function beside(name: string, version: string, special: Special) {
  return defineScenario<I915State>({
    name,
    models: ['C1'],
    about: `each thing that can happen to memory that the GPU uses, beside each other one (${version})`,
    variants: pairsOf(ACTIONS, { special }),
    setup(machine, variant) {
      const module = moduleOf(version);
      const state = prepare(machine, { made: 'pages', module });
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

/** The page is looked up without mmap_sem, before or after start has looked for the buffer. */
const LOOKED_UP: Variant = { about: 'see i915-lookup-race', expect: STALE };

const OF_GET_PUT: Special = {
  'access+munmap': LOOKED_UP,
  'access+drop': LOOKED_UP,
  'access+mprotect': LOOKED_UP,
  'access+fork': LOOKED_UP,
  'access+reclaim': LOOKED_UP,
  'access+exit': { about: 'see i915-exit', expect: GOES_ON },
};

/** v5.3 as the letter would have it. */
export const i915Pairs = beside('i915-pairs', 'get-put', OF_GET_PUT);
/** v6.1's form, mended. */
export const i915IntervalPairs = beside('i915-pairs-interval', 'fixed', {});

export const i915Triples = defineScenario<I915State>({
  ...i915IntervalPairs,
  name: 'i915-triples',
  about: 'three things that can happen to memory that the GPU uses (fixed)',
  variants: variantsOf([
    'access+drop+exit',
    'access+mprotect+reclaim',
    'unregister+munmap+drop',
    'register+munmap+close',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});
