import { expect, test } from 'vitest';
import { EINVAL, ENOENT, ENOMEM, ESRCH } from '../../src/base/errno.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { programOf } from '../../src/check/scenario.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { mmdrop, mmgetNotZero, mmgrab, mmput, TASK_SIZE } from '../../src/mm-types/mm-struct.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { runOnMachine } from '../util/machine.ts';

const ADDRESS = 0x40_0000;

test('mmap places mappings in order of address, munmap takes whole ones away', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* user() {
        const anywhere = yield* process.mmap(0, 3 * PAGE_SIZE);
        expect(anywhere).toBeGreaterThan(0);
        expect(yield* process.mmap(ADDRESS, 1)).toBe(ADDRESS);
        expect(yield* process.mmap(0, 0)).toBe(-EINVAL);
        expect(yield* process.munmap(ADDRESS, 0)).toBe(-EINVAL);
        expect(vmas(process.mm!).map((vma) => vma.vmStart)).toEqual(
          [anywhere, ADDRESS].toSorted((a, b) => a - b),
        );
        expect(yield* process.munmap(0, TASK_SIZE)).toBe(0);
        expect(vmas(process.mm!)).toEqual([]);
        expect(yield* process.munmap(ADDRESS, PAGE_SIZE)).toBe(0);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('after exit the address space is gone and no system call is made', () => {
  const { findings, machine } = runOnMachine((booted) => {
    const process = booted.process();
    return [
      function* user() {
        yield* process.mmap(ADDRESS, PAGE_SIZE);
        yield* process.exit();
        expect(process.mm).toBeNull();
        expect(yield* process.mmap(ADDRESS, PAGE_SIZE)).toBe(-ESRCH);
        expect(yield* process.open('/dev/nothing')).toBe(-ESRCH);
      },
    ];
  });
  expect(findings).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
});

test('opening what is not there is -ENOENT', () => {
  runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* user() {
        expect(yield* process.open('/dev/nothing')).toBe(-ENOENT);
        yield* process.exit();
      },
    ];
  });
});

test('a pinned mm outlives its users, but cannot be used again', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* user() {
        const mm = process.mm!;
        yield* mmgrab(mm);
        expect(yield* mmgetNotZero(mm)).toBe(true);
        yield* mmput(mm);
        yield* process.exit();
        expect(yield* mmgetNotZero(mm)).toBe(false);
        yield* mmdrop(mm);
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('an mm that stays pinned when all is over is a leak', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* user() {
        yield* mmgrab(process.mm!);
        yield* process.exit();
      },
    ];
  });
  expect(findings.map((finding) => [finding.kind, finding.object])).toEqual([
    ['leak', 'mm_struct'],
  ]);
});

test('fork copies the mappings, and without memory leaves nothing behind', () => {
  for (const outcomes of [[0, 0, 0, 0], [1], [0, 1], [0, 0, 1], [0, 0, 0, 1]]) {
    const { findings } = runOnMachine(
      (machine) => {
        const process = machine.process();
        machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
        return [
          function* user() {
            const child = yield* process.fork();
            if (typeof child === 'number') {
              expect(child).toBe(-ENOMEM);
            } else {
              expect(vmas(child.mm!).map((vma) => vma.vmStart)).toEqual([ADDRESS]);
              yield* child.exit();
            }
            yield* process.exit();
          },
        ];
      },
      { budget: { allocations: 1 }, outcomes },
    );
    expect(findings).toEqual([]);
  }
});

test('a forked process that is still alive when all is over is no leak', () => {
  const { findings, machine } = runOnMachine((booted) => {
    const process = booted.process();
    return [
      function* user() {
        yield* process.fork();
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
  expect(machine.slabMemory.size).toBeGreaterThan(0);
});

test('exit waits for the system calls of other threads, or comes before them', () => {
  const results = new Set<number>();
  const scenario = defineScenario<{ process: Process }>({
    name: 'exit-beside-munmap',
    variants: { v: {} },
    setup(machine) {
      const process = machine.process();
      machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
      return { process };
    },
    tasks: {
      munmap: {
        *run({ process }) {
          results.add(yield* process.munmap(ADDRESS, PAGE_SIZE));
        },
      },
      exit: {
        *run({ process }) {
          yield* process.exit();
        },
      },
    },
  });
  const findings: string[] = [];
  const result = new SourceDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution(run) {
      findings.push(...run.kernel.findings.map((finding) => finding.message));
      return false;
    },
  }).run();
  expect(findings).toEqual([]);
  expect(results).toEqual(new Set([0, -ESRCH]));
  expect(result).toMatchObject({ executions: 2, blocked: 0, isComplete: true });
});
