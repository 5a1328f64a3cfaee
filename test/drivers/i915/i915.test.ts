/** i915's calls: what they do, what they refuse, and that nothing is left behind. After IGT's gem_userptr_blits. */
import { expect, test } from 'vitest';
import {
  E2BIG,
  EAGAIN,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
} from '../../../src/base/errno.ts';
import {
  DRM_I915_GEM_CREATE,
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_USERPTR,
  DRM_I915_GEM_WAIT,
  DRM_IOCTL_GEM_CLOSE,
  GTT_PAGE_COUNT,
  I915_PATH,
  I915_USERPTR_PROBE,
  I915_USERPTR_READ_ONLY,
  I915_USERPTR_UNSYNCHRONIZED,
  i915Fixed,
  i915GetPut,
  i915Gpu,
  i915Trylock,
  i915V50,
  i915V53,
  i915V61,
} from '../../../src/drivers/i915/index.ts';
import { loadModule, unloadModule, type ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { usedPages } from '../../../src/mm/frames.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;

const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.0', i915V50],
  ['v5.3', i915V53],
  ['trylock', i915Trylock],
  ['get-put', i915GetPut],
  ['v6.1', i915V61],
  ['fixed', i915Fixed],
];
/** Those with a tree, a work for pages, and struct_mutex. */
const OLDER = VERSIONS.slice(0, 4);
const INTERVAL = VERSIONS.slice(4);

/** A program with the device open and two pages, of which the first is there. */
function program(
  module: ModuleType,
  body: (process: Process, fd: number) => Body<unknown>,
  options: Parameters<typeof runOnMachine>[1] = {},
) {
  const ran = runOnMachine(
    (machine) => {
      const process = machine.process();
      machine.load(module);
      return [
        function* user() {
          yield* process.mmap(ADDRESS, 2 * PAGE_SIZE);
          yield* process.store(ADDRESS, 7);
          const fd = yield* process.open(I915_PATH);
          if (fd >= 0) yield* body(process, fd);
          if (process.mm !== null) yield* process.exit();
        },
      ];
    },
    { bodiesLast: true, ...options },
  );
  return { ...ran, found: ran.findings.map(({ message }) => message) };
}

function userptr(process: Process, fd: number, pages = 1, userPtr = ADDRESS, flags = 0) {
  const request = { userPtr, userSize: pages * PAGE_SIZE, flags };
  return process.ioctl(fd, DRM_I915_GEM_USERPTR, request);
}

function exec(process: Process, fd: number, ...commands: readonly object[]) {
  return process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, commands);
}

function write(handle: number, offset: number, byte: number) {
  return { op: 'write', to: { handle, offset }, byte } as const;
}

test.each(VERSIONS)('%s: the GPU writes what the program reads, and the reverse', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd);
    expect(handle).toBe(1);
    const commands = [
      write(handle, 1, 42),
      { op: 'copy', from: { handle, offset: 0 }, to: { handle, offset: 2 } },
      { op: 'add', to: { handle, offset: 2 }, addend: 5 },
      { op: 'compare-swap', to: { handle, offset: 1 }, expected: 41, desired: 0 },
      { op: 'compare-swap', to: { handle, offset: 0 }, expected: 7, desired: 8 },
    ];
    expect(yield* exec(process, fd, ...commands)).toBe(0);
    expect(yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle)).toBe(0);
    expect(yield* process.load(ADDRESS)).toBe(8);
    expect(yield* process.load(ADDRESS + 1)).toBe(42);
    expect(yield* process.load(ADDRESS + 2)).toBe(12);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: when all is closed nothing is left', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd);
    yield* userptr(process, fd);
    yield* exec(process, fd, write(handle, 0, 1));
    yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
    yield* process.exit();
    expect(yield* unloadModule(module)).toBe(0);
  });
  expect(found).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
  expect(usedPages(machine)).toHaveLength(0);
});

