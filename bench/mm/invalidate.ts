/**
 * Invalidations: what a start and an end cost when one notifier has 1 to 100,000 ranges registered in an
 * interval tree, and the invalidated range hits none, one or some of them.
 */
import { fn } from '../../src/kernel/call.ts';
import { runDirect } from '../../src/kernel/direct.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeNode,
  intervalTreeRoot,
} from '../../src/kernel/interval-tree.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { containerOf, embed, struct } from '../../src/kernel/struct.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { bootMachine } from '../../src/mm/machine.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../src/mmu-notifier/invalidate.ts';
import {
  MMU_NOTIFY_UNMAP,
  MmuNotifier,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../src/mmu-notifier/register.ts';
import { rates, type BenchResult, type Contestant, type RateOptions } from './measure.ts';

const PAGE = 4096;
const AREA = 0x1_0000_0000;

/** A driver that looks up which of its ranges are hit. */
const Device = struct('bench_device', {
  mn: embed(MmuNotifier),
  lock: spinlock(),
  ranges: intervalTreeRoot(),
  hits: 0,
});
const DeviceRange = struct('bench_range', { node: intervalTreeNode() });

const invalidateRangeStart = fn(function* benchStart(mn: MmuNotifier, range: MmuNotifierRange) {
  const device = containerOf(mn, Device, 'mn');
  yield* spinLock(device.lock);
  const { start, end } = range;
  let node = intervalTreeIterFirst(device.ranges, start, end - 1);
  for (; node !== null; node = intervalTreeIterNext(node, start, end - 1)) device.hits += 1;
  yield* spinUnlock(device.lock);
  return 0;
});

const invalidate = fn(function* invalidate(mm: MmStruct, start: number, end: number) {
  const range = { mm, vma: null, start, end, event: MMU_NOTIFY_UNMAP, flags: 0 } as const;
  yield* mmuNotifierInvalidateRangeStart({ ...range } as MmuNotifierRange);
  yield* mmuNotifierInvalidateRangeEnd({ ...range } as MmuNotifierRange);
});

const insertRange = fn(function* insertRange(machine: Machine, device: object, start: number) {
  const range = allocateStatic(machine, DeviceRange);
  range.node.start = start;
  range.node.last = start + PAGE - 1;
  intervalTreeInsert(range.node, (device as { ranges: never }).ranges);
});

function contestant(registered: number, hits: number): Contestant {
  const machine = bootMachine();
  const process = machine.process();
  const device = allocateStatic(machine, Device);
  device.mn.ops = { invalidateRangeStart };
  runDirect(machine, mmuNotifierRegister(device.mn, process.mm!));
  // Every other page, so that something can be invalidated that none of them covers.
  for (let at = 0; at < registered; at += 1) {
    runDirect(machine, insertRange(machine, device, AREA + 2 * at * PAGE));
  }
  const mm = process.mm!;
  let at = 0;
  const span = Math.max(registered - hits, 0) + 1;
  return {
    name: `${registered.toLocaleString('en')} registered, ${hits} hit`,
    run(count) {
      for (let done = 0; done < count; done += 1) {
        // A prime stride: not the same path through the tree each time.
        at = (at + 7919) % span;
        const start = AREA + 2 * at * PAGE;
        const call =
          hits === 0
            ? invalidate(mm, start + PAGE, start + 2 * PAGE)
            : invalidate(mm, start, start + (2 * hits - 1) * PAGE);
        runDirect(machine, call);
      }
    },
  };
}

export function run(options: RateOptions): readonly BenchResult[] {
  const sizes = [1, 10, 1000, 100_000];
  const contestants = [
    ...sizes.map((size) => contestant(size, 0)),
    ...sizes.map((size) => contestant(size, 1)),
    contestant(100_000, 10),
    contestant(100_000, 100),
    contestant(100_000, 1000),
  ];
  return rates(contestants, options);
}
