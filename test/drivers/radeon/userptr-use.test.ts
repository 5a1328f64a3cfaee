/**
 * Programs that use user pointers as they are meant to be used, after cases of libdrm, IGT and Xe: what the GPU writes is
 * what the program reads, and the reverse, in every execution beside what else happens to the memory.
 */
import { describe, expect, test } from 'vitest';
import { EAGAIN, EPERM } from '../../../src/base/errno.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/base/mman.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { checkVariant } from '../../../src/check/check-variant.ts';
import {
  DRM_IOCTL_GEM_CLOSE,
  DRM_RADEON_CS,
  DRM_RADEON_GEM_CREATE,
  DRM_RADEON_GEM_USERPTR,
  DRM_RADEON_GEM_WAIT_IDLE,
  RADEON_GEM_USERPTR_ANONONLY,
  RADEON_GEM_USERPTR_READONLY,
  RADEON_GEM_USERPTR_REGISTER,
  radeonBoard,
  radeonPath,
  radeonRetrying,
} from '../../../src/drivers/radeon/index.ts';
import { warnOn } from '../../../src/kernel/assertion.ts';
import { fn } from '../../../src/kernel/call.ts';
import { goal } from '../../../src/kernel/choose.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Machine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../../src/mm-types/mm-struct.ts';

const ADDRESS = 0x40_0000;
const REGISTERED = RADEON_GEM_USERPTR_ANONONLY | RADEON_GEM_USERPTR_REGISTER;

interface Use {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly fd: number;
  /** A buffer that is the page at ADDRESS. */
  readonly handle: number;
}

function setup(machine: Machine): Use {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, 7));
  machine.load(radeonRetrying);
  const fd = machine.runNow<number>(process.open(radeonPath(0)));
  const request = { addr: ADDRESS, size: PAGE_SIZE, flags: REGISTERED };
  const handle = machine.runNow<number>(process.ioctl(fd, DRM_RADEON_GEM_USERPTR, request));
  return { process, mm, fd, handle };
}

/** Submits until it is taken, and waits for the GPU: as libdrm does. */
const run = fn(function* run({ process, fd }: Use, handle: number, commands: readonly unknown[]) {
  let error = -EAGAIN;
  while (error === -EAGAIN) error = yield* process.ioctl(fd, DRM_RADEON_CS, commands);
  if (error === 0) yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, handle);
  return error;
});

const reads = fn(function* reads({ process }: Use, address: number, byte: number) {
  const found = yield* process.load(address);
  warnOn(found !== byte, `the program reads ${found} at ${address - ADDRESS}, not ${byte}`);
});

function write(handle: number, offset: number, byte: number) {
  return { op: 'write', to: { handle, offset }, byte } as const;
}

function copy(handle: number, from: number, to: number) {
  return { op: 'copy', from: { handle, offset: from }, to: { handle, offset: to } } as const;
}

/** The GPU reads what the program stored, writes, and the program reads that. */
function* bothWays(use: Use): Body<void> {
  const { handle } = use;
  const error = yield* run(use, handle, [copy(handle, 0, 1), write(handle, 2, 42)]);
  warnOn(error !== 0, `submission fails: ${error}`);
  yield* reads(use, ADDRESS + 1, 7);
  yield* reads(use, ADDRESS + 2, 42);
  goal('both ways');
}

/** The same in one access: the GPU adds to what the program stored. */
function* once(use: Use): Body<void> {
  const { handle } = use;
  const error = yield* run(use, handle, [{ op: 'add', to: { handle, offset: 0 }, addend: 1 }]);
  warnOn(error !== 0, `submission fails: ${error}`);
  yield* reads(use, ADDRESS, 8);
  goal('both ways');
}

type Actor = (use: Use) => Body<unknown>;

function holds(name: string, programBody: Actor, beside: Actor) {
  const scenario = defineScenario<Use>({
    name,
    variants: { v: { expect: { verdict: 'clean' } } },
    setup,
    tasks: { program: { run: programBody }, beside: { run: beside } },
    goals: ['both ways'],
    *finally({ process, mm }) {
      if (process.mm !== null) yield* process.exit();
      yield* mmdrop(mm);
    },
  });
  const { violations, verdict, complete } = checkVariant(scenario as never, 'v');
  expect(violations.map(({ message }) => message)).toEqual([]);
  expect({ verdict, complete }).toEqual({ verdict: 'clean', complete: true });
}

