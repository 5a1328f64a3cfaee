/** What tests of interval notifiers begin with: a process with two pages, two notifiers and a range. */
import { expect } from 'vitest';
import { fn } from '../../src/kernel/call.ts';
import type { Finding } from '../../src/kernel/finding.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { type MmStruct } from '../../src/mm-types/mm-struct.ts';
import { setNotifierBehaviour, type NotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../src/mmu-notifier/interval.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mirrorOps, newMirror, rangeOf, type Mirror } from './interval-user.ts';
import { runOnMachine } from './machine.ts';
import type { Machine } from '../../src/mm/machine.ts';

export const ADDRESS = 0x40_0000;
export const INTERVAL = { start: ADDRESS, length: PAGE_SIZE };

/** What every test starts with. */
export interface Given {
  readonly machine: Machine;
  /** Has two pages mapped, at ADDRESS. */
  readonly process: Process;
  readonly mm: MmStruct;
  /** Neither is inserted. */
  readonly one: Mirror;
  readonly two: Mirror;
  /** A notifier for the list, not registered. */
  readonly mn: MmuNotifier;
  /** Hits INTERVAL. */
  readonly range: MmuNotifierRange;
}

type Options = Parameters<typeof runOnMachine>[1] & {
  readonly notifiers?: Partial<NotifierBehaviour>;
};

/** What is found when a task runs `body`. */
export function findingsOf(
  body: (given: Given) => Body<unknown>,
  options: Options = {},
): readonly Finding[] {
  return runOnMachine((machine) => {
    setNotifierBehaviour(machine, options.notifiers ?? {});
    const process = machine.process();
    const mm = process.mm!;
    machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
    const [one, two] = [newMirror(machine), newMirror(machine)];
    const mn = allocateStatic(machine, MmuNotifier);
    const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    return [() => body({ machine, process, mm, one, two, mn, range })];
  }, options).findings;
}

/** Runs `body`, after which the process exits; nothing is found. */
export function run(body: (given: Given) => Body<unknown>, options: Options = {}): void {
  const found = findingsOf(function* owner(given) {
    yield* body(given);
    yield* given.process.exit();
  }, options);
  expect(found).toEqual([]);
}

/** Inserts a notifier for INTERVAL. */
export function insert({ mm }: Given, { mni }: Mirror, ops: MmuIntervalNotifierOps = mirrorOps) {
  return mmuIntervalNotifierInsert(mni, mm, INTERVAL, ops);
}

export function remove({ mni }: Mirror) {
  return mmuIntervalNotifierRemove(mni);
}

type Invalidate = (mni: MmuIntervalNotifier, range: MmuNotifierRange, seq: number) => Body<boolean>;

export function opsOf(invalidate: Invalidate): MmuIntervalNotifierOps {
  return { invalidate: fn(invalidate) };
}
