/**
 * Scenarios for mutations that the catalogue has none for, in its manner: two or three tasks that use the core as
 * a driver does. As the core is, each is as it expects to be.
 */
import type { AnyScenario } from '../../src/check/scenario.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { ENOMEM } from '../../src/base/errno.ts';
import { MADV_DONTNEED, MAP_SHARED } from '../../src/base/mman.ts';
import { warnOn } from '../../src/kernel/assertion.ts';
import { fn } from '../../src/kernel/call.ts';
import { errPtr, isErr, type ErrPtr } from '../../src/kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { followPage } from '../../src/mm/gup.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { findVma } from '../../src/mm/vma.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../src/mm-types/mm-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../src/mmu-notifier/get-put.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  MmuIntervalNotifier,
} from '../../src/mmu-notifier/interval.ts';
import {
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';

const ADDRESS = 0x40_0000;
const LENGTH = 0x1000;

const Shadow = struct('shadow', {
  mn: embed(MmuNotifier),
  /** For what follows. */
  lock: spinlock(),
  /** Ranges that are being invalidated. */
  count: 0,
  starts: 0,
});
type Shadow = InstanceOf<typeof Shadow>;

const count = fn(function* count(mn: MmuNotifier, by: number) {
  const shadow = containerOf(mn, Shadow, 'mn');
  yield* spinLock(shadow.lock);
  shadow.count += by;
  if (by > 0) shadow.starts += 1;
  yield* spinUnlock(shadow.lock);
});

const callbacks: MmuNotifierOps = {
  release: fn(function* shadowRelease(mn: MmuNotifier, _mm: MmStruct) {
    yield* count(mn, 0);
  }),
  invalidateRangeStart: fn(function* shadowStart(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* count(mn, 1);
    return 0;
  }),
  invalidateRangeEnd: fn(function* shadowEnd(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* count(mn, -1);
  }),
};

const shared: MmuNotifierOps = {
  ...callbacks,
  allocNotifier: fn(function* shadowAlloc(_mm: MmStruct): Body<MmuNotifier | ErrPtr> {
    const shadow = yield* kzalloc(Shadow, GFP_KERNEL);
    return shadow === null ? errPtr(-ENOMEM) : shadow.mn;
  }),
  freeNotifier: fn(function* shadowFree(mn: MmuNotifier) {
    yield* kfree(containerOf(mn, Shadow, 'mn'));
  }),
};

interface State {
  readonly process: Process;
  readonly mm: MmStruct;
  /** Registered or got in set-up, if the scenario wants that. */
  readonly mn: MmuNotifier | null;
}

const register = fn(function* register(mm: MmStruct): Body<MmuNotifier> {
  const shadow = (yield* kzalloc(Shadow, GFP_KERNEL)) as Shadow;
  shadow.mn.ops = callbacks;
  yield* mmuNotifierRegister(shadow.mn, mm);
  return shadow.mn;
});

const tasks = {
  *unregister({ mn, mm }: State) {
    yield* mmuNotifierUnregister(mn!, mm);
    yield* kfree(containerOf(mn!, Shadow, 'mn'));
  },
  *getAndPut({ mm }: State) {
    const mn = yield* mmuNotifierGet(shared, mm);
    if (!isErr(mn)) yield* mmuNotifierPut(mn);
  },
  *munmap({ process }: State) {
    yield* process.munmap(ADDRESS, LENGTH);
  },
  *exit({ process }: State) {
    yield* process.exit();
  },
};

type Use = 'register' | 'nothing';

function setupFor(use: Use) {
  return (machine: Machine): State => {
    const process = machine.process();
    const mm = process.mm!;
    machine.runNow(process.mmap(ADDRESS, LENGTH));
    machine.runNow(mmgrab(mm));
    const mn = use === 'nothing' ? null : machine.runNow<MmuNotifier>(register(mm));
    return { process, mm, mn };
  };
}

function* unpin({ mm }: State) {
  yield* mmdrop(mm);
}

type TaskName = keyof typeof tasks;

/** One of register, by tasks that each do one thing. */
function scenario(name: string, names: readonly TaskName[]): AnyScenario {
  return defineScenario<State>({
    name,
    variants: { series: { expect: { verdict: 'clean' } } },
    setup: setupFor('register'),
    tasks: Object.fromEntries(names.map((task) => [task, { run: tasks[task] }])),
    finally: unpin,
  }) as unknown as AnyScenario;
}

// ---- interval notifiers ------------------------------------------------------------------------

const Mirror = struct('mirror', {
  mni: embed(MmuIntervalNotifier),
  /** Serialises `isMapped` and the notifier's sequence. */
  lock: spinlock(),
  /** What the device would have mapped. No reference: that is what the protocol is for. */
  page: ptr<Page>(),
});
type Mirror = InstanceOf<typeof Mirror>;

const mirrorOps = {
  invalidate: fn(function* mirrorInvalidate(
    mni: MmuIntervalNotifier,
    _range: MmuNotifierRange,
    seq: number,
  ) {
    const mirror = containerOf(mni, Mirror, 'mni');
    yield* spinLock(mirror.lock);
    yield* mmuIntervalSetSeq(mni, seq);
    mirror.page = null;
    yield* spinUnlock(mirror.lock);
    return true;
  }),
};

interface Mirrored extends State {
  readonly mirror: Mirror;
  /** The page that is there in the beginning. */
  readonly page: Page;
}

const insert = fn(function* insert(mm: MmStruct): Body<Mirror> {
  const mirror = (yield* kzalloc(Mirror, GFP_KERNEL)) as Mirror;
  const interval = { start: ADDRESS, length: 2 * LENGTH };
  yield* mmuIntervalNotifierInsert(mirror.mni, mm, interval, mirrorOps);
  return mirror;
});

const remove = fn(function* remove(mirror: Mirror) {
  yield* mmuIntervalNotifierRemove(mirror.mni);
  yield* kfree(mirror);
});

/** The page that the page tables have, without a reference. */
const lookUp = fn(function* lookUp(mm: MmStruct): Body<Page | null> {
  yield* downRead(mm.mmapSem);
  const vma = findVma(mm, ADDRESS);
  const found = vma === null ? 0 : yield* followPage(vma, ADDRESS, 0);
  yield* upRead(mm.mmapSem);
  return typeof found === 'number' ? null : found;
});

/** Maps the page that is there, by the protocol. */
function* read({ mm, mirror }: Mirrored): Body<void> {
  for (;;) {
    const seq = yield* mmuIntervalReadBegin(mirror.mni);
    const page = yield* lookUp(mm);
    yield* spinLock(mirror.lock);
    const isStale = mmuIntervalReadRetry(mirror.mni, seq);
    if (!isStale) mirror.page = page;
    yield* spinUnlock(mirror.lock);
    if (!isStale) return;
  }
}

function* dropAndLook({ process, mirror, page }: Mirrored): Body<void> {
  yield* process.madvise(ADDRESS, LENGTH, MADV_DONTNEED);
  yield* spinLock(mirror.lock);
  warnOn(mirror.page === page, 'the mirror has a page that is gone');
  yield* spinUnlock(mirror.lock);
}

type MirroredTasks = Readonly<Record<string, { run(state: Mirrored): Body<void> }>>;

/** One notifier for two pages, inserted in set-up and, unless a task does it, removed in the end. */
function intervalScenario(name: string, mirrorTasks: MirroredTasks, isRemoved: boolean) {
  return defineScenario<Mirrored>({
    name,
    variants: { series: { expect: { verdict: 'clean' } } },
    setup(machine) {
      const state = setupFor('nothing')(machine);
      machine.runNow(state.process.mmap(ADDRESS + LENGTH, LENGTH));
      machine.runNow(state.process.store(ADDRESS, 1));
      machine.runNow(state.process.store(ADDRESS + LENGTH, 1));
      const page = machine.runNow<Page | null>(lookUp(state.mm))!;
      return { ...state, page, mirror: machine.runNow<Mirror>(insert(state.mm)) };
    },
    tasks: mirrorTasks,
    *finally({ mirror, mm }) {
      if (!isRemoved) yield* remove(mirror);
      yield* mmdrop(mm);
    },
  }) as unknown as AnyScenario;
}

const removing = {
  *run({ mirror }: Mirrored): Body<void> {
    yield* remove(mirror);
  },
};

function dropping(address: number) {
  return {
    *run({ process }: Mirrored): Body<void> {
      yield* process.madvise(address, LENGTH, MADV_DONTNEED);
    },
  };
}

const inserting = {
  *run({ mm }: Mirrored): Body<void> {
    const second = yield* insert(mm);
    yield* remove(second);
  },
};

interface WithFile extends State {
  readonly fd: number;
}

/**
 * Registration against what takes the lock of a file's mappings, without mmap_sem. There is a notifier already, so
 * that whoever goes by is sure to walk the list.
 */
const registerTruncate = defineScenario<WithFile>({
  name: 'own-register-truncate',
  variants: { series: { expect: { verdict: 'clean' } } },
  setup(machine) {
    const state = setupFor('register')(machine);
    const { process } = state;
    const fd = machine.runNow<number>(process.memfdCreate('file'));
    machine.runNow(process.ftruncate(fd, LENGTH));
    machine.runNow(process.mmap(ADDRESS + LENGTH, LENGTH, { fd, flags: MAP_SHARED }));
    machine.runNow(process.store(ADDRESS + LENGTH, 1));
    return { ...state, fd };
  },
  tasks: {
    getAndPut: { run: (state) => tasks.getAndPut(state) },
    truncate: {
      *run({ process, fd }) {
        yield* process.ftruncate(fd, 0);
      },
    },
  },
  *finally(state) {
    yield* tasks.unregister(state);
    yield* unpin(state);
  },
}) as unknown as AnyScenario;

/** On its way out the mm unmaps everything; who had its release is not told of that. */
const silentAfterExit = defineScenario<State>({
  name: 'own-silent-after-exit',
  variants: { series: { expect: { verdict: 'clean' } } },
  setup: setupFor('register'),
  tasks: {
    one: {
      *run(state) {
        yield* tasks.exit(state);
        const { starts } = containerOf(state.mn!, Shadow, 'mn');
        warnOn(starts > 0, 'a start after release');
        yield* tasks.unregister(state);
      },
    },
  },
  finally: unpin,
}) as unknown as AnyScenario;

const twoNotifiers = defineScenario<State>({
  name: 'own-two-notifiers',
  variants: { series: { expect: { verdict: 'clean' } } },
  setup: setupFor('register'),
  tasks: {
    one: {
      *run(state) {
        const { mm } = state;
        const other = yield* register(mm);
        yield* tasks.munmap(state);
        yield* tasks.unregister({ ...state, mn: other });
        yield* tasks.unregister(state);
      },
    },
  },
  finally: unpin,
}) as unknown as AnyScenario;

export const SCENARIOS: readonly AnyScenario[] = [
  scenario('own-unregister-munmap', ['unregister', 'munmap']),
  registerTruncate,
  silentAfterExit,
  twoNotifiers,
  intervalScenario('own-interval-remove', { remove: removing, drop: dropping(ADDRESS) }, true),
  intervalScenario('own-interval-insert', { insert: inserting, drop: dropping(ADDRESS) }, false),
  intervalScenario('own-interval-read', { read: { run: read }, drop: { run: dropAndLook } }, false),
  intervalScenario('own-interval-read-alone', { read: { run: read } }, false),
  intervalScenario(
    'own-interval-two-ranges',
    { drop0: dropping(ADDRESS), drop1: dropping(ADDRESS + LENGTH) },
    false,
  ),
];
