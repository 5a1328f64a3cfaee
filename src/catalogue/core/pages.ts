/**
 * Pages that go while something still translates to them: the mm changes page tables and does not say so, or says
 * so too late. The device holds no reference, as secondary MMUs do not.
 */
import { MAP_FIXED, MAP_SHARED, MREMAP_FIXED, MREMAP_MAYMOVE } from '../../base/mman.ts';
import {
  Device,
  deviceFault,
  deviceRegister,
  deviceWrite,
} from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import type { Body } from '../../kernel/operation.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import { collapseFile } from '../../mm/collapse-file.ts';
import { migratePage } from '../../mm/migrate.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { findGetPage } from '../../mm/page-cache.ts';
import type { Process } from '../../mm/process.ts';
import { findVma, PAGE_SIZE } from '../../mm/vma.ts';
import type { AddressSpace } from '../../mm-types/address-space.ts';
import { mmgetNotZero, mmgrab, mmput } from '../../mm-types/mm-struct.ts';
import { PMD_SIZE } from '../../mm-types/page-table.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, unpin, withDevice, type DeviceState } from './subject.ts';

function* unregister(state: DeviceState): Body<void> {
  yield* mmuNotifierUnregister(state.device.mn, state.mm);
  yield* unpin(state);
}

export const silentReaper = defineScenario<DeviceState>({
  name: 'silent-reaper',
  models: ['B-27', 'I8a'],
  about: 'the OOM reaper takes the page that a device translates to',
  variants: {
    'v4.6': {
      about: 'aac453635549: the reaper tells nobody',
      expect: {
        verdict: 'violation',
        kind: 'use-after-free',
        object: 'page',
        invariant: 'I8a',
      },
      alsoKnown: [{ name: 'the CPU has taken it out already', kind: 'invariant', object: 'page' }],
    },
    'fixed-4d4bbd8526a8': {
      about: 'an mm with notifiers is not reaped',
      expect: { verdict: 'clean' },
    },
    'fixed-v4.19': {
      about: '93065ac753e4: the reaper invalidates, and does not wait',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const modes = { 'v4.6': 'silent', 'fixed-4d4bbd8526a8': 'skips' } as const;
    setBehaviour(machine, { oomReaper: modes[variant as keyof typeof modes] ?? 'nonblock' });
    return withDevice(machine);
  },
  tasks: {
    reap: {
      *run({ mm }) {
        if (!(yield* mmgetNotZero(mm))) return;
        yield* oomReapTaskMm(mm);
        yield* mmput(mm);
      },
    },
    device: {
      *run({ device }) {
        if (yield* deviceWrite(device, 2)) goal('the device has written');
      },
    },
  },
  goals: ['the device has written'],
  finally: unregister,
});

interface BlockState extends DeviceState {
  readonly mapping: AddressSpace;
}

export const silentCollapse = defineScenario<BlockState>({
  name: 'silent-collapse',
  models: ['B-26', 'I8a'],
  about:
    'khugepaged collapses a block of a file that a device translates to; then a page of it is migrated',
  variants: {
    'v6.0': {
      about:
        'the page table goes silently: who frees the page finds nobody who maps it (CVE-2022-48991)',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'before the page is freed', kind: 'invariant', object: 'page' }],
    },
    'fixed-v6.1': {
      about: 'f268f6cf875f: khugepaged invalidates, before it takes the table away',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setBehaviour(machine, { fileCollapseNotifies: variant !== 'v6.0' });
    const process = machine.process();
    const mm = process.mm!;
    const fd = machine.runNow(process.memfdCreate('f'));
    machine.runNow(process.ftruncate(fd, PMD_SIZE));
    machine.runNow(process.mmap(ADDRESS, PMD_SIZE, { flags: MAP_SHARED | MAP_FIXED, fd }));
    machine.runNow(process.store(ADDRESS, 1));
    machine.runNow(mmgrab(mm));
    const device = allocateStatic(machine, Device);
    machine.runNow(deviceRegister(device, mm, ADDRESS));
    machine.runNow(deviceFault(device, mm));
    const { mapping } = findVma(mm, ADDRESS)!;
    return { process, mm, first: null, device, mapping: mapping! };
  },
  tasks: {
    collapse: {
      *run({ mapping }) {
        if (yield* collapseFile(mapping, 0)) goal('collapsed');
        const page = yield* findGetPage(mapping, 0);
        if (page !== null) yield* migratePage(page);
      },
    },
    device: {
      *run({ device, mm }) {
        yield* deviceFault(device, mm);
        if (yield* deviceWrite(device, 2)) goal('the device has written');
      },
    },
  },
  goals: ['collapsed', 'the device has written'],
  finally: unregister,
});

const TARGET = 0x50_0000;

interface FileState {
  readonly process: Process;
  readonly fd: number;
}

export const lateFlush = defineScenario<FileState>({
  name: 'late-flush',
  models: ['B-39', 'I8a'],
  about: 'mremap moves a page, truncation frees it, and a CPU writes by the old address',
  variants: {
    'v4.18': {
      about: 'the TLBs are flushed after the page-table locks were dropped (CVE-2018-18281)',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'a CPU writes to it', kind: 'use-after-free', object: 'page' }],
    },
    'fixed-v4.19': {
      about: 'eb66ae030829: they are flushed before',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setBehaviour(machine, { mremapFlushesUnderLock: variant !== 'v4.18' });
    const process = machine.process();
    const fd = machine.runNow(process.memfdCreate('f'));
    machine.runNow(process.ftruncate(fd, PAGE_SIZE));
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE, { flags: MAP_SHARED | MAP_FIXED, fd }));
    machine.runNow(process.store(ADDRESS, 1));
    return { process, fd };
  },
  tasks: {
    mremap: {
      cpu: 1,
      *run({ process }) {
        const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        yield* process.mremap(ADDRESS, PAGE_SIZE, PAGE_SIZE, { flags, newAddress: TARGET });
      },
    },
    truncate: {
      cpu: 2,
      *run({ process, fd }) {
        yield* process.ftruncate(fd, 0);
      },
    },
    store: {
      // The CPU whose TLB has the translation since set-up.
      cpu: 0,
      *run({ process }) {
        goal((yield* process.store(ADDRESS, 2)) === 0 ? 'written' : 'there is nothing any more');
      },
    },
  },
  goals: ['written', 'there is nothing any more'],
});