test.each(VERSIONS)(
  '%s: memory that was unmapped after its use is -EFAULT (sync-unmap)',
  (_, m) => {
    const { found } = program(m, function* user(process, fd) {
      const handle = yield* userptr(process, fd);
      expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(0);
      yield* process.munmap(ADDRESS, PAGE_SIZE);
      // Up to v5.3 a work finds it out, and says so the next time.
      if (OLDER.some(([, one]) => one === m)) {
        expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(-EAGAIN);
        yield* process.ioctl(fd, DRM_I915_GEM_CREATE, PAGE_SIZE);
      }
      let error = -EAGAIN;
      while (error === -EAGAIN) error = yield* exec(process, fd, write(handle, 0, 1));
      expect(error).toBe(-EFAULT);
    });
    expect(found).toEqual([]);
  },
);

test.each(OLDER)(
  '%s: memory that is not watched stays with the GPU (unsync-unmap)',
  (_, module) => {
    const { found, machine } = program(module, function* user(process, fd) {
      const handle = yield* userptr(process, fd, 1, ADDRESS, I915_USERPTR_UNSYNCHRONIZED);
      expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(0);
      yield* process.munmap(ADDRESS, PAGE_SIZE);
      expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(0);
      expect(yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle)).toBe(0);
      expect(i915Gpu().faults.value).toBe(0);
      yield* process.close(fd);
    });
    expect(found).toEqual([]);
    expect(usedPages(machine)).toHaveLength(0);
  },
);

test.each(OLDER)('%s: pages that are not there are looked up by a work', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const second = ADDRESS + PAGE_SIZE;
    const handle = yield* userptr(process, fd, 1, second);
    expect(yield* exec(process, fd, write(handle, 3, 9))).toBe(-EAGAIN);
    expect(yield* exec(process, fd, write(handle, 3, 9))).toBe(0);
    yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
    expect(yield* process.load(second + 3)).toBe(9);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: what is asked of a user pointer is checked (input-checking)', (_, m) => {
  const { found } = program(m, function* user(process, fd) {
    const ask = (userPtr: number, userSize: number, flags = 0) =>
      process.ioctl(fd, DRM_I915_GEM_USERPTR, { userPtr, userSize, flags });
    expect(yield* ask(ADDRESS, 0)).toBe(-EINVAL);
    expect(yield* ask(ADDRESS + 1, PAGE_SIZE)).toBe(-EINVAL);
    expect(yield* ask(ADDRESS, PAGE_SIZE + 1)).toBe(-EINVAL);
    expect(yield* ask(ADDRESS, PAGE_SIZE, 64)).toBe(-EINVAL);
    expect(yield* ask(ADDRESS, (GTT_PAGE_COUNT + 1) * PAGE_SIZE)).toBe(-E2BIG);
    expect(yield* ask(2 ** 47 - PAGE_SIZE, PAGE_SIZE)).toBe(-EFAULT);
    // NULL: made, and of no use.
    expect(yield* ask(0, PAGE_SIZE)).toBe(1);
  });
  expect(found).toEqual([]);
});

test.each(INTERVAL)('%s: PROBE looks for holes, and all is watched', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    expect(yield* userptr(process, fd, 2, ADDRESS, I915_USERPTR_PROBE)).toBe(1);
    expect(yield* userptr(process, fd, 3, ADDRESS, I915_USERPTR_PROBE)).toBe(-EFAULT);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect(yield* userptr(process, fd, 2, ADDRESS, I915_USERPTR_PROBE)).toBe(-EFAULT);
    expect(yield* userptr(process, fd, 1, ADDRESS, I915_USERPTR_UNSYNCHRONIZED)).toBe(-ENODEV);
  });
  expect(found).toEqual([]);
});

