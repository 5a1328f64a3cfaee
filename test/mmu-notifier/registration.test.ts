import { expect, test } from 'vitest';
import { ENOMEM } from '../../src/base/errno.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { atomic, atomicDec, atomicInc, atomicRead, atomicSet } from '../../src/kernel/atomic.ts';
import { fn, type KernelCallable } from '../../src/kernel/call.ts';
import { goal } from '../../src/kernel/choose.ts';
import { complete, completion, waitForCompletion } from '../../src/kernel/completion.ts';
import { errPtr, type ErrPtr } from '../../src/kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { rcuHead, type RcuHead } from '../../src/kernel/srcu.ts';
import { downWrite, upWrite } from '../../src/kernel/rwsem.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../src/mm-types/mm-struct.ts';
import type { Process } from '../../src/mm/process.ts';
import {
  mmuNotifierCallSrcu,
  mmuNotifierRegisterLockedV53,
  mmuNotifierRegisterV53,
  mmuNotifierSynchronizeV317,
  mmuNotifierUnregisterNoRelease,
} from '../../src/mmu-notifier/before-series.ts';
import { setNotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import {
  mmuNotifierGet,
  mmuNotifierGetLocked,
  mmuNotifierPut,
  mmuNotifierSynchronize,
} from '../../src/mmu-notifier/get-put.ts';
import { MmuNotifier, type MmuNotifierOps } from '../../src/mmu-notifier/mmu-notifier.ts';
import {
  mmuNotifierRegister,
  mmuNotifierRegisterLocked,
  mmuNotifierUnregister,
} from '../../src/mmu-notifier/register.ts';
import { mmuNotifierRelease } from '../../src/mmu-notifier/release.ts';
import { mmuNotifierClearYoung } from '../../src/mmu-notifier/young.ts';
import { runOnMachine } from '../util/machine.ts';

/** What tasks tell one another. */
const Flags = struct('flags', { isPut: completion(), isFreed: atomic(0), callbacks: atomic(0) });
type Flags = InstanceOf<typeof Flags>;

const Shadow = struct('shadow', { mn: embed(MmuNotifier), rcu: rcuHead(), flags: ptr<Flags>() });

const shadowFree = fn(function* shadowFree(mn: MmuNotifier) {
  const shadow = containerOf(mn, Shadow, 'mn');
  if (shadow.flags !== null) yield* atomicSet(shadow.flags.isFreed, 1);
  yield* kfree(shadow);
});

const shadowFreeRcu = fn(function* shadowFreeRcu(rcu: RcuHead) {
  yield* shadowFree(containerOf(rcu, Shadow, 'rcu').mn);
});

const OPS: MmuNotifierOps = {
  allocNotifier: fn(function* shadowAlloc(_mm: MmStruct): Body<MmuNotifier | ErrPtr> {
    const shadow = yield* kzalloc(Shadow, GFP_KERNEL);
    return shadow === null ? errPtr(-ENOMEM) : shadow.mn;
  }),
  freeNotifier: shadowFree,
  clearYoung: fn(function* shadowYoung(mn: MmuNotifier) {
    const flags = containerOf(mn, Shadow, 'mn').flags!;
    yield* atomicInc(flags.callbacks);
    yield* atomicDec(flags.callbacks);
    return false;
  }),
};

// ---- patch 1: who holds mmap_sem -----------------------------------------------------------------

/** Registers without mmap_sem while another task has it for write, and mm_take_all_locks is content. */
function lockedBy(
  register: typeof mmuNotifierRegisterLocked | typeof mmuNotifierRegisterLockedV53,
) {
  const { findings } = runOnMachine((machine) => {
    const mm = machine.process().mm!;
    const mn = allocateStatic(machine, MmuNotifier);
    mn.ops = {};
    machine.runNow(downWrite(mm.mmapSem));
    return [
      function* owner() {
        expect(yield* register(mn, mm)).toBe(0);
      },
    ];
  });
  return findings.map(({ kind, object }) => `${kind} ${object}`);
}

test('the locked form says that its caller does not hold mmap_sem; that of v5.3 does not look', () => {
  const text = 'lockdep_assert_held_write(&mm_struct.mmap_sem)';
  expect(lockedBy(mmuNotifierRegisterLocked).join()).toContain(text);
  expect(lockedBy(mmuNotifierRegisterLockedV53).join()).not.toContain(text);
});

test('so does the locked form of get', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.runNow(downWrite(process.mm!.mmapSem));
    return [
      function* owner() {
        yield* mmuNotifierGetLocked(OPS, process.mm!);
      },
    ];
  });
  expect(findings[0]?.message).toContain('lockdep_assert_held_write(&mm_struct.mmap_sem)');
});

// ---- patch 2: when the mm's structure is allocated -----------------------------------------------

/** The result of a second registration in which each allocation that is made fails. */
function secondRegistration(
  register: typeof mmuNotifierRegister | typeof mmuNotifierRegisterV53,
): number {
  let result = 1;
  runOnMachine(
    (machine) => {
      const mm = machine.process().mm!;
      const [one, two] = [1, 2].map(() => allocateStatic(machine, MmuNotifier));
      one!.ops = {};
      two!.ops = {};
      machine.runNow(register(one!, mm));
      return [
        function* owner() {
          result = yield* register(two!, mm);
        },
      ];
    },
    { budget: { allocations: 9 }, outcomes: [1, 1, 1] },
  );
  return result;
}

