/**
 * A small driver for the tests of recordings and pictures. `open` publishes an object, then fails and
 * frees it, while `munmap` walks to it. Two other tasks take two locks in both orders.
 */
import { readFileSync } from 'node:fs';
import { ENOMEM } from '../../src/base/errno.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Schedule } from '../../src/check/program.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { atomic, atomicFetchAdd, atomicInc } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import { rcuAssignPointer, rcuDereference } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, PAUSE } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import { ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { record, type RecordOptions } from '../../src/trace/record.ts';
import type { Recording } from '../../src/trace/recording.ts';

export const Toy = struct('toy_process', { lock: mutex(), pages: 0 });
export type Toy = InstanceOf<typeof Toy>;

export const Table = struct('toy_table', {
  lock: mutex(),
  other: mutex(),
  opens: atomic(0),
  size: 0,
  first: ptr<Toy>(),
});
export type Table = InstanceOf<typeof Table>;

const toyRegister = fn(function* toyRegister(table: Table, toy: Toy) {
  toy.pages = 1;
  yield* rcuAssignPointer(table, 'first', toy);
});

const toyUnregister = fn(function* toyUnregister(table: Table) {
  yield* rcuAssignPointer(table, 'first', null);
});

/** The half of toy_create that can fail, under the same name. */
const toyFail = fn(
  function* toyFail(table: Table): Body<number> {
    const before = yield* atomicFetchAdd(table.opens, -1);
    return before > 0 ? -ENOMEM : 0;
  },
  { name: 'toy_create' },
);

const toyCreate = fn(function* toyCreate(table: Table) {
  const toy = yield* kzalloc(Toy, GFP_KERNEL);
  if (toy === null) return -ENOMEM;
  yield* toyRegister(table, toy);
  const error = yield* toyFail(table);
  prInfo('no doorbells left');
  yield* toyUnregister(table);
  yield* kfree(toy);
  return error;
});

export const toyOpen = fn(function* toyOpen(table: Table) {
  yield* atomicInc(table.opens);
  yield* mutexLock(table.lock);
  const error = yield* toyCreate(table);
  yield* mutexUnlock(table.lock);
  return error;
});

const toyInvalidate = fn(function* toyInvalidate(toy: Toy) {
  yield* mutexLock(toy.lock);
  const { pages } = toy;
  yield* mutexUnlock(toy.lock);
  return pages;
});

const toyMunmap = fn(function* toyMunmap(table: Table) {
  const toy = yield* rcuDereference(table, 'first');
  if (toy !== null) yield* toyInvalidate(toy);
});

/** A generator that is no fn: its caller delegates to it natively. */
function* shrink(toy: Toy, table: Table): Body<void> {
  yield* mutexLock(table.other);
  toy.pages -= 1;
  yield* mutexUnlock(table.other);
}

/** What `munmap` does, by variant. */
const MUNMAP: Readonly<Record<string, (table: Table) => Body<unknown>>> = {
  *before(table) {
    yield* toyMunmap(table);
  },
  *plain(table) {
    const toy = yield* rcuDereference(table, 'first');
    if (toy !== null) yield* shrink(toy, table);
  },
  *race(table) {
    table.size += 1;
    yield* mutexLock(table.lock);
    table.size += 1;
    yield* mutexUnlock(table.lock);
  },
  *bug(table) {
    yield* atomicInc(table.opens);
    bugOn(table.first === null, 'list_empty(&toy_table)');
  },
  *leak(table) {
    const toy = yield* kzalloc(Toy, GFP_KERNEL);
    toy!.pages = 2;
    yield* mutexLock(table.lock);
    yield* mutexUnlock(table.lock);
  },
};

export const toyUnregisterScenario: Scenario<Kernel, Table> = {
  name: 'toy-unregister',
  models: ['a toy'],
  about: 'open fails after it has published its object, while another thread unmaps',
  variants: {
    before: { expect: { verdict: 'violation', kind: 'use-after-free', object: 'toy_process' } },
    plain: {},
    race: {},
    bug: {},
    leak: {},
  },
  boot: (options) => new Kernel(options),
  setup: (kernel) => allocateStatic(kernel, Table),
  tasks: {
    open: {
      cpu: 0,
      *run(table, variant) {
        if (variant === 'race') table.size += 1;
        yield* toyOpen(table);
      },
    },
    munmap: {
      cpu: 1,
      *run(table, variant) {
        yield* (MUNMAP[variant] as (table: Table) => Body<unknown>)(table);
      },
    },
  },
};

/** Takes one lock, then the other. */
function inOrder(name: string, first: 'lock' | 'other', second: 'lock' | 'other') {
  return fn(
    function* takeBoth(table: Table) {
      yield* mutexLock(table[first]);
      yield* mutexLock(table[second]);
      yield* mutexUnlock(table[second]);
      yield* mutexUnlock(table[first]);
    },
    { name },
  );
}

const toySuspend = inOrder('toy_suspend', 'lock', 'other');
const toyResume = inOrder('toy_resume', 'other', 'lock');

export const toyLocksScenario: Scenario<Kernel, Table> = {
  name: 'toy-locks',
  variants: { before: { expect: { verdict: 'violation', kind: 'deadlock' } } },
  boot: (options) => new Kernel(options),
  setup: (kernel) => allocateStatic(kernel, Table),
  tasks: {
    suspend: {
      cpu: 0,
      *run(table) {
        yield* toySuspend(table);
      },
    },
    resume: {
      *run(table) {
        yield* toyResume(table);
      },
    },
  },
};

/** `'001p'` → two steps of task 0, one of task 1 that pauses before its plain code. */
function scheduleOf(text: string): Schedule {
  const steps = text.match(/\dp?/g) ?? [];
  return {
    tasks: steps.map((step) => Number(step[0])),
    outcomes: steps.map((step) => (step.endsWith('p') ? PAUSE : 0)),
  };
}

/** Records `toy-unregister` along a schedule like `'0011'`, with all detectors. */
export function recordToy(variant: string, tasks: string, options: RecordOptions = {}): Recording {
  const program = programOf(toyUnregisterScenario, variant);
  return record(program, scheduleOf(tasks), allDetectors(), {
    resolvePlace: shortPlace,
    ...options,
  });
}

export function recordLocks(tasks: string): Recording {
  const program = programOf(toyLocksScenario, 'before');
  return record(program, scheduleOf(tasks), allDetectors(), { resolvePlace: shortPlace });
}

/** `…/test/trace/sample.ts:41:7` → `sample.ts:41`. */
export function shortPlace(raw: string): string {
  return raw.replace(/^.*\//, '').replace(/:\d+$/, '');
}

const source = readFileSync(new URL(import.meta.url), 'utf8').split('\n');

/** The line of this file that a place names. */
export function lineAt(place: string | null): string {
  const line = /^sample\.ts:(\d+)$/.exec(place ?? '')?.[1];
  return line === undefined
    ? `not in this file: ${place}`
    : (source[Number(line) - 1] ?? '').trim();
}
