/**
 * What scenarios of nouveau share: a process with one page that is there, nouveau with SVM on it, and tasks that do one
 * thing to them.
 */
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  DRM_NOUVEAU_CHANNEL_ALLOC,
  DRM_NOUVEAU_SVM_INIT,
  gpuLoad,
  gpuStore,
  NOUVEAU_DEVICE,
  nouveauFixed,
  nouveauV53,
} from '../../drivers/nouveau/index.ts';
import { hmmFixed, hmmV53, setHmm, type HmmVersion } from '../../drivers/hmm/index.ts';
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** Far above: the hole that the driver keeps for itself. */
export const HOLE = { unmanagedAddr: 0x1000_0000_0000, unmanagedSize: PAGE_SIZE };

/** What a variant runs on. */
export interface Versions {
  readonly hmm: HmmVersion;
  readonly module: ModuleType;
}

/** Both with what is known to be wrong. */
export const V53: Versions = { hmm: hmmV53, module: nouveauV53 };
/** Both without. */
export const FIXED: Versions = { hmm: hmmFixed, module: nouveauFixed };

export interface NouveauState {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly fd: number;
  /** The GPU's address space of the process. */
  readonly space: number;
  readonly module: ModuleType;
  /** After fork. */
  readonly child: Process | null;
}

/** A process whose page at ADDRESS is there, holding 1. */
export function touched(machine: Machine): Process {
  const process = machine.process();
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(process.store(ADDRESS, 1));
  return process;
}

/** Enables SVM for a process on a machine that has loaded the driver. */
export function enableSvm(machine: Machine, process: Process, module: ModuleType): NouveauState {
  const mm = process.mm!;
  // The scenario's own: it may be looked at after exit.
  machine.runNow(mmgrab(mm));
  const fd = machine.runNow(process.open(NOUVEAU_DEVICE));
  machine.runNow(process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, HOLE));
  const space = machine.runNow(process.ioctl(fd, DRM_NOUVEAU_CHANNEL_ALLOC));
  return { process, mm, fd, space, module, child: null };
}

/** A process with SVM on the versions of a variant. */
export function nouveauSubject(machine: Machine, { hmm, module }: Versions): NouveauState {
  setHmm(machine, hmm);
  const process = touched(machine);
  machine.load(module);
  return enableSvm(machine, process, module);
}

/** Drops the scenario's pin. For `finally`. */
export function* unpin({ mm }: NouveauState) {
  yield* mmdrop(mm);
}

type NouveauTask = TaskDefinition<NouveauState>;

/** The GPU writes to the page, by faulting it in. */
export const gpuWrites: NouveauTask = {
  *run({ space }) {
    if ((yield* gpuStore(space, ADDRESS, 7)) >= 0) goal('the GPU wrote');
    else goal('the GPU gave up');
  },
};

/** The same, and once more, when it has the page. */
export const gpuWritesTwice: NouveauTask = {
  *run(state, variant) {
    yield* gpuWrites.run(state, variant);
    if ((yield* gpuStore(state.space, ADDRESS, 8)) >= 0) goal('the GPU wrote again');
  },
};

export const gpuReads: NouveauTask = {
  *run({ space }) {
    if ((yield* gpuLoad(space, ADDRESS)) >= 0) goal('the GPU read');
    else goal('the GPU gave up');
  },
};

export const munmap: NouveauTask = {
  *run({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
};

export const mprotect: NouveauTask = {
  *run({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
};

export const dontneed: NouveauTask = {
  *run({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

/** The page is shared after fork: writing to it makes it another one. */
export const copyOnWrite: NouveauTask = {
  *run({ process }) {
    if ((yield* process.store(ADDRESS, 3)) === 0) goal('the page was copied');
  },
};

/** The process with a child, which has the file, too. */
export function forked(machine: Machine, state: NouveauState): NouveauState {
  const child = machine.runNow(state.process.fork());
  return typeof child === 'number' ? state : { ...state, child };
}

export const reclaim: NouveauTask = {
  *run({ mm }) {
    if (yield* reclaimPage(mm, ADDRESS, true)) goal('the page was reclaimed');
  },
};

/** The OOM reaper, which must not be kept waiting. */
export const reaper: NouveauTask = {
  *run({ mm }) {
    goal((yield* oomReapTaskMm(mm)) ? 'reaped' : 'refused');
  },
};

export const exit: NouveauTask = {
  *run({ process }) {
    yield* process.exit();
  },
};

export const close: NouveauTask = {
  *run({ process, fd }) {
    yield* process.close(fd);
  },
};
