/** The calls of hmm's mirror API, in each version: what they return, and what they leave behind. */
import { describe, expect, test } from 'vitest';
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from '../../../src/base/errno.ts';
import { PROT_NONE, PROT_READ } from '../../../src/base/mman.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { allDetectors } from '../../../src/check/detector/index.ts';
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { programOf } from '../../../src/check/scenario.ts';
import {
  hmmBeforeGracePeriod,
  hmmByMm,
  hmmFixed,
  HmmMirror,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  HmmRange,
  hmmRangeFault,
  hmmRangeRegister,
  hmmRangeUnregister,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  hmmSeries,
  hmmV53,
  setHmm,
  type HmmVersion,
} from '../../../src/drivers/hmm/index.ts';
import { fn } from '../../../src/kernel/call.ts';
import { running } from '../../../src/kernel/running.ts';
import { downRead, downWrite, upRead, upWrite } from '../../../src/kernel/rwsem.ts';
import type { Budget } from '../../../src/kernel/kernel.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { allocateStatic } from '../../../src/kernel/slab.ts';
import { bootMachine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE, type MmStruct } from '../../../src/mm-types/mm-struct.ts';

const ADDRESS = 0x40_0000;
const END = ADDRESS + 2 * PAGE_SIZE;

const VERSIONS: readonly (readonly [string, HmmVersion])[] = [
  ['2018', hmmByMm],
  ['before 6d7c3cde93c1', hmmBeforeGracePeriod],
  ['v5.3', hmmV53],
  ['the series', hmmSeries],
  ['fixed', hmmFixed],
];

interface State {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly mirror: HmmMirror;
  readonly range: HmmRange;
}

const MIRROR_OPS = {
  syncCpuDevicePagetables: fn(function* sync() {
    return 0;
  }),
};

const register = fn(function* register(mirror: HmmMirror, mm: MmStruct) {
  yield* downWrite(mm.mmapSem);
  const error = yield* hmmMirrorRegister(mirror, mm);
  yield* upWrite(mm.mmapSem);
  return error;
});

const fault = fn(function* fault(range: HmmRange, mm: MmStruct) {
  yield* downRead(mm.mmapSem);
  const result = yield* hmmRangeFault(range, mm);
  yield* upRead(mm.mmapSem);
  return result;
});

/** Runs `run` in every execution, on a process with two pages, the first of them there. */
function explore(
  version: HmmVersion,
  run: (state: State) => Body<unknown>,
  faults: Partial<Budget> = {},
): void {
  const scenario = defineScenario<State>({
    name: 'calls',
    variants: { v: {} },
    faults,
    setup(machine) {
      setHmm(machine, version);
      const process = machine.process();
      machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
      machine.runNow(process.store(ADDRESS, 1));
      const mirror = allocateStatic(machine, HmmMirror);
      mirror.ops = MIRROR_OPS;
      return { process, mm: process.mm!, mirror, range: allocateStatic(machine, HmmRange) };
    },
    tasks: { run: { run } },
  });
  const messages = new Set<string>();
  const result = new OptimalDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { message } of kernel.findings) messages.add(message);
      return false;
    },
  }).run();
  expect([...messages]).toEqual([]);
  expect(result.isComplete).toBe(true);
}

