/** Shared virtual memory: its calls, and that program and GPU see the same bytes, in every execution. */
import { expect, test } from 'vitest';
import { EFAULT, EINVAL, ENOTTY } from '../../../src/base/errno.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { allDetectors } from '../../../src/check/detector/index.ts';
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { programOf } from '../../../src/check/scenario.ts';
import {
  AMDKFD_IOC_SVM,
  amdkfdSeries,
  amdkfdSvmMended,
  KFD_DEVICE,
  svmGpuLoad,
  svmGpuStore,
} from '../../../src/drivers/amdkfd/index.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { MADV_DONTNEED } from '../../../src/base/mman.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import type { Process } from '../../../src/mm/process.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const PASID = 1;

test('SVM refuses what is not aligned or not mapped, and kernels before it do not know it', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.load(amdkfdSvmMended);
    return [
      function* user() {
        const fd = yield* process.open(KFD_DEVICE);
        const svm = (start: number, size: number) =>
          process.ioctl(fd, AMDKFD_IOC_SVM, { start, size });
        expect(yield* svm(ADDRESS + 1, PAGE_SIZE)).toBe(-EINVAL);
        expect(yield* svm(ADDRESS, 0)).toBe(-EINVAL);
        expect(yield* svm(ADDRESS, PAGE_SIZE)).toBe(-EFAULT);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
  runOnMachine((machine) => {
    const process = machine.process();
    machine.load(amdkfdSeries);
    return [
      function* user() {
        const fd = yield* process.open(KFD_DEVICE);
        const attributes = { start: ADDRESS, size: PAGE_SIZE };
        expect(yield* process.ioctl(fd, AMDKFD_IOC_SVM, attributes)).toBe(-ENOTTY);
        yield* process.exit();
      },
    ];
  });
});

/** Runs the tasks beside each other, on a page that is shared with the GPU; what is in it afterwards. */
function explore(tasks: Readonly<Record<string, (process: Process) => Body<unknown>>>): string[] {
  const seen = new Set<string>();
  const messages = new Set<string>();
  const scenario = defineScenario<Process>({
    name: 'use',
    variants: { v: {} },
    setup(machine) {
      const process = machine.process();
      machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
      machine.runNow(process.store(ADDRESS, 1));
      machine.load(amdkfdSvmMended);
      const fd = machine.runNow<number>(process.open(KFD_DEVICE));
      machine.runNow(process.ioctl(fd, AMDKFD_IOC_SVM, { start: ADDRESS, size: PAGE_SIZE }));
      return process;
    },
    tasks: Object.fromEntries(
      Object.entries(tasks).map(([name, run]) => [name, { run: (process) => run(process) }]),
    ),
    *finally(process) {
      seen.add(`${yield* process.load(ADDRESS)} ${yield* process.load(ADDRESS + 1)}`);
    },
  });
  const { isComplete } = new OptimalDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { message } of kernel.findings) messages.add(message);
      return false;
    },
  }).run();
  expect(isComplete).toBe(true);
  expect([...messages]).toEqual([]);
  return [...seen].toSorted();
}

test('what the GPU writes the program reads, and the reverse, while the program drops the page', () => {
  const seen = explore({
    *program(process) {
      yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
      yield* process.store(ADDRESS, 5);
    },
    *gpu() {
      yield* svmGpuStore(PASID, ADDRESS + 1, 7);
    },
  });
  // Dropped with the page, or written to the new one; the program's own is never lost.
  expect(seen).toEqual(['5 0', '5 7']);
});

test('the GPU reads what the program wrote last', () => {
  const seen = explore({
    *program(process) {
      yield* process.store(ADDRESS, 9);
      yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
      yield* process.store(ADDRESS, 3);
      expect(yield* svmGpuLoad(PASID, ADDRESS)).toBe(3);
      yield* svmGpuStore(PASID, ADDRESS + 1, 4);
    },
  });
  expect(seen).toEqual(['3 4']);
});

test('munmap in the middle of a range leaves two ranges, and then one, that the GPU goes on using', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.load(amdkfdSvmMended);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, 4 * PAGE_SIZE);
        for (let page = 0; page < 4; page += 1) yield* process.store(ADDRESS + page * PAGE_SIZE, 1);
        const fd = yield* process.open(KFD_DEVICE);
        const attributes = { start: ADDRESS, size: 4 * PAGE_SIZE };
        expect(yield* process.ioctl(fd, AMDKFD_IOC_SVM, attributes)).toBe(0);
        yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
        // Before the work has come to it, and again while the rest is still to be added.
        yield* process.munmap(ADDRESS + 2 * PAGE_SIZE, PAGE_SIZE);
        expect(yield* svmGpuLoad(PASID, ADDRESS)).toBe(1);
        expect(yield* svmGpuLoad(PASID, ADDRESS + PAGE_SIZE)).toBe(-EFAULT);
        expect(yield* svmGpuLoad(PASID, ADDRESS + 2 * PAGE_SIZE)).toBe(-EFAULT);
        // The end of the first page goes as a whole: the range is no longer there.
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        expect(yield* svmGpuLoad(PASID, ADDRESS)).toBe(-EFAULT);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('munmap of the first page of a range leaves the rest', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.load(amdkfdSvmMended);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, 3 * PAGE_SIZE);
        for (let page = 0; page < 3; page += 1) yield* process.store(ADDRESS + page * PAGE_SIZE, 1);
        const fd = yield* process.open(KFD_DEVICE);
        const attributes = { start: ADDRESS, size: 3 * PAGE_SIZE };
        expect(yield* process.ioctl(fd, AMDKFD_IOC_SVM, attributes)).toBe(0);
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        expect(yield* svmGpuLoad(PASID, ADDRESS)).toBe(-EFAULT);
        expect(yield* svmGpuLoad(PASID, ADDRESS + PAGE_SIZE)).toBe(1);
        expect(yield* svmGpuLoad(PASID, ADDRESS + 2 * PAGE_SIZE)).toBe(1);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});