describe('data is the same on both sides, in every execution, beside', () => {
  test('reclaim of the page', () => {
    holds('reclaim', once, function* beside({ mm }) {
      yield* reclaimPage(mm, ADDRESS, true);
    });
  }, 300_000);

  test('another thread that makes the memory read-only and back', () => {
    holds(
      'protect',
      function* program(use) {
        const error = yield* run(use, use.handle, [copy(use.handle, 0, 1)]);
        // The memory could not be written just then: nothing was done.
        yield* reads(use, ADDRESS + 1, error === 0 ? 7 : 0);
        if (error === 0) goal('both ways');
      },
      function* beside({ process }) {
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ | PROT_WRITE);
      },
    );
  });

  test('a thread that makes and closes buffers on the same page', () => {
    holds('close', bothWays, function* beside({ process, fd }) {
      const request = { addr: ADDRESS, size: PAGE_SIZE, flags: REGISTERED };
      const handle = yield* process.ioctl(fd, DRM_RADEON_GEM_USERPTR, request);
      yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
    });
  });

  test('a fork, after which the GPU must have the page that the program writes', () => {
    holds('fork', bothWays, function* beside({ process }) {
      yield* process.fork();
    });
  });
});

const NOTHING: Actor = function* nothing() {
  // Only the program.
};

test('memory that is mapped anew is what the next job writes', () => {
  holds(
    'map-fixed',
    function* program(use) {
      yield* bothWays(use);
      yield* use.process.mmap(ADDRESS, PAGE_SIZE, {
        flags: MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
      });
      yield* reads(use, ADDRESS + 2, 0);
      yield* run(use, use.handle, [write(use.handle, 3, 9)]);
      yield* reads(use, ADDRESS + 3, 9);
    },
    NOTHING,
  );
});

test('a child that exits leaves the memory to the GPU and the program', () => {
  holds(
    'fork-exit',
    function* program(use) {
      const child = yield* use.process.fork();
      if (typeof child !== 'number') yield* child.exit();
      yield* bothWays(use);
    },
    NOTHING,
  );
});

test('a child cannot have the GPU use memory that it has not; that of the program is untouched', () => {
  holds(
    'forked-access',
    function* program(use) {
      const child = yield* use.process.fork();
      if (typeof child === 'number') return;
      const job = [write(use.handle, 2, 1)];
      warnOn((yield* child.ioctl(use.fd, DRM_RADEON_CS, job)) !== -EPERM, 'the child may');
      yield* child.exit();
      yield* bothWays(use);
    },
    NOTHING,
  );
});

test('the GPU cannot write through a buffer that is read-only', () => {
  holds(
    'read-only',
    function* program(use) {
      const { process, fd } = use;
      const flags = RADEON_GEM_USERPTR_READONLY | RADEON_GEM_USERPTR_REGISTER;
      const request = { addr: ADDRESS, size: PAGE_SIZE, flags };
      const handle = yield* process.ioctl(fd, DRM_RADEON_GEM_USERPTR, request);
      yield* run(use, handle, [write(handle, 0, 99)]);
      yield* reads(use, ADDRESS, 7);
      warnOn(radeonBoard(0).faults.value !== 1, 'the write was not refused');
      yield* bothWays(use);
    },
    NOTHING,
  );
});

test('copies go through a buffer of the GPU and come back', () => {
  holds(
    'coherency',
    function* program(use) {
      const { process, fd, handle } = use;
      const plain = yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, PAGE_SIZE);
      const there = { from: { handle, offset: 0 }, to: { handle: plain, offset: 5 } };
      const back = { from: { handle: plain, offset: 5 }, to: { handle, offset: 3 } };
      yield* run(use, handle, [
        { op: 'copy', ...there },
        { op: 'copy', ...back },
      ]);
      yield* reads(use, ADDRESS + 3, 7);
      yield* bothWays(use);
    },
    NOTHING,
  );
});
