import { expect, test } from 'vitest';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import {
  mmdrop,
  mmgetNotZero,
  mmgrab,
  mmput,
  type MmStruct,
} from '../../src/mm-types/mm-struct.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
} from '../../src/mmu-notifier/interval.ts';
import { Mirror, mirrorOps } from '../util/interval-user.ts';
import { runOnMachine } from '../util/machine.ts';

const ADDRESS = 0x40_0000;
const INTERVAL = { start: ADDRESS, length: PAGE_SIZE };

interface Owned {
  readonly process: Process;
  readonly mm: MmStruct;
  /** Inserted, with `isInserted`; whoever removes it frees it. */
  readonly mirror: Mirror;
}

/** Runs the tasks on a process with one mapping, and returns the verdict and what was found. */
function check(
  tasks: Readonly<Record<string, (state: Owned) => Body<unknown>>>,
  isInserted: boolean,
): string[] {
  const scenario = defineScenario<Owned>({
    name: 'interval-races',
    variants: { only: {} },
    setup: (machine) => {
      const process = machine.process();
      const mm = process.mm!;
      machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
      machine.runNow(mmgrab(mm));
      const mirror = machine.runNow<Mirror | null>(kzalloc(Mirror, GFP_KERNEL))!;
      if (isInserted)
        machine.runNow(mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps));
      return { process, mm, mirror };
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    *finally({ mm }) {
      yield* mmdrop(mm);
    },
  });
  const { verdict, violations } = checkVariant(scenario, 'only', {});
  return [
    verdict,
    ...violations.map(({ kind, object, message }) => `${kind} ${object} ${message}`),
  ];
}

function* insertAndRemove({ mm, mirror }: Owned): Body<void> {
  yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
  yield* mmuIntervalNotifierRemove(mirror.mni);
  yield* kfree(mirror);
}

function* another({ mm }: Owned): Body<void> {
  const mirror = (yield* kzalloc(Mirror, GFP_KERNEL))!;
  yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
  yield* mmuIntervalNotifierRemove(mirror.mni);
  yield* kfree(mirror);
}

function* removeAndFree({ mirror }: Owned): Body<void> {
  yield* mmuIntervalNotifierRemove(mirror.mni);
  yield* kfree(mirror);
}

function* munmap({ process }: Owned): Body<void> {
  yield* process.munmap(ADDRESS, PAGE_SIZE);
}

function* exit({ process }: Owned): Body<void> {
  yield* process.exit();
}

/** A kernel thread that looks the page up for the device, as long as there are users. */
function* map({ mm, mirror }: Owned): Body<void> {
  if (!(yield* mmgetNotZero(mm))) return;
  for (;;) {
    const seq = yield* mmuIntervalReadBegin(mirror.mni);
    yield* downRead(mm.mmapSem);
    yield* upRead(mm.mmapSem);
    yield* mutexLock(mirror.lock);
    const isStale = mmuIntervalReadRetry(mirror.mni, seq);
    if (!isStale) mirror.isMapped = true;
    yield* mutexUnlock(mirror.lock);
    if (!isStale) break;
  }
  yield* mmput(mm);
}

test('two that insert the first interval notifier at once', () => {
  expect(check({ insertAndRemove, another }, false)).toEqual(['clean']);
});

test('an insertion and a removal beside munmap', () => {
  expect(check({ insertAndRemove, munmap }, false)).toEqual(['clean']);
});

test('a removal beside munmap and beside exit', () => {
  expect(check({ removeAndFree, munmap }, true)).toEqual(['clean']);
  expect(check({ removeAndFree, exit }, true)).toEqual(['clean']);
});

test('a driver that looks up beside munmap, and beside exit', () => {
  expect(check({ map, munmap }, true)[0]).toBe('clean');
  expect(check({ map, exit }, true)[0]).toBe('clean');
});

test('an insertion is for who holds no mmap_sem, also where it would not take it', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const mm = process.mm!;
    const mirror = machine.runNow<Mirror | null>(kzalloc(Mirror, GFP_KERNEL))!;
    return [
      function* owner() {
        yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
        yield* mmuIntervalNotifierRemove(mirror.mni);
        yield* downRead(mm.mmapSem);
        yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
        yield* upRead(mm.mmapSem);
        yield* removeAndFree({ process, mm, mirror });
        yield* process.exit();
      },
    ];
  });
  expect(findings.map(({ kind, object }) => [kind, object])).toEqual([
    ['lock-order', 'mm_struct.mmap_sem'],
  ]);
});
