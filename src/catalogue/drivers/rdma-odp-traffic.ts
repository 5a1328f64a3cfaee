/**
 * RDMA on-demand paging in use, as rdma-core's test_odp.py uses it: each round the program gives its pages back
 * (MADV_DONTNEED), so that the next transfer faults; what one side has written is what the other reads. Beside it,
 * the kernel does what must not change any data.
 *
 * And what every call says when memory is short or a signal comes, with nothing left behind.
 */
import { MADV_DONTNEED } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  ADVISE_MR,
  GET_CONTEXT,
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_REMOTE_READ,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH,
  rdmaCompareSwap,
  rdmaFetchAdd,
  rdmaRead,
  rdmaSeries,
  rdmaV53,
  rdmaV54ListsLast,
  rdmaFixed,
  rdmaV614Unmapping,
  rdmaWrite,
  REG_MR,
  sendReceive,
  UVERBS_DEVICE,
  type RdmaVersion,
} from '../../drivers/rdma-odp/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { loadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { unloadModules } from './rdma-odp-actions.ts';
import {
  ADDRESS,
  EXPLICIT,
  IMPLICIT,
  prefetch,
  prepare,
  unpin,
  type Rdma,
} from './rdma-odp-subject.ts';

const SENT = 5;
const ANSWER = 7;

function expect(found: number, wanted: number, what: string): void {
  warnOn(found !== wanted, what);
}

/** One round of each kind; the page was given back, so its bytes are 0. */
const TRANSFERS: Readonly<Record<string, KernelCallable<[Rdma], void>>> = {
  write: fn(function* write({ nic, process, key }: Rdma) {
    const at = { key, address: ADDRESS };
    expect(yield* rdmaWrite(nic, at, SENT), 0, 'the remote side cannot write');
    expect(yield* process.load(ADDRESS), SENT, 'the program does not read what was written');
  }),
  read: fn(function* read({ nic, process, key }: Rdma) {
    yield* process.store(ADDRESS, SENT);
    const found = yield* rdmaRead(nic, { key, address: ADDRESS });
    expect(found, SENT, 'the remote side does not read what the program stored');
  }),
  atomics: fn(function* atomics({ nic, process, key }: Rdma) {
    const at = { key, address: ADDRESS };
    expect(yield* rdmaFetchAdd(nic, at, SENT), 0, 'fetch-and-add found something else');
    const swap = { expected: SENT, desired: ANSWER };
    expect(yield* rdmaCompareSwap(nic, at, swap), SENT, 'compare-and-swap found something else');
    expect(yield* process.load(ADDRESS), ANSWER, 'the program does not read the result');
  }),
  prefetch: fn(function* prefetchAndWrite(state: Rdma) {
    expect(yield* prefetch(state), 0, 'the prefetch failed');
    const { nic, process, key } = state;
    expect(yield* rdmaWrite(nic, { key, address: ADDRESS }, SENT), 0, 'cannot write');
    expect(yield* process.load(ADDRESS), SENT, 'the program does not read what was written');
  }),
};

/** What the kernel does meanwhile. */
const DISTURBANCES: Readonly<Record<string, (state: Rdma) => Body<unknown>>> = {
  *alone() {},
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *fork({ process }) {
    const child = yield* process.fork();
    if (typeof child !== 'number') yield* child.exit();
  },
};

const CLEAN: Variant = { expect: { verdict: 'clean' } };
const REGIONS = { explicit: EXPLICIT, implicit: IMPLICIT } as const;

/** Regions × transfers × disturbances. */
function traffic(): Record<string, Variant> {
  const found: Record<string, Variant> = {};
  for (const transfer of Object.keys(TRANSFERS)) {
    found[`explicit+${transfer}+alone`] = CLEAN;
    found[`explicit+${transfer}+reclaim`] = CLEAN;
    found[`implicit+${transfer}+alone`] = CLEAN;
  }
  found['explicit+write+fork'] = CLEAN;
  return found;
}

