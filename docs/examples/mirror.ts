/**
 * A device that mirrors the address space of whoever opens it. All files of a process share one mirror, which
 * the first open makes and which is freed after the last close. Ask: npx mmulab check docs/examples/mirror.ts
 */
import {
  containerOf,
  currentMm,
  defineScenario,
  embed,
  ENOMEM,
  errPtr,
  isErr,
  ptrErr,
} from 'mmulab';
import { GFP_KERNEL, goal, kfree, kzalloc, spinlock, spinLock, spinUnlock, struct } from 'mmulab';
import { MmuNotifier, mmuNotifierGet, mmuNotifierPut, mmuNotifierSynchronize } from 'mmulab';
import { moduleText, PAGE_SIZE, registerChrdev, unregisterChrdev } from 'mmulab';
import type { Body, ErrPtr, File, InstanceOf, MmStruct, MmuNotifierOps } from 'mmulab';

const { fn, module, text } = moduleText('mirror');

const Mirror = struct('mirror', {
  mn: embed(MmuNotifier),
  lock: spinlock(),
  /** Ranges that are being invalidated. Under `lock`. */
  active: 0,
});
type Mirror = InstanceOf<typeof Mirror>;

const mirrorCount = fn(function* mirrorCount(mn: MmuNotifier, by: number) {
  const mirror = containerOf(mn, Mirror, 'mn');
  yield* spinLock(mirror.lock);
  mirror.active += by;
  yield* spinUnlock(mirror.lock);
});

const mirrorAlloc = fn(function* mirrorAlloc(_mm: MmStruct): Body<MmuNotifier | ErrPtr> {
  const mirror = yield* kzalloc(Mirror, GFP_KERNEL);
  return mirror === null ? errPtr(-ENOMEM) : mirror.mn;
});

const mirrorStart = fn(function* mirrorStart(mn: MmuNotifier) {
  yield* mirrorCount(mn, 1);
  return 0;
});

const mirrorEnd = fn(function* mirrorEnd(mn: MmuNotifier) {
  yield* mirrorCount(mn, -1);
});

const mirrorFree = fn(function* mirrorFree(mn: MmuNotifier) {
  yield* kfree(containerOf(mn, Mirror, 'mn'));
});

/** One table for the driver: it is the key by which get finds the mirror of an mm. */
const mirrorOps: MmuNotifierOps = {
  allocNotifier: mirrorAlloc,
  freeNotifier: mirrorFree,
  invalidateRangeStart: mirrorStart,
  invalidateRangeEnd: mirrorEnd,
};

const mirrorOpen = fn(function* mirrorOpen(file: File) {
  const mn = yield* mmuNotifierGet(mirrorOps, currentMm()!);
  if (isErr(mn)) return ptrErr(mn);
  file.privateData = mn;
  return 0;
});

const mirrorRelease = fn(function* mirrorRelease(file: File) {
  // If this was the last put, the mirror may be gone from here on.
  yield* mmuNotifierPut(file.privateData as MmuNotifier);
});

const mirrorInit = fn(function* mirrorInit() {
  return yield* registerChrdev('/dev/mirror', {
    owner: text,
    open: mirrorOpen,
    release: mirrorRelease,
  });
});

const mirrorExit = fn(function* mirrorExit() {
  yield* unregisterChrdev('/dev/mirror');
  // Callbacks of mirrors that were put may still be running: they are this module's code.
  yield* mmuNotifierSynchronize();
});

export const scenario = defineScenario({
  name: 'mirror',
  variants: { mine: { expect: { verdict: 'clean' } } },
  faults: { allocations: 1 },
  setup(machine) {
    machine.load(module({ init: mirrorInit, exit: mirrorExit }));
    const process = machine.process();
    machine.runNow(process.mmap(0x10000, PAGE_SIZE));
    return process;
  },
  tasks: {
    user: {
      *run(process) {
        const fd = yield* process.open('/dev/mirror');
        if (fd < 0) goal('open failed');
        else yield* process.close(fd);
      },
    },
    munmap: {
      *run(process) {
        yield* process.munmap(0x10000, PAGE_SIZE);
      },
    },
  },
  goals: ['open failed', { name: 'munmap told the driver', calls: 'mirror_start' }],
});
