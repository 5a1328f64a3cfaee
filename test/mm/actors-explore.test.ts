import { expect, test } from 'vitest';
import {
  MADV_DONTNEED,
  MADV_FREE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../src/base/mman.ts';
import { mmgetNotZero, mmput } from '../../src/mm-types/mm-struct.ts';
import { putPage } from '../../src/mm/frames.ts';
import { collapseHugePage } from '../../src/mm/khugepaged.ts';
import { ksmMerge, ksmStabilize } from '../../src/mm/ksm.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { migrateAt } from '../../src/mm/migrate.ts';
import { oomReapTaskMm } from '../../src/mm/oom.ts';
import { armDirectReclaim, reclaimPage } from '../../src/mm/reclaim.ts';
import { clearRefsSoftDirty } from '../../src/mm/soft-dirty.ts';
import { exploreMemory, type Setting, type Task } from '../util/explore-memory.ts';
import { deviceFault, deviceRead, deviceWrite } from '../../src/drivers/subscriber/index.ts';

const A = 0x1_0000_0000;
const B = 0x1_0004_0000;
const PAGE = 4096;
const FIXED = MREMAP_MAYMOVE | MREMAP_FIXED;

/** A page of anonymous memory at A, written. */
function anonymous(machine: Machine, { process }: Setting): void {
  machine.runNow(process.mmap(A, PAGE, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED }));
  machine.runNow(process.store(A, 1));
}

/** A shared page of a file at A, written. */
function shared(machine: Machine, { process, fd }: Setting): void {
  machine.runNow(process.mmap(A, PAGE, { flags: MAP_SHARED | MAP_FIXED, fd }));
  machine.runNow(process.store(A, 1));
}

/** Two pages with the same bytes. */
function twoEqual(machine: Machine, { process }: Setting): void {
  machine.runNow(process.mmap(A, 2 * PAGE, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED }));
  for (const at of [A, A + PAGE]) machine.runNow(process.store(at, 1));
}

/** One allocation may come to the page at A. */
function reclaimable(machine: Machine, setting: Setting): void {
  anonymous(machine, setting);
  armDirectReclaim(machine, setting.mm, A, 1);
}

/** A store and a load behind it: what was stored must be there. */
const storeAndLoad: Task = function* storeAndLoad({ process, seen }) {
  yield* process.store(A, 2);
  const byte = yield* process.load(A);
  seen.push(byte === 2 ? 'the store is there' : `the store is lost: ${byte}`);
};

const device: Task = function* device({ device: gadget, mm }) {
  if (!(yield* deviceFault(gadget, mm, true))) return;
  yield* deviceWrite(gadget, 9);
  yield* deviceRead(gadget);
};

/** What the kernel does by itself. */
const ACTORS: Record<string, Task> = {
  *reclaim({ mm }) {
    yield* reclaimPage(mm, A, true);
  },
  *migrate({ mm }) {
    yield* migrateAt(mm, A);
  },
  *softDirty({ mm }) {
    if (!(yield* mmgetNotZero(mm))) return;
    yield* clearRefsSoftDirty(mm);
    yield* mmput(mm);
  },
  *ksm({ mm }) {
    if (!(yield* mmgetNotZero(mm))) return;
    const kpage = yield* ksmStabilize({ mm, address: A });
    if (kpage !== null) yield* putPage(kpage);
    yield* mmput(mm);
  },
};

