/** What the checker found in sgi-gru besides what patch 4 is about, each with what mends it. */
import {
  GRU_SET_CONTEXT_OPTION,
  gruMended,
  gruSeries,
  gruSeriesPlacement,
  gruV53,
} from '../../drivers/sgi-gru/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  act,
  CLEAN,
  doing,
  LOAD,
  prepare,
  unpin,
  type GruSetUp,
  type GruState,
} from './sgi-gru-subject.ts';

const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': gruV53,
  series: gruSeries,
  'series-munmap': gruSeries,
  mended: gruMended,
  'mended-munmap': gruMended,
};

function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

const GMS_GONE = {
  verdict: 'violation',
  kind: 'use-after-free',
  object: 'gru_mm_struct',
} as const;

const gruFlush = defineScenario<GruState>({
  name: 'gru-flush',
  models: ['A-40'],
  about: 'a program flushes a range by ioctl, while another thread ends the mapping',
  variants: {
    'v5.3': { about: 'the segment is unlocked before its GMS is used', expect: GMS_GONE },
    series: { about: 'the same', expect: GMS_GONE },
    mended: { about: 'it is unlocked afterwards', ...CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), { contexts: 1, executes: LOAD }),
  tasks: { flush: doing('flush', 0), unmap: doing('unmap', 1) },
  goals: [
    { name: 'it flushed', calls: 'gru_flush_tlb_range' },
    { name: 'a user went', calls: 'gru_drop_mmu_notifier' },
  ],
  finally: unpin,
});

const PAGE_GONE = { verdict: 'violation', kind: 'use-after-free', object: 'page' } as const;
const BEFORE_IT_GOES = [
  { name: 'before the page is freed', kind: 'invariant', object: 'page' },
] as const;

const gruExit = defineScenario<GruState>({
  name: 'gru-exit',
  models: ['A-41'],
  about: 'a program exits, while the GRU executes an instruction of it',
  variants: {
    'v5.3': {
      about: 'release sets a flag; the context goes on until its mapping ends, after the pages',
      expect: PAGE_GONE,
      alsoKnown: BEFORE_IT_GOES,
    },
    series: { about: 'no release', expect: PAGE_GONE, alsoKnown: BEFORE_IT_GOES },
    mended: { about: 'release flushes, and from then on nothing is dropped in', ...CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), { contexts: 1, executes: LOAD }),
  tasks: { gru: doing('access', 0), exit: doing('exit', 1) },
  goals: ['the GRU stored'],
  finally: unpin,
});

const TABLE_GONE = { verdict: 'violation', kind: 'use-after-free', object: 'page table' } as const;

function theftOf(variant: string): GruSetUp {
  return { contexts: 1, hasForeign: true, isTouched: true, isFar: variant.endsWith('munmap') };
}

const gruTheft = defineScenario<GruState>({
  name: 'gru-theft',
  models: ['A-42'],
  about: 'a program steals a context, while the one that has it exits or ends the mapping',
  variants: {
    series: { about: 'exit frees the page table that the thief walks', expect: TABLE_GONE },
    'series-munmap': { about: 'munmap does', expect: TABLE_GONE },
    mended: {
      about: 'the thief holds the mmap_sem of its victim for writing, or tries again',
      ...CLEAN,
    },
    'mended-munmap': { about: 'the same against munmap', ...CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), theftOf(variant)),
  tasks: {
    end: {
      cpu: 0,
      *run(state, variant) {
        yield* act(state, variant.endsWith('munmap') ? 'unmap' : 'exit');
      },
    },
    steal: doing('steal', 1),
  },
  goals: ['the other program has a context'],
  finally: unpin,
});

const gruFirstTouch = defineScenario<GruState>({
  name: 'gru-first-touch',
  models: ['A-43'],
  about: 'a program touches its segment first, in a region without a page table',
  variants: {
    series: {
      about: 'gru_fault maps it with preemption off, which allocates a page table',
      expect: { verdict: 'violation', kind: 'sleeping-in-atomic', object: 'pte_alloc_one()' },
    },
    mended: { about: 'with preemption on: ts_ctxlock is enough', ...CLEAN },
  },
  setup: (machine, variant) =>
    prepare(machine, moduleOf(variant), { contexts: 1, isFar: true, isBare: true }),
  tasks: {
    touch: {
      cpu: 0,
      *run({ process, segment }) {
        goal((yield* process.load(segment.gseg)) >= 0 ? 'touched' : 'refused');
      },
    },
  },
  goals: ['touched'],
  finally: unpin,
});

