/** kvm's calls: what they do, what they refuse, and that nothing is left behind. */
import { expect, test } from 'vitest';
import {
  EAGAIN,
  EEXIST,
  EFAULT,
  EINVAL,
  EIO,
  ENOENT,
  ENOMEM,
  ENOTTY,
} from '../../../src/base/errno.ts';
import { MADV_DONTNEED, PROT_READ, PROT_WRITE } from '../../../src/base/mman.ts';
import {
  EVENTFD_SIGNAL,
  GUEST_PAGE_COUNT,
  KVM_CREATE_VCPU,
  KVM_DEVICE,
  KVM_EXIT_MMIO,
  KVM_GET_DIRTY_LOG,
  KVM_MAX_VCPUS,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  KVM_RUN,
  KVM_SET_USER_MEMORY_REGION,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_SET_ATTR,
  kvmGetPut,
  kvmUnblocked,
  kvmV517,
  kvmV53,
  kvmV61,
  type GuestInstruction,
  type KvmUserspaceMemoryRegion,
} from '../../../src/drivers/kvm/index.ts';
import { unloadModule, type ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { usedPages } from '../../../src/mm/frames.ts';
import { scanHugePage } from '../../../src/mm/khugepaged.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE, TASK_SIZE } from '../../../src/mm-types/mm-struct.ts';
import { runOnMachine } from '../../util/machine.ts';

const A = 0x40_0000;

const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', kvmV53],
  ['get-put', kvmGetPut],
  ['unblocked', kvmUnblocked],
  ['v5.17', kvmV517],
  ['v6.1', kvmV61],
];
const LATER = VERSIONS.slice(3);

/** A program with a VM that has a vCPU, and with three pages, of which the first two are there. */
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
        yield* process.mmap(A, 3 * PAGE_SIZE);
        yield* process.store(A, 7);
        yield* process.store(A + PAGE_SIZE, 8);
        const fd = yield* process.open(KVM_DEVICE);
        if (fd >= 0) {
          yield* process.ioctl(fd, KVM_CREATE_VCPU, 0);
          yield* body(process, fd);
        }
        if (process.mm !== null) yield* process.exit();
      },
    ];
  }, options);
  return { ...ran, found: ran.findings.map(({ message }) => message) };
}

function slot(pages: number, more: Partial<KvmUserspaceMemoryRegion> = {}) {
  const base = { slot: 0, guestPhysAddr: 0, memorySize: pages * PAGE_SIZE, userspaceAddr: A };
  return { ...base, ...more };
}

function set(process: Process, fd: number, wanted: KvmUserspaceMemoryRegion) {
  return process.ioctl(fd, KVM_SET_USER_MEMORY_REGION, wanted);
}

function run(process: Process, fd: number, ...code: readonly GuestInstruction[]) {
  return process.ioctl(fd, KVM_RUN, { vcpu: 0, code });
}

const load = (gpa: number) => ({ op: 'load', gpa }) as const;
const store = (gpa: number, byte: number) => ({ op: 'store', gpa, byte }) as const;

test.each(VERSIONS)('%s: guest and program see what the other writes', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    expect(yield* set(process, fd, slot(2))).toBe(0);
    expect(yield* run(process, fd, load(0))).toBe(7);
    expect(yield* run(process, fd, store(0, 9), load(0))).toBe(9);
    expect(yield* process.load(A)).toBe(9);
    yield* process.store(A + PAGE_SIZE, 10);
    expect(yield* run(process, fd, { op: 'add', gpa: PAGE_SIZE, addend: 5 })).toBe(10);
    expect(yield* process.load(A + PAGE_SIZE)).toBe(15);
    yield* process.close(fd);
    yield* process.exit();
    expect(yield* unloadModule(module)).toBe(0);
  });
  expect(found).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
  expect(usedPages(machine)).toHaveLength(0);
});

