/**
 * Each thing that can happen to a ring beside each other one, and what three do together. For the two mended forms:
 * what is found here is known of no kernel.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
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

type Action = (state: VhostState) => Body<unknown>;

/** Those of the mm are about the page that the worker writes to. */
const ACTIONS: Readonly<Record<string, Action>> = {
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

function pairs(): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      found[`${first}+${second}`] = { expect: { verdict: 'clean' } };
    }
  }
  return found;
}

function act(state: VhostState, variant: string, which: number): Body<unknown> {
  const name = variant.split('+')[which] as string;
  return (ACTIONS[name] as Action)(state);
}

function pairsOf(name: string, version: string) {
  return defineScenario<VhostState>({
    name,
    models: ['B-40'],
    about: `each thing that can happen to a ring, beside each other one (${version})`,
    variants: pairs(),
    setup(machine, variant) {
      const state = prepare(machine, { module: moduleOf(version), stage: 'mapped' });
      if (variant.includes('cow')) machine.runNow(state.process.fork());
      const isClosed = variant.includes('unload') && !variant.includes('close');
      if (isClosed) machine.runNow(state.process.close(state.fd));
      return state;
    },
    tasks: {
      first: {
        cpu: 0,
        *run(state, variant) {
          yield* act(state, variant, 0);
          goal('the first is done');
        },
      },
      second: {
        cpu: 1,
        *run(state, variant) {
          yield* act(state, variant, 1);
          goal('the second is done');
        },
      },
    },
    goals: ['the first is done', 'the second is done'],
    *finally(state) {
      yield* state.process.exit();
      yield* unpin(state);
    },
  });
}

export const vhostPairs = pairsOf('vhost-pairs', 'fixed');
export const vhostIntervalPairs = pairsOf('vhost-pairs-interval', 'interval');
