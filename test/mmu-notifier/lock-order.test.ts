/** What lockdep says of drivers whose callbacks take locks and allocate. Nothing goes wrong in any of these runs. */
import { expect, test } from 'vitest';
import { fn } from '../../src/kernel/call.ts';
import { GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, type Gfp } from '../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import {
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { runOnMachine } from '../util/machine.ts';

const ADDRESS = 0x40_0000;

const Gadget = struct('gadget', { mn: embed(MmuNotifier), lock: mutex(), gfp: GFP_ATOMIC });
type Gadget = InstanceOf<typeof Gadget>;
const Note = struct('note', { text: 1 });

const allocating: MmuNotifierOps = {
  invalidateRangeStart: fn(function* gadgetAllocates(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* kfree(yield* kzalloc(Note, containerOf(mn, Gadget, 'mn').gfp));
    return 0;
  }),
};

const locking: MmuNotifierOps = {
  invalidateRangeStart: fn(function* gadgetLocks(mn: MmuNotifier, _range: MmuNotifierRange) {
    const { lock } = containerOf(mn, Gadget, 'mn');
    yield* mutexLock(lock);
    yield* mutexUnlock(lock);
    return 0;
  }),
};

/** Registers a gadget, has the mm call it, and lets `body` do something before it is unregistered. */
function findingsOf(
  ops: MmuNotifierOps,
  gfp: Gfp,
  body: (gadget: Gadget, unregister: () => Body<void>) => Body<void>,
): string[] {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* owner() {
        yield* process.mmap(ADDRESS, PAGE_SIZE);
        const gadget = (yield* kzalloc(Gadget, GFP_KERNEL)) as Gadget;
        gadget.mn.ops = ops;
        gadget.gfp = gfp;
        yield* mmuNotifierRegister(gadget.mn, process.mm!);
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        yield* body(gadget, function* unregister() {
          yield* mmuNotifierUnregister(gadget.mn, process.mm!);
        });
        yield* kfree(gadget);
        yield* process.exit();
      },
    ];
  });
  return findings.map(({ kind, object }) => `${kind} ${object}`);
}

function* simply(_gadget: Gadget, unregister: () => Body<void>): Body<void> {
  yield* unregister();
}

/** Allocates under the lock of the gadget. */
function under(gfp: Gfp) {
  return function* run(gadget: Gadget, unregister: () => Body<void>): Body<void> {
    yield* mutexLock(gadget.lock);
    yield* kfree(yield* kzalloc(Note, gfp));
    yield* mutexUnlock(gadget.lock);
    yield* unregister();
  };
}

function foundWith(gfp: Gfp): string[] {
  return findingsOf(allocating, gfp, simply);
}

test('a callback that allocates with GFP_KERNEL is found: the allocation may call it', () => {
  expect(foundWith(GFP_KERNEL)).toContain(
    'lock-order fs_reclaim, mmu_notifier_invalidate_range_start',
  );
  expect(foundWith(GFP_NOFS)).toEqual([]);
  expect(foundWith(GFP_ATOMIC)).toEqual([]);
});

test('a lock that callbacks take is found with an allocation under it, and clean without', () => {
  expect(findingsOf(locking, 0, under(GFP_KERNEL))).toContain(
    'lock-order fs_reclaim, gadget.lock, mmu_notifier_invalidate_range_start',
  );
  expect(findingsOf(locking, 0, under(GFP_NOFS))).toEqual([]);
});

test('unregistering under a lock that callbacks take is found', () => {
  const found = findingsOf(locking, 0, function* run(gadget, unregister) {
    yield* mutexLock(gadget.lock);
    yield* unregister();
    yield* mutexUnlock(gadget.lock);
  });
  expect(found).toEqual(['lock-order gadget.lock, mmu_notifier.srcu']);
});
