/** gntdev's calls: what they do, what they refuse, and what both domains see. */
import { expect, test } from 'vitest';
import { EBUSY, EINVAL, ENOENT, ENOTTY } from '../../../src/base/errno.ts';
import { MAP_PRIVATE, MAP_SHARED } from '../../../src/base/mman.ts';
import {
  GNTDEV_PATH,
  gntdevFixed,
  gntdevInitialisedAuto,
  gntdevV53,
  gntdevV55,
  IOCTL_GNTDEV_MAP_GRANT_REF,
  IOCTL_GNTDEV_UNMAP_GRANT_REF,
  xenEndAccess,
  xenGrantAccess,
  xenLoad,
} from '../../../src/drivers/gntdev/index.ts';
import type { ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', gntdevV53],
  ['v5.5', gntdevV55],
  ['initialised-auto', gntdevInitialisedAuto],
  ['fixed', gntdevFixed],
];

/** A program with the device open, and a grant of the other domain with 11 in it. */
function program(module: ModuleType, body: (process: Process, fd: number) => Body<unknown>) {
  return runOnMachine((machine) => {
    const process = machine.process();
    machine.load(module);
    return [
      function* user() {
        yield* xenGrantAccess(0, 11);
        const fd = yield* process.open(GNTDEV_PATH);
        yield* body(process, fd);
        yield* process.exit();
      },
    ];
  });
}

const SHARED = { flags: MAP_SHARED };

test.each(VERSIONS)('%s: a program and the other domain see the same byte', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    const offset = yield* process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, [0]);
    seen.push(yield* process.mmap(ADDRESS, PAGE_SIZE, { ...SHARED, fd, offset }));
    seen.push(yield* process.load(ADDRESS));
    yield* process.store(ADDRESS, 21);
    seen.push(yield* xenLoad(0));
  });
  expect(seen).toEqual([ADDRESS, 11, 21]);
});

test.each(VERSIONS)(
  '%s: what is not there, private or mapped already is refused',
  (_name, module) => {
    const seen: number[] = [];
    program(module, function* body(process, fd) {
      seen.push(yield* process.ioctl(fd, 'TIOCGWINSZ'));
      seen.push(yield* process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, []));
      seen.push(yield* process.mmap(ADDRESS, PAGE_SIZE, { ...SHARED, fd, offset: 0 }));
      const offset = yield* process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, [0]);
      seen.push(yield* process.mmap(ADDRESS, PAGE_SIZE, { flags: MAP_PRIVATE, fd, offset }));
      seen.push(yield* process.ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, { offset, count: 2 }));
      seen.push(yield* process.ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, { offset, count: 1 }));
      const unknown = yield* process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, [3]);
      seen.push(yield* process.mmap(ADDRESS, PAGE_SIZE, { ...SHARED, fd, offset: unknown }));
    });
    expect(seen).toEqual([-ENOTTY, -EINVAL, -EINVAL, -EINVAL, -ENOENT, 0, -EINVAL]);
  },
);

test.each(VERSIONS)(
  '%s: the other domain has its frame back after munmap only',
  (_name, module) => {
    const seen: number[] = [];
    program(module, function* body(process, fd) {
      const offset = yield* process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, [0]);
      yield* process.mmap(ADDRESS, PAGE_SIZE, { ...SHARED, fd, offset });
      yield* process.ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, { offset, count: 1 });
      seen.push(yield* xenEndAccess(0));
      yield* process.munmap(ADDRESS, PAGE_SIZE);
      seen.push(yield* xenEndAccess(0));
    });
    expect(seen).toEqual([-EBUSY, 0]);
  },
);
