/** What scenarios of intel-svm share: a program with a page that is there, and a device bound to it that has used it. */
import {
  intelSvmConverted,
  intelSvmMerged,
  intelSvmOwnIommu,
  intelSvmPageRequest,
  intelSvmSizes,
  intelSvmTearDownFirst,
  intelSvmV53,
  pciDev,
  SVM_BIND,
  SVM_DEVICE,
  svmRead,
  SVM_UNBIND,
  svmWrite,
  type SvmRequest,
} from '../../drivers/intel-svm/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { Body } from '../../kernel/operation.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** What the program has stored before, and what the device writes. */
export const OLD = 1;
export const WRITTEN = 42;
export const CLEAN = { verdict: 'clean' } as const;

const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': intelSvmV53,
  'own-iommu': intelSvmOwnIommu,
  'fixed-902baf61adf6': intelSvmPageRequest,
  'fixed-sizes': intelSvmSizes,
  'tears-down-first': intelSvmTearDownFirst,
  merged: intelSvmMerged,
  converted: intelSvmConverted,
};

/** The module that a variant is about; v5.3's if it names none. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] ?? intelSvmV53;
}

export interface SvmState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** Of the binding that set-up made; 0 for none. */
  readonly pasid: number;
}

export function bind({ process, fd }: SvmState, request: SvmRequest) {
  return process.ioctl(fd, SVM_BIND, request);
}

export function unbind({ process, fd }: SvmState, request: SvmRequest) {
  return process.ioctl(fd, SVM_UNBIND, request);
}

/** The device reads the program's first byte by the binding of set-up. */
export function read({ pasid }: SvmState, device = 0) {
  return svmRead(pciDev(device), pasid, ADDRESS);
}

export function write({ pasid }: SvmState, device = 0) {
  return svmWrite(pciDev(device), pasid, ADDRESS, WRITTEN);
}

interface SetUp {
  readonly module: ModuleType;
  /** Devices that are bound; the last one has read and written the page. */
  readonly devices?: readonly number[];
}

/** For set-up. */
export function prepare(machine: Machine, { module, devices = [0] }: SetUp): SvmState {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(SVM_DEVICE));
  const unbound = { process, mm, module, fd, pasid: 0 };
  let pasid = 0;
  for (const device of devices) {
    pasid = machine.runNow<number>(bind(unbound, { device }));
    machine.runNow(svmWrite(pciDev(device), pasid, ADDRESS, OLD));
  }
  return { ...unbound, pasid };
}

/** For `finally`. */
export function* unpin({ mm }: SvmState): Body<void> {
  yield* mmdrop(mm);
}