export const odpTraffic = defineScenario<Rdma>({
  name: 'odp-traffic',
  models: ['test_odp.py'],
  about: 'each round the pages are given back; what one side writes the other reads',
  variants: traffic(),
  setup(machine, variant) {
    const region = REGIONS[variant.split('+')[0] as keyof typeof REGIONS];
    return prepare(machine, rdmaSeries, { region });
  },
  tasks: {
    program: {
      *run(state, variant) {
        yield* state.process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
        yield* (TRANSFERS[variant.split('+')[1] as string] as KernelCallable<[Rdma], void>)(state);
        goal('a round is over');
      },
    },
    kernel: {
      *run(state, variant) {
        yield* (DISTURBANCES[variant.split('+')[2] as string] as (state: Rdma) => Body<unknown>)(
          state,
        );
      },
    },
  },
  goals: ['a round is over'],
  finally: unpin,
});

const FAILING: Readonly<Record<string, RdmaVersion>> = {
  'v5.3': rdmaV53,
  series: rdmaSeries,
  'v5.4': rdmaV54ListsLast,
  fixed: rdmaFixed,
  'v6.14': rdmaV614Unmapping,
};

const PINNED = { ...EXPLICIT, access: IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ };

/** A program that goes on as long as nothing fails, and then closes. */
type Story = (state: Rdma, version: RdmaVersion) => Body<unknown>;

const STORIES: Readonly<Record<string, Story>> = {
  *explicit({ process, fd }) {
    yield* process.ioctl(fd, REG_MR, EXPLICIT);
  },
  *implicit({ process, fd }) {
    yield* process.ioctl(fd, REG_MR, IMPLICIT);
  },
  *pinned({ process, fd, nic }) {
    const from = yield* process.ioctl(fd, REG_MR, PINNED);
    if (from > 0) yield* rdmaRead(nic, { key: from, address: ADDRESS });
  },
  *child(state) {
    const key = yield* state.process.ioctl(state.fd, REG_MR, IMPLICIT);
    if (key > 0) yield* prefetch({ ...state, key });
  },
  *fault({ process, fd, nic }) {
    const key = yield* process.ioctl(fd, REG_MR, EXPLICIT);
    const at = { key, address: ADDRESS };
    if (key > 0) yield* sendReceive(nic, at, at);
  },
  *advise({ process, fd }) {
    const key = yield* process.ioctl(fd, REG_MR, EXPLICIT);
    const sgList = [{ address: ADDRESS, length: PAGE_SIZE, lkey: key }];
    const advice = IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH;
    if (key > 0) yield* process.ioctl(fd, ADVISE_MR, { advice, flags: 0, sgList });
  },
  *remoteChild({ process, fd, nic }) {
    const key = yield* process.ioctl(fd, REG_MR, IMPLICIT);
    if (key > 0) yield* rdmaRead(nic, { key, address: ADDRESS });
  },
  *open({ process }) {
    const fd = yield* process.open(UVERBS_DEVICE);
    if (fd >= 0) yield* process.ioctl(fd, GET_CONTEXT);
  },
  *reload({ process, fd }, version) {
    yield* process.close(fd);
    yield* unloadModules();
    const [ibUverbsModule, mlx5Module] = version;
    if ((yield* loadModule(ibUverbsModule)) === 0) yield* loadModule(mlx5Module);
  },
};

function failing(): Record<string, Variant> {
  const found: Record<string, Variant> = {};
  for (const version of Object.keys(FAILING)) {
    for (const story of Object.keys(STORIES)) found[`${version}+${story}`] = CLEAN;
  }
  return found;
}

export const odpFailing = defineScenario<Rdma>({
  name: 'odp-failing',
  models: ['patch 6'],
  about: 'memory is short once, or a signal comes, wherever that can be; then the program exits',
  variants: failing(),
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) =>
    prepare(machine, FAILING[variant.split('+')[0] as string] as RdmaVersion, { region: null }),
  tasks: {
    program: {
      *run(state, variant) {
        const [version, story] = variant.split('+') as [string, string];
        yield* (STORIES[story] as Story)(state, FAILING[version] as RdmaVersion);
        yield* state.process.exit();
        goal('the program is over');
      },
    },
  },
  goals: ['the program is over'],
  finally: unpin,
});
