/**
 * Patch 1: the locked form of registration, called without the lock.
 *
 * In v5.3 nothing looks, but for a BUG_ON in mm_take_all_locks that asks whether anybody holds mmap_sem for
 * write, whoever it is. The series asserts that the caller does.
 */
import type { KnownViolation } from '../../check/scenario.ts';
import { Subscriber, subscriberOps } from '../../drivers/subscriber/index.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmuNotifierRegisterLockedV53 } from '../../mmu-notifier/before-series.ts';
import { mmuNotifierRegisterLocked, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';

const ADDRESS = 0x40_0000;

interface State {
  readonly process: Process;
  readonly mine: Subscriber;
}

const registerAndLeave = fn(function* registerAndLeave({ process, mine }: State, variant: string) {
  const mm = process.mm!;
  const isLocked = !variant.endsWith('-unlocked');
  if (isLocked) yield* downWrite(mm.mmapSem);
  const register = variant.startsWith('v5.3')
    ? mmuNotifierRegisterLockedV53
    : mmuNotifierRegisterLocked;
  const error = yield* register(mine.mn, mm);
  if (isLocked) yield* upWrite(mm.mmapSem);
  if (error !== 0) return;
  goal('registered');
  yield* mmuNotifierUnregister(mine.mn, mm);
});

/** What a registration that nothing keeps apart from munmap leads to. */
const WITHOUT_LOCK: readonly KnownViolation[] = [
  { name: 'the BUG_ON', kind: 'bug', object: 'down_read_trylock(&mm->mmap_sem)' },
  { name: 'the tree of VMAs is read while it changes', kind: 'data-race' },
  {
    name: 'a VMA goes while its locks are taken',
    kind: 'use-after-free',
    object: 'vm_area_struct',
  },
];

export const lockedRegister = defineScenario<State>({
  name: 'locked-register',
  models: ['patch 1'],
  about: '__mmu_notifier_register with and without mmap_sem, while another thread unmaps',
  variants: {
    'v5.3-unlocked': {
      about: 'noticed only when nobody else holds mmap_sem for write; else an end without a start',
      expect: { verdict: 'violation', kind: 'invariant', object: 'subscriber', invariant: 'I7' },
      alsoKnown: WITHOUT_LOCK,
    },
    'series-unlocked': {
      about: 'the assertion fires, whoever else holds it',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'lockdep_assert_held_write(&mm_struct.mmap_sem)',
      },
      alsoKnown: [
        ...WITHOUT_LOCK,
        { name: 'an end without a start', kind: 'invariant', object: 'subscriber' },
      ],
    },
    'v5.3': { expect: { verdict: 'clean' } },
    series: { expect: { verdict: 'clean' } },
  },
  setup(machine) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    const mine = allocateStatic(machine, Subscriber);
    mine.mn.ops = subscriberOps;
    return { process, mine };
  },
  tasks: {
    register: {
      cpu: 0,
      *run(state, variant) {
        yield* registerAndLeave(state, variant);
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['registered'],
});
