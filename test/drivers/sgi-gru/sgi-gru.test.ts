import { expect, test } from 'vitest';
import {
  EAGAIN,
  EBADRQC,
  EFAULT,
  EINVAL,
  EINTR,
  ENOENT,
  ENOMEM,
  EPERM,
} from '../../../src/base/errno.ts';
import { MADV_DONTNEED, MAP_PRIVATE, MAP_SHARED, SIGBUS } from '../../../src/base/mman.ts';
import {
  GRU_CREATE_CONTEXT,
  GRU_DEVICE,
  GRU_OPT_MISS_FMM_INTR,
  GRU_OPT_MISS_USER_POLL,
  GRU_SET_CONTEXT_OPTION,
  GRU_USER_CALL_OS,
  GRU_USER_FLUSH_TLB,
  GRU_USER_UNLOAD_CONTEXT,
  gruRun,
  gruSegment,
  gruSeries,
  gruV53,
  installGru,
  type GruSegment,
} from '../../../src/drivers/sgi-gru/index.ts';
import { globals } from '../../../src/drivers/sgi-gru/gru-priv.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { unloadModule, type ModuleType } from '../../../src/kernel/module.ts';
import { mmuNotifierSynchronize } from '../../../src/mmu-notifier/get-put.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const DATA = 0x40_0000;
/** In the page table of the data, which is there. */
const GSEG = 0x40_8000;
const SECOND = 0x41_0000;

const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', gruV53],
  ['series', gruSeries],
];
const MODES: readonly (readonly [string, number])[] = [
  ['calls of the OS', GRU_OPT_MISS_USER_POLL],
  ['interrupts', GRU_OPT_MISS_FMM_INTR],
];

/** Runs one program, whose page has `byte` in its first place; returns what was found. */
function run(
  module: ModuleType,
  program: (process: Process) => Body<unknown>,
  options: Parameters<typeof runOnMachine>[1] & { readonly contexts?: number } = {},
) {
  return runOnMachine((machine) => {
    installGru(machine, options);
    machine.load(module);
    const process = machine.process();
    machine.runNow(process.mmap(DATA, PAGE_SIZE));
    machine.runNow(process.store(DATA, 1));
    return [
      function* user() {
        yield* program(process);
      },
    ];
  }, options);
}

function* segmentAt(process: Process, gseg = GSEG, options = GRU_OPT_MISS_USER_POLL) {
  const segment = yield* gruSegment(process, gseg, options);
  if (typeof segment === 'number') throw new Error(`no segment: ${segment}`);
  return segment as GruSegment;
}

test.each(MODES)('what the GRU writes the CPU reads, and the reverse, with %s', (_, mode) => {
  const { findings } = run(gruSeries, function* program(process) {
    const segment = yield* segmentAt(process, GSEG, mode);
    expect(yield* gruRun(segment, { op: 'load', address: DATA })).toBe(1);
    expect(yield* gruRun(segment, { op: 'store', address: DATA, byte: 2 })).toBe(1);
    expect(yield* process.load(DATA)).toBe(2);
    yield* process.store(DATA, 3);
    expect(yield* gruRun(segment, { op: 'add', address: DATA, byte: 4 })).toBe(3);
    expect(yield* process.load(DATA)).toBe(7);
    expect(yield* gruRun(segment, { op: 'load', address: DATA + 1 })).toBe(0);
  });
  expect(findings).toEqual([]);
});

test.each(MODES)('a page that is dropped in each round is found anew, with %s', (_, mode) => {
  const { findings } = run(gruSeries, function* program(process) {
    const segment = yield* segmentAt(process, GSEG, mode);
    for (let round = 1; round <= 10; round += 1) {
      yield* process.madvise(DATA, PAGE_SIZE, MADV_DONTNEED);
      expect(yield* gruRun(segment, { op: 'load', address: DATA })).toBe(0);
      yield* process.store(DATA, round);
      expect(yield* gruRun(segment, { op: 'add', address: DATA, byte: 100 })).toBe(round);
      expect(yield* process.load(DATA)).toBe(round + 100);
    }
  });
  expect(findings).toEqual([]);
});

