/**
 * nouveau as programs use it, in every execution: the cases of the kernel's hmm-tests that fit a GPU which mirrors a
 * process (their names in brackets), and the driver's calls. What the GPU writes the program reads, and the reverse.
 */
import { expect, test } from 'vitest';
import { EBUSY, EFAULT, EINVAL, ENOTTY, EPERM } from '../../../src/base/errno.ts';
import {
  MADV_DONTNEED,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/base/mman.ts';
import { hmmFixed, setHmm } from '../../../src/drivers/hmm/index.ts';
import {
  DRM_NOUVEAU_CHANNEL_ALLOC,
  DRM_NOUVEAU_CHANNEL_FREE,
  DRM_NOUVEAU_SVM_INIT,
  gpuFetchAdd,
  gpuLoad,
  gpuStore,
  NOUVEAU_DEVICE,
  nouveauFixed,
} from '../../../src/drivers/nouveau/index.ts';
import { fn } from '../../../src/kernel/call.ts';
import type { Machine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { exploreUse } from '../../util/explore-use.ts';

const ADDRESS = 0x40_0000;
const SECOND = ADDRESS + PAGE_SIZE;
const RW = PROT_READ | PROT_WRITE;
const HOLE = { unmanagedAddr: 0x1000_0000_0000, unmanagedSize: PAGE_SIZE };

interface State {
  readonly process: Process;
  readonly fd: number;
  readonly space: number;
}

/** A client with SVM and a channel: its descriptor and its address space. */
const client = fn(function* client(process: Process) {
  const fd = yield* process.open(NOUVEAU_DEVICE);
  expect(yield* process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, HOLE)).toBe(0);
  return { fd, space: yield* process.ioctl(fd, DRM_NOUVEAU_CHANNEL_ALLOC) };
});

/** Two pages, which are there unless `isUntouched`: 1 and 2. */
function setup(machine: Machine, isUntouched = false): State {
  setHmm(machine, hmmFixed);
  machine.load(nouveauFixed);
  const process = machine.process();
  machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
  if (!isUntouched) {
    machine.runNow(process.store(ADDRESS, 1));
    machine.runNow(process.store(SECOND, 2));
  }
  return { process, ...machine.runNow(client(process)) };
}

test('the GPU reads what the program wrote (anon_read)', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ space }) {
        expect(yield* gpuLoad(space, ADDRESS)).toBe(1);
        expect(yield* gpuLoad(space, SECOND)).toBe(2);
      },
    },
  });
});

test('the GPU reads nothing that the program may not (anon_read_prot)', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process, space }) {
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_NONE);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(-EPERM);
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
        expect(yield* process.load(ADDRESS)).toBe(1);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(1);
      },
    },
  });
});

test('the GPU writes to memory that nobody has touched (anon_write)', () => {
  exploreUse<State>({
    setup: (machine) => setup(machine, true),
    tasks: {
      *program({ process, space }) {
        expect(yield* gpuStore(space, ADDRESS, 7)).toBe(0);
        expect(yield* process.load(ADDRESS)).toBe(7);
      },
    },
  });
});

test('the GPU writes only where the program may, and then not into the zero page (anon_write_prot)', () => {
  exploreUse<State>({
    setup: (machine) => setup(machine, true),
    tasks: {
      *program({ process, space }) {
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(0);
        expect(yield* gpuStore(space, ADDRESS, 7)).toBe(-EPERM);
        expect(yield* process.load(ADDRESS)).toBe(0);
        yield* process.mprotect(ADDRESS, PAGE_SIZE, RW);
        expect(yield* gpuStore(space, ADDRESS, 7)).toBe(0);
        expect(yield* process.load(ADDRESS)).toBe(7);
        expect(yield* process.load(SECOND)).toBe(0);
      },
    },
  });
});

test('what the GPU writes for a child its parent does not see (anon_write_child)', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process }) {
        const child = (yield* process.fork()) as Process;
        const { space } = yield* client(child);
        expect(yield* gpuStore(space, ADDRESS, 9)).toBe(1);
        expect(yield* child.load(ADDRESS)).toBe(9);
        expect(yield* process.load(ADDRESS)).toBe(1);
        yield* child.exit();
      },
    },
  });
});

test('what the GPU writes for a child into shared memory its parent sees (anon_write_child_shared)', () => {
  const shared = ADDRESS + 16 * PAGE_SIZE;
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process }) {
        const file = yield* process.memfdCreate('shared');
        yield* process.ftruncate(file, PAGE_SIZE);
        yield* process.mmap(shared, PAGE_SIZE, { flags: MAP_SHARED, fd: file });
        const child = (yield* process.fork()) as Process;
        const { space } = yield* client(child);
        expect(yield* gpuStore(space, shared, 9)).toBe(0);
        expect(yield* child.load(shared)).toBe(9);
        expect(yield* process.load(shared)).toBe(9);
        yield* child.exit();
      },
    },
  });
});

