/**
 * The invariants of the core, each broken by a driver or by a caller; how they are found when the core breaks them is
 * shown by the mutations.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EAGAIN, EINTR } from '../../../src/base/errno.ts';
import { checkVariant } from '../../../src/check/check-variant.ts';
import { findScenario } from '../../../src/catalogue/index.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import {
  subscriberGet,
  subscriberModule,
  subscriberPut,
  type Subscriber,
} from '../../../src/drivers/subscriber/index.ts';
import type { Kernel } from '../../../src/kernel/kernel.ts';
import { fn } from '../../../src/kernel/call.ts';
import { isErr, ptrErr } from '../../../src/kernel/err-ptr.ts';
import { loadModule, unloadModule } from '../../../src/kernel/module.ts';
import { mutex, mutexLock, mutexUnlock } from '../../../src/kernel/mutex.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { allocateStatic, kfree, kzalloc } from '../../../src/kernel/slab.ts';
import { GFP_KERNEL } from '../../../src/kernel/gfp.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../../src/kernel/struct.ts';
import type { Machine } from '../../../src/mm/machine.ts';
import { bootMachine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE, type MmStruct } from '../../../src/mm-types/mm-struct.ts';
import { NOTIFIERS_6_1, setNotifierBehaviour } from '../../../src/mmu-notifier/behaviour.ts';
import { INVARIANTS } from '../../../src/mmu-notifier/detector/invariant.ts';
import {
  mmuNotifierGet,
  mmuNotifierPut,
  mmuNotifierSynchronize,
} from '../../../src/mmu-notifier/get-put.ts';
import {
  mmuIntervalNotifierInsert,
  MmuIntervalNotifier,
  mmuIntervalNotifierRemove,
} from '../../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierInvalidateRangeStartNonblock,
} from '../../../src/mmu-notifier/invalidate.ts';
import {
  MMU_NOTIFY_UNMAP,
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../../src/mmu-notifier/register.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;

const Gadget = struct('gadget', { mn: embed(MmuNotifier), lock: mutex(), result: 0 });
type Gadget = InstanceOf<typeof Gadget>;

function gadgetOf(mn: MmuNotifier): Gadget {
  return containerOf(mn, Gadget, 'mn');
}

/** Takes its mutex, and fails if it is told to. */
const sleepingStart = fn(function* gadgetStart(mn: MmuNotifier, _range: MmuNotifierRange) {
  const gadget = gadgetOf(mn);
  yield* mutexLock(gadget.lock);
  yield* mutexUnlock(gadget.lock);
  return 0;
});

const failingStart = fn(function* gadgetRefuses(mn: MmuNotifier, _range: MmuNotifierRange) {
  return gadgetOf(mn).result;
});

const end = fn(function* gadgetEnd(_mn: MmuNotifier, _range: MmuNotifierRange) {});

function rangeOf(mm: MmStruct): MmuNotifierRange {
  const start = ADDRESS;
  return { mm, vma: null, start, end: start + PAGE_SIZE, event: MMU_NOTIFY_UNMAP, flags: 0 };
}

/** What is found when one task runs `body` on a process with one mapping. */
function findingsOf(body: (process: Process, machine: Machine) => Body<void>) {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    return [() => body(process, machine)];
  });
  return findings.map(({ kind, object, invariant }) => ({ kind, object, invariant }));
}

const register = fn(function* register(mm: MmStruct, ops: MmuNotifierOps): Body<Gadget> {
  const gadget = (yield* kzalloc(Gadget, GFP_KERNEL)) as Gadget;
  gadget.mn.ops = ops;
  yield* mmuNotifierRegister(gadget.mn, mm);
  return gadget;
});

test('a finding says what its invariant is and where that is stated', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* owner() {
        const gadget = yield* register(process.mm!, { invalidateRangeStart: sleepingStart });
        yield* mmuNotifierInvalidateRangeStartNonblock(rangeOf(process.mm!));
        yield* mmuNotifierUnregister(gadget.mn, process.mm!);
        yield* kfree(gadget);
      },
    ];
  });
  expect(findings).toMatchObject([{ kind: 'sleeping-in-atomic', invariant: 'I9' }]);
  expect(findings[0]?.explanation).toBe(`I9: ${INVARIANTS.I9.says} (${INVARIANTS.I9.source}).`);
});

