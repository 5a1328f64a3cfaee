/**
 * Faults against munmap, mremap, fork, truncation, reclaim and exit, with three tasks: every interleaving, and after
 * each of them all that must hold of page tables, counters, TLBs and trees.
 */
import { expect, test } from 'vitest';
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../src/base/mman.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { BoundedDpor } from '../../src/check/bounded-dpor.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Execution } from '../../src/check/exploration.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import type { Body } from '../../src/kernel/operation.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { reclaimPage } from '../../src/mm/reclaim.ts';
import { mmProblems } from '../util/mm-invariants.ts';

const A = 0x1_0000_0000;
const B = 0x1_0004_0000;
const PAGE = 4096;

interface Setting {
  readonly machine: Machine;
  readonly process: Process;
  /** Forked in set-up, with the same mappings and files. */
  readonly child: Process | null;
  readonly fd: number;
}

type Prepare = (setting: Setting) => void;
type Code = (setting: Setting) => Body<unknown>;

const anonymous: Prepare = ({ machine, process }) => {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  machine.runNow(process.mmap(A, 2 * PAGE, { flags }));
  machine.runNow(process.store(A, 1));
};

const file =
  (sharing: number): Prepare =>
  ({ machine, process, fd }) => {
    machine.runNow(process.mmap(A, 2 * PAGE, { flags: sharing | MAP_FIXED, fd }));
    machine.runNow(process.load(A));
  };

const TASKS = {
  *store({ process }) {
    yield* process.store(A, 2);
  },
  *load({ process }) {
    yield* process.load(A);
  },
  *munmap({ process }) {
    yield* process.munmap(A, PAGE);
  },
  *mremap({ process }) {
    const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    yield* process.mremap(A, PAGE, PAGE, { flags, newAddress: B });
  },
  *dontneed({ process }) {
    yield* process.madvise(A, PAGE, MADV_DONTNEED);
  },
  *fork({ process }) {
    const child = yield* process.fork();
    if (typeof child !== 'number') yield* child.exit();
  },
  *truncate({ process, fd }) {
    yield* process.ftruncate(fd, 0);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *reclaim({ process }) {
    const { mm } = process;
    if (mm !== null) yield* reclaimPage(mm, A, true);
  },
  *childStore({ child }) {
    yield* child!.store(A, 3);
  },
  *childTruncate({ child, fd }) {
    yield* child!.ftruncate(fd, 0);
  },
  *childExit({ child }) {
    yield* child!.exit();
  },
} satisfies Record<string, Code>;
type TaskName = keyof typeof TASKS;

interface Outcome {
  readonly executions: number;
  readonly isComplete: boolean;
  readonly problems: readonly string[];
}

/** Explores everything, or all with at most so many preemptions. */
function explore(
  prepare: Prepare,
  names: readonly TaskName[],
  preemptions: number | null = null,
): Outcome {
  const problems = new Set<string>();
  const scenario = defineScenario<Setting>({
    name: 'memory',
    variants: { v: {} },
    setup(machine) {
      const process = machine.process();
      const fd = machine.runNow<number>(process.memfdCreate('f'));
      machine.runNow(process.ftruncate(fd, 2 * PAGE));
      prepare({ machine, process, child: null, fd });
      const hasChild = names.some((name) => name.startsWith('child'));
      const child = hasChild ? machine.runNow<Process | number>(process.fork()) : null;
      return { machine, process, child: child as Process | null, fd };
    },
    tasks: Object.fromEntries(names.map((name) => [name, { run: TASKS[name] }])),
    *finally({ machine, process, child }) {
      const mms = [process.mm, child?.mm ?? null].filter((mm) => mm !== null);
      for (const problem of mmProblems(machine, mms)) problems.add(problem);
      yield* process.exit();
      if (child !== null) yield* child.exit();
    },
  });
  const options = {
    watches: allDetectors(),
    executionCountMax: 50_000,
    onExecution({ kernel }: Execution) {
      for (const { kind, message } of kernel.findings) problems.add(`${kind}: ${message}`);
      return false;
    },
  };
  const program = programOf(scenario, 'v');
  const explorer =
    preemptions === null
      ? new SourceDpor(program, options)
      : new BoundedDpor(program, preemptions, options);
  const { executions, isComplete } = explorer.run();
  return { executions, isComplete, problems: [...problems] };
}

test.each<[TaskName, TaskName, TaskName]>([
  ['store', 'load', 'munmap'],
  ['store', 'load', 'mremap'],
  ['store', 'munmap', 'fork'],
  ['store', 'mremap', 'fork'],
  ['store', 'munmap', 'exit'],
  ['store', 'dontneed', 'fork'],
  ['store', 'childStore', 'munmap'],
  ['store', 'childExit', 'mremap'],
])('%s, %s and %s of anonymous memory', (...names) => {
  const outcome = explore(anonymous, names);
  expect(outcome).toMatchObject({ isComplete: true, problems: [] });
  expect(outcome.executions).toBeGreaterThan(5);
});

test.each<[TaskName, TaskName, TaskName]>([
  ['store', 'truncate', 'fork'],
  ['store', 'truncate', 'exit'],
  ['store', 'childTruncate', 'exit'],
])('%s, %s and %s of a shared file', (...names) => {
  const outcome = explore(file(MAP_SHARED), names);
  expect(outcome).toMatchObject({ isComplete: true, problems: [] });
  expect(outcome.executions).toBeGreaterThan(5);
});

test.each<[TaskName, TaskName, TaskName]>([
  ['store', 'truncate', 'exit'],
  ['store', 'childTruncate', 'exit'],
])('%s, %s and %s of a private file', (...names) => {
  const outcome = explore(file(MAP_PRIVATE), names);
  expect(outcome).toMatchObject({ isComplete: true, problems: [] });
  expect(outcome.executions).toBeGreaterThan(5);
});

// Complete, these take a minute each; nothing was found then.
test.each<[string, Prepare, readonly TaskName[]]>([
  ['store, store of a child and fork', anonymous, ['store', 'childStore', 'fork']],
  ['load, truncate and munmap of a shared file', file(MAP_SHARED), ['load', 'truncate', 'munmap']],
  ['store, truncate and fork of a private file', file(MAP_PRIVATE), ['store', 'truncate', 'fork']],
  [
    'store, truncate and mremap of a private file',
    file(MAP_PRIVATE),
    ['store', 'truncate', 'mremap'],
  ],
  ['store, munmap and reclaim', anonymous, ['store', 'munmap', 'reclaim']],
  ['store, mremap and reclaim', anonymous, ['store', 'mremap', 'reclaim']],
  ['load, truncate and reclaim', file(MAP_SHARED), ['load', 'truncate', 'reclaim']],
])('%s, with at most 2 preemptions', (_memory, prepare, names) => {
  const outcome = explore(prepare, names, 2);
  expect(outcome).toMatchObject({ isComplete: true, problems: [] });
  expect(outcome.executions).toBeGreaterThan(50);
});