test('parent and child each see what they wrote themselves', () => {
  const { findings } = run(gruSeries, function* program(process) {
    const segment = yield* segmentAt(process);
    yield* gruRun(segment, { op: 'store', address: DATA, byte: 2 });
    const child = yield* process.fork();
    if (typeof child === 'number') throw new Error('fork failed');
    expect(yield* gruRun(segment, { op: 'store', address: DATA, byte: 3 })).toBe(2);
    expect(yield* child.load(DATA)).toBe(2);
    expect(yield* process.load(DATA)).toBe(3);
    // The mapping of the device is not inherited.
    expect(yield* child.load(GSEG)).toBeLessThan(0);
    yield* child.exit();
  });
  expect(findings).toEqual([]);
});

test.each(VERSIONS)('%s: two segments of a program share one notifier', (version, module) => {
  const { findings } = run(module, function* program(process) {
    yield* segmentAt(process);
    const second = yield* segmentAt(process, SECOND);
    const gms = (yield* loadedGms(process))!;
    expect(version === 'series' ? gms.msNotifier.users : gms.msRefcnt.value).toBe(2);
    yield* process.munmap(GSEG, PAGE_SIZE);
    expect(version === 'series' ? gms.msNotifier.users : gms.msRefcnt.value).toBe(1);
    expect(yield* gruRun(second, { op: 'load', address: DATA })).toBe(1);
    yield* process.munmap(SECOND, PAGE_SIZE);
  });
  expect(findings).toEqual([]);
});

/** The GMS of a segment, after it was touched. */
function* loadedGms(process: Process) {
  yield* process.load(GSEG);
  const gts = globals().grus.get(0).gsGts.get(0).gts as { tsGms: GmsView } | null;
  return gts?.tsGms ?? null;
}

interface GmsView {
  readonly msNotifier: { readonly users: number };
  readonly msRefcnt: { readonly value: number };
}

test('calls that cannot be are refused, as the driver refuses them', () => {
  const { findings } = run(gruSeries, function* program(process) {
    const fd = yield* process.open(GRU_DEVICE);
    const asPrivate = { flags: MAP_PRIVATE, fd };
    expect(yield* process.mmap(GSEG, PAGE_SIZE, asPrivate)).toBe(-EPERM);
    expect(yield* process.ioctl(fd, 'GRU_NOTHING')).toBe(-EBADRQC);
    const elsewhere = { gseg: DATA, op: 'sco_gseg_owner', options: 0 };
    expect(yield* process.ioctl(fd, GRU_CREATE_CONTEXT, elsewhere)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, GRU_SET_CONTEXT_OPTION, elsewhere)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, GRU_USER_UNLOAD_CONTEXT, DATA)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, GRU_USER_CALL_OS, GSEG)).toBe(-EINVAL);
    expect(yield* process.ioctl(fd, GRU_USER_CALL_OS, GSEG + 1)).toBe(-EINVAL);
    const flush = { gseg: GSEG, vaddr: DATA, length: PAGE_SIZE };
    expect(yield* process.ioctl(fd, GRU_USER_FLUSH_TLB, flush)).toBe(-EINVAL);
    expect(yield* process.mmap(GSEG, PAGE_SIZE, { flags: MAP_SHARED, fd })).toBe(GSEG);
    // Mapped, but no segment was made.
    expect(yield* process.load(GSEG)).toBe(-SIGBUS);
    const option = { gseg: GSEG, op: 'sco_nothing' };
    expect(yield* process.ioctl(fd, GRU_SET_CONTEXT_OPTION, option)).toBe(-EINVAL);
    // Not loaded.
    expect(yield* process.ioctl(fd, GRU_USER_CALL_OS, GSEG)).toBe(-EAGAIN);
    expect(yield* process.ioctl(fd, GRU_USER_FLUSH_TLB, flush)).toBe(0);
  });
  expect(findings).toEqual([]);
});

test.each(MODES)('an address that is not mapped ends the instruction, with %s', (_, mode) => {
  const { findings } = run(gruSeries, function* program(process) {
    const segment = yield* segmentAt(process, GSEG, mode);
    expect(yield* gruRun(segment, { op: 'load', address: 0x7000_0000 })).toBe(-EFAULT);
    expect(yield* gruRun(segment, { op: 'load', address: DATA })).toBe(1);
  });
  expect(findings).toEqual([]);
});

