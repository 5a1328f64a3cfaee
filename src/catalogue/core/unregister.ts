/** Registration and unregistration by themselves: against exit, and against reclaim. */
import { Subscriber, subscriberOps } from '../../drivers/subscriber/index.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import type { Machine } from '../../mm/machine.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import type { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  mmuNotifierRegisterE0f3c3f78da2,
  mmuNotifierUnregister3ad3d901bbcf,
  mmuNotifierUnregister751efd8610d3,
} from './past.ts';
import { ADDRESS, exit, munmap, RELEASED, subject, unpin, type Subject } from './subject.ts';

interface State extends Subject {
  readonly mine: Subscriber;
}

function withStatic(machine: Machine): State {
  const made = subject(machine, 0);
  const mine = allocateStatic(machine, Subscriber);
  mine.mn.ops = subscriberOps;
  return { ...made, mine };
}

const UNREGISTER: Readonly<Record<string, typeof mmuNotifierUnregister>> = {
  '3ad3d901bbcf': mmuNotifierUnregister3ad3d901bbcf,
  '751efd8610d3': mmuNotifierUnregister751efd8610d3,
};

const unregister = {
  *run({ mine, mm }: State, variant: string) {
    yield* (UNREGISTER[variant] ?? mmuNotifierUnregister)(mine.mn, mm);
  },
};

function registered(machine: Machine): State {
  const made = withStatic(machine);
  machine.runNow(mmuNotifierRegister(made.mine.mn, made.mm));
  return made;
}

export const unregisterExit = defineScenario<State>({
  name: 'unregister-exit',
  models: ['B-30', 'K2', 'I6'],
  about: 'a notifier is unregistered while the process exits: who calls release, who unlinks',
  variants: {
    '3ad3d901bbcf': {
      about: 'both may unlink, the second one what is on no list any more',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    '751efd8610d3': {
      about: 'only one unlinks and calls release; exit does not wait for it and frees the pages',
      expect: { verdict: 'violation', kind: 'invariant', object: 'subscriber', invariant: 'I6' },
    },
    'fixed-d34883d4e35c': {
      about: 'both may call release, and nobody goes on before it has returned',
      expect: { verdict: 'clean' },
    },
  },
  setup: registered,
  tasks: { unregister, exit },
  goals: [RELEASED],
  finally: unpin,
});

export const unregisterExitMunmap = defineScenario<State>({
  ...unregisterExit,
  name: 'unregister-exit-munmap',
  about: 'the same, while a thread of the process unmaps',
  tasks: { unregister, exit, munmap },
});

type Register = KernelCallable<[MmuNotifier, MmStruct], number>;

const REGISTER: Readonly<Record<string, Register>> = {
  e0f3c3f78da2: mmuNotifierRegisterE0f3c3f78da2,
  'fixed-35cfa2b0b491': mmuNotifierRegisterV53,
};

export const allocationUnderLocks = defineScenario<State>({
  name: 'allocation-under-locks',
  models: ['B-29', 'patch 2'],
  about:
    'the first registration allocates, and allocations may enter reclaim, which takes the locks of the mm',
  variants: {
    e0f3c3f78da2: {
      about: 'with all those locks held',
      expect: { verdict: 'violation', kind: 'lock-order', object: 'anon_vma.rwsem, fs_reclaim' },
    },
    'fixed-35cfa2b0b491': {
      about: 'each time, in advance',
      expect: { verdict: 'clean' },
    },
    series: {
      about: 'when it is needed, before the locks are taken',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine) {
    const made = withStatic(machine);
    machine.runNow(made.process.store(ADDRESS, 1));
    return made;
  },
  tasks: {
    register: {
      *run({ mine, mm }, variant) {
        const register: Register = REGISTER[variant] ?? mmuNotifierRegister;
        if ((yield* register(mine.mn, mm)) === 0) yield* mmuNotifierUnregister(mine.mn, mm);
      },
    },
    reclaim: {
      // An allocation of somebody else that has entered reclaim.
      *run({ mm }) {
        yield* reclaimPage(mm, ADDRESS, true);
      },
    },
  },
  goals: [{ name: 'reclaim took the page', calls: 'try_to_unmap' }],
  finally: unpin,
});
