/**
 * amdgpu's user pointers as programs use them, in every execution: cases of libdrm, IGT and kfdtest that fit (in
 * brackets), and the driver's calls. What the GPU writes the program reads, and the reverse.
 */
import { describe, expect, test } from 'vitest';
import { EACCES, EAGAIN, EFAULT, EINVAL, ENOENT, ENOTTY, EPERM } from '../../../src/base/errno.ts';
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
} from '../../../src/base/mman.ts';
import {
  AMDGPU_DEVICE,
  AMDGPU_GEM_USERPTR_ANONONLY,
  AMDGPU_GEM_USERPTR_READONLY,
  AMDGPU_GEM_USERPTR_REGISTER,
  AMDGPU_GEM_USERPTR_VALIDATE,
  amdgpuSeries,
  amdgpuV55,
  AMDKFD_IOC_ALLOC_MEMORY_OF_GPU,
  DRM_AMDGPU_CS,
  DRM_AMDGPU_GEM_USERPTR,
  DRM_AMDGPU_GEM_WAIT_IDLE,
  DRM_GEM_CLOSE,
  ringDoorbell,
  type Command,
} from '../../../src/drivers/amdgpu/index.ts';
import { hmmFixed, hmmSeries, setHmm } from '../../../src/drivers/hmm/index.ts';
import { fn } from '../../../src/kernel/call.ts';
import { runDirect, settle } from '../../../src/kernel/direct.ts';
import { bootMachine, type Machine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { exploreUse } from '../../util/explore-use.ts';

const ADDRESS = 0x40_0000;
const SECOND = ADDRESS + PAGE_SIZE;
const FLAGS = AMDGPU_GEM_USERPTR_REGISTER | AMDGPU_GEM_USERPTR_VALIDATE;
const BOTH_PAGES = { addr: ADDRESS, size: 2 * PAGE_SIZE, flags: FLAGS };

interface State {
  readonly process: Process;
  readonly fd: number;
  readonly handle: number;
}

const VERSIONS = [
  ['by mirrors', hmmFixed, amdgpuSeries],
  ['by interval notifiers', hmmSeries, amdgpuV55],
] as const;

/** Two pages, 1 and 2, in one BO. */
function open(machine: Machine, version: (typeof VERSIONS)[number], ioctl: string): State {
  const [, hmm, module] = version;
  setHmm(machine, hmm);
  machine.load(module);
  const process = machine.process();
  machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, 1));
  machine.runNow(process.store(SECOND, 2));
  const fd = machine.runNow(process.open(AMDGPU_DEVICE));
  const handle = machine.runNow(process.ioctl(fd, ioctl, BOTH_PAGES));
  expect(handle).toBe(1);
  return { process, fd, handle };
}

/** Submits as libdrm does, until it is not told to try again, and waits for the GPU. */
const run = fn(function* run({ process, fd, handle }: State, command: Command) {
  let error = -EAGAIN;
  while (error === -EAGAIN) error = yield* process.ioctl(fd, DRM_AMDGPU_CS, { handle, command });
  if (error === 0) yield* process.ioctl(fd, DRM_AMDGPU_GEM_WAIT_IDLE, handle);
  return error;
});

const COPY: Command = { op: 'copy', from: ADDRESS, to: SECOND };
const WRITE: Command = { op: 'write', address: ADDRESS, byte: 7 };

