/**
 * What scenarios of amdgpu share: a process with one page that is there, which it has handed to the GPU, and tasks that
 * do one thing to it.
 */
import { EAGAIN } from '../../base/errno.ts';
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  AMDGPU_DEVICE,
  AMDGPU_GEM_USERPTR_REGISTER,
  AMDGPU_GEM_USERPTR_VALIDATE,
  AMDKFD_IOC_ALLOC_MEMORY_OF_GPU,
  DRM_AMDGPU_CS,
  DRM_AMDGPU_GEM_USERPTR,
  DRM_AMDGPU_GEM_WAIT_IDLE,
  DRM_GEM_CLOSE,
  ringDoorbell,
} from '../../drivers/amdgpu/index.ts';
import { setHmm, type HmmVersion } from '../../drivers/hmm/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule, type ModuleType } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
const FLAGS = AMDGPU_GEM_USERPTR_REGISTER | AMDGPU_GEM_USERPTR_VALIDATE;
export const USERPTR = { addr: ADDRESS, size: PAGE_SIZE, flags: FLAGS };

/** What a variant runs on. */
export interface AmdgpuVersions {
  readonly hmm: HmmVersion;
  readonly module: ModuleType;
}

export interface AmdgpuState {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** The BO; 0 for none. */
  readonly handle: number;
}

/** A process whose page at ADDRESS is there, holding 1, and a file of the driver's. */
export function opened(machine: Machine, { hmm, module }: AmdgpuVersions): AmdgpuState {
  setHmm(machine, hmm);
  const process = machine.process();
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, 1));
  machine.load(module);
  const mm = process.mm!;
  // The scenario's own: it may be looked at after exit.
  machine.runNow(mmgrab(mm));
  const fd = machine.runNow(process.open(AMDGPU_DEVICE));
  return { process, mm, module, fd, handle: 0 };
}

/** The same, with a BO for command submission. */
export function withUserptr(machine: Machine, versions: AmdgpuVersions): AmdgpuState {
  const state = opened(machine, versions);
  const { process, fd } = state;
  const handle = machine.runNow(process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, USERPTR));
  return { ...state, handle };
}

/** The same, with a BO for the program's own queue. */
export function withHsaMemory(machine: Machine, versions: AmdgpuVersions): AmdgpuState {
  const state = opened(machine, versions);
  const { process, fd } = state;
  const handle = machine.runNow(process.ioctl(fd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, USERPTR));
  return { ...state, handle };
}

/** Drops the scenario's pin. For `finally`. */
export function* unpin({ mm }: AmdgpuState) {
  yield* mmdrop(mm);
}

type AmdgpuTask = TaskDefinition<AmdgpuState>;

/** The program submits a job that writes to the page; again and again, if it is told to. */
export const submit: AmdgpuTask = {
  *run({ process, fd, handle }) {
    const command = { op: 'write', address: ADDRESS, byte: 7 } as const;
    let error = -EAGAIN;
    while (error === -EAGAIN) {
      error = yield* process.ioctl(fd, DRM_AMDGPU_CS, { handle, command });
      if (error === -EAGAIN) goal('submitted again');
    }
    goal(error === 0 ? 'submitted' : 'not submitted');
  },
};

/** The same, and waits for it. */
export const submitAndWait: AmdgpuTask = {
  *run(state, variant) {
    yield* submit.run(state, variant);
    const { process, fd, handle } = state;
    yield* process.ioctl(fd, DRM_AMDGPU_GEM_WAIT_IDLE, handle);
  },
};

/** The program submits a job without asking. */
export const doorbell: AmdgpuTask = {
  *run() {
    yield* ringDoorbell(0, { op: 'write', address: ADDRESS, byte: 7 });
  },
};

export const munmap: AmdgpuTask = {
  *run({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
};

export const mprotect: AmdgpuTask = {
  *run({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
};

export const dontneed: AmdgpuTask = {
  *run({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

/** The page is write-protected for the child; the child is gone at once. */
export const fork: AmdgpuTask = {
  *run({ process }) {
    const child = yield* process.fork();
    if (typeof child === 'number') return;
    goal('forked');
    yield* child.exit();
  },
};

export const reclaim: AmdgpuTask = {
  *run({ mm }) {
    if (yield* reclaimPage(mm, ADDRESS, true)) goal('the page was reclaimed');
  },
};

/** The OOM reaper, which must not be kept waiting. */
export const reaper: AmdgpuTask = {
  *run({ mm }) {
    goal((yield* oomReapTaskMm(mm)) ? 'reaped' : 'refused');
  },
};

export const exit: AmdgpuTask = {
  *run({ process }) {
    yield* process.exit();
  },
};

/** The BO is closed. */
export const gemClose: AmdgpuTask = {
  *run({ process, fd, handle }) {
    yield* process.ioctl(fd, DRM_GEM_CLOSE, handle);
  },
};

export const close: AmdgpuTask = {
  *run({ process, fd }) {
    yield* process.close(fd);
  },
};

export const rmmod: AmdgpuTask = {
  *run({ module }) {
    if ((yield* unloadModule(module)) === 0) goal('unloaded');
  },
};
