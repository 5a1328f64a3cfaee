/** What scenarios of radeon share: a program with pages that are there, the device open, and a buffer on the first. */
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  DRM_RADEON_CS,
  DRM_RADEON_GEM_USERPTR,
  RADEON_GEM_USERPTR_ANONONLY,
  RADEON_GEM_USERPTR_REGISTER,
  RADEON_GEM_USERPTR_VALIDATE,
  radeonFixed,
  radeonPath,
  radeonRetrying,
  radeonSeries,
  radeonV53,
  radeonV54,
  radeonV55,
} from '../../drivers/radeon/index.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** What the program has stored before, and what the GPU writes. */
export const OLD = 1;
export const WRITTEN = 42;

export const REGISTERED = RADEON_GEM_USERPTR_ANONONLY | RADEON_GEM_USERPTR_REGISTER;
/** With the pages looked up at once. */
export const BOUND = REGISTERED | RADEON_GEM_USERPTR_VALIDATE;

/** The versions, as variants call them. */
const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': radeonV53,
  series: radeonSeries,
  'v5.4': radeonV54,
  fixed: radeonFixed,
  'v5.5': radeonV55,
  retrying: radeonRetrying,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export const CLEAN = { verdict: 'clean' } as const;

export interface RadeonState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** The buffer that set-up made; 0 for none. */
  readonly handle: number;
}

export type RadeonTask = TaskDefinition<RadeonState>;

interface SetUp {
  /** Pages of the mapping; only the first is there. */
  readonly pages?: number;
  /** Of the buffer on the first page; 0 for no buffer. */
  readonly flags?: number;
  readonly module: ModuleType;
}

/** A buffer of the program's own memory: its handle or -errno. */
export function userptr({ process, fd }: RadeonState, addr: number, flags: number) {
  return process.ioctl(fd, DRM_RADEON_GEM_USERPTR, { addr, size: PAGE_SIZE, flags });
}

/** Has the GPU write a byte to the start of a buffer: 0 when the job is queued. */
export function submitWrite({ process, fd }: RadeonState, handle: number) {
  const to = { handle, offset: 0 };
  return process.ioctl(fd, DRM_RADEON_CS, [{ op: 'write', to, byte: WRITTEN }]);
}

/** For set-up. */
export function prepare(machine: Machine, { pages = 1, flags = 0, module }: SetUp): RadeonState {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, pages * PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(radeonPath(0)));
  const state = { process, mm, module, fd, handle: 0 };
  if (flags === 0) return state;
  return { ...state, handle: machine.runNow<number>(userptr(state, ADDRESS, flags)) };
}

/** For `finally`. */
export function* unpin({ mm }: RadeonState): Body<void> {
  yield* mmdrop(mm);
}

/** What lockdep says of locks that callbacks take and that are held while memory is allocated. */
export const D8_4 = { name: 'D8-4', kind: 'lock-order' } as const;
