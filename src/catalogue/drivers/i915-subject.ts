/** What scenarios of i915 share: a program with a page that is there, the device open, and a buffer on the page. */
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_USERPTR,
  I915_PATH,
  i915Fixed,
  i915GetPut,
  i915Trylock,
  i915V50,
  i915V53,
  i915V61,
} from '../../drivers/i915/index.ts';
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

/** The versions, as variants call them. */
const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.0': i915V50,
  'v5.3': i915V53,
  trylock: i915Trylock,
  'get-put': i915GetPut,
  'v6.1': i915V61,
  fixed: i915Fixed,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export const CLEAN = { verdict: 'clean' } as const;
/** The GPU and the program do not see the same page any more. */
export const STALE = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I8b',
} as const;
/** The GPU goes on with the memory of a program that has ended. */
export const GOES_ON = {
  verdict: 'violation',
  kind: 'invariant',
  object: 'page',
  invariant: 'I6',
} as const;

export interface I915State {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** The buffer that set-up made; 0 for none. */
  readonly handle: number;
}

export type I915Task = TaskDefinition<I915State>;

/** A buffer of a page of the program's own memory: its handle or -errno. */
export function userptr({ process, fd }: I915State, userPtr = ADDRESS, flags = 0) {
  const request = { userPtr, userSize: PAGE_SIZE, flags };
  return process.ioctl(fd, DRM_I915_GEM_USERPTR, request);
}

/** Has the GPU write a byte to the start of a buffer: 0 when the job is queued. */
export function submitWrite({ process, fd }: I915State, handle: number) {
  const to = { handle, offset: 0 };
  return process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, [{ op: 'write', to, byte: WRITTEN }]);
}

/** Has the GPU read the first byte of a buffer and write it next to it. */
export function submitCopy({ process, fd }: I915State, from: number, to: number) {
  const command = { op: 'copy', from: { handle: from, offset: 0 }, to: { handle: to, offset: 1 } };
  return process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, [command]);
}

/** What set-up makes of the buffer: with its pages looked up, or with a job of the GPU that is to write to it. */
export type Made = 'nothing' | 'a handle' | 'pages' | 'busy';

interface SetUp {
  readonly module: ModuleType;
  readonly made?: Made;
}

/** For set-up. */
export function prepare(machine: Machine, { module, made = 'nothing' }: SetUp): I915State {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, OLD));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(I915_PATH));
  const state = { process, mm, module, fd, handle: 0 };
  if (made === 'nothing') return state;
  const handle = machine.runNow<number>(userptr(state));
  const ready = { ...state, handle };
  if (made === 'pages') machine.runNow(process.ioctl(fd, DRM_I915_GEM_SET_DOMAIN, handle));
  if (made === 'busy') machine.runNow(submitWrite(ready, handle));
  return ready;
}

/** For `finally`. */
export function* unpin({ mm }: I915State): Body<void> {
  yield* mmdrop(mm);
}
