/**
 * Each thing that can happen to a program that maps two grants, beside each other one, and what three do together; and
 * what programs do with grants.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { xenLoad, xenStore } from '../../drivers/gntdev/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESS,
  afterwards,
  BAD_PAGE,
  CLEAN,
  finish,
  GRANTED,
  mapGrants,
  mmapGrants,
  moduleOf,
  PLAIN,
  prepare,
  refsOf,
  unmapGrants,
  type GntdevState,
} from './gntdev-subject.ts';

/** Where a second mapping goes. */
const ELSEWHERE = 0x50_0000;
const UPPER = ADDRESS + PAGE_SIZE;

/** A reference to the page of a grant, as somebody takes it for DMA. */
function* reference({ mm }: GntdevState): Body<void> {
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, ADDRESS, 1, true);
  yield* upRead(mm.mmapSem);
  if (typeof pages === 'number') return;
  for (const page of pages) yield* putUserPage(page);
}

const ACTIONS: Actions<GntdevState> = {
  *map(state) {
    const offset = yield* mapGrants(state, [0]);
    if (offset >= 0) yield* mmapGrants({ ...state, offset, count: 1 }, ELSEWHERE);
  },
  *unmap(state) {
    yield* unmapGrants(state);
  },
  *access({ process }) {
    yield* process.load(UPPER);
  },
  reference,
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, 2 * PAGE_SIZE);
  },
  *half({ process }) {
    yield* process.munmap(UPPER, PAGE_SIZE);
  },
  *drop({ process }) {
    yield* process.madvise(UPPER, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(UPPER, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    yield* process.fork();
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, PLAIN, true);
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

export const gntdevPairs = defineScenario<GntdevState>({
  name: 'gntdev-pairs',
  models: ['B-25', 'B-23'],
  about:
    'each thing that can happen to grants that a program has mapped, beside each other one (fixed)',
  variants: pairsOf(ACTIONS),
  setup: (machine) => prepare(machine, { module: moduleOf('fixed'), count: 2 }),
  ...sideBySide(ACTIONS, 'first', 'second'),
  finally: finish,
});

export const gntdevTriples = defineScenario<GntdevState>({
  ...gntdevPairs,
  name: 'gntdev-triples',
  about: 'three things that can happen to grants that a program has mapped (fixed)',
  variants: variantsOf([
    'reference+half+drop',
    'unmap+munmap+close',
    'map+half+reclaim',
    'reference+munmap+exit',
  ]),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
});

export const gntdevBounds = defineScenario<GntdevState>({
  name: 'gntdev-bounds',
  models: ['A-150'],
  about:
    'one thread takes the right to write from one of two grants, while other memory is reclaimed',
  variants: {
    'v5.3': {
      about: 'start looks at the bounds of the VMA, whatever memory it is about, without mmap_sem',
      expect: { verdict: 'violation', kind: 'data-race', object: 'vm_area_struct.vm_start' },
      alsoKnown: [{ name: 'A-150', kind: 'data-race' }],
    },
    'v5.5': {
      about:
        'only a range that hits the map comes to the driver; but when the program ends, see gntdev-split-upper',
      expect: BAD_PAGE,
      alsoKnown: afterwards('B-25'),
    },
    fixed: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), count: 2 }),
  tasks: {
    mprotect: {
      *run({ process }) {
        yield* process.mprotect(UPPER, PAGE_SIZE, PROT_READ);
      },
    },
    reclaim: {
      *run({ mm }) {
        if (yield* reclaimPage(mm, PLAIN, true)) goal('reclaimed');
      },
    },
  },
  goals: ['reclaimed'],
  finally: finish,
});

// ---- real use ------------------------------------------------------------------------------------

const SAME = 'both domains see the same memory';

export const gntdevUse = defineScenario<GntdevState>({
  name: 'gntdev-use',
  models: ['I8a'],
  about:
    'a program and the other domain write to two grants in turn; one thread unmaps one of them meanwhile, then all is mapped once more',
  variants: { fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), count: 2 }),
  tasks: {
    talk: {
      *run({ process }) {
        warnOn((yield* process.load(ADDRESS)) !== GRANTED[0], SAME);
        yield* process.store(ADDRESS, 21);
        warnOn((yield* xenLoad(0)) !== 21, SAME);
        yield* xenStore(0, 31);
        warnOn((yield* process.load(ADDRESS)) !== 31, SAME);
        goal('talked');
      },
    },
    unmap: {
      *run({ process }) {
        yield* process.munmap(UPPER, PAGE_SIZE);
        if ((yield* process.load(UPPER)) < 0) goal('gone');
      },
    },
  },
  goals: ['talked', 'gone', 'mapped once more'],
  *finally(state) {
    const { process } = state;
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    warnOn((yield* mmapGrants(state)) !== ADDRESS, 'what is unmapped can be mapped again');
    warnOn((yield* process.load(UPPER)) !== GRANTED[1], SAME);
    goal('mapped once more');
    yield* finish(state);
  },
});

/** By the version that is in v5.3: whole mappings only. */
export const gntdevWhole = defineScenario<GntdevState>({
  name: 'gntdev-whole',
  models: ['I8a'],
  about:
    'a program writes to a grant, unmaps it while other memory is reclaimed, and ends; the same with the OOM reaper',
  variants: { 'v5.3': { expect: CLEAN }, 'v5.5': { expect: CLEAN }, fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run({ process }) {
        if ((yield* process.store(ADDRESS, 21)) === 0) {
          warnOn((yield* xenLoad(0)) !== 21, SAME);
          goal('written');
        }
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
    reaper: {
      *run({ mm }) {
        yield* oomReapTaskMm(mm);
        goal('reaped');
      },
    },
  },
  goals: ['written', 'reaped'],
  finally: finish,
});

export const gntdevInherited = defineScenario<GntdevState>({
  name: 'gntdev-inherited',
  models: ['C8'],
  about: 'a child maps grants by a file that it has from its parent',
  variants: {
    'v5.3': { about: 'the notifier is for the parent: refused', expect: CLEAN },
    fixed: { about: 'a map has its notifier where it is mapped', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'map' }),
  tasks: {
    child: {
      *run(state, variant) {
        const child = yield* state.process.fork();
        if (typeof child === 'number') return;
        const address = yield* mmapGrants({ ...state, process: child });
        warnOn(address > 0 !== (variant === 'fixed'), 'only where the notifier is');
        goal('tried');
        yield* child.exit();
        yield* mapGrants(state, refsOf(1));
      },
    },
  },
  goals: ['tried'],
  finally: finish,
});