test.each(VERSIONS)('%s: what the program takes away the guest does not reach', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    yield* set(process, fd, slot(2));
    expect(yield* run(process, fd, store(0, 1), store(PAGE_SIZE, 2))).toBe(8);
    yield* process.mprotect(A, PAGE_SIZE, PROT_READ);
    // After case 3 and 4 of mmu_stress_test.
    expect(yield* run(process, fd, store(0, 3))).toBe(-EFAULT);
    expect(yield* run(process, fd, load(0))).toBe(1);
    yield* process.mprotect(A, PAGE_SIZE, PROT_READ | PROT_WRITE);
    expect(yield* run(process, fd, store(0, 3))).toBe(1);
    yield* process.madvise(A, PAGE_SIZE, MADV_DONTNEED);
    expect(yield* run(process, fd, load(0))).toBe(0);
    yield* process.munmap(A, PAGE_SIZE);
    expect(yield* run(process, fd, load(0))).toBe(-EFAULT);
    expect(yield* run(process, fd, load(PAGE_SIZE))).toBe(2);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: a program exits without closing its VM', (_, module) => {
  const { found, machine } = program(module, function* user(process, fd) {
    yield* set(process, fd, slot(2));
    yield* run(process, fd, store(0, 1));
    yield* process.exit();
  });
  expect(found).toEqual([]);
  expect(usedPages(machine)).toHaveLength(0);
});

test('regions are checked in the order of the kernel', () => {
  const { found } = program(kvmV53, function* user(process, fd) {
    const wrong: KvmUserspaceMemoryRegion[] = [
      slot(1, { flags: 4 }),
      slot(1, { guestPhysAddr: 1 }),
      slot(1, { memorySize: 5 }),
      slot(1, { userspaceAddr: A + 1 }),
      slot(1, { slot: 3 }),
      slot(1, { slot: -1 }),
      slot(1, { userspaceAddr: TASK_SIZE }),
      slot(GUEST_PAGE_COUNT + 1),
      // Nothing to delete.
      slot(0),
    ];
    for (const region of wrong) expect(yield* set(process, fd, region)).toBe(-EINVAL);
    expect(yield* set(process, fd, slot(2))).toBe(0);
    expect(yield* set(process, fd, slot(2))).toBe(0);
    // A slot keeps its size, its memory, and whether it can be written.
    expect(yield* set(process, fd, slot(1))).toBe(-EINVAL);
    expect(yield* set(process, fd, slot(2, { userspaceAddr: A + PAGE_SIZE }))).toBe(-EINVAL);
    expect(yield* set(process, fd, slot(2, { flags: KVM_MEM_READONLY }))).toBe(-EINVAL);
    expect(yield* set(process, fd, slot(1, { slot: 1, guestPhysAddr: PAGE_SIZE }))).toBe(-EEXIST);
    expect(yield* set(process, fd, slot(1, { slot: 1, guestPhysAddr: 2 * PAGE_SIZE }))).toBe(0);
    expect(yield* set(process, fd, slot(2, { guestPhysAddr: PAGE_SIZE }))).toBe(-EEXIST);
    expect(yield* run(process, fd, load(2 * PAGE_SIZE))).toBe(7);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: a slot moves, goes, and comes back', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    yield* set(process, fd, slot(1));
    yield* run(process, fd, store(0, 1));
    expect(yield* set(process, fd, slot(1, { guestPhysAddr: 4 * PAGE_SIZE }))).toBe(0);
    expect(yield* run(process, fd, load(0))).toBe(KVM_EXIT_MMIO);
    expect(yield* run(process, fd, load(4 * PAGE_SIZE))).toBe(1);
    expect(yield* set(process, fd, slot(0))).toBe(0);
    expect(yield* run(process, fd, load(4 * PAGE_SIZE))).toBe(KVM_EXIT_MMIO);
    expect(yield* set(process, fd, slot(1, { userspaceAddr: A + 2 * PAGE_SIZE }))).toBe(0);
    expect(yield* run(process, fd, load(0))).toBe(0);
    expect(yield* run(process, fd, load(GUEST_PAGE_COUNT * PAGE_SIZE))).toBe(KVM_EXIT_MMIO);
  });
  expect(found).toEqual([]);
});

