import { expect, test } from 'vitest';
import { EFAULT, EINVAL, ENODEV, ENOMEM } from '../../src/base/errno.ts';
import {
  MADV_DONTNEED,
  MADV_REMOVE,
  MADV_POPULATE_READ,
  MAP_FIXED,
  MAP_LOCKED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
  SIGBUS,
} from '../../src/base/mman.ts';
import {
  APERTURE_DEVICE,
  APERTURE_IOC_EVICT,
  APERTURE_IOC_TRIM,
  apertureModule,
} from '../../src/drivers/aperture/index.ts';
import { fn } from '../../src/kernel/call.ts';
import { registerChrdev } from '../../src/kernel/file.ts';
import type { File, FileOperations } from '../../src/kernel/open-file.ts';
import { unloadModule, type ModuleType } from '../../src/kernel/module.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { AddressSpace } from '../../src/mm-types/address-space.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { pageToPfn, type Page } from '../../src/mm-types/page.ts';
import { VM_PFNMAP } from '../../src/mm-types/vm-flags.ts';
import type { VmArea } from '../../src/mm-types/vma.ts';
import { auditMemory, entriesOf, staleTranslations } from '../../src/mm/audit.ts';
import { allocPage, putPage, usedPages } from '../../src/mm/frames.ts';
import { getUserPages } from '../../src/mm/gup.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { remapPfnRange, unmapMappingRange } from '../../src/mm/pfn-map.ts';
import type { Process } from '../../src/mm/process.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { runOnMachine } from '../util/machine.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
const SHARED = MAP_SHARED | MAP_FIXED;

interface Loaded {
  readonly machine: Machine;
  readonly process: Process;
  readonly fd: number;
}

/** Runs one task with a process that has the device open; exits it in the end, and unloads the module. */
function withAperture(body: (loaded: Loaded) => Body<unknown>): void {
  const { findings } = runOnMachine((machine) => {
    const module = apertureModule as unknown as ModuleType;
    machine.load(module);
    const process = machine.process();
    const fd = machine.runNow(process.open(APERTURE_DEVICE)) as number;
    return [
      function* run() {
        yield* body({ machine, process, fd });
        yield* process.exit();
        expect(yield* unloadModule(module)).toBe(0);
        expect(usedPages(machine)).toEqual([]);
      },
    ];
  });
  expect(findings.map(({ message }) => message)).toEqual([]);
}

test('what a driver maps can be read and written, by all who map the same place of the file', () => {
  withAperture(function* body({ process, fd }) {
    expect(yield* process.mmap(A, PAGE, { flags: SHARED, fd })).toBe(A);
    expect(yield* process.mmap(A + PAGE, PAGE, { flags: SHARED, fd })).toBe(A + PAGE);
    expect(yield* process.store(A, 7)).toBe(0);
    expect(yield* process.load(A + PAGE)).toBe(7);
    // Flags that are never merged.
    expect(vmas(process.mm!).map(({ vmFlags }) => vmFlags & VM_PFNMAP)).toEqual([
      VM_PFNMAP,
      VM_PFNMAP,
    ]);
  });
});

test('after unmap_mapping_range an access is SIGBUS, and mapping it again brings a new page', () => {
  withAperture(function* body({ process, fd, machine }) {
    yield* process.mmap(A, PAGE, { flags: SHARED, fd });
    yield* process.store(A, 7);
    yield* process.ioctl(fd, APERTURE_IOC_EVICT, 0);
    expect(staleTranslations(process.mm!)).toEqual([]);
    expect(entriesOf(process.mm!)).toEqual([]);
    expect(yield* process.load(A)).toBe(-SIGBUS);
    yield* process.ioctl(fd, APERTURE_IOC_TRIM);
    expect(usedPages(machine)).toEqual([]);
    yield* process.mmap(A, PAGE, { flags: SHARED, fd });
    expect(yield* process.load(A)).toBe(0);
  });
});

test('fork copies the entries of a driver, since no fault would bring them', () => {
  withAperture(function* body({ process, fd }) {
    yield* process.mmap(A, PAGE, { flags: SHARED, fd });
    const child = (yield* process.fork()) as Process;
    expect(yield* child.store(A, 9)).toBe(0);
    expect(yield* process.load(A)).toBe(9);
    expect(entriesOf(child.mm!)).toHaveLength(1);
    yield* process.ioctl(fd, APERTURE_IOC_EVICT, 0);
    expect(yield* child.load(A)).toBe(-SIGBUS);
    yield* child.exit();
  });
});

test('calls that need pages refuse what a driver has mapped, others leave it alone', () => {
  withAperture(function* body({ process, fd }) {
    yield* process.mmap(A, PAGE, { flags: SHARED | MAP_LOCKED, fd });
    const { mm } = process;
    expect(yield* process.madvise(A, PAGE, MADV_DONTNEED)).toBe(-EINVAL);
    expect(yield* process.madvise(A, PAGE, MADV_REMOVE)).toBe(-EINVAL);
    expect(yield* process.munlock(A, PAGE)).toBe(0);
    expect(yield* process.madvise(A, PAGE, MADV_POPULATE_READ)).toBe(-EINVAL);
    yield* downRead(mm!.mmapSem);
    expect(yield* getUserPages(mm!, A, 1, false)).toBe(-EFAULT);
    yield* upRead(mm!.mmapSem);
    expect(yield* process.mremap(A, PAGE, 2 * PAGE, { flags: MREMAP_MAYMOVE })).toBe(-EFAULT);
    expect(yield* process.mprotect(A, PAGE, PROT_READ)).toBe(0);
    expect(yield* process.store(A, 1)).toBeLessThan(0);
    expect(yield* process.mprotect(A, PAGE, PROT_READ | PROT_WRITE)).toBe(0);
    expect(yield* process.store(A, 1)).toBe(0);
  });
});

