/** Locks that are taken in reclaim must not be held around what may enter it: found though memory is never short. */
import { expect, test } from 'vitest';
import { fn } from '../../src/kernel/call.ts';
import { GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, type Gfp } from '../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { downWrite, upWrite } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { rootOf } from '../../src/mm-types/anon-vma.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { allocPage, putPage } from '../../src/mm/frames.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { armDirectReclaim, reclaimPage } from '../../src/mm/reclaim.ts';
import { MmuNotifier } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { runOnMachine } from '../util/machine.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;

const Gadget = struct('gadget', { mn: embed(MmuNotifier), lock: mutex() });
type Gadget = InstanceOf<typeof Gadget>;

interface Scene {
  readonly machine: Machine;
  readonly process: Process;
  readonly gadget: Gadget;
}

/** A process with a page at A and a gadget whose callback takes a lock; what is found when `body` has run. */
function found(body: (scene: Scene) => Body<void>, outcomes: readonly number[] = []): string[] {
  const { findings } = runOnMachine(
    (machine) => {
      const process = machine.process();
      const gadget = allocateStatic(machine, Gadget);
      gadget.mn.ops = {
        invalidateRangeStart: fn(function* gadgetStops(mn: MmuNotifier) {
          const { lock } = containerOf(mn, Gadget, 'mn');
          yield* mutexLock(lock);
          yield* mutexUnlock(lock);
          return 0;
        }),
      };
      machine.runNow(process.mmap(A, PAGE));
      machine.runNow(process.store(A, 1));
      return [() => body({ machine, process, gadget })];
    },
    { outcomes },
  );
  return findings.map(({ kind, object }) => `${kind} of ${object}`);
}

function* allocate(gfp: Gfp): Body<void> {
  const page = yield* allocPage(gfp);
  if (page !== null) yield* putPage(page);
}

/** A lock of the callback. */
function callbackLock(gfp: Gfp): string[] {
  return found(function* body({ process, gadget }) {
    yield* mmuNotifierRegister(gadget.mn, process.mm!);
    yield* reclaimPage(process.mm!, A, true);
    yield* mutexLock(gadget.lock);
    yield* allocate(gfp);
    yield* mutexUnlock(gadget.lock);
    yield* mmuNotifierUnregister(gadget.mn, process.mm!);
  });
}

test('a lock that a callback takes in reclaim, held over the allocation of a page, is found', () => {
  expect(callbackLock(GFP_KERNEL)).toEqual(['lock-order of fs_reclaim, gadget.lock']);
  for (const gfp of [GFP_NOFS, GFP_ATOMIC]) expect(callbackLock(gfp)).toEqual([]);
});

/** A lock of the reverse map. */
function rmapLock(gfp: Gfp): string[] {
  return found(function* body({ process }) {
    yield* reclaimPage(process.mm!, A, true);
    const { rwsem } = rootOf(vmas(process.mm!)[0]!.anonVma!);
    yield* downWrite(rwsem);
    yield* allocate(gfp);
    yield* upWrite(rwsem);
  });
}

test('a lock that reclaim takes itself is found with no notifier there', () => {
  expect(rmapLock(GFP_KERNEL)).toEqual(['lock-order of anon_vma.rwsem, fs_reclaim']);
  for (const gfp of [GFP_NOFS, GFP_ATOMIC]) expect(rmapLock(gfp)).toEqual([]);
});

test('an allocation that enters reclaim under the lock that the callback takes never ends', () => {
  const all = found(
    function* body({ machine, process, gadget }) {
      yield* mmuNotifierRegister(gadget.mn, process.mm!);
      armDirectReclaim(machine, process.mm!, A, 1);
      yield* mutexLock(gadget.lock);
      yield* allocate(GFP_KERNEL);
      yield* mutexUnlock(gadget.lock);
    },
    [1],
  );
  expect(all.filter((text) => text.startsWith('deadlock'))).toHaveLength(1);
});

test('what reclaim allocates does not enter it again', () => {
  const all = found(
    function* body({ machine, process }) {
      armDirectReclaim(machine, process.mm!, A, 1);
      yield* allocate(GFP_KERNEL);
      yield* process.load(A);
    },
    [1],
  );
  expect(all).toEqual([]);
});
