/** amd_iommu_v2's calls: bindings, what is refused, and what the device sees. */
import { expect, test } from 'vitest';
import { EBUSY, EFAULT, EINVAL } from '../../../src/base/errno.ts';
import {
  amdDevice,
  AMD_BIND,
  AMD_DEVICE,
  amdFixed,
  amdPutMended,
  amdRead,
  AMD_UNBIND,
  amdUnplug,
  amdV53,
  amdWrite,
} from '../../../src/drivers/amd-iommu-v2/index.ts';
import type { ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { LINUX_5_4, setBehaviour } from '../../../src/mm/behaviour.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', amdV53],
  ['put-mended', amdPutMended],
  ['fixed', amdFixed],
];

/** A program with a page that is there, and the device open. */
function program(module: ModuleType, body: (process: Process, fd: number) => Body<unknown>): void {
  runOnMachine((machine) => {
    setBehaviour(machine, LINUX_5_4);
    const process = machine.process();
    machine.load(module);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, PAGE_SIZE);
        yield* process.store(ADDRESS, 7);
        yield* body(process, yield* process.open(AMD_DEVICE));
      },
    ];
  });
}

test.each(VERSIONS)('%s: program and device see what the other has written', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 1 });
    seen.push(yield* amdRead(amdDevice(0), 1, ADDRESS));
    seen.push(yield* amdWrite(amdDevice(0), 1, ADDRESS, 42), yield* process.load(ADDRESS));
    yield* process.store(ADDRESS, 43);
    seen.push(yield* amdRead(amdDevice(0), 1, ADDRESS));
    // What is not there yet is asked for.
    yield* process.mmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
    seen.push(yield* amdWrite(amdDevice(0), 1, ADDRESS + PAGE_SIZE, 44));
    seen.push(yield* process.load(ADDRESS + PAGE_SIZE));
  });
  expect(seen).toEqual([7, 7, 42, 43, 0, 44]);
});

test.each(VERSIONS)('%s: a device faults on what was unmapped, or unbound', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 0 });
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    yield* process.mmap(ADDRESS, PAGE_SIZE);
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    seen.push(yield* process.ioctl(fd, AMD_UNBIND, { device: 0, pasid: 0 }));
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
  });
  expect(seen).toEqual([7, -EFAULT, 0, 0, -EFAULT]);
});

test.each(VERSIONS)('%s: the same mm bound twice stays two', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    for (const pasid of [0, 1]) seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid }));
    seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 1, pasid: 0 }));
    seen.push(yield* process.ioctl(fd, AMD_UNBIND, { device: 0, pasid: 0 }));
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    seen.push(yield* amdRead(amdDevice(0), 1, ADDRESS), yield* amdRead(amdDevice(1), 0, ADDRESS));
  });
  expect(seen).toEqual([0, 0, 0, 0, -EFAULT, 7, 7]);
});

test.each(VERSIONS)('%s: what cannot be is refused', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    seen.push(yield* process.ioctl(fd, 'TIOCGWINSZ', { device: 0, pasid: 0 }));
    seen.push(yield* process.ioctl(fd, AMD_UNBIND, { device: 0, pasid: 0 }));
    seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 99 }));
    seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 0 }));
    seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 0 }));
    seen.push(yield* amdWrite(amdDevice(1), 0, ADDRESS, 1));
  });
  expect(seen).toEqual([-EINVAL, -EINVAL, -EINVAL, 0, -EBUSY, -EFAULT]);
});

test.each(VERSIONS)('%s: a device that is pulled out has no bindings', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 0 });
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    yield* amdUnplug(0);
    seen.push(yield* amdRead(amdDevice(0), 0, ADDRESS));
    seen.push(yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 1 }));
  });
  expect(seen).toEqual([7, -EFAULT, -EINVAL]);
});

test.each(VERSIONS)('%s: a child has none of what its parent has bound', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    yield* process.ioctl(fd, AMD_BIND, { device: 0, pasid: 0 });
    const child = (yield* process.fork()) as Process;
    seen.push(yield* amdWrite(amdDevice(0), 0, ADDRESS, 42));
    seen.push(yield* child.load(ADDRESS), yield* process.load(ADDRESS));
    yield* child.ioctl(fd, AMD_BIND, { device: 0, pasid: 1 });
    seen.push(yield* amdRead(amdDevice(0), 1, ADDRESS));
  });
  expect(seen).toEqual([7, 7, 42, 7]);
});