test('I4: a get finds what was registered directly', () => {
  const ops: MmuNotifierOps = {};
  const found = findingsOf(function* mixed({ mm }) {
    const gadget = yield* register(mm!, ops);
    yield* mmuNotifierGet(ops, mm!);
    yield* mmuNotifierUnregister(gadget.mn, mm!);
    yield* kfree(gadget);
  });
  expect(found).toEqual([{ kind: 'invariant', object: 'gadget', invariant: 'I4' }]);
});

test('I7: one start succeeds, another fails, and nobody gets an end', () => {
  const found = findingsOf(function* refused({ mm }) {
    const one = yield* register(mm!, {
      invalidateRangeStart: failingStart,
      invalidateRangeEnd: end,
    });
    const two = yield* register(mm!, { invalidateRangeStart: failingStart });
    two.result = -EAGAIN;
    expect(yield* mmuNotifierInvalidateRangeStartNonblock(rangeOf(mm!))).toBe(-EAGAIN);
    for (const { mn } of [one, two]) yield* mmuNotifierUnregister(mn, mm!);
    for (const gadget of [one, two]) yield* kfree(gadget);
  });
  expect(found).toEqual([{ kind: 'invariant', object: 'gadget', invariant: 'I7' }]);
});

test('I7: who leaves the list after a start gets no end, and is owed none', () => {
  const found = findingsOf(function* leaving({ mm }) {
    const ops = { invalidateRangeStart: failingStart, invalidateRangeEnd: end };
    const gadget = yield* register(mm!, ops);
    yield* mmuNotifierInvalidateRangeStartNonblock(rangeOf(mm!));
    yield* mmuNotifierUnregister(gadget.mn, mm!);
    yield* kfree(gadget);
  });
  expect(found).toEqual([]);
});

/** A subscriber that can be got, whose free_notifier takes a mutex. */
const sleepyOps: MmuNotifierOps = {
  allocNotifier: fn(function* gadgetAlloc(_mm: MmStruct): Body<MmuNotifier> {
    return ((yield* kzalloc(Gadget, GFP_KERNEL)) as Gadget).mn;
  }),
  freeNotifier: fn(function* gadgetFree(mn: MmuNotifier) {
    const gadget = gadgetOf(mn);
    yield* mutexLock(gadget.lock);
    yield* mutexUnlock(gadget.lock);
    yield* kfree(gadget);
  }),
};

test('I9: free_notifier sleeps', () => {
  const found = findingsOf(function* sleepy({ mm }) {
    const mn = (yield* mmuNotifierGet(sleepyOps, mm!)) as MmuNotifier;
    yield* mmuNotifierPut(mn);
  });
  expect(found).toMatchObject([{ kind: 'sleeping-in-atomic', invariant: 'I9' }]);
});

test('I9: free_notifier sleeps where registration has failed, and its caller might', () => {
  const { findings } = runOnMachine(
    (machine) => {
      const process = machine.process();
      // A signal is noticed between the locks of mappings.
      machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
      return [
        function* owner() {
          const mn = yield* mmuNotifierGet(sleepyOps, process.mm!);
          expect(isErr(mn) && ptrErr(mn)).toBe(-EINTR);
          yield* process.exit();
        },
      ];
    },
    { budget: { signals: 1 }, outcomes: [1] },
  );
  expect(findings).toMatchObject([{ kind: 'sleeping-in-atomic', invariant: 'I9' }]);
});

