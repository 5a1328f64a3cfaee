/**
 * Calls that change VMAs beside those that find pages without mmap_sem (truncation, a relative's exit) and
 * beside one another: in every interleaving no lock is missing, no page is lost, nothing is used after free.
 */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { at, pages } from '../util/direct-user.ts';
import { exploreMemory, type Explored, type Setting, type Task } from '../util/explore-memory.ts';

const R = m.PROT_READ;
const ANON = { flags: m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED };
const MOVE = { flags: m.MREMAP_MAYMOVE | m.MREMAP_FIXED, newAddress: at(8) };

type Prepare = (machine: Machine, setting: Setting) => void;

/** Three pages of anonymous memory, the middle one written. */
function anonymous(machine: Machine, { process }: Setting): void {
  machine.runNow(process.mmap(at(0), pages(3), ANON));
  machine.runNow(process.store(at(1), 1));
}

/** Two pages of the file, the second written. */
function file(kind: number): Prepare {
  return (machine, { process, fd }) => {
    machine.runNow(process.mmap(at(0), pages(2), { flags: kind | m.MAP_FIXED, fd }));
    machine.runNow(process.store(at(1), 1));
  };
}

const children = new WeakMap<Setting, Process>();

/** The same, and a child. */
function family(prepare: Prepare): Prepare {
  return (machine, setting) => {
    prepare(machine, setting);
    children.set(setting, machine.runNow(setting.process.fork()) as Process);
  };
}

function childOf(setting: Setting): Process {
  return children.get(setting)!;
}

function storeTo(page: number): Task {
  return function* run({ process }) {
    yield* process.store(at(page), 1);
  };
}

function* truncate({ process, fd }: Setting) {
  yield* process.ftruncate(fd, 0);
}

function explore(prepare: Prepare, one: Task, two: Task): Explored {
  const result = exploreMemory(
    prepare,
    { one, two },
    { others: (setting) => (children.has(setting) ? [childOf(setting)] : []) },
  );
  expect(result).toMatchObject({ isComplete: true, problems: [] });
  return result;
}

test('truncation beside a split of the mapping', () => {
  explore(file(m.MAP_PRIVATE), truncate, function* split({ process, seen }) {
    yield* process.mprotect(at(1), pages(1), R);
    seen.push(`${vmas(process.mm!).length} VMAs`);
  });
});

test('truncation beside munmap of a part', () => {
  explore(file(m.MAP_PRIVATE), truncate, function* unmap({ process }) {
    yield* process.munmap(at(1), pages(1));
  });
});

test('truncation beside a move, private and shared', () => {
  for (const kind of [m.MAP_PRIVATE, m.MAP_SHARED]) {
    explore(file(kind), truncate, function* move({ process, seen }) {
      seen.push(String(yield* process.mremap(at(1), pages(1), pages(1), MOVE)));
    });
  }
});

test('truncation beside fork and the exit of the child', () => {
  explore(file(m.MAP_PRIVATE), truncate, function* fork({ process }) {
    const child = yield* process.fork();
    if (typeof child !== 'number') yield* child.exit();
  });
});

test('a hole by madvise, which gives up mmap_sem meanwhile, beside munmap of the mapping', () => {
  explore(
    file(m.MAP_SHARED),
    function* remove({ process, seen }) {
      seen.push(String(yield* process.madvise(at(1), pages(1), m.MADV_REMOVE)));
    },
    function* unmap({ process }) {
      yield* process.munmap(at(0), pages(2));
    },
  );
});

/** Two neighbours that differ in rights, and a page table that is there already. */
function neighbours(machine: Machine, { process }: Setting): void {
  machine.runNow(process.mmap(at(0), pages(1), ANON));
  machine.runNow(process.mmap(at(1), pages(1), { ...ANON, prot: R | m.PROT_WRITE | m.PROT_EXEC }));
  machine.runNow(process.mmap(at(9), pages(1), ANON));
  machine.runNow(process.store(at(9), 1));
}

test('first stores to two neighbours, which look at one another for an anon_vma', () => {
  explore(neighbours, storeTo(0), storeTo(1));
});

