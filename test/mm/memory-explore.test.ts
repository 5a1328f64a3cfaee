import { expect, test } from 'vitest';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MADV_DONTNEED,
  MADV_FREE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  SIGBUS,
  SIGSEGV,
} from '../../src/base/mman.ts';
import { ESRCH } from '../../src/base/errno.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { exploreMemory, type Setting, type Task } from '../util/explore-memory.ts';
import { deviceFault, deviceRead, deviceWrite } from '../../src/drivers/subscriber/index.ts';

const A = 0x1_0000_0000;
const B = 0x1_0004_0000;
const PAGE = 4096;
const FIXED = MREMAP_MAYMOVE | MREMAP_FIXED;

function store(address: number, byte: number): Task {
  return function* run({ process, seen }) {
    const result = yield* process.store(address, byte);
    seen.push(result === 0 ? `stored ${byte}` : nameOf(result));
  };
}

function load(address: number): Task {
  return function* run({ process, seen }) {
    const result = yield* process.load(address);
    seen.push(result >= 0 ? `loaded ${result}` : nameOf(result));
  };
}

function nameOf(result: number): string {
  if (result === -SIGSEGV) return 'SIGSEGV';
  if (result === -SIGBUS) return 'SIGBUS';
  return result === -ESRCH ? 'gone' : `error ${result}`;
}

/** Two pages of anonymous memory at A, the first written. */
function anonymous(machine: Machine, { process }: Setting): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  machine.runNow(process.mmap(A, 2 * PAGE, { flags }));
  machine.runNow(process.store(A, 1));
}

/** The file at A, private or shared, its first page written through the mapping. */
function file(kind: number) {
  return (machine: Machine, { process, fd }: Setting): void => {
    machine.runNow(process.mmap(A, 2 * PAGE, { flags: kind | MAP_FIXED, fd }));
    machine.runNow(process.store(A, 1));
  };
}

test('a store beside munmap comes before it or ends in SIGSEGV', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *munmap({ process }) {
      yield* process.munmap(A, PAGE);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['SIGSEGV', 'stored 2'],
    problems: [],
  });
});

test('two first stores to one page both stay', () => {
  const result = exploreMemory(anonymous, {
    one: store(A + PAGE, 2),
    two: store(A + PAGE + 1, 3),
  });
  expect(result).toMatchObject({ isComplete: true, problems: [] });
});

test('a store beside mremap hits the old place or the new one, or nothing', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *mremap({ process, seen }) {
      yield* process.mremap(A, PAGE, PAGE, { flags: FIXED, newAddress: B });
      seen.push(`moved ${yield* process.load(B)}`);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['SIGSEGV, moved 1', 'moved 2, stored 2'],
    problems: [],
  });
});

test('a store beside MADV_DONTNEED is there afterwards or is not', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *madvise({ process }) {
      yield* process.madvise(A, PAGE, MADV_DONTNEED);
    },
  });
  expect(result).toMatchObject({ isComplete: true, problems: [] });
});

test('a store beside MADV_FREE never loses its page', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *madvise({ process }) {
      yield* process.madvise(A, PAGE, MADV_FREE);
    },
  });
  expect(result).toMatchObject({ isComplete: true, problems: [] });
});

test('a store beside mprotect comes before it or ends in SIGSEGV', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *mprotect({ process, seen }) {
      yield* process.mprotect(A, PAGE, PROT_READ);
      const before = yield* process.load(A);
      const after = yield* process.load(A);
      seen.push(before === after ? 'unchanged after mprotect' : 'changed after mprotect');
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['SIGSEGV, unchanged after mprotect', 'stored 2, unchanged after mprotect'],
    problems: [],
  });
});

test('a store beside fork is seen by the child as a whole or not at all, and never later', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *fork({ process, seen }) {
      const child = yield* process.fork();
      if (typeof child === 'number') return;
      const first = yield* child.load(A);
      const second = yield* child.load(A);
      seen.push(first === second ? `child saw ${first}` : 'child saw a change');
      yield* child.exit();
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['child saw 1, stored 2', 'child saw 2, stored 2'],
    problems: [],
  });
});

test('a load beside truncation reads the page or ends in SIGBUS', () => {
  for (const kind of [MAP_SHARED, MAP_PRIVATE]) {
    const result = exploreMemory(file(kind), {
      load: load(A),
      *truncate({ process, fd }) {
        yield* process.ftruncate(fd, 0);
      },
    });
    expect(result).toMatchObject({
      isComplete: true,
      outcomes: ['SIGBUS', 'loaded 1'],
      problems: [],
    });
  }
});