test.each(VERSIONS)('%s: a context that is unloaded goes on where it was', (_, module) => {
  const { findings } = run(module, function* program(process) {
    const segment = yield* segmentAt(process);
    yield* gruRun(segment, { op: 'store', address: DATA, byte: 5 });
    expect(yield* process.ioctl(segment.fd, GRU_USER_UNLOAD_CONTEXT, GSEG)).toBe(0);
    expect(yield* process.ioctl(segment.fd, GRU_USER_CALL_OS, GSEG)).toBe(-EAGAIN);
    expect(yield* gruRun(segment, { op: 'load', address: DATA })).toBe(5);
    yield* process.munmap(GSEG, PAGE_SIZE);
  });
  expect(findings).toEqual([]);
});

test('an ASID is kept while nothing changes, given up if unloaded pages change, and used again', () => {
  const seen: number[] = [];
  const { findings } = run(gruSeries, function* program(process) {
    const segment = yield* segmentAt(process);
    const chiplet = globals().grus.get(0).gsChiplet!;
    function* reload(changes: boolean) {
      yield* process.ioctl(segment.fd, GRU_USER_UNLOAD_CONTEXT, GSEG);
      if (changes) yield* process.madvise(DATA, PAGE_SIZE, MADV_DONTNEED);
      yield* gruRun(segment, { op: 'add', address: DATA, byte: 1 });
      seen.push(chiplet.contexts.get(0).setting.asid);
    }
    yield* reload(false);
    yield* reload(false);
    for (let round = 0; round < 4; round += 1) yield* reload(true);
    expect(globals().grus.get(0).gsAsidGen).toBe(2);
    expect(yield* process.load(DATA)).toBe(1);
  });
  expect(seen).toEqual([8, 8, 16, 24, 8, 16]);
  expect(findings).toEqual([]);
});

test('two programs take the only context from each other, and keep their data apart', () => {
  const { findings } = run(
    gruSeries,
    function* program(process) {
      const other = yield* process.fork();
      if (typeof other === 'number') throw new Error('fork failed');
      yield* other.store(DATA, 50);
      const segment = yield* segmentAt(process);
      const foreign = yield* segmentAt(other, SECOND);
      for (let round = 0; round < 5; round += 1) {
        expect(yield* gruRun(segment, { op: 'add', address: DATA, byte: 1 })).toBe(1 + round);
        expect(yield* gruRun(foreign, { op: 'add', address: DATA, byte: 1 })).toBe(50 + round);
      }
      yield* other.exit();
    },
    { contexts: 1 },
  );
  expect(findings).toEqual([]);
});

/** Outcome 1 of an allocation is that there is no memory; of a system call's signal, that one is pending. */
test.each(VERSIONS)('%s: without memory no segment is made, and nothing is left', (_, module) => {
  for (let at = 0; at < 8; at += 1) {
    const outcomes = [...Array.from({ length: at }, () => 0), 1];
    const { findings } = run(
      module,
      function* program(process) {
        const made = yield* gruSegment(process, GSEG);
        if (typeof made === 'number') expect([-ENOMEM, -EINTR, -ENOENT]).toContain(made);
        yield* process.munmap(GSEG, PAGE_SIZE);
      },
      { budget: { allocations: 1 }, outcomes },
    );
    expect(findings).toEqual([]);
  }
});

test.each(VERSIONS)('%s: the module goes when the last mapping has gone', (_, module) => {
  const { findings } = run(module, function* program(process) {
    const segment = yield* segmentAt(process);
    yield* process.close(segment.fd);
    expect(yield* unloadModule(module)).toBeLessThan(0);
    yield* process.munmap(GSEG, PAGE_SIZE);
    yield* mmuNotifierSynchronize();
    expect(yield* unloadModule(module)).toBe(0);
    expect(yield* process.open(GRU_DEVICE)).toBe(-ENOENT);
  });
  expect(findings).toEqual([]);
});
