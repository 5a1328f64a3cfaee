/** intel-svm's calls: PASIDs that are shared and PASIDs of one's own, what is refused, and what the device sees. */
import { expect, test } from 'vitest';
import { EFAULT, EINVAL, ENOSPC } from '../../../src/base/errno.ts';
import {
  intelSvmConverted,
  intelSvmV53,
  pciDev,
  SVM_BIND,
  SVM_DEVICE,
  SVM_FLAG_PRIVATE_PASID,
  SVM_FLAG_SUPERVISOR_MODE,
  SVM_UNBIND,
  svmRead,
  svmWrite,
} from '../../../src/drivers/intel-svm/index.ts';
import type { ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', intelSvmV53],
  ['converted', intelSvmConverted],
];

/** A program with a page that is there, and the device open; it closes what it has, and unloads the module. */
function program(module: ModuleType, body: (process: Process, fd: number) => Body<unknown>): void {
  runOnMachine((machine) => {
    const process = machine.process();
    machine.load(module);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, PAGE_SIZE);
        yield* process.store(ADDRESS, 7);
        yield* body(process, yield* process.open(SVM_DEVICE));
      },
    ];
  });
}

test.each(VERSIONS)('%s: program and device see what the other has written', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    const pasid = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
    seen.push(yield* svmWrite(pciDev(0), pasid, ADDRESS, 42), yield* process.load(ADDRESS));
    yield* process.store(ADDRESS, 43);
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
    // Page by page: what is not there yet is asked for.
    yield* process.mmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
    seen.push(yield* svmWrite(pciDev(0), pasid, ADDRESS + PAGE_SIZE, 44));
    seen.push(yield* process.load(ADDRESS + PAGE_SIZE));
  });
  expect(seen).toEqual([7, 7, 42, 43, 0, 44]);
});

test.each(VERSIONS)('%s: a device faults on what was unmapped, or unbound', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    const pasid = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
    yield* process.mmap(ADDRESS, PAGE_SIZE);
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
    seen.push(yield* process.ioctl(fd, SVM_UNBIND, { device: 0, pasid }));
    seen.push(yield* svmRead(pciDev(0), pasid, ADDRESS));
  });
  expect(seen).toEqual([7, -EFAULT, 0, 0, -EFAULT]);
});

test.each(VERSIONS)(
  '%s: who binds again has the same PASID, and unbinds twice',
  (_name, module) => {
    const seen: number[] = [];
    program(module, function* body(process, fd) {
      const pasid = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
      for (const device of [0, 1]) {
        seen.push((yield* process.ioctl(fd, SVM_BIND, { device })) - pasid);
      }
      for (const device of [0, 0, 0, 1, 1]) {
        seen.push(yield* process.ioctl(fd, SVM_UNBIND, { device, pasid }));
      }
    });
    expect(seen).toEqual([0, 0, 0, 0, -EINVAL, 0, -EINVAL]);
  },
);

test.each(VERSIONS)('%s: a PASID of one’s own is another one', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    const flags = SVM_FLAG_PRIVATE_PASID;
    const shared = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
    const own = yield* process.ioctl(fd, SVM_BIND, { device: 0, flags });
    seen.push(Number(own === shared), yield* process.ioctl(fd, SVM_BIND, { device: 0, flags }));
    seen.push(yield* process.ioctl(fd, SVM_UNBIND, { device: 0, pasid: own }));
    seen.push(yield* svmRead(pciDev(0), own, ADDRESS), yield* svmRead(pciDev(0), shared, ADDRESS));
    seen.push(Number((yield* process.ioctl(fd, SVM_BIND, { device: 0, flags })) > 0));
  });
  // There are two.
  expect(seen).toEqual([0, -ENOSPC, 0, -EFAULT, 7, 1]);
});

test.each(VERSIONS)('%s: what cannot be is refused', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    seen.push(yield* process.ioctl(fd, 'TIOCGWINSZ', { device: 0 }));
    seen.push(yield* process.ioctl(fd, SVM_UNBIND, { device: 0, pasid: 1 }));
    const pasid = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
    seen.push(yield* process.ioctl(fd, SVM_UNBIND, { device: 1, pasid }));
    seen.push(yield* svmRead(pciDev(1), pasid, ADDRESS));
    seen.push(yield* svmWrite(pciDev(0), pasid, ADDRESS + PAGE_SIZE, 1));
  });
  expect(seen).toEqual([-EINVAL, -EINVAL, -EINVAL, -EFAULT, -EFAULT]);
});

test.each(VERSIONS)('%s: a child has none of what its parent has bound', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    const pasid = yield* process.ioctl(fd, SVM_BIND, { device: 0 });
    const child = (yield* process.fork()) as Process;
    seen.push(yield* svmWrite(pciDev(0), pasid, ADDRESS, 42));
    seen.push(yield* child.load(ADDRESS), yield* process.load(ADDRESS));
    const own = yield* child.ioctl(fd, SVM_BIND, { device: 0 });
    seen.push(Number(own === pasid), yield* svmRead(pciDev(0), own, ADDRESS));
  });
  expect(seen).toEqual([7, 7, 42, 0, 7]);
});

test('the kernel’s own address space needs no mm', () => {
  const seen: number[] = [];
  program(intelSvmV53, function* body(process, fd) {
    const request = { device: 0, flags: SVM_FLAG_SUPERVISOR_MODE };
    const pasid = yield* process.ioctl(fd, SVM_BIND, request);
    seen.push(Math.sign(pasid), yield* process.ioctl(fd, SVM_UNBIND, { device: 0, pasid }));
  });
  expect(seen).toEqual([1, 0]);
});
