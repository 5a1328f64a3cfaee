/** Devices: what they reach through their translations, and what of it is found out. */
import { expect, test } from 'vitest';
import { EFAULT } from '../../src/base/errno.ts';
import { PROT_READ } from '../../src/base/mman.ts';
import { bootMachine, type Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import {
  deviceCompareSwap,
  deviceFetchAdd,
  deviceLoad,
  deviceStore,
} from '../../src/device/access.ts';
import { declareCoherence, withdrawCoherence, type Coherence } from '../../src/device/coherence.ts';
import {
  deviceEntryYoung,
  deviceTranslations,
  dropIn,
  flushDeviceTlb,
  setDeviceEntry,
} from '../../src/device/translations.ts';
import { fn } from '../../src/kernel/call.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { ptePfn } from '../../src/mm-types/page-table.ts';
import { pteIndex } from '../../src/mm/page-table-walk.ts';
import { MmuNotifier, type MmuNotifierOps } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../src/mmu-notifier/register.ts';
import { setRunning } from '../../src/kernel/running.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
/** The page number at which the device has it. */
const AT = 7;

const Gadget = struct('gadget', {
  plain: deviceTranslations(),
  cached: deviceTranslations({ hasTlb: true }),
  aged: deviceTranslations({ hasTlb: true, hasAccessedBit: true }),
});
type Gadget = InstanceOf<typeof Gadget>;

interface Rig {
  readonly machine: Machine;
  readonly process: Process;
  readonly gadget: Gadget;
  /** The frame that the program's page is in. */
  readonly pfn: number;
}

function rig(machine: Machine): Rig {
  const process = machine.process();
  machine.runNow(process.mmap(A, PAGE));
  machine.runNow(process.store(A, 1));
  const table = process.mm!.pageTables.find(A, 1)!;
  const pfn = ptePfn(table.ptes[pteIndex(A)] as number);
  return { machine, process, pfn, gadget: allocateStatic(machine, Gadget) };
}

function booted(): Rig {
  const machine = bootMachine();
  setRunning(machine);
  return rig(machine);
}

test('a device without a translation faults, and one that may only read cannot write', () => {
  const { machine, gadget, pfn } = booted();
  const { plain } = gadget;
  expect(machine.runNow(deviceLoad(plain, AT * PAGE))).toBe(-EFAULT);
  machine.runNow(setDeviceEntry(plain, AT, { pfn, isWritable: false }));
  expect(machine.runNow(deviceLoad(plain, AT * PAGE))).toBe(1);
  expect(machine.runNow(deviceStore(plain, AT * PAGE, 5))).toBe(-EFAULT);
  expect(machine.runNow(deviceLoad(plain, AT * PAGE))).toBe(1);
});

test('what a device writes the program reads, and the reverse', () => {
  const { machine, process, gadget, pfn } = booted();
  const { plain } = gadget;
  machine.runNow(setDeviceEntry(plain, AT, { pfn, isWritable: true }));
  machine.runNow(deviceStore(plain, AT * PAGE + 3, 200));
  expect(machine.runNow(process.load(A + 3))).toBe(200);
  machine.runNow(process.store(A + 3, 250));
  expect(machine.runNow(deviceFetchAdd(plain, AT * PAGE + 3, 10))).toBe(250);
  expect(machine.runNow(process.load(A + 3))).toBe(4);
  const swap = (expected: number, desired: number) =>
    machine.runNow(deviceCompareSwap(plain, AT * PAGE + 3, { expected, desired }));
  expect(swap(5, 9)).toBe(4);
  expect(machine.runNow(process.load(A + 3))).toBe(4);
  expect(swap(4, 9)).toBe(4);
  expect(machine.runNow(process.load(A + 3))).toBe(9);
});

test('a TLB entry stays until it is flushed, a table entry counts at once', () => {
  const { machine, gadget, pfn } = booted();
  for (const translations of [gadget.plain, gadget.cached]) {
    machine.runNow(setDeviceEntry(translations, AT, { pfn, isWritable: false }));
    expect(machine.runNow(deviceLoad(translations, AT * PAGE))).toBe(1);
    machine.runNow(setDeviceEntry(translations, AT, null));
  }
  expect(machine.runNow(deviceLoad(gadget.plain, AT * PAGE))).toBe(-EFAULT);
  expect(machine.runNow(deviceLoad(gadget.cached, AT * PAGE))).toBe(1);
  machine.runNow(flushDeviceTlb(gadget.cached, AT + 1, AT + 9));
  expect(machine.runNow(deviceLoad(gadget.cached, AT * PAGE))).toBe(1);
  machine.runNow(flushDeviceTlb(gadget.cached, AT, AT + 1));
  expect(machine.runNow(deviceLoad(gadget.cached, AT * PAGE))).toBe(-EFAULT);
});

test('what software drops in is used without a table', () => {
  const { machine, gadget, pfn } = booted();
  machine.runNow(dropIn(gadget.cached, AT, { pfn, isWritable: true }));
  expect(machine.runNow(deviceStore(gadget.cached, AT * PAGE, 3))).toBe(1);
});

type Task = (rig: Rig) => Body<unknown>;

/** What is found when tasks run side by side in every way. */
function explore(prepare: (rig: Rig) => void, tasks: Readonly<Record<string, Task>>) {
  const scenario = defineScenario<Rig>({
    name: 'device',
    variants: { v: {} },
    setup(machine) {
      const made = rig(machine);
      prepare(made);
      return made;
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
  });
  const found = new Set<string>();
  const how = {
    watches: allDetectors(),
    onExecution({
      kernel,
    }: {
      kernel: { findings: readonly { kind: string; invariant: string | null }[] };
    }) {
      for (const { kind, invariant } of kernel.findings) found.add(`${kind} ${invariant}`);
      return false;
    },
  };
  const program = programOf(scenario, 'v');
  const source = new SourceDpor(program, how).run();
  const optimal = new OptimalDpor(program, how).run();
  expect(source.isComplete && optimal.isComplete).toBe(true);
  expect(optimal.executions).toBe(source.executions);
  expect(optimal.blocked).toBe(0);
  return { executions: optimal.executions, found: [...found].toSorted() };
}

function mapped({ machine, gadget, pfn }: Rig): void {
  machine.runNow(setDeviceEntry(gadget.plain, AT, { pfn, isWritable: true }));
}

const munmap: Task = function* munmap({ process }) {
  yield* process.munmap(A, PAGE);
};
const protect: Task = function* protect({ process }) {
  yield* process.mprotect(A, PAGE, PROT_READ);
};
const store: Task = function* store({ gadget }) {
  yield* deviceStore(gadget.plain, AT * PAGE, 3);
};

test('a device that nobody tells reaches a page that was freed', () => {
  const { found } = explore(mapped, { munmap, store });
  expect(found).toEqual(['use-after-free I8a']);
});

test('a frame that was handed out again is another owner’s', () => {
  const { found } = explore(mapped, {
    *program({ process }) {
      yield* process.munmap(A, PAGE);
      yield* process.mmap(A, PAGE);
      yield* process.store(A, 2);
    },
    store,
  });
  expect(found).toEqual(['invariant I8a', 'use-after-free I8a']);
});

function following(kept: Rig): void {
  mapped(kept);
  const declared = {
    first: AT,
    end: AT + 1,
    cpuPage: A / PAGE,
    mm: kept.process.mm!,
    by: 'start',
  } as const;
  declareCoherence(kept.gadget.plain, declared);
}

const load: Task = function* load({ gadget }) {
  yield* deviceLoad(gadget.plain, AT * PAGE);
};

test('a device that says it follows the page tables must not read what they do not map', () => {
  const { found } = explore(following, { munmap, load });
  expect(found).toEqual(['invariant I8b', 'use-after-free I8a']);
});

function afterwards(access: Task): Task {
  return function* protectFirst(kept) {
    yield* kept.process.mprotect(A, PAGE, PROT_READ);
    yield* access(kept);
  };
}

test('where the program may only read, it may read and must not write', () => {
  expect(explore(following, { load: afterwards(load) }).found).toEqual([]);
  expect(explore(following, { store: afterwards(store) }).found).toEqual(['invariant I8b']);
  // The entry is none for a moment.
  expect(explore(following, { protect, load }).found).toEqual(['invariant I8b']);
});

function withdrawn(kept: Rig): void {
  following(kept);
  withdrawCoherence(kept.gadget.plain, AT, AT + 1);
}

test('a declaration that was withdrawn holds nothing against it', () => {
  expect(explore(withdrawn, { protect, store }).found).toEqual([]);
});

const Walker = struct('walker', {
  mn: embed(MmuNotifier),
  translations: deviceTranslations(),
});
type Walker = InstanceOf<typeof Walker>;

/** Hears of each range in invalidate_range, and forgets what `forgets` says of it. */
function walkerOps(forgets: (start: number, end: number) => boolean): MmuNotifierOps {
  return {
    invalidateRange: fn(
      function* walkerInvalidateRange(mn: MmuNotifier, _mm, start: number, end: number) {
        if (!forgets(start, end)) return;
        yield* setDeviceEntry(containerOf(mn, Walker, 'mn').translations, AT, null);
      },
      { name: 'walker_invalidate_range' },
    ),
  };
}

/** The program may write, then only read, while a device that was told by invalidate_range writes. */
function besideProtection(forgets: (start: number, end: number) => boolean) {
  const ops = walkerOps(forgets);
  const walkers = new WeakMap<Rig, Walker>();
  const prepare = (made: Rig): void => {
    const { machine, process, pfn } = made;
    const walker = allocateStatic(machine, Walker);
    const mm = process.mm!;
    walkers.set(made, walker);
    walker.mn.ops = ops;
    machine.runNow(mmuNotifierRegister(walker.mn, mm));
    machine.runNow(setDeviceEntry(walker.translations, AT, { pfn, isWritable: true }));
    const cpuPage = A / PAGE;
    const notifier = walker.mn;
    const declared = { first: AT, end: AT + 1, cpuPage, mm, by: 'invalidateRange', notifier };
    declareCoherence(walker.translations, declared as Coherence);
  };
  return explore(prepare, {
    protect,
    *write(made) {
      yield* deviceStore(walkers.get(made)!.translations, AT * PAGE, 3);
    },
  });
}

test('a translation from before invalidate_range may be used until it has returned', () => {
  expect(besideProtection(() => true).found).toEqual([]);
});

test('a translation that invalidate_range was to drop must not be used after it', () => {
  expect(besideProtection(() => false).found).toEqual(['invariant I8b']);
  // As where the size of a range is computed too small.
  expect(besideProtection((start, end) => end - start > PAGE).found).toEqual(['invariant I8b']);
});

test('the accessed bit is set when an entry is loaded, and not by uses of what is loaded', () => {
  const found: boolean[] = [];
  const { machine, gadget, pfn } = booted();
  const { aged } = gadget;
  const isYoung = (clears: boolean) =>
    machine.runNow<boolean>(deviceEntryYoung(aged, AT, clears) as never);
  machine.runNow(setDeviceEntry(aged, AT, { pfn, isWritable: true }));
  // Whoever makes an entry has a use for it.
  found.push(isYoung(false), isYoung(true), isYoung(true));
  machine.runNow(deviceLoad(aged, AT * PAGE));
  found.push(isYoung(true));
  machine.runNow(deviceLoad(aged, AT * PAGE));
  found.push(isYoung(true));
  machine.runNow(flushDeviceTlb(aged, AT, AT + 1));
  machine.runNow(deviceLoad(aged, AT * PAGE));
  found.push(isYoung(false));
  machine.runNow(setDeviceEntry(aged, AT, null));
  found.push(isYoung(false));
  expect(found).toEqual([true, true, false, true, false, true, false]);
});