test('two calls that split one mapping come one after the other', () => {
  const { executions } = explore(
    anonymous,
    function* unmap({ process }) {
      yield* process.munmap(at(1), pages(1));
    },
    function* protect({ process }) {
      yield* process.mprotect(at(2), pages(1), R);
    },
  );
  expect(executions).toBeLessThan(10);
});

test('parent and child change the mappings of shared pages', () => {
  const changes: ((process: Process) => ReturnType<Process['munmap']>)[] = [
    (process) => process.munmap(at(1), pages(1)),
    (process) => process.mprotect(at(1), pages(1), R),
    (process) => process.store(at(1), 7),
  ];
  for (const change of changes) {
    explore(
      family(anonymous),
      function* parent({ process }) {
        yield* change(process);
      },
      function* child(setting) {
        yield* change(childOf(setting));
      },
    );
  }
});

function* childForks(setting: Setting) {
  const grandchild = yield* childOf(setting).fork();
  if (typeof grandchild !== 'number') yield* grandchild.exit();
}

function* childStores(setting: Setting) {
  setting.seen.push(String(yield* childOf(setting).store(at(1), 3)));
}

function* childExits(setting: Setting) {
  yield* childOf(setting).exit();
}

function* parentExits({ process }: Setting) {
  yield* process.exit();
}

test('a parent may exit while its child forks, stores or exits', () => {
  for (const other of [childForks, childStores, childExits]) {
    for (const prepare of [anonymous, file(m.MAP_PRIVATE)]) {
      explore(family(prepare), parentExits, other);
    }
  }
});

test('a descriptor may be closed while it is being mapped', () => {
  const { outcomes } = explore(
    file(m.MAP_SHARED),
    function* close({ process, fd }) {
      yield* process.close(fd);
    },
    function* map({ process, fd, seen }) {
      const flags = m.MAP_SHARED | m.MAP_FIXED;
      const result = yield* process.mmap(at(4), pages(1), { flags, fd });
      seen.push(result < 0 ? 'EBADF' : 'mapped');
    },
  );
  expect(outcomes).toEqual(['EBADF', 'mapped']);
});

function grow(by: number): Task {
  return function* run({ process, mm, seen }) {
    const end = yield* process.brk(mm.startBrk + pages(by));
    seen.push(`${by}: ${(end - mm.startBrk) / 4096}`);
  };
}

test('the heap grows by both of two threads, in either order', () => {
  const { outcomes } = explore(() => {}, grow(1), grow(2));
  expect(outcomes).toEqual(['1: 1, 2: 2']);
});

test('whichever allocation fails, a call that changes VMAs leaves them and all pages in order', () => {
  const calls: ((process: Process) => ReturnType<Process['munmap']>)[] = [
    (process) => process.munmap(at(1), pages(1)),
    (process) => process.mprotect(at(1), pages(1), R),
    (process) => process.mremap(at(1), pages(1), pages(1), MOVE),
    (process) => process.mremap(at(0), pages(3), pages(4), MOVE),
    (process) => process.mmap(at(1), pages(1), { ...ANON, prot: R }),
    (process) => process.madvise(at(1), pages(1), m.MADV_DONTFORK),
    (process) => process.mlock(at(1), pages(2)),
  ];
  for (const call of calls) {
    const result = exploreMemory(
      anonymous,
      {
        *user({ process, seen }) {
          seen.push((yield* call(process)) < 0 ? 'failed' : 'done');
        },
      },
      { faults: { allocations: 1 } },
    );
    expect(result).toMatchObject({ isComplete: true, problems: [] });
    expect(result.outcomes).toContain('done');
    expect(result.executions).toBeGreaterThan(1);
  }
});

test('a heap that cannot shrink for lack of memory is as it was', () => {
  const { outcomes, problems } = exploreMemory(
    (machine, { process, mm }) => {
      machine.runNow(process.brk(mm.startBrk + pages(3)));
    },
    {
      *user({ process, mm, seen }) {
        const end = yield* process.brk(mm.startBrk + pages(1));
        seen.push(`${(end - mm.startBrk) / 4096} pages, ${(mm.brk - mm.startBrk) / 4096}`);
      },
    },
    { faults: { allocations: 1 } },
  );
  expect(problems).toEqual([]);
  expect(outcomes).toEqual(['1 pages, 1', '3 pages, 3']);
});
