/** radeon's calls: what they do, what they refuse, and that nothing is left behind. */
import { expect, test } from 'vitest';
import { EACCES, EFAULT, EINVAL, ENOENT, ENOMEM, EPERM } from '../../../src/base/errno.ts';
import { MAP_SHARED, PROT_READ } from '../../../src/base/mman.ts';
import {
  DRM_IOCTL_GEM_CLOSE,
  DRM_RADEON_CS,
  DRM_RADEON_GEM_CREATE,
  DRM_RADEON_GEM_USERPTR,
  DRM_RADEON_GEM_WAIT_IDLE,
  GART_PAGE_COUNT,
  RADEON_GEM_USERPTR_ANONONLY,
  RADEON_GEM_USERPTR_READONLY,
  RADEON_GEM_USERPTR_REGISTER,
  RADEON_GEM_USERPTR_VALIDATE,
  radeonBoard,
  radeonFixed,
  radeonPath,
  radeonRetrying,
  radeonSeries,
  radeonV53,
  radeonV54,
  radeonV54Two,
  radeonV55,
} from '../../../src/drivers/radeon/index.ts';
import { loadModule, unloadModule, type ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { usedPages } from '../../../src/mm/frames.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const REGISTERED = RADEON_GEM_USERPTR_ANONONLY | RADEON_GEM_USERPTR_REGISTER;
const BOUND = REGISTERED | RADEON_GEM_USERPTR_VALIDATE;

const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', radeonV53],
  ['series', radeonSeries],
  ['v5.4', radeonV54],
  ['fixed', radeonFixed],
  ['v5.5', radeonV55],
  ['retrying', radeonRetrying],
];
/** Those that unregister only what was registered. */
const LOOKING = VERSIONS.filter(([name]) => name !== 'series');

/** A program with the first device open and two pages, of which the first is there. */
function program(
  module: ModuleType,
  body: (process: Process, fd: number) => Body<unknown>,
  options: Parameters<typeof runOnMachine>[1] = {},
) {
  const ran = runOnMachine((machine) => {
    const process = machine.process();
    machine.load(module);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, 2 * PAGE_SIZE);
        yield* process.store(ADDRESS, 7);
        const fd = yield* process.open(radeonPath(0));
        if (fd >= 0) yield* body(process, fd);
        if (process.mm !== null) yield* process.exit();
      },
    ];
  }, options);
  const findings = ran.findings.filter(({ kind }) => kind !== 'lock-order');
  return { ...ran, findings, found: findings.map(({ message }) => message) };
}

function userptr(process: Process, fd: number, flags: number, pages = 1, addr = ADDRESS) {
  return process.ioctl(fd, DRM_RADEON_GEM_USERPTR, { addr, size: pages * PAGE_SIZE, flags });
}

function write(handle: number, offset: number, byte: number) {
  return { op: 'write', to: { handle, offset }, byte } as const;
}

test.each(VERSIONS)('%s: the GPU writes what the program reads, and the reverse', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd, REGISTERED);
    expect(handle).toBe(1);
    const commands = [
      write(handle, 1, 42),
      { op: 'copy', from: { handle, offset: 0 }, to: { handle, offset: 2 } },
      { op: 'add', to: { handle, offset: 2 }, addend: 5 },
      { op: 'compare-swap', to: { handle, offset: 1 }, expected: 41, desired: 0 },
      { op: 'compare-swap', to: { handle, offset: 0 }, expected: 7, desired: 8 },
    ];
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, commands)).toBe(0);
    expect(yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, handle)).toBe(0);
    expect(yield* process.load(ADDRESS)).toBe(8);
    expect(yield* process.load(ADDRESS + 1)).toBe(42);
    expect(yield* process.load(ADDRESS + 2)).toBe(12);
  });
  // v5.3: A-30.
  expect(found.filter((text) => !text.includes('radeon_mn was freed'))).toEqual([]);
});