describe.each(VERSIONS)('in %s', (_name, version) => {
  test('a mirror without ops is refused, and leaves no notifier', () => {
    explore(version, function* ({ mirror, mm }) {
      mirror.ops = null;
      expect(yield* register(mirror, mm)).toBe(-EINVAL);
      expect(mm.mmuNotifierMm).toBeNull();
    });
  });

  test('two mirrors share one struct hmm, and the last one ends it', () => {
    explore(version, function* ({ mirror, mm }) {
      const other = allocateStatic(running, HmmMirror);
      other.ops = MIRROR_OPS;
      expect(yield* register(mirror, mm)).toBe(0);
      expect(yield* register(other, mm)).toBe(0);
      expect(other.hmm).toBe(mirror.hmm);
      yield* hmmMirrorUnregister(mirror);
      yield* hmmMirrorUnregister(other);
    });
  });

  test('a range is refused unless it is some whole pages, or when the mm has ended', () => {
    explore(version, function* ({ mirror, mm, range, process }) {
      yield* register(mirror, mm);
      expect(yield* hmmRangeRegister(range, mirror, ADDRESS + 1, END)).toBe(-EINVAL);
      expect(yield* hmmRangeRegister(range, mirror, END, END)).toBe(-EINVAL);
      yield* process.exit();
      expect(yield* hmmRangeRegister(range, mirror, ADDRESS, END)).toBe(-EFAULT);
      yield* hmmMirrorUnregister(mirror);
    });
  });

  test('a range that is registered in peace is valid, and its pages are faulted in', () => {
    explore(version, function* ({ mirror, mm, range }) {
      yield* register(mirror, mm);
      range.isWrite = true;
      expect(yield* hmmRangeRegister(range, mirror, ADDRESS, END)).toBe(0);
      expect(yield* hmmRangeValid(range)).toBe(true);
      expect(yield* hmmRangeWaitUntilValid(range, 1)).toBe(true);
      expect(yield* fault(range, mm)).toBe(2);
      expect(range.pfns!.every(({ isWritable }) => isWritable)).toBe(true);
      yield* hmmRangeUnregister(range);
      yield* hmmMirrorUnregister(mirror);
    });
  });

  test('a range is faulted only where something is mapped, with the right that is needed', () => {
    explore(version, function* ({ mirror, mm, range, process }) {
      yield* register(mirror, mm);
      yield* hmmRangeRegister(range, mirror, ADDRESS, END + PAGE_SIZE);
      expect(yield* fault(range, mm)).toBe(-EFAULT);
      yield* hmmRangeUnregister(range);
      yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
      yield* hmmRangeRegister(range, mirror, ADDRESS, ADDRESS + PAGE_SIZE);
      expect(yield* fault(range, mm)).toBe(1);
      range.isWrite = true;
      expect(yield* fault(range, mm)).toBe(-EPERM);
      yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_NONE);
      range.isWrite = false;
      expect(yield* hmmRangeWaitUntilValid(range, 1)).toBe(true);
      expect(yield* fault(range, mm)).toBe(-EPERM);
      yield* hmmRangeUnregister(range);
      yield* hmmMirrorUnregister(mirror);
    });
  });

  test('without memory a mirror is refused with -ENOMEM, and nothing stays behind', () => {
    const seen = new Set<number>();
    explore(
      version,
      function* ({ mirror, mm, process }) {
        const error = yield* register(mirror, mm);
        seen.add(error);
        if (error === 0) yield* hmmMirrorUnregister(mirror);
        yield* process.exit();
      },
      { allocations: 1 },
    );
    expect([...seen].toSorted((a, b) => a - b)).toEqual([-ENOMEM, 0]);
  });
});

function* invalidated({ mirror, mm, range, process }: State): Body<boolean> {
  yield* register(mirror, mm);
  yield* hmmRangeRegister(range, mirror, ADDRESS, END);
  yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  const isValid = yield* hmmRangeValid(range);
  if (!isValid) expect(yield* fault(range, mm)).toBe(-EBUSY);
  expect(yield* hmmRangeWaitUntilValid(range, 1)).toBe(true);
  expect(yield* fault(range, mm)).toBe(2);
  yield* hmmRangeUnregister(range);
  yield* hmmMirrorUnregister(mirror);
  return isValid;
}

describe('after an invalidation that met a range', () => {
  test.each([
    ['the series', hmmSeries, true],
    ['fixed', hmmFixed, false],
  ] as const)('in %s the range is valid again by itself: %s', (_name, version, expected) => {
    explore(version, function* (state) {
      expect(yield* invalidated(state)).toBe(expected);
    });
  });
});

test('an API without a version says what is missing', () => {
  const machine = bootMachine();
  const process = machine.process();
  const mirror = allocateStatic(machine, HmmMirror);
  mirror.ops = MIRROR_OPS;
  expect(() => machine.runNow(register(mirror, process.mm!))).toThrow(/setHmm/);
});
