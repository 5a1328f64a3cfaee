/** RDMA on-demand paging as a program and a remote side use it, in one order. */
import { expect, test } from 'vitest';
import { EACCES, EFAULT, EINVAL, ENOENT, ENOTTY, EPERM } from '../../../src/base/errno.ts';
import { MADV_DONTNEED, PROT_READ } from '../../../src/base/mman.ts';
import {
  ADVISE_MR,
  DEREG_MR,
  GET_CONTEXT,
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_ON_DEMAND,
  IB_ACCESS_REMOTE_ATOMIC,
  IB_ACCESS_REMOTE_READ,
  IB_ACCESS_REMOTE_WRITE,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH,
  IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE,
  IB_UVERBS_ADVISE_MR_FLAG_FLUSH,
  ibUverbs,
  mlx5Ib,
  MLX5_IMR_MTT_SIZE,
  plugNic,
  rdmaCompareSwap,
  rdmaFetchAdd,
  rdmaFixed,
  rdmaRead,
  rdmaSeries,
  rdmaV53,
  rdmaV54,
  rdmaV613,
  rdmaV614,
  rdmaWrite,
  REG_MR,
  sendReceive,
  UVERBS_DEVICE,
  type RdmaVersion,
} from '../../../src/drivers/rdma-odp/index.ts';
import { unloadModule } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Machine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { mmuNotifierSynchronize } from '../../../src/mmu-notifier/get-put.ts';
import { runOnMachine } from '../../util/machine.ts';

const VERSIONS: readonly (readonly [string, RdmaVersion])[] = [
  ['v5.3', rdmaV53],
  ['series', rdmaSeries],
  ['v5.4', rdmaV54],
  ['fixed', rdmaFixed],
  ['v6.13', rdmaV613],
  ['v6.14', rdmaV614],
];

const ADDRESS = 0x40_0000;
const ALL =
  IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_ATOMIC;
const ODP = ALL | IB_ACCESS_ON_DEMAND;

function load(machine: Machine, version: RdmaVersion) {
  const nic = plugNic(machine);
  for (const module of version) machine.load(module);
  const process = machine.process();
  machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
  return { nic, process };
}

function* context(process: Process) {
  const fd = yield* process.open(UVERBS_DEVICE);
  expect(fd).toBeGreaterThanOrEqual(0);
  expect(yield* process.ioctl(fd, GET_CONTEXT)).toBe(0);
  return fd;
}

/** Runs a body to its end: what it leaves, in memory and in findings. */
function run(version: RdmaVersion, body: (given: ReturnType<typeof load>) => Body<unknown>) {
  let ended = false;
  const { findings } = runOnMachine((machine) => {
    const given = load(machine, version);
    return [
      function* user() {
        yield* body(given);
        // What only the notifiers' grace period is waiting for.
        yield* mmuNotifierSynchronize();
        ended = true;
      },
    ];
  });
  expect(findings.map(({ kind, object, message }) => `${kind} of ${object}: ${message}`)).toEqual(
    [],
  );
  expect(ended).toBe(true);
}

test.each(VERSIONS)('%s: traffic through an explicit region goes both ways', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* context(process);
    const key = yield* process.ioctl(fd, REG_MR, {
      start: ADDRESS,
      length: 2 * PAGE_SIZE,
      access: ODP,
    });
    expect(key).toBe(1);
    const at = { key, address: ADDRESS + 5 };
    for (let round = 1; round <= 3; round += 1) {
      expect(yield* process.madvise(ADDRESS, 2 * PAGE_SIZE, MADV_DONTNEED)).toBe(0);
      expect(yield* rdmaRead(nic, at)).toBe(0);
      expect(yield* rdmaWrite(nic, at, round)).toBe(0);
      expect(yield* process.load(ADDRESS + 5)).toBe(round);
      yield* process.store(ADDRESS + 5, 100 + round);
      expect(yield* rdmaRead(nic, at)).toBe(100 + round);
      expect(yield* rdmaFetchAdd(nic, at, 10)).toBe(100 + round);
      const swap = { expected: 110 + round, desired: 7 };
      expect(yield* rdmaCompareSwap(nic, at, swap)).toBe(110 + round);
      expect(yield* rdmaCompareSwap(nic, at, swap)).toBe(7);
      expect(yield* process.load(ADDRESS + 5)).toBe(7);
    }
    expect(yield* process.ioctl(fd, DEREG_MR, key)).toBe(0);
    expect(yield* process.ioctl(fd, DEREG_MR, key)).toBe(-ENOENT);
    expect(yield* rdmaRead(nic, at)).toBe(-EACCES);
    expect(yield* process.close(fd)).toBe(0);
    yield* process.exit();
  });
});

