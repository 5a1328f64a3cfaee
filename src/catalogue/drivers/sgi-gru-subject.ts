/**
 * What scenarios of sgi-gru share: a program with one page that is there and a segment of the GRU, and what can happen
 * to it.
 *
 * Who drives it: programs by system calls, by touching their segments and by instructions; whoever reclaims memory or
 * unloads the module.
 */
import type { TaskDefinition, Variant } from '../../check/scenario.ts';
import { MADV_DONTNEED, MAP_SHARED, PROT_READ } from '../../base/mman.ts';
import {
  GRU_OPT_MISS_USER_POLL,
  GRU_SET_CONTEXT_OPTION,
  GRU_USER_FLUSH_TLB,
  GRU_USER_UNLOAD_CONTEXT,
  gruRun,
  gruSegment,
  installGru,
  type GruInstruction,
  type GruOptions,
  type GruSegment,
} from '../../drivers/sgi-gru/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule, type ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';

/** The page of the program, and two segments: all in one page table, which is there from the beginning. */
export const ADDRESS = 0x40_0000;
export const GSEG = 0x40_8000;
export const SECOND_GSEG = 0x41_0000;
/** In a region without anything else. */
const FAR_GSEG = 0x80_0000;
const FOREIGN_GSEG = 0x41_8000;

export const OLD = 1;
export const WRITTEN = 7;

export interface GruState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly holdsMm: boolean;
  readonly module: ModuleType;
  readonly segment: GruSegment;
  /** Of another program, which has no context yet. */
  readonly foreign: GruSegment | null;
}

export interface GruSetUp extends GruOptions {
  /** GRU_OPT_*; user polling if left out. */
  readonly options?: number;
  /** The segment is loaded, and what it executed so far is in the TLB. */
  readonly executes?: GruInstruction;
  /** There is a second mapping of the device, without a segment. */
  readonly hasSecond?: boolean;
  /** There is another program, with a segment. */
  readonly hasForeign?: boolean;
  /** The segment is loaded, and has executed nothing. */
  readonly isTouched?: boolean;
  /** Its segment is in a region of its own, whose page table is there for it alone. */
  readonly isFar?: boolean;
  /** That page table is not there; or, if the segment is not far, there is no segment either. */
  readonly isBare?: boolean;
  /** The descriptor is closed: only the mappings keep the module. */
  readonly isClosed?: boolean;
  /** The memory of the mm_struct is held to the end; true if left out. Without it, it can be found to leak. */
  readonly holdsMm?: boolean;
}

/** A program with a page. */
function program(machine: Machine, address: number): Process {
  const process = machine.process();
  machine.runNow(process.mmap(address, PAGE_SIZE));
  machine.runNow(process.store(address, OLD));
  return process;
}

/** Something else is mapped beside the far segment, and goes again; the page table stays. */
function makeTable(machine: Machine, process: Process): void {
  machine.runNow(process.mmap(FAR_GSEG + PAGE_SIZE, PAGE_SIZE));
  machine.runNow(process.store(FAR_GSEG + PAGE_SIZE, OLD));
  machine.runNow(process.munmap(FAR_GSEG + PAGE_SIZE, PAGE_SIZE));
}

/** A machine with GRUs, the driver, and a program that has gone as far as it is to. */
export function prepare(machine: Machine, module: ModuleType, setUp: GruSetUp = {}): GruState {
  const { options = GRU_OPT_MISS_USER_POLL, executes, holdsMm = true } = setUp;
  installGru(machine, setUp);
  machine.load(module);
  const process = program(machine, ADDRESS);
  const mm = process.mm!;
  if (holdsMm) machine.runNow(mmgrab(mm));
  const gseg = setUp.isFar === true ? FAR_GSEG : GSEG;
  const isMade = setUp.isFar === true || setUp.isBare !== true;
  const segment = isMade
    ? machine.runNow<GruSegment>(gruSegment(process, gseg, options) as never)
    : { process, fd: -1, gseg };
  if (setUp.isFar === true && setUp.isBare !== true) makeTable(machine, process);
  if (setUp.hasSecond === true) {
    const { fd } = segment;
    machine.runNow(process.mmap(SECOND_GSEG, PAGE_SIZE, { flags: MAP_SHARED, fd }));
  }
  let foreign: GruSegment | null = null;
  if (setUp.hasForeign === true) {
    const other = program(machine, ADDRESS);
    foreign = machine.runNow<GruSegment>(gruSegment(other, FOREIGN_GSEG) as never);
  }
  if (setUp.isTouched === true) machine.runNow(process.load(gseg));
  if (executes !== undefined) machine.runNow(gruRun(segment, executes));
  if (setUp.isClosed === true) machine.runNow(process.close(segment.fd));
  return { process, mm: holdsMm ? mm : (null as never), holdsMm, module, segment, foreign };
}

/** Drops the pin. For `finally`. */
export function* unpin({ mm, holdsMm }: GruState): Body<void> {
  if (holdsMm) yield* mmdrop(mm);
}

export const LOAD: GruInstruction = { op: 'load', address: ADDRESS };
export const STORE: GruInstruction = { op: 'store', address: ADDRESS, byte: WRITTEN };

/** Does one of them. */
export function act(state: GruState, name: string): Body<unknown> {
  return (ACTIONS[name] as (typeof ACTIONS)[string])(state);
}

/** A task that does one thing, on a CPU. */
export function doing(name: string, cpu: number): TaskDefinition<GruState> {
  return {
    cpu,
    *run(state) {
      yield* act(state, name);
    },
  };
}

export const CLEAN: Variant = { expect: { verdict: 'clean' } };
export const STARTED = {
  name: 'an invalidation reached the driver',
  calls: 'gru_invalidate_range_start',
} as const;
export const DROPPED_IN = { name: 'the driver answered a miss', calls: 'gru_try_dropin' } as const;

/** What can happen to a program that uses a GRU. */
export const ACTIONS: Readonly<Record<string, (state: GruState) => Body<unknown>>> = {
  /** A second segment: the GMS is found. */
  *register({ process, segment }) {
    const request = { gseg: SECOND_GSEG, op: 'sco_gseg_owner' };
    const error = yield* process.ioctl(segment.fd, GRU_SET_CONTEXT_OPTION, request);
    if (error === 0) goal('registered');
  },
  *unmap({ process, segment }) {
    yield* process.munmap(segment.gseg, PAGE_SIZE);
  },
  *access({ segment }) {
    if ((yield* gruRun(segment, STORE)) >= 0) goal('the GRU stored');
  },
  /** As `access`, reading. */
  *load({ segment }) {
    if ((yield* gruRun(segment, LOAD)) >= 0) goal('the GRU loaded');
  },
  /** Of a page that was shared by a fork. */
  *copy({ process }) {
    yield* process.store(ADDRESS, WRITTEN);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *dontneed({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    yield* process.fork();
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  /** The other program touches its segment. */
  *steal({ foreign }) {
    const { process, gseg } = foreign!;
    if ((yield* process.load(gseg)) >= 0) goal('the other program has a context');
  },
  *unload({ process, segment }) {
    yield* process.ioctl(segment.fd, GRU_USER_UNLOAD_CONTEXT, GSEG);
  },
  *flush({ process, segment }) {
    const request = { gseg: GSEG, vaddr: ADDRESS, length: PAGE_SIZE };
    yield* process.ioctl(segment.fd, GRU_USER_FLUSH_TLB, request);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *rmmod({ module }) {
    if ((yield* unloadModule(module)) === 0) goal('unloaded');
  },
};