test.each(VERSIONS)('%s: the board does not reach memory that was unmapped', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const handle = yield* userptr(process, fd, BOUND);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect(radeonBoard(0).gart.table.size).toBe(0);
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, [write(handle, 0, 1)])).toBe(-EFAULT);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: when all is closed nothing is left', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    yield* userptr(process, fd, BOUND);
    yield* userptr(process, fd, REGISTERED, 2);
    yield* process.exit();
    yield* unloadModule(module);
  });
  const known = found.filter((text) => /radeon_mn was freed|after its module radeon/.test(text));
  expect(found.filter((text) => !known.includes(text))).toEqual([]);
  if (module === radeonV53) return;
  expect(known).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
  expect(usedPages(machine)).toHaveLength(0);
});

test('what is asked of a user pointer is checked in the order of the driver', () => {
  const { found } = program(radeonV54, function* user(process, fd) {
    expect(yield* userptr(process, fd, 16, 1, ADDRESS + 1)).toBe(-EINVAL);
    expect(
      yield* process.ioctl(fd, DRM_RADEON_GEM_USERPTR, { addr: ADDRESS, size: 1, flags: BOUND }),
    ).toBe(-EINVAL);
    expect(yield* userptr(process, fd, 16)).toBe(-EINVAL);
    expect(yield* userptr(process, fd, 0)).toBe(-EACCES);
    expect(yield* userptr(process, fd, RADEON_GEM_USERPTR_ANONONLY)).toBe(-EACCES);
    expect(yield* userptr(process, fd, RADEON_GEM_USERPTR_REGISTER)).toBe(-EACCES);
    expect(yield* userptr(process, fd, REGISTERED, GART_PAGE_COUNT + 1)).toBe(-EINVAL);
    expect(yield* userptr(process, fd, RADEON_GEM_USERPTR_READONLY)).toBe(1);
  });
  expect(found).toEqual([]);
});

test.each(LOOKING)('%s: memory that is not there or not its own is refused', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const file = yield* process.memfdCreate('file');
    yield* process.ftruncate(file, PAGE_SIZE);
    const at = yield* process.mmap(0, PAGE_SIZE, { fd: file, flags: MAP_SHARED });
    // A file's memory, where only anonymous memory is wanted.
    expect(yield* userptr(process, fd, BOUND, 1, at)).toBe(-EPERM);
    // Beyond the end of the mapping.
    expect(yield* userptr(process, fd, BOUND, 3)).toBe(-EPERM);
    yield* process.munmap(at, PAGE_SIZE);
    const nothing = RADEON_GEM_USERPTR_READONLY | RADEON_GEM_USERPTR_VALIDATE;
    expect(yield* userptr(process, fd, nothing, 1, at)).toBe(-EFAULT);
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
    expect(yield* userptr(process, fd, BOUND)).toBe(-EFAULT);
  });
  expect(found).toEqual([]);
});

test.each(LOOKING)('%s: handles that are not there are refused', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, 1)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, 1)).toBe(-ENOENT);
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, [write(1, 0, 1)])).toBe(-ENOENT);
    expect(yield* process.ioctl(fd, 'DRM_RADEON_NOTHING')).toBe(-EINVAL);
    const handle = yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, PAGE_SIZE);
    expect(yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, 64 * PAGE_SIZE)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle)).toBe(0);
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle)).toBe(-EINVAL);
  });
  expect(found).toEqual([]);
});

test.each(LOOKING)('%s: a GART that is full refuses the job, and all is as before', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    const whole = yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, GART_PAGE_COUNT * PAGE_SIZE);
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, [write(whole, 0, 1)])).toBe(0);
    const handle = yield* userptr(process, fd, REGISTERED);
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, [write(handle, 0, 1)])).toBe(-ENOMEM);
    expect(yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, whole)).toBe(0);
    expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, whole)).toBe(0);
    expect(yield* process.ioctl(fd, DRM_RADEON_CS, [write(handle, 0, 9)])).toBe(0);
    expect(yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, handle)).toBe(0);
    expect(yield* process.load(ADDRESS)).toBe(9);
  });
  expect(found.filter((text) => !text.includes('radeon_mn was freed'))).toEqual([]);
  expect(usedPages(machine)).toHaveLength(0);
});