test.each(VERSIONS)('%s: an implicit region has children where it is used', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* context(process);
    const key = yield* process.ioctl(fd, REG_MR, { start: 0, length: 0, access: ODP });
    const far = ADDRESS + 4 * MLX5_IMR_MTT_SIZE;
    yield* process.mmap(far, PAGE_SIZE);
    for (let round = 1; round <= 2; round += 1) {
      for (const address of [ADDRESS, far]) {
        expect(yield* rdmaWrite(nic, { key, address }, round)).toBe(0);
        expect(yield* process.load(address)).toBe(round);
      }
      // Only the child whose pages all go dies.
      expect(yield* process.madvise(far, PAGE_SIZE, MADV_DONTNEED)).toBe(0);
      expect(yield* rdmaRead(nic, { key, address: far })).toBe(0);
    }
    expect(yield* rdmaRead(nic, { key, address: 0x1000 })).toBe(-EACCES);
    expect(yield* process.close(fd)).toBe(0);
    yield* process.exit();
  });
});

test.each(VERSIONS)('%s: regions outlive the mm of a process that exits', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* context(process);
    const explicit = { start: ADDRESS, length: PAGE_SIZE, access: ODP };
    const key = yield* process.ioctl(fd, REG_MR, explicit);
    const implicit = yield* process.ioctl(fd, REG_MR, { start: 0, length: 0, access: ODP });
    expect(yield* rdmaWrite(nic, { key, address: ADDRESS }, 3)).toBe(0);
    expect(yield* rdmaRead(nic, { key: implicit, address: ADDRESS })).toBe(3);
    yield* process.exit();
    expect(yield* rdmaRead(nic, { key, address: ADDRESS })).toBe(-EACCES);
  });
});

test.each(VERSIONS)('%s: a pinned region and one on demand work together', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* context(process);
    const second = ADDRESS + PAGE_SIZE;
    const from = yield* process.ioctl(fd, REG_MR, {
      start: ADDRESS,
      length: PAGE_SIZE,
      access: ALL,
    });
    const to = yield* process.ioctl(fd, REG_MR, { start: second, length: PAGE_SIZE, access: ODP });
    yield* process.store(ADDRESS, 9);
    expect(
      yield* sendReceive(nic, { key: from, address: ADDRESS }, { key: to, address: second }),
    ).toBe(0);
    expect(yield* process.load(second)).toBe(9);
    yield* process.store(second, 11);
    expect(
      yield* sendReceive(nic, { key: to, address: second }, { key: from, address: ADDRESS }),
    ).toBe(0);
    expect(yield* process.load(ADDRESS)).toBe(11);
    yield* process.exit();
  });
});