test('a slot that is read-only is not written by the guest', () => {
  const { found } = program(kvmV61, function* user(process, fd) {
    yield* set(process, fd, slot(1, { flags: KVM_MEM_READONLY }));
    expect(yield* run(process, fd, load(0))).toBe(7);
    expect(yield* run(process, fd, store(0, 1), load(0))).toBe(KVM_EXIT_MMIO);
    expect(yield* process.load(A)).toBe(7);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: the log has each page that was written, once', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)).toBe(-ENOENT);
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 3)).toBe(-EINVAL);
    yield* set(process, fd, slot(2));
    yield* run(process, fd, store(0, 1));
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)).toBe(-ENOENT);
    // Writable since before the log.
    expect(yield* set(process, fd, slot(2, { flags: KVM_MEM_LOG_DIRTY_PAGES }))).toBe(0);
    yield* run(process, fd, load(0), store(PAGE_SIZE, 1));
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)).toBe(2);
    yield* run(process, fd, store(0, 2), store(PAGE_SIZE, 2));
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)).toBe(3);
    expect(yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)).toBe(0);
  });
  expect(found).toEqual([]);
});

test('vCPUs are made once, and are run if they are there', () => {
  const { found } = program(kvmV53, function* user(process, fd) {
    expect(yield* process.ioctl(fd, KVM_CREATE_VCPU, 0)).toBe(-EEXIST);
    expect(yield* process.ioctl(fd, KVM_CREATE_VCPU, KVM_MAX_VCPUS)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, KVM_RUN, { vcpu: 1, code: [load(0)] })).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, KVM_RUN, { vcpu: 2, code: [] })).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, KVM_CREATE_VCPU, 1)).toBe(0);
    expect(yield* process.ioctl(fd, KVM_RUN, { vcpu: 1, code: [] })).toBe(0);
    expect(yield* process.ioctl(fd, 'KVM_NOTHING')).toBe(-ENOTTY);
  });
  expect(found).toEqual([]);
});

test('a child that inherits the descriptor cannot use the VM', () => {
  const { found, machine } = program(kvmV53, function* user(process, fd) {
    yield* set(process, fd, slot(1));
    yield* run(process, fd, store(0, 1));
    const child = (yield* process.fork()) as Process;
    expect(yield* run(child, fd, store(0, 2))).toBe(-EIO);
    expect(yield* child.ioctl(fd, KVM_CREATE_VCPU, 1)).toBe(-EIO);
    yield* process.exit();
    yield* child.exit();
  });
  expect(found).toEqual([]);
  expect(machine.slabMemory.size).toBe(0);
});

test.each(LATER)('%s: the host writes through its cache, wherever the page is now', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const send = (byte: number) => process.ioctl(fd, KVM_XEN_HVM_EVTCHN_SEND, byte);
    yield* process.ioctl(fd, KVM_XEN_HVM_SET_ATTR, 0);
    expect(yield* send(1)).toBe(-EFAULT);
    yield* set(process, fd, slot(1));
    expect(yield* send(1)).toBe(0);
    expect(yield* process.load(A)).toBe(1);
    yield* process.madvise(A, PAGE_SIZE, MADV_DONTNEED);
    expect(yield* send(2)).toBe(0);
    expect(yield* run(process, fd, load(0))).toBe(2);
    // The same address of the guest, other memory.
    yield* set(process, fd, slot(0));
    yield* set(process, fd, slot(1, { userspaceAddr: A + PAGE_SIZE }));
    expect(yield* send(3)).toBe(0);
    expect([yield* process.load(A), yield* process.load(A + PAGE_SIZE)]).toEqual([2, 3]);
    yield* process.munmap(A + PAGE_SIZE, PAGE_SIZE);
    expect(yield* send(4)).toBe(-EFAULT);
  });
  expect(found).toEqual([]);
});