test('a file is read and written through its mapping (file_read, file_write)', () => {
  const mapping = ADDRESS + 16 * PAGE_SIZE;
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process, space }) {
        const file = yield* process.memfdCreate('file');
        yield* process.ftruncate(file, PAGE_SIZE);
        yield* process.pwrite(file, [5], 0);
        yield* process.mmap(mapping, PAGE_SIZE, { flags: MAP_SHARED, fd: file });
        expect(yield* gpuLoad(space, mapping)).toBe(5);
        expect(yield* gpuStore(space, mapping, 6)).toBe(5);
        expect(yield* process.load(mapping)).toBe(6);
        expect(yield* process.pread(file, 1, 0)).toEqual(Uint8Array.of(6));
      },
    },
  });
});

test('round for round the GPU sees the new page, not the old one (anon_read_multiple)', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process, space }) {
        for (let round = 3; round < 6; round += 1) {
          yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
          yield* process.store(ADDRESS, round);
          expect(yield* gpuLoad(space, ADDRESS)).toBe(round);
        }
      },
    },
  });
});

test('two clients mirror the same memory, and neither keeps what is old (double_map)', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process, space }) {
        const other = yield* client(process);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(1);
        expect(yield* gpuLoad(other.space, ADDRESS)).toBe(1);
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
        yield* process.store(ADDRESS, 8);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(8);
        expect(yield* gpuLoad(other.space, ADDRESS)).toBe(8);
      },
    },
  });
});

test('beside munmap the GPU reads what is right or nothing (anon_teardown)', () => {
  const seen = new Set<number>();
  const executions = exploreUse<State>({
    setup,
    tasks: {
      *gpu({ space }) {
        seen.add(yield* gpuLoad(space, SECOND));
        expect(yield* gpuLoad(space, ADDRESS)).toBe(1);
      },
      *munmap({ process }) {
        yield* process.munmap(SECOND, PAGE_SIZE);
      },
    },
  });
  expect([...seen].toSorted((a, b) => a - b)).toEqual([-EFAULT, 2]);
  expect(executions).toBeGreaterThan(1);
});

test('beside reclaim no addition of the GPU is lost', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *gpu({ space }) {
        yield* gpuFetchAdd(space, ADDRESS, 16);
      },
      *reclaim({ process }) {
        yield* reclaimPage(process.mm!, ADDRESS, true);
      },
    },
    *finally({ process }) {
      expect(yield* process.load(ADDRESS)).toBe(17);
    },
  });
});

test('beside a store of the program the last of two writers is what both see', () => {
  const seen = new Set<string>();
  exploreUse<State>({
    setup,
    tasks: {
      *gpu({ space }) {
        yield* gpuStore(space, ADDRESS, 7);
      },
      *program({ process }) {
        yield* process.store(ADDRESS, 9);
      },
    },
    *finally({ process }) {
      seen.add(String(yield* process.load(ADDRESS)));
    },
  });
  expect([...seen].toSorted()).toEqual(['7', '9']);
});

test('calls that make no sense are refused, and change nothing', () => {
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process, fd, space }) {
        expect(yield* process.ioctl(fd, 'DRM_SOMETHING')).toBe(-ENOTTY);
        expect(yield* process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, HOLE)).toBe(-EBUSY);
        expect(yield* process.ioctl(fd, DRM_NOUVEAU_CHANNEL_ALLOC)).toBe(-EBUSY);
        const other = yield* process.open(NOUVEAU_DEVICE);
        const odd = { unmanagedAddr: 1, unmanagedSize: 0 };
        expect(yield* process.ioctl(other, DRM_NOUVEAU_SVM_INIT, odd)).toBe(-EINVAL);
        expect(yield* process.ioctl(other, DRM_NOUVEAU_CHANNEL_ALLOC)).toBe(-EINVAL);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(1);
        expect(yield* process.ioctl(fd, DRM_NOUVEAU_CHANNEL_FREE)).toBe(0);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(-EFAULT);
      },
    },
  });
});

test('the hole that the driver keeps is no part of the mirror', () => {
  const hole = { unmanagedAddr: ADDRESS, unmanagedSize: PAGE_SIZE };
  exploreUse<State>({
    setup,
    tasks: {
      *program({ process }) {
        const fd = yield* process.open(NOUVEAU_DEVICE);
        expect(yield* process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, hole)).toBe(0);
        const space = yield* process.ioctl(fd, DRM_NOUVEAU_CHANNEL_ALLOC);
        expect(yield* gpuLoad(space, ADDRESS)).toBe(-EFAULT);
        expect(yield* gpuLoad(space, SECOND)).toBe(2);
        // From below the hole to beyond it: the invalidation goes through.
        yield* process.munmap(ADDRESS - PAGE_SIZE, 3 * PAGE_SIZE);
        expect(yield* gpuLoad(space, SECOND)).toBe(-EFAULT);
      },
    },
  });
});
