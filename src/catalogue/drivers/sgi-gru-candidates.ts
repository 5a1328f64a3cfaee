/** What the checker found in sgi-gru besides what patch 4 is about, each with what mends it. */
import { gruMended, gruSeries, gruV53 } from '../../drivers/sgi-gru/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
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
  },
  setup: (machine, variant) =>
    prepare(machine, moduleOf(variant), { contexts: 1, isFar: true, isBare: true }),
  tasks: {
    touch: {
      cpu: 0,
      *run({ process, segment }) {
        if ((yield* process.load(segment.gseg)) >= 0) goal('touched');
      },
    },
  },
  goals: ['touched'],
  finally: unpin,
});

export const GRU_CANDIDATES = [gruFlush, gruExit, gruTheft, gruFirstTouch];