test.each(LATER)('%s: who has the eventfd may signal, whosever the VM is', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    yield* set(process, fd, slot(1));
    const child = (yield* process.fork()) as Process;
    const signal = (byte: number) => child.ioctl(fd, EVENTFD_SIGNAL, byte);
    expect(yield* signal(1)).toBe(-EAGAIN);
    yield* process.ioctl(fd, KVM_XEN_HVM_SET_ATTR, 5);
    expect(yield* signal(1)).toBe(-EAGAIN);
    yield* process.ioctl(fd, KVM_XEN_HVM_EVTCHN_SEND, 2);
    expect(yield* signal(3)).toBe(0);
    expect([yield* process.load(A + 5), yield* child.load(A + 5)]).toEqual([3, 0]);
    yield* process.munmap(A, PAGE_SIZE);
    expect(yield* signal(4)).toBe(-EAGAIN);
    yield* child.exit();
  });
  expect(found).toEqual([]);
});

test('before v5.17 there is no cache', () => {
  program(kvmV53, function* user(process, fd) {
    expect(yield* process.ioctl(fd, KVM_XEN_HVM_SET_ATTR, 0)).toBe(-ENOTTY);
    expect(yield* process.ioctl(fd, KVM_XEN_HVM_EVTCHN_SEND, 0)).toBe(-ENOTTY);
    expect(yield* process.ioctl(fd, EVENTFD_SIGNAL, 0)).toBe(-ENOTTY);
  });
});

test.each(VERSIONS)('%s: a page that only the guest uses is used', (_, module) => {
  const { found } = program(module, function* user(process, fd) {
    const mm = process.mm!;
    yield* set(process, fd, slot(1));
    yield* run(process, fd, load(0));
    // The program has used it, too.
    expect(yield* reclaimPage(mm, A, false)).toBe(false);
    yield* run(process, fd, load(0));
    expect(yield* reclaimPage(mm, A, false)).toBe(false);
    yield* run(process, fd, store(0, 3));
    expect(yield* reclaimPage(mm, A, false)).toBe(false);
    expect(yield* reclaimPage(mm, A, false)).toBe(true);
    expect(yield* run(process, fd, load(0))).toBe(3);
    yield* process.munmap(A, PAGE_SIZE);
  });
  expect(found).toEqual([]);
});

test('khugepaged takes a block for used that only the guest uses', () => {
  const { found } = program(kvmV53, function* user(process, fd) {
    const mm = process.mm!;
    yield* process.munmap(A + PAGE_SIZE, PAGE_SIZE);
    yield* set(process, fd, slot(1));
    yield* run(process, fd, load(0));
    // The marks of the program's uses go, those of the guest's too.
    yield* reclaimPage(mm, A, false);
    expect(yield* scanHugePage(mm, A)).toBe(false);
    yield* run(process, fd, load(0));
    expect(yield* scanHugePage(mm, A)).toBe(true);
  });
  expect(found).toEqual([]);
});

test.each(VERSIONS)('%s: whatever allocation fails, the program is told', (_, module) => {
  let failures = 0;
  for (let failing = 0; failing < 16; failing += 1) {
    const outcomes = [...Array.from({ length: failing }, () => 0), 1];
    const { found, machine } = program(
      module,
      function* user(process, fd) {
        const results = [
          yield* set(process, fd, slot(2)),
          yield* run(process, fd, store(0, 5)),
          yield* set(process, fd, slot(0)),
        ];
        if (results.includes(-ENOMEM)) failures += 1;
        const possible = [-ENOMEM, -EINVAL, -EFAULT, KVM_EXIT_MMIO, 0, 7];
        for (const result of results) expect(possible).toContain(result);
      },
      { budget: { allocations: 1 }, outcomes },
    );
    expect(found).toEqual([]);
    expect(usedPages(machine)).toHaveLength(0);
  }
  expect(failures).toBeGreaterThanOrEqual(2);
});