test.each(VERSIONS)('%s: prefetched pages need no fault, and mistakes are told', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* context(process);
    const readOnly = ADDRESS + PAGE_SIZE;
    const key = yield* process.ioctl(fd, REG_MR, {
      start: ADDRESS,
      length: PAGE_SIZE,
      access: ODP,
    });
    const access = IB_ACCESS_ON_DEMAND | IB_ACCESS_REMOTE_READ;
    const only = yield* process.ioctl(fd, REG_MR, { start: readOnly, length: PAGE_SIZE, access });
    const advise = (lkey: number, address: number, advice: number, flags: number) =>
      process.ioctl(fd, ADVISE_MR, {
        advice,
        flags,
        sgList: [{ address, length: PAGE_SIZE, lkey }],
      });
    const read = IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH;
    const write = IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;
    const flush = IB_UVERBS_ADVISE_MR_FLAG_FLUSH;
    yield* process.store(ADDRESS, 5);
    expect(yield* advise(key, ADDRESS, read, flush)).toBe(0);
    const { mtt } = nic.mkeys[key - 1]!;
    expect([...mtt.table.values()].map((entry) => entry.isWritable)).toEqual([false]);
    expect(yield* advise(key, ADDRESS, write, flush)).toBe(0);
    expect([...mtt.table.values()].map((entry) => entry.isWritable)).toEqual([true]);
    expect(yield* advise(only, readOnly, write, flush)).toBe(-EPERM);
    expect(yield* advise(only, readOnly, read, flush)).toBe(0);
    expect(yield* advise(key, readOnly, read, flush)).toBe(-EFAULT);
    expect(yield* advise(99, ADDRESS, read, flush)).toBe(-ENOENT);
    expect(yield* advise(99, ADDRESS, read, 0)).toBe(-ENOENT);
    expect(yield* advise(key, ADDRESS, 17, 0)).toBe(-EINVAL);
    expect(yield* advise(key, ADDRESS, read, 0)).toBe(0);
    yield* process.exit();
  });
});

test.each(VERSIONS)('%s: what a program must not do is refused', (_, version) => {
  run(version, function* body({ nic, process }) {
    const fd = yield* process.open(UVERBS_DEVICE);
    const page = { start: ADDRESS, length: PAGE_SIZE };
    expect(yield* process.ioctl(fd, REG_MR, { ...page, access: ODP })).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, GET_CONTEXT)).toBe(0);
    expect(yield* process.ioctl(fd, GET_CONTEXT)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, 'NOTHING')).toBe(-ENOTTY);
    const remote = IB_ACCESS_REMOTE_WRITE | IB_ACCESS_ON_DEMAND;
    expect(yield* process.ioctl(fd, REG_MR, { ...page, access: remote })).toBe(-EINVAL);
    const odd = { start: ADDRESS + 1, length: PAGE_SIZE, access: ODP };
    expect(yield* process.ioctl(fd, REG_MR, odd)).toBe(-EINVAL);
    const nowhere = { start: 0x10_0000, length: PAGE_SIZE, access: ALL };
    expect(yield* process.ioctl(fd, REG_MR, nowhere)).toBe(-EFAULT);
    const access = IB_ACCESS_REMOTE_READ | IB_ACCESS_ON_DEMAND;
    const key = yield* process.ioctl(fd, REG_MR, { ...page, access });
    expect(yield* rdmaWrite(nic, { key, address: ADDRESS }, 1)).toBe(-EACCES);
    expect(yield* rdmaRead(nic, { key, address: ADDRESS + PAGE_SIZE })).toBe(-EACCES);
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
    expect(yield* rdmaRead(nic, { key, address: ADDRESS })).toBe(0);
    yield* process.exit();
  });
});

test.each(VERSIONS)('%s: the modules go when no file is open', (_, version) => {
  run(version, function* body({ process }) {
    const fd = yield* context(process);
    yield* process.ioctl(fd, REG_MR, { start: ADDRESS, length: PAGE_SIZE, access: ODP });
    expect(yield* unloadModule(ibUverbs.text)).toBeLessThan(0);
    expect(yield* unloadModule(mlx5Ib.text)).toBeLessThan(0);
    yield* process.exit();
    yield* mmuNotifierSynchronize();
    expect(yield* unloadModule(mlx5Ib.text)).toBe(0);
    expect(yield* unloadModule(ibUverbs.text)).toBe(0);
  });
});