test('v5.3 does not know PROBE', () => {
  const { found } = program(i915V53, function* user(process, fd) {
    expect(yield* userptr(process, fd, 1, ADDRESS, I915_USERPTR_PROBE)).toBe(-EINVAL);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: a buffer to read cannot be written (readonly)', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd, 1, ADDRESS, I915_USERPTR_READ_ONLY);
    expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(0);
    yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
    expect(i915Gpu().faults.value).toBe(1);
    expect(yield* process.load(ADDRESS)).toBe(7);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: handles that are not there are refused', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, 1)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, DRM_I915_GEM_WAIT, 1)).toBe(-ENOENT);
    expect(yield* process.ioctl(fd, DRM_I915_GEM_SET_DOMAIN, 1)).toBe(-ENOENT);
    expect(yield* exec(process, fd, write(1, 0, 1))).toBe(-ENOENT);
    expect(yield* process.ioctl(fd, 'DRM_I915_NOTHING')).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, DRM_I915_GEM_CREATE, 0)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, DRM_I915_GEM_CREATE, 64 * PAGE_SIZE)).toBe(-EINVAL);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: a GTT that is full refuses the job, and all is as before', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    const whole = yield* process.ioctl(fd, DRM_I915_GEM_CREATE, GTT_PAGE_COUNT * PAGE_SIZE);
    expect(yield* exec(process, fd, write(whole, 0, 1))).toBe(0);
    const handle = yield* userptr(process, fd);
    expect(yield* exec(process, fd, write(handle, 0, 1))).toBe(-ENOSPC);
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, whole)).toBe(0);
    expect(yield* exec(process, fd, write(handle, 0, 9))).toBe(0);
    yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
    expect(yield* process.load(ADDRESS)).toBe(9);
  });
  expect(found).toEqual([]);
  expect(usedPages(machine)).toHaveLength(0);
});

test.each(VERSIONS)('%s: the child of a fork and its buffer (forked-access)', (name, module) => {
  const { found } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd);
    const child = (yield* process.fork()) as Process;
    // Since v5.13 it is another's memory; before, a work looks it up in the parent.
    const isRefused = name === 'v6.1' || name === 'fixed';
    expect(yield* exec(child, fd, write(handle, 0, 5))).toBe(isRefused ? -EFAULT : -EAGAIN);
    if (!isRefused) expect(yield* exec(child, fd, write(handle, 0, 5))).toBe(0);
    yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
    expect(yield* process.load(ADDRESS)).toBe(isRefused ? 7 : 5);
    expect(yield* child.load(ADDRESS)).toBe(7);
    yield* child.exit();
  });
  expect(found).toEqual([]);
});

const MENDED = VERSIONS.filter(([name]) => name === 'get-put' || name === 'fixed');

test.each(MENDED)('%s: whatever allocation fails, nothing is left', (_, module) => {
  let failures = 0;
  for (let failing = 0; failing < 20; failing += 1) {
    const outcomes = [...Array.from({ length: failing }, () => 0), 1];
    const { found, machine } = program(
      module,
      function* user(process, fd) {
        const results = [
          yield* userptr(process, fd),
          yield* process.ioctl(fd, DRM_I915_GEM_CREATE, 2 * PAGE_SIZE),
          yield* exec(process, fd, write(1, 0, 5)),
        ];
        yield* process.ioctl(fd, DRM_I915_GEM_WAIT, 1);
        for (const result of results) if (result < 0) failures += 1;
        // -EFAULT, -EAGAIN: it was the program that found no memory.
        const possible = [-ENOMEM, -ENOENT, -EFAULT, -EAGAIN, 0, 1, 2];
        for (const result of results) expect(possible).toContain(result);
        yield* process.exit();
        yield* unloadModule(module);
      },
      { budget: { allocations: 1 }, outcomes },
    );
    expect(found).toEqual([]);
    expect(usedPages(machine)).toHaveLength(0);
  }
  expect(failures).toBeGreaterThanOrEqual(6);
});

function* modprobe(): Body<void> {
  expect(yield* loadModule(i915V53)).toBe(-ENOMEM);
}

test('a module that finds no memory for its queues is not loaded', () => {
  for (let failing = 0; failing < 2; failing += 1) {
    const outcomes = [...Array.from({ length: failing }, () => 0), 1];
    const budget = { allocations: 1 };
    const { findings, machine } = runOnMachine(() => [modprobe], { budget, outcomes });
    expect(findings).toEqual([]);
    expect(machine.slabMemory.size).toBe(0);
  }
});
