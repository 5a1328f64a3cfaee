/** Programs that use a GRU while their memory changes: in every execution the data is right. */
import { expect, test } from 'vitest';
import { MADV_DONTNEED } from '../../../src/base/mman.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { checkVariant } from '../../../src/check/check-variant.ts';
import {
  GRU_OPT_MISS_FMM_INTR,
  GRU_OPT_MISS_USER_POLL,
  gruRun,
  gruSegment,
  gruSeries,
  installGru,
  type GruSegment,
} from '../../../src/drivers/sgi-gru/index.ts';
import { warnOn } from '../../../src/kernel/assertion.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';

const DATA = 0x40_0000;
const GSEG = 0x40_8000;
const MODES = [
  ['calls of the OS', GRU_OPT_MISS_USER_POLL],
  ['interrupts', GRU_OPT_MISS_FMM_INTR],
] as const;

interface State {
  readonly process: Process;
  readonly segment: GruSegment;
}

/** The GRU adds 1 to a byte that is 1, reads what the program stored; `disturb` goes on beside it. */
function checkAdding(options: number, disturb: (process: Process) => Body<unknown>, isKept = true) {
  const scenario = defineScenario<State>({
    name: 'real-use',
    variants: { series: {} },
    setup(machine) {
      installGru(machine, { contexts: 1 });
      machine.load(gruSeries);
      const process = machine.process();
      machine.runNow(process.mmap(DATA, PAGE_SIZE));
      machine.runNow(process.store(DATA, 1));
      const segment = machine.runNow<GruSegment>(gruSegment(process, GSEG, options) as never);
      machine.runNow(process.load(GSEG));
      return { process, segment };
    },
    tasks: {
      program: {
        cpu: 0,
        *run({ process, segment }) {
          const before = yield* gruRun(segment, { op: 'add', address: DATA, byte: 1 });
          const after = yield* process.load(DATA);
          warnOn(before !== 1 && (isKept || before !== 0), 'the GRU read what was never there');
          warnOn(after !== before + 1 && (isKept || after !== 0), 'the CPU did not see the GRU');
        },
      },
      other: {
        cpu: 1,
        *run({ process }) {
          yield* disturb(process);
        },
      },
    },
    *finally({ process }) {
      const byte = yield* process.load(DATA);
      warnOn(byte !== 2 && (isKept || byte > 1), 'what was added is lost');
    },
  });
  return checkVariant(scenario, 'series');
}

test.each(MODES)('what is reclaimed meanwhile comes back, with %s', (_, options) => {
  const { violations, complete, executions } = checkAdding(options, function* reclaim(process) {
    yield* reclaimPage(process.mm!, DATA, true);
  });
  expect(violations).toEqual([]);
  expect(complete).toBe(true);
  expect(executions).toBeGreaterThan(50);
});

test.each(MODES)('what a child shares is copied, not written to, with %s', (_, options) => {
  const { violations, complete } = checkAdding(options, function* fork(process) {
    const child = yield* process.fork();
    if (typeof child === 'number') return;
    const byte = yield* child.load(DATA);
    // As it was at some moment of the fork, and so it stays.
    warnOn(byte !== 1 && byte !== 2, 'the child sees neither the one nor the other');
    warnOn((yield* child.load(DATA)) !== byte, 'the GRU wrote to the memory of the child');
  });
  expect(violations).toEqual([]);
  expect(complete).toBe(true);
});

test.each(MODES)('what is dropped meanwhile begins with zero, with %s', (_, options) => {
  const { violations, complete } = checkAdding(
    options,
    function* drop(process) {
      yield* process.madvise(DATA, PAGE_SIZE, MADV_DONTNEED);
    },
    false,
  );
  expect(violations).toEqual([]);
  expect(complete).toBe(true);
});
