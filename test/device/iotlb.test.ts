/** Devices behind an IOMMU: what is walked, what is cached, and what is flushed. */
import { expect, test } from 'vitest';
import { EFAULT } from '../../src/base/errno.ts';
import { PROT_READ } from '../../src/base/mman.ts';
import {
  flushIotlb,
  iotlbLoad,
  iotlbStore,
  pasidEntry,
  setPasidRoot,
} from '../../src/device/iotlb.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct } from '../../src/kernel/struct.ts';
import { bootMachine } from '../../src/mm/machine.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;

const Gadget = struct('gadget', { entry: pasidEntry() });

function booted() {
  const machine = bootMachine();
  setRunning(machine);
  const process = machine.process();
  machine.runNow(process.mmap(A, PAGE));
  machine.runNow(process.store(A, 1));
  const { entry } = allocateStatic(machine, Gadget);
  const root = process.mm!.pageTables;
  return { machine, process, entry, root };
}

test('a device walks nothing until its entry is set up', () => {
  const { machine, entry, root } = booted();
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(-EFAULT);
  machine.runNow(setPasidRoot(entry, root));
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(1);
});

test('what a device writes the program reads, and the reverse', () => {
  const { machine, process, entry, root } = booted();
  machine.runNow(setPasidRoot(entry, root));
  expect(machine.runNow(iotlbStore(entry, A + 3, 200))).toBe(0);
  expect(machine.runNow(process.load(A + 3))).toBe(200);
  machine.runNow(process.store(A + 3, 7));
  expect(machine.runNow(iotlbLoad(entry, A + 3))).toBe(7);
});

test('a page that is not there, or not writable, is a fault', () => {
  const { machine, process, entry, root } = booted();
  machine.runNow(setPasidRoot(entry, root));
  expect(machine.runNow(iotlbLoad(entry, A + PAGE))).toBe(-EFAULT);
  machine.runNow(process.mprotect(A, PAGE, PROT_READ));
  expect(machine.runNow(iotlbStore(entry, A, 2))).toBe(-EFAULT);
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(1);
});

test('what is cached stays when the entry is torn down, until it is flushed', () => {
  const { machine, entry, root } = booted();
  machine.runNow(setPasidRoot(entry, root));
  machine.runNow(iotlbLoad(entry, A));
  machine.runNow(setPasidRoot(entry, null));
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(1);
  machine.runNow(flushIotlb(entry, A / PAGE + 1, A / PAGE + 9));
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(1);
  machine.runNow(flushIotlb(entry, A / PAGE, A / PAGE + 1));
  expect(machine.runNow(iotlbLoad(entry, A))).toBe(-EFAULT);
});

test('an entry that was cached for reading is walked for again to write, unless the device faults on it', () => {
  for (const faultsOnCached of [false, true]) {
    const { machine, process, entry, root } = booted();
    machine.runNow(setPasidRoot(entry, root));
    machine.runNow(process.mprotect(A, PAGE, PROT_READ));
    machine.runNow(iotlbLoad(entry, A));
    machine.runNow(process.mprotect(A, PAGE, PROT_READ | 2));
    machine.runNow(process.store(A, 1));
    entry.faultsOnCached = faultsOnCached;
    expect(machine.runNow(iotlbStore(entry, A, 9))).toBe(faultsOnCached ? -EFAULT : 1);
  }
});

test('an address that no program can have is a fault', () => {
  const { machine, entry, root } = booted();
  machine.runNow(setPasidRoot(entry, root));
  expect(machine.runNow(iotlbLoad(entry, 2 ** 47))).toBe(-EFAULT);
});