for (const [name, actor] of Object.entries(ACTORS)) {
  test(`what a program stores beside ${name} stays`, () => {
    const result = exploreMemory(anonymous, { storeAndLoad, [name]: actor });
    expect(result).toMatchObject({
      isComplete: true,
      problems: [],
      outcomes: ['the store is there'],
    });
    expect(result.executions).toBeGreaterThan(2);
  });

  test(`a device beside ${name} never reaches a page that is gone`, () => {
    const result = exploreMemory(anonymous, { device, [name]: actor }, { withDevice: true });
    expect(result).toMatchObject({ isComplete: true, problems: [] });
    expect(result.executions).toBeGreaterThan(2);
  });

  test(`${name} beside munmap, MADV_DONTNEED, MADV_FREE and mremap loses no page`, () => {
    const rivals: Record<string, Task> = {
      *munmap({ process }) {
        yield* process.munmap(A, PAGE);
      },
      *dontneed({ process }) {
        yield* process.madvise(A, PAGE, MADV_DONTNEED);
      },
      *free({ process }) {
        yield* process.madvise(A, PAGE, MADV_FREE);
      },
      *mremap({ process, seen }) {
        yield* process.mremap(A, PAGE, PAGE, { flags: FIXED, newAddress: B });
        const byte = yield* process.load(B);
        if (byte !== 1) seen.push(`moved ${byte}`);
      },
    };
    for (const [other, rival] of Object.entries(rivals)) {
      const result = exploreMemory(anonymous, { [name]: actor, [other]: rival });
      expect({ other, ...result }).toMatchObject({
        other,
        isComplete: true,
        problems: [],
        outcomes: [''],
      });
    }
  });

  test(`${name} beside fork leaves parent and child what they had`, () => {
    // All executions of reclaim and migration beside fork are more than a test should take.
    const isLarge = name === 'reclaim' || name === 'migrate';
    const result = exploreMemory(
      anonymous,
      {
        [name]: actor,
        *fork({ process, seen }) {
          const child = yield* process.fork();
          if (typeof child === 'number') return;
          yield* process.store(A, 3);
          const byte = yield* child.load(A);
          if (byte !== 1) seen.push(`child saw ${byte}`);
          yield* child.exit();
        },
      },
      isLarge ? { preemptionCountMax: 2 } : {},
    );
    expect(result).toMatchObject({ isComplete: true, problems: [], outcomes: [''] });
  });

  test(`${name} beside exit loses no page`, () => {
    const result = exploreMemory(anonymous, {
      [name]: actor,
      *exit({ process }) {
        yield* process.exit();
      },
    });
    expect(result).toMatchObject({ isComplete: true, problems: [], outcomes: [''] });
  });
}

test('reclaim and migration of a page of a file beside truncation lose no page', () => {
  for (const name of ['reclaim', 'migrate']) {
    const result = exploreMemory(shared, {
      [name]: ACTORS[name]!,
      *truncate({ process, fd }) {
        yield* process.ftruncate(fd, 0);
      },
    });
    expect({ name, ...result }).toMatchObject({ name, isComplete: true, problems: [] });
  }
});

test('the OOM reaper beside a store takes the page first, and the store ends in SIGBUS, or later', () => {
  const result = exploreMemory(anonymous, {
    *store({ process, seen }) {
      seen.push(`store ${yield* process.store(A, 2)}`);
    },
    *reap({ mm }) {
      yield* oomReapTaskMm(mm);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    problems: [],
    outcomes: ['store -7', 'store 0'],
  });
});

test('KSM merges beside a store, which then has a page of its own', () => {
  const result = exploreMemory(twoEqual, {
    *store({ process, seen }) {
      yield* process.store(A + PAGE, 2);
      seen.push(`${yield* process.load(A)} ${yield* process.load(A + PAGE)}`);
    },
    *ksm({ mm }) {
      const kpage = yield* ksmStabilize({ mm, address: A });
      if (kpage === null) return;
      yield* ksmMerge({ mm, address: A + PAGE }, kpage);
      yield* putPage(kpage);
    },
  });
  expect(result).toMatchObject({ isComplete: true, problems: [], outcomes: ['1 2'] });
});

test('an allocation may enter reclaim, of the very page that is being copied too', () => {
  const result = exploreMemory(reclaimable, {
    *fork({ process, seen }) {
      const child = yield* process.fork();
      if (typeof child === 'number') return;
      yield* process.store(A, 2);
      seen.push(`${yield* process.load(A)} ${yield* child.load(A)}`);
      yield* child.exit();
    },
  });
  expect(result).toMatchObject({ isComplete: true, problems: [], outcomes: ['2 1'] });
  expect(result.executions).toBeGreaterThan(1);
});

/** A block of 2 MiB at A, its first page written. */
function block(machine: Machine, { process }: Setting): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  machine.runNow(process.mmap(A, 512 * PAGE, { flags }));
  machine.runNow(process.store(A, 1));
}

const khugepaged: Task = function* khugepaged({ mm }) {
  if (!(yield* mmgetNotZero(mm))) return;
  yield* collapseHugePage(mm, A);
  yield* mmput(mm);
};

test('khugepaged beside a store, a device, reclaim and migration loses nothing', () => {
  const rivals = { storeAndLoad, device, reclaim: ACTORS['reclaim']!, migrate: ACTORS['migrate']! };
  for (const [name, rival] of Object.entries(rivals)) {
    const result = exploreMemory(block, { khugepaged, [name]: rival }, { withDevice: true });
    expect({ name, ...result }).toMatchObject({ name, isComplete: true, problems: [] });
    expect(result.outcomes).not.toContainEqual(expect.stringContaining('lost'));
  }
});