test('a private store beside truncation leaves no copy behind the end of the file', () => {
  const result = exploreMemory(file(MAP_PRIVATE), {
    store: store(A + PAGE, 2),
    *truncate({ process, fd, seen }) {
      yield* process.ftruncate(fd, 0);
      seen.push(`afterwards ${nameOf(yield* process.load(A + PAGE))}`);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['SIGBUS, afterwards SIGBUS', 'afterwards SIGBUS, stored 2'],
    problems: [],
  });
});

test('a load beside a hole being punched reads the old byte or zero', () => {
  const result = exploreMemory(file(MAP_SHARED), {
    load: load(A),
    *punch({ process, fd }) {
      yield* process.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['loaded 0', 'loaded 1'],
    problems: [],
  });
});

test('a store beside exit is made or is not, and nothing is left', () => {
  const result = exploreMemory(anonymous, {
    store: store(A, 2),
    *exit({ process }) {
      yield* process.exit();
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['gone', 'stored 2'],
    problems: [],
  });
});

/** Faults a page in and uses it for as long as the device has it. */
const device: Task = function* device({ device: gadget, mm, seen }) {
  yield* deviceFault(gadget, mm, true);
  const byte = yield* deviceRead(gadget);
  const wrote = yield* deviceWrite(gadget, 9);
  seen.push(byte < 0 ? 'no translation' : `device read ${byte}`, wrote ? 'wrote' : 'did not write');
};

test('a device whose page table follows the notifiers never reaches a page that is gone', () => {
  const rivals: Record<string, Task> = {
    *munmap({ process }) {
      yield* process.munmap(A, PAGE);
    },
    *dontneed({ process }) {
      yield* process.madvise(A, PAGE, MADV_DONTNEED);
    },
    *mremap({ process }) {
      yield* process.mremap(A, PAGE, PAGE, { flags: FIXED, newAddress: B });
    },
    *mprotect({ process }) {
      yield* process.mprotect(A, PAGE, PROT_READ);
    },
  };
  for (const [name, rival] of Object.entries(rivals)) {
    const result = exploreMemory(anonymous, { device, [name]: rival }, { withDevice: true });
    expect(result).toMatchObject({ isComplete: true, problems: [] });
    expect(result.executions).toBeGreaterThan(3);
  }
});

test('a device write after fork never shows in the child', () => {
  const result = exploreMemory(
    anonymous,
    {
      device,
      *fork({ process, seen }) {
        const child = yield* process.fork();
        if (typeof child === 'number') return;
        const [first, second] = [yield* child.load(A), yield* child.load(A)];
        seen.push(first === second ? 'child saw no change' : 'child saw a change');
        yield* child.exit();
      },
    },
    { withDevice: true },
  );
  expect(result).toMatchObject({ isComplete: true, problems: [] });
  expect(result.outcomes.filter((text) => text.includes('child saw a change'))).toEqual([]);
});

/** The second page was read: the zero page is mapped, and in a TLB. */
function secondRead(machine: Machine, setting: Setting): void {
  anonymous(machine, setting);
  machine.runNow(setting.process.load(A + PAGE));
}

/** The file at A, private; its first page was read. */
function fileRead(machine: Machine, { process, fd }: Setting): void {
  machine.runNow(process.mmap(A, PAGE, { flags: MAP_PRIVATE | MAP_FIXED, fd }));
  machine.runNow(process.load(A));
}

test('a copy on write leaves no TLB with the page that it replaced', () => {
  const result = exploreMemory(secondRead, { store: store(A + PAGE, 2), load: load(A + PAGE) });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['loaded 0, stored 2', 'loaded 2, stored 2'],
    problems: [],
  });
});

test('a page that is being copied stays until it was, whatever truncation does', () => {
  const result = exploreMemory(fileRead, {
    store: store(A, 2),
    *truncate({ process, fd }) {
      yield* process.ftruncate(fd, 0);
    },
  });
  expect(result).toMatchObject({
    isComplete: true,
    outcomes: ['SIGBUS', 'stored 2'],
    problems: [],
  });
});

test('who finds a page gone has no translation to it, though another one took it out', () => {
  const result = exploreMemory(anonymous, {
    *dontneed({ process }) {
      yield* process.madvise(A, PAGE, MADV_DONTNEED);
    },
    *both({ process, seen }) {
      yield* process.load(A);
      yield* process.madvise(A, PAGE, MADV_DONTNEED);
      seen.push(`afterwards ${yield* process.load(A)}`);
    },
  });
  expect(result).toMatchObject({ isComplete: true, outcomes: ['afterwards 0'], problems: [] });
});