test('a mapping of a driver can be moved, and the driver finds it there', () => {
  withAperture(function* body({ process, fd }) {
    yield* process.mmap(A, PAGE, { flags: SHARED, fd });
    yield* process.store(A, 3);
    const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    const to = A + 8 * PAGE;
    expect(yield* process.mremap(A, PAGE, PAGE, { flags, newAddress: to })).toBe(to);
    expect(yield* process.load(to)).toBe(3);
    yield* process.ioctl(fd, APERTURE_IOC_EVICT, 0);
    expect(yield* process.load(to)).toBe(-SIGBUS);
  });
});

test('a mapping that the driver refuses leaves nothing behind', () => {
  withAperture(function* body({ process, fd, machine }) {
    // Private ones that may be written would have to be copied; the third place does not exist.
    expect(yield* process.mmap(A, PAGE, { flags: MAP_PRIVATE | MAP_FIXED, fd })).toBe(-EINVAL);
    const third = { flags: SHARED, fd, offset: 2 * PAGE };
    expect(yield* process.mmap(A, PAGE, third)).toBe(-EINVAL);
    expect(vmas(process.mm!)).toEqual([]);
    yield* process.ioctl(fd, APERTURE_IOC_EVICT, 0);
    yield* process.ioctl(fd, APERTURE_IOC_TRIM);
    expect(auditMemory(machine, { mms: [process.mm!], mappings: [] })).toEqual([]);
  });
});

interface Device {
  readonly process: Process;
  readonly machine: Machine;
  readonly fd: number;
  readonly mapping: AddressSpace;
}

/** Runs one task with a device whose mmap is `map`. */
function withDevice(
  map: ((vma: VmArea, device: { mapping: AddressSpace; page: Page }) => Body<number>) | null,
  body: (device: Device) => Body<unknown>,
): void {
  const { findings } = runOnMachine((machine) => {
    const mapping = allocateStatic(machine, AddressSpace);
    const page = machine.runNow(allocPage(GFP_KERNEL)) as Page;
    const mmap = fn(function* deviceMmap(_file: File, vma: VmArea) {
      vma.mapping = mapping;
      return yield* map!(vma, { mapping, page });
    });
    const fops: FileOperations = map === null ? {} : { mmap };
    machine.runNow(registerChrdev('/dev/gadget', fops));
    const process = machine.process();
    const fd = machine.runNow(process.open('/dev/gadget')) as number;
    return [
      function* run() {
        yield* body({ machine, mapping, process, fd });
        yield* process.exit();
        yield* putPage(page);
      },
    ];
  });
  expect(findings.map(({ message }) => message)).toEqual([]);
}

function* mapNothing(): Body<number> {
  return 0;
}

function* mapAndFail(vma: VmArea, { page }: { page: Page }): Body<number> {
  const pfn = pageToPfn(page);
  expect(yield* remapPfnRange(vma, vma.vmStart, pfn, PAGE)).toBe(0);
  // Something is there already; and these are outside.
  expect(yield* remapPfnRange(vma, vma.vmStart, pfn, PAGE)).toBe(-EINVAL);
  expect(yield* remapPfnRange(vma, vma.vmEnd, pfn, PAGE)).toBe(-EINVAL);
  expect(yield* remapPfnRange(vma, vma.vmStart, pfn, 0)).toBe(-EINVAL);
  return -ENOMEM;
}

function* mapEachPage(vma: VmArea, { page }: { page: Page }): Body<number> {
  for (let at = vma.vmStart; at < vma.vmEnd; at += PAGE) {
    const error = yield* remapPfnRange(vma, at, pageToPfn(page), PAGE);
    if (error !== 0) return error;
  }
  return 0;
}

test('a device without mmap cannot be mapped', () => {
  withDevice(null, function* body({ process, fd }) {
    expect(yield* process.mmap(A, PAGE, { flags: SHARED, fd })).toBe(-ENODEV);
  });
});

test('a device that maps nothing yet is SIGBUS, not anonymous memory', () => {
  withDevice(mapNothing, function* body({ process, fd, mapping }) {
    yield* process.mmap(A, PAGE, { flags: SHARED, fd });
    vmas(process.mm!)[0]!.vmFlags |= VM_PFNMAP;
    expect(yield* process.load(A)).toBe(-SIGBUS);
    yield* unmapMappingRange(mapping, 0, 0, true);
  });
});

test('what was mapped before the driver failed is taken away again', () => {
  withDevice(mapAndFail, function* body({ process, fd }) {
    expect(yield* process.mmap(A, 2 * PAGE, { flags: SHARED, fd })).toBe(-ENOMEM);
    expect(entriesOf(process.mm!)).toEqual([]);
    expect(vmas(process.mm!)).toEqual([]);
  });
});

test('unmap_mapping_range takes the part of the file that it is given, and a length of 0 is the rest', () => {
  withDevice(mapEachPage, function* body({ process, fd, mapping }) {
    yield* process.mmap(A, 4 * PAGE, { flags: SHARED, fd });
    const mapped = (): number[] =>
      entriesOf(process.mm!).map(({ address }) => (address - A) / PAGE);
    yield* unmapMappingRange(mapping, PAGE, PAGE, true);
    expect(mapped()).toEqual([0, 2, 3]);
    yield* unmapMappingRange(mapping, 3 * PAGE, 0, true);
    expect(mapped()).toEqual([0, 2]);
    expect(yield* process.madvise(A, PAGE, MADV_REMOVE)).toBe(-ENODEV);
    expect(yield* process.mprotect(A, PAGE, PROT_READ)).toBe(0);
  });
});
