/** What scenarios of amd_iommu_v2 share: a program with a page that is there, and a device bound to it that has used it. */
import {
  amdCounted,
  amdDevice,
  AMD_BIND,
  AMD_DEVICE,
  AMD_UNBIND,
  amdFixed,
  amdFreeing,
  amdLocked,
  amdPutMended,
  amdRead,
  amdUncounted,
  amdV53,
  amdWrite,
} from '../../drivers/amd-iommu-v2/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { LINUX_5_4, setBehaviour } from '../../mm/behaviour.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** What the program has stored before, and what the device writes. */
export const OLD = 1;
export const WRITTEN = 42;
export const CLEAN = { verdict: 'clean' } as const;

const MODULES: Readonly<Record<string, ModuleType>> = {
  'v3.16': amdFreeing,
  'v3.17': amdUncounted,
  'v3.18': amdCounted,
  'v3.19': amdLocked,
  'v5.3': amdV53,
  'put-mended': amdPutMended,
  fixed: amdFixed,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export interface AmdState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
}

export function bind({ process, fd }: AmdState, device: number, pasid = 0) {
  return process.ioctl(fd, AMD_BIND, { device, pasid });
}

export function unbind({ process, fd }: AmdState, device: number, pasid = 0) {
  return process.ioctl(fd, AMD_UNBIND, { device, pasid });
}

/** A device reads the program's first byte. */
export function read(device = 0, pasid = 0) {
  return amdRead(amdDevice(device), pasid, ADDRESS);
}

export function write(device = 0, pasid = 0) {
  return amdWrite(amdDevice(device), pasid, ADDRESS, WRITTEN);
}

interface SetUp {
  readonly module: ModuleType;
  /** Devices that are bound; each has read the page, so that it is cached. */
  readonly devices?: readonly number[];
}

/** For set-up. */
export function prepare(machine: Machine, { module, devices = [0] }: SetUp): AmdState {
  setBehaviour(machine, LINUX_5_4);
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(AMD_DEVICE));
  const state = { process, mm, module, fd };
  for (const device of devices) {
    machine.runNow(bind(state, device));
    machine.runNow(read(device));
  }
  return state;
}

/** For `finally`. */
export function* unpin({ mm }: AmdState): Body<void> {
  yield* mmdrop(mm);
}
