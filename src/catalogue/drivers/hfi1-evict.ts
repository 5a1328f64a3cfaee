/** hfi1: a cache for SDMA that is full. */
import type { Variant } from '../../check/scenario.ts';
import { hfiSent } from '../../drivers/hfi1/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { atomicRead } from '../../kernel/atomic.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, CLEAN, NEW, OLD, prepare, send, SMALL, type Hfi1State } from './hfi1-subject.ts';

const SECOND = ADDRESS + PAGE_SIZE;

/** A cache of one page, and a program that has sent that and has a second. */
function prepareFull(machine: Machine, variant: string): Hfi1State {
  const state = prepare(machine, SMALL[variant] as ModuleType, 'sent');
  machine.runNow(state.process.mmap(SECOND, PAGE_SIZE));
  machine.runNow(state.process.store(SECOND, NEW));
  return state;
}

/** As hfi1-lookup: what comes in between is not the program's own doing. */
const LOST: Readonly<Record<string, Variant>> = {
  'v5.3': {
    about: 'found under the lock, counted without it: who evicts finds that nobody uses it',
    expect: { verdict: 'violation', kind: 'use-after-free', object: 'sdma_mmu_node' },
    alsoKnown: [{ name: 'A-163', kind: 'use-after-free' }],
  },
  'v6.5': { about: 'counted as it is found', expect: CLEAN },
};

export const hfi1Evict = defineScenario<Hfi1State>({
  name: 'hfi1-evict',
  models: ['A-163'],
  about: 'a thread sends a page that is in the cache, another one that has no room there',
  variants: LOST,
  setup: (machine, variant) => prepareFull(machine, variant),
  tasks: {
    again: {
      *run(state) {
        if ((yield* send(state)) === 0) goal('sent again');
      },
    },
    second: {
      *run(state) {
        if ((yield* send(state, SECOND)) === 0) goal('sent the second');
        if ((yield* atomicRead(state.mm.pinnedVm)) === 1) goal('evicted the first');
        warnOn(
          !hfiSent().every((value) => value === OLD || value === NEW),
          'what was stored is sent',
        );
      },
    },
  },
  goals: ['sent again', 'sent the second', 'evicted the first'],
});

export const hfi1EvictMunmap = defineScenario<Hfi1State>({
  name: 'hfi1-evict-munmap',
  models: ['A-163'],
  about: 'a thread sends what has no room in the cache, another unmaps what is there',
  variants: {
    'v5.3': { about: 'in the tree, or on one of the lists', expect: CLEAN },
    'v6.5': { about: 'the same', expect: CLEAN },
  },
  setup: (machine, variant) => prepareFull(machine, variant),
  tasks: {
    second: {
      *run(state) {
        if ((yield* send(state, SECOND)) === 0) goal('sent the second');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        goal('unmapped the first');
      },
    },
  },
  goals: ['sent the second', 'unmapped the first'],
  *finally({ process, fd }) {
    yield* process.close(fd);
    warnOn(process.mm!.pinnedVm.value !== 0, 'each page is given back once');
    yield* process.exit();
  },
});