test.each(LOOKING)('%s: overlapping buffers go one by one', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    yield* process.store(ADDRESS + PAGE_SIZE, 3);
    const first = yield* userptr(process, fd, BOUND);
    const second = yield* userptr(process, fd, BOUND, 1, ADDRESS + PAGE_SIZE);
    const both = yield* userptr(process, fd, BOUND, 2);
    const same = yield* userptr(process, fd, BOUND);
    expect([first, second, both, same]).toEqual([1, 2, 3, 4]);
    expect(radeonBoard(0).gart.table.size).toBe(5);
    yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, both);
    // What hits the first page leaves the second alone, or not: nodes that were merged stay so.
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect(radeonBoard(0).gart.table.size).toBeLessThanOrEqual(1);
    yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
    expect(radeonBoard(0).gart.table.size).toBe(0);
    for (const handle of [same, first, second]) {
      expect(yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle)).toBe(0);
    }
  });
  expect(found.filter((text) => !text.includes('radeon_mn was freed'))).toEqual([]);
});

test('v5.4: two devices have one notifier, which goes with the last buffer', () => {
  const { found } = program(radeonV54Two, function* user(process, fd) {
    const other = yield* process.open(radeonPath(1));
    const mm = process.mm!;
    const handles = [yield* userptr(process, fd, BOUND), yield* userptr(process, other, BOUND)];
    expect(mm.mmCount.value).toBe(2);
    expect([radeonBoard(0).gart.table.size, radeonBoard(1).gart.table.size]).toEqual([1, 1]);
    yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handles[0]);
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
    expect(radeonBoard(1).gart.table.size).toBe(0);
    yield* process.ioctl(other, DRM_IOCTL_GEM_CLOSE, handles[1]);
  });
  expect(found).toEqual([]);
});

const MENDED = VERSIONS.filter(([name]) => name === 'fixed' || name === 'retrying');

test.each(MENDED)(
  '%s: whatever allocation fails, the program is told and nothing is left',
  (_, module) => {
    let failures = 0;
    for (let failing = 0; failing < 20; failing += 1) {
      const outcomes = [...Array.from({ length: failing }, () => 0), 1];
      const { found, machine } = program(
        module,
        function* user(process, fd) {
          const results = [
            yield* userptr(process, fd, BOUND, 2),
            yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, 2 * PAGE_SIZE),
            yield* process.ioctl(fd, DRM_RADEON_CS, [write(1, 0, 5)]),
          ];
          for (const result of results) if (result < 0) failures += 1;
          // -EPERM: it was mmap that found no memory.
          const possible = [-ENOMEM, -ENOENT, -EPERM, 0, 1, 2];
          for (const result of results) expect(possible).toContain(result);
          yield* process.exit();
          yield* unloadModule(module);
        },
        { budget: { allocations: 1 }, outcomes },
      );
      expect(found).toEqual([]);
      expect(usedPages(machine)).toHaveLength(0);
    }
    expect(failures).toBeGreaterThanOrEqual(8);
  },
);

function* modprobe(): Body<void> {
  expect(yield* loadModule(radeonV54Two)).toBe(-ENOMEM);
}

test('a module that finds no memory for its devices is not loaded', () => {
  for (let failing = 0; failing < 4; failing += 1) {
    const outcomes = [...Array.from({ length: failing }, () => 0), 1];
    const { findings, machine } = runOnMachine(() => [modprobe], {
      budget: { allocations: 1 },
      outcomes,
    });
    expect(findings).toEqual([]);
    expect(machine.slabMemory.size).toBe(0);
  }
});
