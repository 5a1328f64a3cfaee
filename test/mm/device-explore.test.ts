/** Migration to a device, exclusive pages and khugepaged in files, beside what programs and devices do meanwhile. */
import { expect, test } from 'vitest';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED } from '../../src/base/mman.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { mmgetNotZero, mmput } from '../../src/mm-types/mm-struct.ts';
import { setBehaviour } from '../../src/mm/behaviour.ts';
import { retractPageTables } from '../../src/mm/collapse-file.ts';
import { makeDeviceExclusive } from '../../src/mm/device-exclusive.ts';
import { putPage } from '../../src/mm/frames.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { migratePage } from '../../src/mm/migrate.ts';
import { migrateVma } from '../../src/mm/migrate-vma.ts';
import { findGetPage, unlockPage } from '../../src/mm/page-cache.ts';
import { reclaimPage } from '../../src/mm/reclaim.ts';
import { findVma } from '../../src/mm/vma.ts';
import { exploreMemory, type Setting, type Task } from '../util/explore-memory.ts';
import { deviceFault, deviceRead, deviceWrite } from '../../src/drivers/subscriber/index.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
const BLOCK = 512 * PAGE;

function anonymous(machine: Machine, { process }: Setting): void {
  machine.runNow(process.mmap(A, PAGE, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED }));
  machine.runNow(process.store(A, 1));
}

/** A block of a file, of which the first page is written. */
function block(machine: Machine, { process, fd }: Setting): void {
  machine.runNow(process.ftruncate(fd, BLOCK));
  machine.runNow(process.mmap(A, BLOCK, { flags: MAP_SHARED | MAP_FIXED, fd }));
  machine.runNow(process.store(A, 1));
}

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

const toDevice: Task = function* toDevice({ mm }) {
  if (!(yield* mmgetNotZero(mm))) return;
  yield* downRead(mm.mmapSem);
  const vma = findVma(mm, A);
  if (vma !== null && vma.vmStart <= A) yield* migrateVma(vma, [A, A + PAGE], 'gpu');
  yield* upRead(mm.mmapSem);
  yield* mmput(mm);
};

const exclusive: Task = function* exclusive({ mm }) {
  if (!(yield* mmgetNotZero(mm))) return;
  yield* downRead(mm.mmapSem);
  const page = yield* makeDeviceExclusive(mm, A, 'gpu');
  if (typeof page !== 'number') {
    yield* unlockPage(page);
    yield* putPage(page);
  }
  yield* upRead(mm.mmapSem);
  yield* mmput(mm);
};

for (const [name, actor] of Object.entries({ toDevice, exclusive })) {
  test(`what a program stores beside ${name} stays`, () => {
    const result = exploreMemory(anonymous, { storeAndLoad, [name]: actor });
    const outcomes = ['the store is there'];
    expect(result).toMatchObject({ isComplete: true, problems: [], outcomes });
    expect(result.executions).toBeGreaterThan(2);
  });

  test(`a device beside ${name} never reaches a page that is gone`, () => {
    const result = exploreMemory(anonymous, { device, [name]: actor }, { withDevice: true });
    expect(result).toMatchObject({ isComplete: true, problems: [] });
  });

  test(`${name} beside munmap, reclaim and exit loses no page`, () => {
    const rivals: Record<string, Task> = {
      *munmap({ process }) {
        yield* process.munmap(A, PAGE);
      },
      *reclaim({ mm }) {
        yield* reclaimPage(mm, A, true);
      },
      *exit({ process }) {
        yield* process.exit();
      },
    };
    for (const [rival, run] of Object.entries(rivals)) {
      const result = exploreMemory(anonymous, { [rival]: run, [name]: actor });
      expect({ rival, ...result }).toMatchObject({ rival, isComplete: true, problems: [] });
    }
  });
}

/** Takes the page table of the block away. */
const retract: Task = function* retract({ mm }) {
  const vma = findVma(mm, A);
  if (vma !== null) yield* retractPageTables(vma.mapping!, 0);
};

test('a page table of a file is taken away beside a store, which stays', () => {
  const result = exploreMemory(block, { storeAndLoad, retract });
  const outcomes = ['the store is there'];
  expect(result).toMatchObject({ isComplete: true, problems: [], outcomes });
  expect(result.executions).toBeGreaterThan(2);
});

test('a page table of a file is taken away beside truncation and reclaim', () => {
  const rivals: Record<string, Task> = {
    *truncate({ process, fd }) {
      yield* process.ftruncate(fd, 0);
    },
    *reclaim({ mm }) {
      yield* reclaimPage(mm, A, true);
    },
  };
  for (const [rival, run] of Object.entries(rivals)) {
    const result = exploreMemory(block, { [rival]: run, retract });
    expect({ rival, ...result }).toMatchObject({ rival, isComplete: true, problems: [] });
  }
});

/** Takes the page table of the block away, and then gives its first page another frame. */
const retractAndMigrate: Task = function* retractAndMigrate({ mm }) {
  const { mapping } = findVma(mm, A)!;
  yield* retractPageTables(mapping!, 0);
  const page = yield* findGetPage(mapping!, 0);
  if (page !== null) yield* migratePage(page);
};

const look: Task = function* look({ device: gadget, mm }) {
  if (yield* deviceFault(gadget, mm, false)) yield* deviceRead(gadget);
};

test('a page table that is taken away silently leaves a device with a page that is gone', () => {
  for (const fileCollapseNotifies of [true, false]) {
    const prepare = (machine: Machine, setting: Setting) => {
      block(machine, setting);
      setBehaviour(machine, { fileCollapseNotifies });
    };
    const tasks = { look, retractAndMigrate };
    const { isComplete, problems } = exploreMemory(prepare, tasks, { withDevice: true });
    expect(isComplete).toBe(true);
    if (fileCollapseNotifies) expect(problems).toEqual([]);
    else expect(problems).not.toEqual([]);
  }
});
