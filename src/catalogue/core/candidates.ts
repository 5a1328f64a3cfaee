/**
 * Candidates of the core that concern who owns what. The variant named after the kernel shows
 * what can happen, the others what a driver must do, or the core could.
 */
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  subscriber,
  subscriberGet,
  subscriberModule,
  subscriberOps,
  subscriberPut,
  subscriberRegister,
  subscriberUnregister,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { atomic, atomicDec, atomicIncReturn } from '../../kernel/atomic.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { isErr } from '../../kernel/err-ptr.ts';
import { modulePut, tryModuleGet, unloadModule, type ModuleType } from '../../kernel/module.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { struct } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierSynchronizeV317 } from '../../mmu-notifier/before-series.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { defineScenario } from '../define-scenario.ts';
import { FREED, put, subject, unpin, type Subject } from './subject.ts';

// ---- A-13 ----------------------------------------------------------------------------------------

const WEAK = subscriberModule(mmuNotifierSynchronize);
const STRONG = subscriberModule(mmuNotifierSynchronizeV317);
const NOTHING = subscriberModule(null);

const MODULES: Readonly<Record<string, ModuleType>> = {
  'no-wait': NOTHING,
  series: WEAK,
  'one-cpu': WEAK,
  barrier: STRONG,
};

interface Loaded extends Subject {
  readonly module: ModuleType;
}

const putAndLetGo = fn(function* putAndLetGo(state: Subject) {
  yield* subscriberPut(state.first!);
  yield* modulePut(subscriber.text);
});

export const unloadAfterPut = defineScenario<Loaded>({
  name: 'unload-after-put',
  models: ['A-13', 'patch 3', 'I12'],
  about:
    'the last put of a module, after which it is unloaded: free_notifier may not have been called yet',
  variants: {
    'no-wait': {
      about: 'module exit does not wait at all',
      expect: {
        verdict: 'violation',
        kind: 'unloaded-code',
        object: 'subscriber',
        invariant: 'I12',
      },
    },
    series: {
      about:
        'mmu_notifier_synchronize waits for a grace period, not for the callbacks of other CPUs',
      expect: {
        verdict: 'violation',
        kind: 'unloaded-code',
        object: 'subscriber',
        invariant: 'I12',
      },
    },
    'one-cpu': {
      about: 'put and module exit on one CPU: its callbacks run in order',
      expect: { verdict: 'clean' },
    },
    barrier: {
      about: 'as the function of this name was in v3.17: waits until all callbacks have run',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const module = MODULES[variant] as ModuleType;
    machine.load(module);
    const made = subject(machine, 1);
    machine.runNow(tryModuleGet(subscriber.text));
    return { ...made, module };
  },
  tasks: {
    put: {
      cpu: 0,
      *run(state, variant) {
        if (variant !== 'one-cpu') yield* putAndLetGo(state);
      },
    },
    rmmod: {
      cpu: 1,
      *run(state, variant) {
        if (variant === 'one-cpu') yield* putAndLetGo(state);
        if ((yield* unloadModule(state.module)) === 0) goal('unloaded');
      },
    },
  },
  goals: ['unloaded', FREED],
  finally: unpin,
});

// ---- A-16 ----------------------------------------------------------------------------------------

const Slot = struct('', { owners: atomic(0) });
const slot = staticObject(Slot);

/** A subsystem with one slot for each mm, which it thinks a get in alloc_notifier finds free. */
const slotOps: MmuNotifierOps = {
  ...subscriberOps,
  allocNotifier: fn(function* slotAllocNotifier(mm: MmStruct) {
    const owners = yield* atomicIncReturn(slot(running).owners);
    if (owners > 1) goal('two are alive');
    return yield* subscriberOps.allocNotifier!(mm);
  }),
  freeNotifier: fn(function* slotFreeNotifier(mn: MmuNotifier) {
    yield* atomicDec(slot(running).owners);
    yield* subscriberOps.freeNotifier!(mn);
  }),
};

const assumingOps: MmuNotifierOps = {
  ...slotOps,
  allocNotifier: fn(function* assumingAllocNotifier(mm: MmStruct) {
    const owners = yield* atomicIncReturn(slot(running).owners);
    warnOn(owners > 1, 'the slot of this mm is taken');
    return yield* subscriberOps.allocNotifier!(mm);
  }),
};

const getAndPutSlot = fn(function* getAndPutSlot({ mm }: Subject, ops: MmuNotifierOps) {
  const s = yield* subscriberGet(mm, ops);
  if (!isErr(s)) yield* subscriberPut(s);
});

function opsOf(variant: string): MmuNotifierOps {
  return variant === 'assuming-one' ? assumingOps : slotOps;
}

const getSlot: TaskDefinition<Subject> = {
  *run(state, variant) {
    yield* getAndPutSlot(state, opsOf(variant));
  },
};

export const twoAlive = defineScenario<Subject>({
  name: 'two-alive',
  models: ['A-16', 'patch 3'],
  about:
    'a get while the notifier that was put waits for its grace period: there are two for one mm',
  variants: {
    'assuming-one': {
      about: 'the driver has one slot for each mm',
      expect: { verdict: 'violation', kind: 'warn', object: 'the slot of this mm is taken' },
    },
    series: { about: 'the driver bears two', expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    slot(machine);
    return subject(machine, 1, opsOf(variant));
  },
  tasks: { put, get: getSlot },
  goals: ['two are alive'],
  finally: unpin,
});

// ---- A-17 ----------------------------------------------------------------------------------------

/** The same callbacks, in a table of its own. */
const ownOps: MmuNotifierOps = { ...subscriberOps };

interface Mixed extends Subject {
  readonly registered: Subscriber;
}

export const mixedKinds = defineScenario<Mixed>({
  name: 'mixed-kinds',
  models: ['A-17', 'I4'],
  about: 'a notifier is registered directly; another task gets one of the same table, and finds it',
  variants: {
    series: {
      about: 'unregister does not ask for users: the one who got it is left with freed memory',
      expect: { verdict: 'violation', kind: 'invariant', object: 'subscriber', invariant: 'I4' },
      alsoKnown: [
        {
          name: 'who got it is left with freed memory',
          kind: 'use-after-free',
          object: 'subscriber',
        },
      ],
    },
    'own-table': {
      about: 'one table for those that are registered, another for those that are got',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const made = subject(machine, 0);
    const ops = variant === 'series' ? subscriberOps : ownOps;
    const registered = machine.runNow(subscriberRegister(made.mm, ops)) as Subscriber;
    return { ...made, registered };
  },
  tasks: {
    unregister: {
      *run({ registered }) {
        yield* subscriberUnregister(registered);
      },
    },
    get: {
      *run({ mm }) {
        const s = yield* subscriberGet(mm);
        if (isErr(s)) return;
        goal('got one');
        yield* subscriberPut(s);
      },
    },
  },
  goals: ['got one'],
  finally: unpin,
});