test('I9: an end sleeps whose range must not block', () => {
  const sleepingEnd = fn(function* gadgetEnd(mn: MmuNotifier, range: MmuNotifierRange) {
    yield* sleepingStart(mn, range);
  });
  const found = findingsOf(function* body({ mm }) {
    const gadget = yield* register(mm!, { invalidateRangeEnd: sleepingEnd });
    const range = rangeOf(mm!);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* mmuNotifierInvalidateRangeStartNonblock(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* mmuNotifierUnregister(gadget.mn, mm!);
    yield* kfree(gadget);
  });
  expect(found).toMatchObject([{ kind: 'sleeping-in-atomic', invariant: 'I9' }]);
});

describe('I11', () => {
  test('a release that unregisters itself waits for ever', () => {
    const ops: MmuNotifierOps = {
      release: fn(function* gadgetRelease(mn: MmuNotifier, mm: MmStruct) {
        yield* mmuNotifierUnregister(mn, mm);
      }),
    };
    const found = findingsOf(function* owner(process) {
      yield* register(process.mm!, { release: once(ops.release!) });
      yield* process.exit();
    });
    expect(found.map(({ kind }) => kind)).toEqual(['lock-order', 'deadlock']);
    expect(found.every(({ invariant }) => invariant === 'I11')).toBe(true);
  });

  test('so does an interval notifier that removes itself when it is told', () => {
    const ops = {
      invalidate: fn(function* gadgetInvalidate(mni: MmuIntervalNotifier) {
        yield* mmuIntervalNotifierRemove(mni);
        return true;
      }),
    };
    const Mirror = struct('mirror', { mni: embed(MmuIntervalNotifier) });
    const found = findingsOf(function* owner(process, machine) {
      const { mni } = allocateStatic(machine, Mirror);
      const interval = { start: ADDRESS, length: PAGE_SIZE };
      yield* mmuIntervalNotifierInsert(mni, process.mm!, interval, ops);
      yield* process.munmap(ADDRESS, PAGE_SIZE);
    });
    expect(found.map(({ kind }) => kind)).toEqual(['lock-order', 'deadlock']);
    expect(found.every(({ invariant }) => invariant === 'I11')).toBe(true);
  });

  test('and who waits for the callbacks with a lock that they take', () => {
    interface State {
      readonly process: Process;
      readonly gadget: Gadget;
    }
    const result = checkVariant(
      defineScenario<State>({
        name: 'synchronize-under-lock',
        variants: { v: { expect: { verdict: 'violation', invariant: 'I11' } } },
        setup(machine) {
          const process = machine.process();
          machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
          const gadget = machine.runNow<Gadget>(
            register(process.mm!, { invalidateRangeStart: sleepingStart }),
          );
          return { process, gadget };
        },
        tasks: {
          wait: {
            *run({ gadget }) {
              yield* mutexLock(gadget.lock);
              yield* mmuNotifierSynchronize();
              yield* mutexUnlock(gadget.lock);
            },
          },
          munmap: {
            *run({ process }) {
              yield* process.munmap(ADDRESS, PAGE_SIZE);
            },
          },
        },
      }),
      'v',
    );
    expect(result.violations.map(({ kind, invariant }) => [kind, invariant])).toEqual([
      ['deadlock', 'I11'],
    ]);
  });
});

test('I12: a module goes while one of its notifiers is still to be freed', () => {
  const module = subscriberModule(null);
  const found = findingsOf(function* unloading({ mm }) {
    yield* loadModule(module);
    const s = (yield* subscriberGet(mm!)) as Subscriber;
    yield* subscriberPut(s);
    yield* unloadModule(module);
  });
  expect(found).toMatchObject([{ kind: 'unloaded-code', object: 'subscriber', invariant: 'I12' }]);
});

test.each([
  ['unregister-exit', 'fixed-d34883d4e35c'],
  ['put-exit', 'series'],
])('I6: exit may skip a list that is empty (v5.5), in %s', (name, variant) => {
  const scenario = findScenario(name)!;
  const skipping = {
    ...scenario,
    setup(kernel: Kernel, of: string) {
      setNotifierBehaviour(kernel, NOTIFIERS_6_1);
      return scenario.setup(kernel, of);
    },
  };
  expect(checkVariant(skipping, variant).violations).toEqual([]);
});

test('who watches nothing is not held to the invariants, and pays nothing for them', () => {
  const machine = bootMachine();
  expect((machine as unknown as { readonly watches: unknown[] }).watches).toEqual([]);
});

test('docs/findings.md says of each invariant what the findings say', () => {
  const url = new URL('../../../docs/findings.md', import.meta.url);
  const rows = readFileSync(url, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| I'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  expect(rows.map(([, name, says, source]) => [name, says, source])).toEqual(
    Object.entries(INVARIANTS).map(([name, { says, source }]) => [name, says, source]),
  );
});

/** Calls `callback` the first time only: the unregister in it calls release, too. */
function once(
  callback: NonNullable<MmuNotifierOps['release']>,
): NonNullable<MmuNotifierOps['release']> {
  return fn(function* gadgetReleaseOnce(mn: MmuNotifier, mm: MmStruct) {
    const gadget = gadgetOf(mn);
    gadget.result += 1;
    if (gadget.result === 1) yield* callback(mn, mm);
  });
}
