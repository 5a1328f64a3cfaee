/** sgi-gru: all pairs of what can happen to a program with a GRU, some triples, what fails, and unloading. */
import type { Variant } from '../../check/scenario.ts';
import { gruSegment, gruSeries, gruSeriesNoWait, gruV53 } from '../../drivers/sgi-gru/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf } from './pairs.ts';
import {
  act,
  ACTIONS,
  CLEAN,
  GSEG,
  LOAD,
  prepare,
  SECOND_GSEG,
  STARTED,
  unpin,
  type GruSetUp,
  type GruState,
} from './sgi-gru-subject.ts';

/** With a context that is loaded, far more can happen than can be looked at. */
const TOO_MUCH = new Set(['unmap+dontneed', 'register+unmap+dontneed']);

function setUpFor(actions: readonly string[]): GruSetUp {
  const isClosed = actions.includes('rmmod');
  return {
    contexts: 1,
    hasSecond: actions.includes('register'),
    hasForeign: actions.includes('steal'),
    isClosed,
    ...(isClosed || TOO_MUCH.has(actions.join('+')) ? {} : { executes: LOAD }),
  };
}

const A_13: Variant = {
  about: 'free_notifier is called on the CPU of the put, after module exit has waited (A-13)',
  expect: { verdict: 'violation', kind: 'unloaded-code', object: 'gru' },
};
const BOUNDED: Variant = { preemptions: 3, expect: { verdict: 'bounded' } };

const SPECIAL: Readonly<Record<string, Variant>> = {
  'access+exit': {
    about: 'nobody tells the GRU that the program ends (A-41)',
    expect: { verdict: 'violation', kind: 'use-after-free', object: 'page' },
    alsoKnown: [{ name: 'A-41', kind: 'invariant', object: 'page' }],
  },
  'unmap+flush': {
    about: 'the GMS is gone when the flush comes to it (A-40)',
    expect: { verdict: 'violation', kind: 'use-after-free', object: 'gru_mm_struct' },
  },
  'steal+exit': {
    about: 'the thief walks page tables that go (A-42)',
    expect: { verdict: 'violation', kind: 'use-after-free', object: 'page table' },
  },
  'unmap+rmmod': A_13,
  'exit+rmmod': A_13,
  'access+steal': BOUNDED,
};

/** They need a set-up of their own. */
const { load: _load, copy: _copy, ...PAIRED } = ACTIONS;
/** One segment executes one instruction at a time; and what the mm does with itself alone is elsewhere. */
const SENSELESS: ReadonlySet<string> = new Set([
  'access+access',
  'steal+steal',
  'fork+fork',
  'fork+reclaim',
]);

const gruPairs = defineScenario<GruState>({
  name: 'gru-pairs',
  models: ['patch 4'],
  about: 'each thing that can happen to a program that uses a GRU, beside each other one',
  variants: pairsOf(PAIRED, { special: SPECIAL, leftOut: SENSELESS }),
  setup: (machine, variant) => prepare(machine, gruSeries, setUpFor(variant.split('+'))),
  ...sideBySide(ACTIONS, 'first', 'second'),
  finally: unpin,
});

const THREE = sideBySide(ACTIONS, 'first', 'second', 'third');

const gruTriples = defineScenario<GruState>({
  name: 'gru-triples',
  models: ['patch 4'],
  about: 'three things beside each other',
  variants: variantsOf([
    'register+unmap+dontneed',
    'access+mprotect+munmap',
    'steal+munmap+dontneed',
  ]),
  setup: (machine, variant) => prepare(machine, gruSeries, setUpFor(variant.split('+'))),
  ...THREE,
  goals: [...THREE.goals, STARTED],
  finally: unpin,
});

const gruCreate = defineScenario<GruState>({
  name: 'gru-create',
  models: ['patch 4'],
  about: 'two threads make a segment each, and whatever allocation, copy or wait fails; then exit',
  variants: {
    'v5.3': {
      about: 'exit with a segment forgets the pin of the mm, which is looked at to the end here',
      ...CLEAN,
    },
    series: CLEAN,
  },
  faults: { allocations: 1, signals: 1, userFaults: 1 },
  setup: (machine, variant) =>
    prepare(machine, variant === 'series' ? gruSeries : gruV53, { contexts: 1, isBare: true }),
  tasks: {
    first: {
      cpu: 0,
      *run({ process }) {
        const made = yield* gruSegment(process, GSEG);
        goal(typeof made === 'number' ? 'making one failed' : 'one was made');
        yield* process.exit();
      },
    },
    second: {
      cpu: 1,
      *run({ process }) {
        yield* gruSegment(process, SECOND_GSEG);
      },
    },
  },
  goals: ['making one failed', 'one was made'],
  finally: unpin,
});

const UNLOADED: Readonly<Record<string, ModuleType>> = {
  'v5.3': gruV53,
  'series-no-wait': gruSeriesNoWait,
  series: gruSeries,
  'series-two-cpus': gruSeries,
};

const gruUnload = defineScenario<GruState>({
  name: 'gru-unload',
  models: ['patch 4', 'I12'],
  about: 'a program ends its last mapping of the device, and the module is unloaded',
  variants: {
    'v5.3': { about: 'the last drop has waited for all callbacks', ...CLEAN },
    'series-no-wait': {
      about: 'put, and module exit forgets to wait',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'gru' },
    },
    series: { about: 'put, then mmu_notifier_synchronize; on one CPU', ...CLEAN },
    'series-two-cpus': A_13,
  },
  setup: (machine, variant) =>
    prepare(machine, UNLOADED[variant] as ModuleType, {
      contexts: 1,
      isClosed: true,
    }),
  tasks: {
    unmap: {
      cpu: 0,
      *run(state, variant) {
        yield* act(state, 'unmap');
        if (variant !== 'series-two-cpus') yield* act(state, 'rmmod');
      },
    },
    other: {
      cpu: 1,
      *run(state, variant) {
        yield* act(state, variant === 'series-two-cpus' ? 'rmmod' : 'dontneed');
      },
    },
  },
  goals: ['unloaded'],
  finally: unpin,
});

export const GRU_PAIRS = [gruUnload, gruCreate, gruPairs, gruTriples];
