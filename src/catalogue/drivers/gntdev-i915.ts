/** Two drivers on one mm: the GPU uses, as user pointers, memory that another domain has granted (B-23). */
import {
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_USERPTR,
  I915_PATH,
  i915Trylock,
} from '../../drivers/i915/index.ts';
import { GNTDEV_PATH } from '../../drivers/gntdev/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Machine } from '../../mm/machine.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  BAD_PAGE,
  CLEAN,
  finish,
  LEFT_BEHIND,
  mapGrants,
  mmapGrants,
  moduleOf,
  PLAIN,
  prepare,
  refsOf,
  type GntdevState,
} from './gntdev-subject.ts';

/** What the i915 driver is asked for until it has the pages: a work has to look them up. */
const ATTEMPT_COUNT = 3;

/**
 * For set-up: the GPU has references to the page of the grant. Callbacks are called in the reverse order of
 * registration; gntdev registers when its file is opened.
 */
function together(machine: Machine, variant: string, gntdevLast: boolean): GntdevState {
  let state = prepare(machine, {
    module: moduleOf(variant),
    stage: gntdevLast ? 'open' : 'mapped',
  });
  const { process } = state;
  machine.load(i915Trylock);
  const gpu = machine.runNow<number>(process.open(I915_PATH));
  const userptr = (userPtr: number): number =>
    machine.runNow<number>(
      process.ioctl(gpu, DRM_I915_GEM_USERPTR, { userPtr, userSize: PAGE_SIZE, flags: 0 }),
    );
  if (gntdevLast) {
    userptr(PLAIN);
    machine.runNow(process.close(state.fd));
    state = { ...state, fd: machine.runNow<number>(process.open(GNTDEV_PATH)) };
    state = { ...state, offset: machine.runNow<number>(mapGrants(state, refsOf(1))) };
    machine.runNow(mmapGrants(state));
  }
  const handle = userptr(ADDRESS);
  for (let at = 0; at < ATTEMPT_COUNT; at += 1) {
    machine.runNow(process.ioctl(gpu, DRM_I915_GEM_SET_DOMAIN, handle));
  }
  return state;
}

const STUCK = { verdict: 'violation', kind: 'deadlock' } as const;

export const gntdevI915 = defineScenario<GntdevState>({
  name: 'gntdev-i915',
  models: ['B-23', 'C2'],
  about: 'a program unmaps a grant of which the GPU has the page (i915 of v5.3)',
  variants: {
    'v5.3': {
      about: 'gntdev is told first and waits until i915 lets go, which is to be told next',
      expect: STUCK,
    },
    'v5.3 first': { about: 'it was registered first, so it is told last', expect: CLEAN },
    'v5.5': {
      about: 'interval notifiers are told first, whoever was registered when',
      expect: STUCK,
    },
    async: {
      about: 'a work waits; but the entry is still there when munmap comes to it (A-151)',
      expect: BAD_PAGE,
      alsoKnown: LEFT_BEHIND,
    },
    fixed: { about: 'does not wait', expect: CLEAN },
  },
  setup: (machine, variant) =>
    together(machine, variant.split(' ')[0] as string, !variant.endsWith(' first')),
  tasks: {
    program: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        goal('unmapped');
      },
    },
  },
  goals: ['unmapped'],
  finally: finish,
});