describe.each(VERSIONS)('%s', (...version) => {
  const setup = (machine: Machine): State => open(machine, version, DRM_AMDGPU_GEM_USERPTR);

  test('the GPU reads what the program wrote last, and the program what the GPU wrote', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          yield* state.process.store(ADDRESS, 5);
          expect(yield* run(state, COPY)).toBe(0);
          expect(yield* state.process.load(SECOND)).toBe(5);
          expect(yield* run(state, WRITE)).toBe(0);
          expect(yield* state.process.load(ADDRESS)).toBe(7);
        },
      },
    });
  });

  test('after a fork the GPU writes for the parent (libdrm, Userptr Test)', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          const child = (yield* state.process.fork()) as Process;
          expect(yield* run(state, WRITE)).toBe(0);
          expect(yield* state.process.load(ADDRESS)).toBe(7);
          expect(yield* child.load(ADDRESS)).toBe(1);
          yield* child.exit();
        },
      },
    });
  });

  test('round for round the GPU has the new page (DONTNEED each round)', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          for (let round = 3; round < 6; round += 1) {
            yield* state.process.madvise(ADDRESS, 2 * PAGE_SIZE, MADV_DONTNEED);
            yield* state.process.store(ADDRESS, round);
            expect(yield* run(state, COPY)).toBe(0);
            expect(yield* state.process.load(SECOND)).toBe(round);
          }
        },
      },
    });
  });

  test('what is mapped in its place is what the GPU writes to (Xe, userptr-invalidate)', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          expect(yield* run(state, WRITE)).toBe(0);
          const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
          yield* state.process.mmap(ADDRESS, PAGE_SIZE, { flags });
          expect(yield* state.process.load(ADDRESS)).toBe(0);
          expect(yield* run(state, WRITE)).toBe(0);
          expect(yield* state.process.load(ADDRESS)).toBe(7);
        },
      },
    });
  });

  test('once its memory is gone a BO cannot be used (i915, sync-unmap)', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          expect(yield* run(state, WRITE)).toBe(0);
          yield* state.process.munmap(ADDRESS, 2 * PAGE_SIZE);
          expect(yield* run(state, WRITE)).toBe(-EFAULT);
        },
      },
    });
  });

  test('beside reclaim a copy is right', () => {
    const executions = exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          expect(yield* run(state, COPY)).toBe(0);
        },
        *reclaim({ process }) {
          yield* reclaimPage(process.mm!, ADDRESS, true);
        },
      },
      *finally({ process }) {
        expect(yield* process.load(SECOND)).toBe(1);
      },
    });
    expect(executions).toBeGreaterThan(1);
  });

  test("a program's own queue sees a page that was written after a fork (kfdtest, MemoryRegister)", () => {
    const machine = bootMachine();
    const state = open(machine, version, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU);
    const { process } = state;
    const child = runDirect(machine, process.fork()) as Process;
    runDirect(machine, process.store(ADDRESS, 9));
    settle(machine, { timers: true });
    runDirect(machine, ringDoorbell(0, COPY));
    settle(machine, { timers: true });
    expect(runDirect(machine, process.load(SECOND))).toBe(9);
    expect(runDirect(machine, child.load(SECOND))).toBe(2);
    runDirect(machine, ringDoorbell(0, WRITE));
    expect(runDirect(machine, process.load(ADDRESS))).toBe(7);
    expect(runDirect(machine, child.load(ADDRESS))).toBe(1);
    runDirect(machine, child.exit());
    runDirect(machine, process.exit());
  });

  test('calls that make no sense are refused, and change nothing', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          const { process, fd } = state;
          const make = (args: object) =>
            process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, { ...BOTH_PAGES, ...args });
          expect(yield* make({ addr: 1 })).toBe(-EINVAL);
          expect(yield* make({ size: 0 })).toBe(-EINVAL);
          expect(yield* make({ flags: 64 })).toBe(-EINVAL);
          expect(yield* make({ flags: AMDGPU_GEM_USERPTR_VALIDATE })).toBe(-EACCES);
          expect(yield* make({ addr: 0x10_0000 })).toBe(-EFAULT);
          expect(yield* process.ioctl(fd, DRM_GEM_CLOSE, 99)).toBe(-ENOENT);
          expect(yield* process.ioctl(fd, DRM_AMDGPU_GEM_WAIT_IDLE, 99)).toBe(-ENOENT);
          expect(yield* run({ ...state, handle: 99 }, WRITE)).toBe(-ENOENT);
          expect(yield* process.ioctl(fd, 'DRM_SOMETHING')).toBe(-ENOTTY);
          expect(yield* run(state, COPY)).toBe(0);
        },
      },
    });
  });

  test('a BO that is not registered, or read-only, or of a file where none may be', () => {
    const mapping = ADDRESS + 16 * PAGE_SIZE;
    exploreUse<State>({
      setup,
      tasks: {
        *program({ process, fd }) {
          const page = { addr: ADDRESS, size: PAGE_SIZE };
          const readonly = AMDGPU_GEM_USERPTR_READONLY;
          const unregistered = yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, {
            ...page,
            flags: readonly,
          });
          expect(yield* run({ process, fd, handle: unregistered }, WRITE)).toBe(-EFAULT);
          const file = yield* process.memfdCreate('file');
          yield* process.ftruncate(file, PAGE_SIZE);
          yield* process.mmap(mapping, PAGE_SIZE, { flags: MAP_SHARED, fd: file });
          const flags = FLAGS | AMDGPU_GEM_USERPTR_ANONONLY;
          const anonOnly = { addr: mapping, size: PAGE_SIZE, flags };
          expect(yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, anonOnly)).toBe(-EPERM);
        },
      },
    });
  });

  test('overlapping BOs are told of the same change, and one may go (MemoryRegisterSamePtr)', () => {
    exploreUse<State>({
      setup,
      tasks: {
        *program(state) {
          const { process, fd, handle } = state;
          const half = { addr: SECOND, size: PAGE_SIZE, flags: FLAGS };
          const other = yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, half);
          expect(other).toBe(2);
          expect(yield* process.ioctl(fd, DRM_GEM_CLOSE, other)).toBe(0);
          yield* process.madvise(ADDRESS, 2 * PAGE_SIZE, MADV_DONTNEED);
          yield* process.store(ADDRESS, 6);
          expect(yield* run({ process, fd, handle }, COPY)).toBe(0);
          expect(yield* process.load(SECOND)).toBe(6);
        },
      },
    });
  });
});
