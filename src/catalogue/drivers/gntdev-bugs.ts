/** gntdev: what was published, and what is doubtful. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { GNTDEV_PATH } from '../../drivers/gntdev/index.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  afterwards,
  BAD_PAGE,
  CLEAN,
  finish,
  GRANTED,
  LEFT_BEHIND,
  mapGrants,
  mmapGrants,
  moduleOf,
  PLAIN,
  prepare,
  refsOf,
  unmapGrants,
  type GntdevState,
} from './gntdev-subject.ts';

export const gntdevAuto = defineScenario<GntdevState>({
  name: 'gntdev-auto-translated',
  models: ['B-24'],
  about: 'a program maps a grant in an auto-translated guest',
  variants: {
    'v5.5-auto': {
      about: 'asks a notifier that was never inserted',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    'initialised-auto': { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'map' }),
  tasks: {
    program: {
      *run(state) {
        if ((yield* mmapGrants(state)) < 0) return;
        if ((yield* state.process.load(ADDRESS)) === 11) goal('mapped');
        yield* state.process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['mapped'],
  finally: finish,
});

const HALF = { lower: ADDRESS, upper: ADDRESS + PAGE_SIZE } as const;

const UPPER_V53 =
  'what is left of the VMA is taken for the map: Xen is told to take the other grant away, and this one stays';
const LOWER_V53 = 'the VMA that the map knew is gone, and nobody tells Xen of the other one';

/** What two callbacks do that go about the same grant. */
const RACES = [...afterwards('A-152'), { name: 'A-152', kind: 'data-race' }] as const;

function splitting(name: string, half: keyof typeof HALF) {
  const others = half === 'lower' ? 'the same' : 'the same; the notifier goes with the first VMA';
  return defineScenario<GntdevState>({
    name,
    models: ['B-25', 'C9'],
    about: `a program unmaps the ${half} one of two grants that it has mapped together, then the other`,
    variants: {
      'v5.3': {
        about: half === 'lower' ? LOWER_V53 : UPPER_V53,
        expect: BAD_PAGE,
        alsoKnown: afterwards('B-25'),
      },
      'v5.5': { about: others, expect: BAD_PAGE, alsoKnown: afterwards('B-25') },
      async: { about: 'the same', expect: BAD_PAGE, alsoKnown: afterwards('B-25') },
      fixed: { about: 'goes by the bounds of the map, until its last VMA is gone', expect: CLEAN },
    },
    setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), count: 2 }),
    tasks: {
      program: {
        *run({ process }) {
          yield* process.munmap(HALF[half], PAGE_SIZE);
          const other = half === 'lower' ? HALF.upper : HALF.lower;
          const byte = yield* process.load(other);
          if (byte === (half === 'lower' ? 12 : 11)) goal('has the other');
          else warnOn(true, 'the other grant is mapped');
          yield* process.munmap(other, PAGE_SIZE);
        },
      },
    },
    goals: ['has the other'],
    finally: finish,
  });
}

export const gntdevSplitLower = splitting('gntdev-split-lower', 'lower');
export const gntdevSplitUpper = splitting('gntdev-split-upper', 'upper');

