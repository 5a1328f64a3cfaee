/**
 * What scenarios of RDMA on-demand paging share: a process with a region, an adapter, and a remote side.
 *
 * Who drives it: the program by system calls on /dev/infiniband/uverbs0 and on its memory; the remote side by RDMA READ,
 * WRITE and atomics, which the adapter executes; whoever unloads the modules.
 */
import { MADV_DONTNEED } from '../../base/mman.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  ADVISE_MR,
  DEREG_MR,
  GET_CONTEXT,
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_ON_DEMAND,
  IB_ACCESS_REMOTE_ATOMIC,
  IB_ACCESS_REMOTE_READ,
  IB_ACCESS_REMOTE_WRITE,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
  IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
  plugNic,
  REG_MR,
  UVERBS_DEVICE,
  type Nic,
  type RdmaVersion,
} from '../../drivers/rdma-odp/index.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

/** Where the one page is that most scenarios are about. */
export const ADDRESS = 0x40_0000;
/** What is in its first byte at the beginning. */
export const OLD = 1;

export const ODP =
  IB_ACCESS_LOCAL_WRITE |
  IB_ACCESS_REMOTE_READ |
  IB_ACCESS_REMOTE_WRITE |
  IB_ACCESS_REMOTE_ATOMIC |
  IB_ACCESS_ON_DEMAND;

export const EXPLICIT = { start: ADDRESS, length: PAGE_SIZE, access: ODP };
export const IMPLICIT = { start: 0, length: 0, access: ODP };

export interface Rdma {
  readonly nic: Nic;
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  /** Open, with a context. */
  readonly fd: number;
  /** Of the region that was registered in set-up. */
  readonly key: number;
}

/** What there is before the tasks begin. */
export interface SetUp {
  readonly region: typeof EXPLICIT | typeof IMPLICIT | null;
  /** Whether the adapter has the page already. */
  readonly isMapped?: boolean;
  /** Whether there is a page at all; there is, unless this is false. */
  readonly hasMemory?: boolean;
}

/** A process with one page that is there, and a region. For set-up. */
export function prepare(
  machine: Machine,
  version: RdmaVersion,
  { region, isMapped = false, hasMemory = true }: SetUp,
): Rdma {
  const nic = plugNic(machine);
  for (const module of version) machine.load(module);
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  if (hasMemory) {
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    machine.runNow(process.store(ADDRESS, OLD));
  }
  const fd = machine.runNow<number>(process.open(UVERBS_DEVICE));
  machine.runNow(process.ioctl(fd, GET_CONTEXT));
  const key = region === null ? 0 : machine.runNow<number>(process.ioctl(fd, REG_MR, region));
  const state = { nic, process, mm, fd, key };
  if (isMapped) machine.runNow(prefetch(state));
  return state;
}

/** A set-up with the version that a variant names. */
export function setUpWith(versions: Readonly<Record<string, RdmaVersion>>, what: SetUp) {
  return (machine: Machine, variant: string): Rdma =>
    prepare(machine, versions[variant] as RdmaVersion, what);
}

/** The program has the page mapped for the adapter, and waits for it. */
export function prefetch({ process, fd, key }: Rdma) {
  return process.ioctl(fd, ADVISE_MR, {
    advice: IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
    flags: IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
    sgList: [{ address: ADDRESS, length: PAGE_SIZE, lkey: key }],
  });
}

/** Drops the pin. For `finally`. */
export function* unpin({ mm }: Rdma) {
  yield* mmdrop(mm);
}

type RdmaTask = TaskDefinition<Rdma>;

export const dereg: RdmaTask = {
  *run({ process, fd, key }) {
    yield* process.ioctl(fd, DEREG_MR, key);
  },
};

/** A fault, which the program asks for and does itself. */
export const fault: RdmaTask = {
  *run(state) {
    yield* prefetch(state);
  },
};

/** The program gives the page back; it will be a new one when it is touched again. */
export const zap: RdmaTask = {
  *run({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

export const munmap: RdmaTask = {
  *run({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
};

export const exit: RdmaTask = {
  *run({ process }) {
    yield* process.exit();
  },
};