const PLACED: Readonly<Record<string, ModuleType>> = {
  'v5.3': gruV53,
  series: gruSeries,
  'fixed-643a16a0eb1d': gruSeriesPlacement,
};

const gruPlacement = defineScenario<GruState>({
  name: 'gru-placement',
  models: ['B-42', 'A-44'],
  about: 'a program wants its segment on another chiplet, while another thread ends the mapping',
  variants: {
    'v5.3': {
      about:
        'the context drops its reference, and the caller goes on: mmap_sem keeps that of the mapping',
      ...CLEAN,
    },
    series: { about: 'the same', ...CLEAN },
    'fixed-643a16a0eb1d': {
      about: 'both locks are dropped before the context is unloaded, and nothing keeps the segment',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'gru_thread_state' },
      alsoKnown: [
        { name: 'and all that it leads to', kind: 'use-after-free' },
        { name: 'no lock', kind: 'data-race' },
        {
          name: 'both unload it',
          kind: 'bug',
          object: '(asids->mt_ctxbitmap & ctxbitmap) != ctxbitmap',
        },
        { name: 'both unload it', kind: 'null-dereference' },
      ],
    },
  },
  setup: (machine, variant) =>
    prepare(machine, PLACED[variant] as ModuleType, {
      chiplets: 2,
      contexts: 1,
      isTouched: true,
    }),
  tasks: {
    place: {
      cpu: 0,
      *run({ process, segment: { fd, gseg } }) {
        const request = { gseg, op: 'sco_blade_chiplet', chiplet: 1 };
        if ((yield* process.ioctl(fd, GRU_SET_CONTEXT_OPTION, request)) === 0) goal('placed');
      },
    },
    unmap: doing('unmap', 1),
  },
  goals: ['placed', { name: 'it was checked', calls: 'gru_check_context_placement' }],
  finally: unpin,
});

/** Which actions are beside each other, and what they find. */
const FAILING: Readonly<Record<string, { readonly acts: readonly string[] } & GruSetUp>> = {
  dropin: { acts: ['access', 'dontneed'] },
  theft: { acts: ['steal', 'munmap'], hasForeign: true },
};

function* playFailing(state: GruState, variant: string, at: number): Body<void> {
  const { acts } = FAILING[variant] as (typeof FAILING)[string];
  yield* act(state, acts[at] as string);
  goal(`the ${at === 0 ? 'first' : 'second'} is done`);
}

const gruFails = defineScenario<GruState>({
  name: 'gru-fails',
  models: ['patch 4'],
  about:
    'an allocation fails, or a signal comes, while the GRU is given a page, or a context is stolen',
  variants: {
    dropin: { about: 'the instruction ends with an error, or goes on', ...CLEAN },
    theft: {
      about: 'the thief gets it all the same',
      ...CLEAN,
    },
  },
  faults: { allocations: 1, signals: 1, userFaults: 1 },
  setup: (machine, variant) =>
    prepare(machine, gruMended, { contexts: 1, isTouched: true, ...FAILING[variant] }),
  tasks: {
    first: {
      cpu: 0,
      *run(state, variant) {
        yield* playFailing(state, variant, 0);
      },
    },
    second: {
      cpu: 1,
      *run(state, variant) {
        yield* playFailing(state, variant, 1);
      },
    },
  },
  goals: ['the first is done', 'the second is done'],
  finally: unpin,
});

const gruTouchFails = defineScenario<GruState>({
  ...gruFirstTouch,
  name: 'gru-touch-fails',
  models: ['A-45'],
  about: 'the page table that the first touch of a segment needs cannot be allocated',
  variants: {
    mended: {
      about:
        'the context is given back, and the program faults again; in all versions it does for ever',
      ...CLEAN,
    },
  },
  faults: { allocations: 1, signals: 1 },
  goals: ['touched', { name: 'it was given back', calls: 'gru_unload_context' }],
});

export const GRU_CANDIDATES = [
  gruFlush,
  gruExit,
  gruTheft,
  gruFirstTouch,
  gruPlacement,
  gruFails,
  gruTouchFails,
];