export const gntdevReferenced = defineScenario<GntdevState>({
  name: 'gntdev-referenced',
  models: ['A-151'],
  about: 'a program unmaps a grant to which somebody has a reference, as one has for DMA',
  variants: {
    'v5.3': { about: 'waits', expect: CLEAN },
    'v5.5': { about: 'waits', expect: CLEAN },
    async: {
      about: 'returns, and the entry is still there when munmap comes to it',
      expect: BAD_PAGE,
      alsoKnown: LEFT_BEHIND,
    },
    fixed: { about: 'the entry goes at once, and only the rest waits', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    holder: {
      *run({ mm }) {
        yield* downRead(mm.mmapSem);
        const pages = yield* getUserPages(mm, ADDRESS, 1, true);
        yield* upRead(mm.mmapSem);
        if (typeof pages === 'number') return;
        goal('has a reference');
        for (const page of pages) yield* putUserPage(page);
      },
    },
    program: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['has a reference'],
  finally: finish,
});

export const gntdevReclaim = defineScenario<GntdevState>({
  name: 'gntdev-reclaim',
  models: ['A-15', 'C2'],
  about: 'a program makes another map, while other memory of it is reclaimed',
  variants: {
    'A-15': {
      about: 'as A-15 supposes it: the map is allocated with the lock held that callbacks take',
      expect: { verdict: 'violation', kind: 'lock-order', object: 'fs_reclaim, gntdev_priv.lock' },
    },
    'v5.3': { about: 'allocates before it takes the lock', expect: CLEAN },
    'v5.5': { about: 'callbacks do not take the lock', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        if ((yield* mapGrants(state, refsOf(1))) > 0) goal('made');
      },
    },
    kswapd: {
      *run({ mm }) {
        if (yield* reclaimPage(mm, PLAIN, true)) goal('reclaimed');
      },
    },
  },
  goals: ['made', 'reclaimed'],
  finally: finish,
});

export const gntdevNoMemory = defineScenario<GntdevState>({
  name: 'gntdev-no-memory',
  models: ['I8a'],
  about: 'an allocation fails, or a signal comes, while a program maps two grants',
  variants: {
    'v5.3': { expect: CLEAN },
    'v5.5': { expect: CLEAN },
    async: { expect: CLEAN },
    fixed: { expect: CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) =>
    prepare(machine, { module: moduleOf(variant), stage: 'open', count: 2 }),
  tasks: {
    program: {
      *run(state) {
        const offset = yield* mapGrants(state, refsOf(2));
        const address = offset < 0 ? offset : yield* mmapGrants({ ...state, offset });
        goal(address < 0 ? 'refused' : 'mapped');
      },
    },
  },
  goals: ['refused', 'mapped'],
  finally: finish,
});

/** One of these was never granted. */
const BAD = [0, 1];

export const gntdevBadGrant = defineScenario<GntdevState>({
  name: 'gntdev-bad-grant',
  models: ['I8a'],
  about:
    'a program maps a grant that there is with one that there is not, and then the one alone, which it gives up before it unmaps it; allocations fail, signals come',
  variants: {
    'v5.3': { expect: CLEAN },
    'v5.5': { expect: CLEAN },
    async: { expect: CLEAN },
    fixed: { expect: CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'open' }),
  tasks: {
    program: {
      *run({ process, mm, module }) {
        const fd = yield* process.open(GNTDEV_PATH);
        if (fd < 0) {
          goal('no file');
          return;
        }
        const state = { process, mm, module, fd, offset: 0, count: 1 };
        const bad = yield* mapGrants(state, BAD);
        if (bad >= 0) {
          const both = { ...state, offset: bad, count: BAD.length };
          if ((yield* mmapGrants(both)) < 0) goal('refused');
        }
        const good = yield* mapGrants(state, refsOf(1));
        if (good < 0) return;
        // What goes first leaves its place to the next.
        yield* unmapGrants({ ...state, offset: bad, count: BAD.length });
        const next = yield* mapGrants(state, refsOf(1));
        const own = { ...state, offset: next < 0 ? good : next };
        if ((yield* mmapGrants(own)) < 0) return;
        warnOn((yield* unmapGrants(own)) !== 0, 'there is the map');
        if ((yield* process.load(ADDRESS)) === GRANTED[0]) goal('read');
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['refused', 'read'],
  finally: finish,
});

export const gntdevProtect = defineScenario<GntdevState>({
  name: 'gntdev-protect',
  models: ['I8a'],
  about: 'one thread takes the right to write from one of two grants, another one uses both',
  variants: { fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), count: 2 }),
  tasks: {
    protect: {
      *run({ process }) {
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
      },
    },
    use: {
      *run({ process }) {
        if ((yield* process.load(ADDRESS + PAGE_SIZE)) === 12) goal('used');
      },
    },
  },
  goals: ['used'],
  finally: finish,
});

function dropUpper() {
  return {
    *run({ process }: GntdevState) {
      if ((yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED)) === 0) goal('dropped');
    },
  };
}

export const gntdevDropTwice = defineScenario<GntdevState>({
  name: 'gntdev-drop-twice',
  models: ['A-152'],
  about: 'two threads drop the same grant (MADV_DONTNEED)',
  variants: {
    'v5.3': { about: 'start takes the lock of the file', expect: CLEAN },
    'v5.5': {
      about: 'callbacks of a map run at the same time, and nothing protects its handles',
      expect: {
        verdict: 'violation',
        kind: 'data-race',
        object: 'gntdev_grant_map.slots[0].handle',
      },
      alsoKnown: RACES,
    },
    async: {
      about: 'the same',
      expect: {
        verdict: 'violation',
        kind: 'data-race',
        object: 'gntdev_grant_map.slots[0].being_removed',
      },
      alsoKnown: RACES,
    },
    fixed: { about: 'has a lock', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: { one: dropUpper(), other: dropUpper() },
  interchangeable: [['one', 'other']],
  goals: ['dropped'],
  finally: finish,
});