test('a second registration allocates nothing; in v5.3 it may fail for want of what it does not need', () => {
  expect(secondRegistration(mmuNotifierRegister)).toBe(0);
  expect(secondRegistration(mmuNotifierRegisterV53)).toBe(-ENOMEM);
});

test('v5.3 frees what it has allocated and not needed', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const mm = process.mm!;
    const [one, two] = [1, 2].map(() => allocateStatic(machine, MmuNotifier));
    one!.ops = {};
    two!.ops = {};
    return [
      function* owner() {
        expect(yield* mmuNotifierRegisterV53(one!, mm)).toBe(0);
        yield* downWrite(mm.mmapSem);
        expect(yield* mmuNotifierRegisterLockedV53(two!, mm)).toBe(0);
        yield* upWrite(mm.mmapSem);
        expect(mm.mmCount.value).toBe(3);
        yield* mmuNotifierUnregister(two!, mm);
        yield* mmuNotifierUnregister(one!, mm);
        expect(mm.mmCount.value).toBe(1);
        yield* process.exit();
      },
    ];
  });
  // Not even a leak.
  expect(findings).toEqual([]);
});

// ---- patches 3 and 11: the ways out, and what may be waited for ---------------------------------

interface Owned {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly mn: MmuNotifier;
  readonly flags: Flags;
}

type OwnedTask = (state: Owned) => Body<unknown>;

interface CheckOptions {
  readonly goals: readonly string[];
  readonly notifiers?: Parameters<typeof setNotifierBehaviour>[1];
}

/** Runs the tasks on an mm with a notifier that set-up got; the verdict, and the goals that were reached. */
function check(tasks: Readonly<Record<string, OwnedTask>>, options: CheckOptions): string[] {
  const scenario = defineScenario<Owned>({
    name: 'registration',
    variants: { only: {} },
    setup: (machine) => {
      setNotifierBehaviour(machine, options.notifiers ?? {});
      const process = machine.process();
      const mm = process.mm!;
      machine.runNow(mmgrab(mm));
      const mn = machine.runNow(mmuNotifierGet(OPS, mm)) as MmuNotifier;
      const flags = allocateStatic(machine, Flags);
      containerOf(mn, Shadow, 'mn').flags = flags;
      return { process, mm, mn, flags };
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    goals: options.goals,
    *finally({ mm }) {
      yield* mmdrop(mm);
    },
  });
  const { violations, goals } = checkVariant(scenario, 'only', {});
  return [
    ...violations.map(({ kind, object }) => `${kind} ${object}`),
    ...goals.filter((item) => item.reached).map(({ name }) => name),
  ];
}

const IN_TIME = 'freed before synchronize returned';
const LATE = 'not freed when synchronize returned';

/** One task puts; then another, on its own CPU, waits as the exit of a module does. */
function synchronizeAfterPut(synchronize: KernelCallable<[], void>): string[] {
  return check(
    {
      *put({ mn, flags }) {
        yield* mmuNotifierPut(mn);
        yield* complete(flags.isPut);
      },
      *exit({ flags }) {
        yield* waitForCompletion(flags.isPut);
        yield* synchronize();
        goal((yield* atomicRead(flags.isFreed)) === 1 ? IN_TIME : LATE);
      },
    },
    { goals: [IN_TIME, LATE] },
  );
}

test('synchronize waits for a grace period, not for the free_notifier of another CPU', () => {
  expect(synchronizeAfterPut(mmuNotifierSynchronize)).toEqual([IN_TIME, LATE]);
});

test('synchronize of v3.17 waits for what other CPUs have queued, too', () => {
  expect(synchronizeAfterPut(mmuNotifierSynchronizeV317)).toEqual([IN_TIME]);
});

const PAST = 'exit is past its notifiers while one is in a callback';

function* walker({ mm }: Owned): Body<void> {
  yield* mmuNotifierClearYoung(mm, 0, 4096);
}

/** A walker of the list, as page aging is one, beside an exit whose notifier was put just before. */
function exitAfterPut(skipsEmptyList: boolean): string[] {
  return check(
    {
      walker,
      *exit({ mn, mm, flags }) {
        yield* mmuNotifierPut(mn);
        yield* mmuNotifierRelease(mm);
        if ((yield* atomicRead(flags.callbacks)) > 0) goal(PAST);
      },
    },
    { goals: [PAST], notifiers: { skipsEmptyList } },
  );
}

test('from v5.5 on exit does not wait for callbacks of a notifier that was put before', () => {
  expect(exitAfterPut(false)).toEqual([]);
  expect(exitAfterPut(true)).toEqual([PAST]);
});

function ownerOf53(isLate: boolean): OwnedTask {
  return function* unregister({ mn, mm }) {
    const { rcu } = containerOf(mn, Shadow, 'mn');
    yield* mmuNotifierUnregisterNoRelease(mn, mm);
    if (isLate) yield* mmuNotifierCallSrcu(rcu, shadowFreeRcu);
    else yield* shadowFree(mn);
  };
}

test('unregister_no_release does not wait: what is freed then is used, unless call_srcu does it', () => {
  expect(check({ owner: ownerOf53(true), walker }, { goals: [] })).toEqual([]);
  const found = check({ owner: ownerOf53(false), walker }, { goals: [] });
  expect(found).toContain('use-after-free shadow');
});
