/** What scenarios of hfi1 share: a program with a page that is there, and a context of the adapter. */
import {
  HFI1_IOCTL_ASSIGN_CTXT,
  HFI1_IOCTL_TID_INVAL_READ,
  HFI1_IOCTL_TID_UPDATE,
  HFI1_PATH,
  hfi1Fixed,
  hfi1Unpinned,
  hfi1V510,
  hfi1V518,
  hfi1V53,
  hfi1V53Small,
  hfi1V62,
  hfi1V65,
  hfi1V65Small,
  HFI1_WRITEV,
} from '../../drivers/hfi1/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** What the program has stored before. */
export const OLD = 1;
/** What it stores later. */
export const NEW = 2;
/** What arrives for a TID. */
export const RECEIVED = 42;

const MODULES: Readonly<Record<string, ModuleType>> = {
  unpinned: hfi1Unpinned,
  'v5.3': hfi1V53,
  'v5.10': hfi1V510,
  'v5.18': hfi1V518,
  'v6.2': hfi1V62,
  'v6.5': hfi1V65,
  fixed: hfi1Fixed,
};

/** With caches of one page. */
export const SMALL: Readonly<Record<string, ModuleType>> = {
  'v5.3': hfi1V53Small,
  'v6.5': hfi1V65Small,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export const CLEAN = { verdict: 'clean' } as const;

export interface Hfi1State {
  readonly process: Process;
  /** Not pinned: nothing but the driver keeps it. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** The TID that set-up made, or -1. */
  readonly tid: number;
}

/** Has the adapter receive to a page: a TID or -errno. */
export function tidUpdate({ process, fd }: Hfi1State, address = ADDRESS) {
  return process.ioctl(fd, HFI1_IOCTL_TID_UPDATE, address);
}

/** The invalid TIDs, a bit for each. */
export function tidInvalid({ process, fd }: Hfi1State) {
  return process.ioctl(fd, HFI1_IOCTL_TID_INVAL_READ);
}

/** Has the first byte of a page sent. */
export function send({ process, fd }: Hfi1State, address = ADDRESS) {
  return process.ioctl(fd, HFI1_WRITEV, address);
}

/** How far set-up goes: the file is open, it has a context, there is a TID, or a request was sent. */
export type Stage = 'open' | 'context' | 'tid' | 'sent';

/** For set-up. */
export function prepare(machine: Machine, module: ModuleType, stage: Stage): Hfi1State {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(HFI1_PATH));
  const state = { process, mm, module, fd, tid: -1 };
  if (stage === 'open') return state;
  machine.runNow(process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT));
  if (stage === 'sent') machine.runNow(send(state));
  if (stage !== 'tid') return state;
  return { ...state, tid: machine.runNow<number>(tidUpdate(state)) };
}
