import { expect, test } from 'vitest';
import { ENOMEM } from '../../../src/base/errno.ts';
import {
  intervalSubscriberInsert,
  intervalSubscriberRemove,
  intervalSubscriberUse,
  selfPuttingOps,
  subscriberGet,
  subscriberIsFrozen,
  subscriberPut,
  subscriberRegister,
  subscriberSeries,
  subscriberUnregister,
  type IntervalSubscriber,
  type Subscriber,
} from '../../../src/drivers/subscriber/index.ts';
import { isErr, ptrErr } from '../../../src/kernel/err-ptr.ts';
import { unloadModule } from '../../../src/kernel/module.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;

/** Runs one thread of a process with a mapping; nothing may be found, and nothing be left but the process. */
function run(body: (process: Process) => Body<unknown>, allocations = 0): void {
  const { findings, machine } = runOnMachine(
    (booted) => {
      const process = booted.process();
      booted.runNow(process.mmap(ADDRESS, PAGE_SIZE));
      booted.load(subscriberSeries);
      return [
        function* user() {
          yield* body(process);
          yield* process.exit();
        },
      ];
    },
    { budget: { allocations }, outcomes: allocations > 0 ? [1] : [] },
  );
  expect(findings).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
}

test('two users share one subscriber, which hears of ranges and is freed after the last put', () => {
  run(function* user(process) {
    const first = (yield* subscriberGet(process.mm!)) as Subscriber;
    const second = yield* subscriberGet(process.mm!);
    expect(second).toBe(first);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect(first.active).toBe(0);
    yield* subscriberPut(first);
    expect(yield* subscriberIsFrozen(first)).toBe(false);
    yield* subscriberPut(first);
  });
});

test('who registers has a subscriber of his own, and unregister tells it that it is over', () => {
  run(function* user(process) {
    const first = (yield* subscriberRegister(process.mm!)) as Subscriber;
    const second = (yield* subscriberRegister(process.mm!)) as Subscriber;
    expect(second).not.toBe(first);
    yield* subscriberUnregister(first);
    yield* subscriberUnregister(second);
  });
});

test('a subscriber that lives as long as its mm is put by its release', () => {
  run(function* user(process) {
    yield* subscriberGet(process.mm!, selfPuttingOps);
  });
});

test('without memory there is no subscriber', () => {
  run(function* user(process) {
    const s = yield* subscriberGet(process.mm!);
    expect(isErr(s) && ptrErr(s)).toBe(-ENOMEM);
  }, 1);
});

test('an interval subscriber uses what it looked up until the interval is hit', () => {
  run(function* user(process) {
    const interval = { start: ADDRESS, length: PAGE_SIZE };
    const s = (yield* intervalSubscriberInsert(process.mm!, interval)) as IntervalSubscriber;
    expect(yield* intervalSubscriberUse(s)).toBe(true);
    expect(s.uses).toBe(1);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect(s.uses).toBe(0);
    yield* intervalSubscriberRemove(s);
  });
});

test('the module goes when nobody has a subscriber any more', () => {
  run(function* user(process) {
    const s = (yield* subscriberGet(process.mm!)) as Subscriber;
    yield* subscriberPut(s);
    expect(yield* unloadModule(subscriberSeries)).toBe(0);
  });
});
