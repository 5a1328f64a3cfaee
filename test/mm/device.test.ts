/** What notifiers hear of devices that get pages, of khugepaged in files, and of hardware: both positions of the switches. */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import { EOPNOTSUPP } from '../../src/base/errno.ts';
import { fn } from '../../src/kernel/call.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Body, Yieldable } from '../../src/kernel/operation.ts';
import type { AddressSpace } from '../../src/mm-types/address-space.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { ptePfn } from '../../src/mm-types/page-table.ts';
import { auditMemory, entriesOf, staleTranslations } from '../../src/mm/audit.ts';
import type { Behaviour } from '../../src/mm/behaviour.ts';
import { collapseFile, retractPageTables } from '../../src/mm/collapse-file.ts';
import { makeDeviceExclusive } from '../../src/mm/device-exclusive.ts';
import { putPage, usedPages } from '../../src/mm/frames.ts';
import { ksmMerge, ksmStabilize } from '../../src/mm/ksm.ts';
import { migratePage } from '../../src/mm/migrate.ts';
import { migrateVma } from '../../src/mm/migrate-vma.ts';
import { oomReapTask } from '../../src/mm/oom.ts';
import { findGetPage, unlockPage } from '../../src/mm/page-cache.ts';
import type { Process } from '../../src/mm/process.ts';
import { reclaimPage } from '../../src/mm/reclaim.ts';
import { truncateInode } from '../../src/mm/truncate.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { runOnMachine } from '../util/machine.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
const BLOCK = 512 * PAGE;
const ANON = { flags: m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED };
const SHARED = m.MAP_SHARED | m.MAP_FIXED;

interface Heard {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly log: string[];
  /** Whether the file's mappings can be read by others during a start. */
  readonly canRead: boolean[];
  watched: AddressSpace | null;
}

function text(range: MmuNotifierRange): string {
  const event = range.event.replace('MMU_NOTIFY_', '');
  const owner = range.owner === undefined ? '' : ` of ${range.owner as string}`;
  return `${event} ${(range.start - A) / PAGE}-${(range.end - A) / PAGE}${owner}`;
}

function notifier(heard: Pick<Heard, 'log' | 'canRead' | 'watched'>): MmuNotifier['ops'] {
  const { log } = heard;
  return {
    invalidateRangeStart: fn(function* start(_mn: MmuNotifier, range: MmuNotifierRange) {
      log.push(`start ${text(range)}`);
      if (heard.watched !== null) heard.canRead.push(heard.watched.iMmapRwsem.writer === null);
      return 0;
    }),
    invalidateRangeEnd: fn(function* end() {
      log.push('end');
    }),
    invalidateRange: fn(function* hardware(_mn: MmuNotifier, _mm: MmStruct, from: number) {
      log.push(`hardware ${(from - A) / PAGE}`);
    }),
    changePte: fn(function* change(_mn: MmuNotifier, mm: MmStruct, address: number, pte: number) {
      const table = mm.pageTables.find(address, 1)!;
      const now = table.ptes[(address / PAGE) % 512];
      log.push(`change_pte ${(address - A) / PAGE}${now === pte ? ' too late' : ''}`);
    }),
  };
}

/** Runs a task of a process with a notifier; nothing may be found, lost or stale. */
function run(behaviour: Partial<Behaviour>, body: (heard: Heard) => Body<unknown>): void {
  const { findings } = runOnMachine(
    (machine) => {
      const process = machine.process();
      const mm = process.mm!;
      const heard: Heard = { process, mm, log: [], canRead: [], watched: null };
      const mn = allocateStatic(machine, MmuNotifier);
      mn.ops = notifier(heard)!;
      machine.runNow(mmuNotifierRegister(mn, mm));
      return [
        function* task() {
          yield* body(heard);
          const mappings = vmas(mm).flatMap(({ mapping }) => (mapping === null ? [] : [mapping]));
          expect(auditMemory(machine, { mms: [mm], mappings })).toEqual([]);
          expect(staleTranslations(mm)).toEqual([]);
          yield* mmuNotifierUnregister(mn, mm);
          yield* process.exit();
          expect(usedPages(machine)).toEqual([]);
        },
      ];
    },
    { behaviour },
  );
  expect(findings).toEqual([]);
}

/** What is heard, hardware left out. */
function calls(log: readonly string[]): string[] {
  return log.filter((line) => !line.startsWith('hardware'));
}

function migrated(migrateEvent: boolean): string[] {
  let log: string[] = [];
  run({ migrateEvent }, function* task(heard) {
    const { process, mm } = heard;
    yield* process.mmap(A, 4 * PAGE, ANON);
    for (const at of [0, 1]) yield* process.store(A + at * PAGE, 40 + at);
    yield* process.load(A + 3 * PAGE);
    const before = entriesOf(mm).map(({ pte }) => ptePfn(pte));
    heard.log.length = 0;
    yield* downRead(mm.mmapSem);
    expect(yield* migrateVma(vmas(mm)[0]!, [A, A + 4 * PAGE], 'gpu')).toBe(4);
    yield* upRead(mm.mmapSem);
    log = calls(heard.log);
    const after = entriesOf(mm).map(({ pte }) => ptePfn(pte));
    expect(after).toHaveLength(4);
    for (const at of [0, 1]) expect(after[at]).not.toBe(before[at]);
    for (const at of [0, 1]) expect(yield* process.load(A + at * PAGE)).toBe(40 + at);
    expect(yield* process.store(A + 2 * PAGE, 7)).toBe(0);
    expect(yield* process.load(A + 2 * PAGE)).toBe(7);
  });
  return log;
}

test('migrateEvent: migration to a device has an event with its owner, or is CLEAR', () => {
  const own = ['start MIGRATE 0-4 of gpu', 'end', 'start MIGRATE 2-4 of gpu', 'end'];
  expect(migrated(true)).toEqual(own);
  expect(migrated(false)).toEqual(['start CLEAR 0-4', 'end', 'start CLEAR 2-4', 'end']);
});

test('migration to a device leaves pages that others share or refer to', () => {
  run({}, function* task({ process, mm }) {
    yield* process.mmap(A, 2 * PAGE, ANON);
    yield* process.store(A, 40);
    const child = yield* process.fork();
    if (typeof child === 'number') throw new Error('fork failed');
    yield* downRead(mm.mmapSem);
    expect(yield* migrateVma(vmas(mm)[0]!, [A, A + PAGE], 'gpu')).toBe(0);
    yield* upRead(mm.mmapSem);
    expect(yield* process.load(A)).toBe(40);
    yield* child.exit();
  });
});

test('deviceExclusive: a device gets a page for itself until a CPU wants it, or there is no such call', () => {
  run({}, function* task(heard) {
    const { process, mm } = heard;
    yield* process.mmap(A, 2 * PAGE, ANON);
    yield* process.store(A, 40);
    heard.log.length = 0;
    yield* downRead(mm.mmapSem);
    const page = yield* makeDeviceExclusive(mm, A, 'gpu');
    if (typeof page === 'number') throw new Error(`no page: ${page}`);
    yield* unlockPage(page);
    yield* putPage(page);
    expect(yield* makeDeviceExclusive(mm, A + 8 * PAGE, 'gpu')).toBe(-14);
    yield* upRead(mm.mmapSem);
    expect(calls(heard.log)).toEqual(['start EXCLUSIVE 0-1 of gpu', 'end']);
    heard.log.length = 0;
    expect(yield* process.load(A)).toBe(40);
    expect(calls(heard.log)).toEqual(['start CLEAR 0-1', 'end']);
    heard.log.length = 0;
    expect(yield* process.store(A, 41)).toBe(0);
    expect(yield* process.load(A)).toBe(41);
    expect(calls(heard.log)).toEqual([]);
  });
  run({ deviceExclusive: false }, function* task(heard) {
    yield* heard.process.mmap(A, PAGE, ANON);
    yield* heard.process.store(A, 40);
    heard.log.length = 0;
    yield* downRead(heard.mm.mmapSem);
    expect(yield* makeDeviceExclusive(heard.mm, A, 'gpu')).toBe(-EOPNOTSUPP);
    yield* upRead(heard.mm.mmapSem);
    expect(heard.log).toEqual([]);
  });
});

test('a page that a device has for itself goes to swap and is forked like any other', () => {
  run({}, function* task({ process, mm }) {
    yield* process.mmap(A, 2 * PAGE, ANON);
    for (const at of [A, A + PAGE]) {
      yield* process.store(at, 40);
      yield* downRead(mm.mmapSem);
      const page = yield* makeDeviceExclusive(mm, at, 'gpu');
      yield* unlockPage(page as Page);
      yield* putPage(page as Page);
      yield* upRead(mm.mmapSem);
    }
    expect(yield* reclaimPage(mm, A, true)).toBe(true);
    expect(yield* process.load(A)).toBe(40);
    const child = yield* process.fork();
    if (typeof child === 'number') throw new Error('fork failed');
    expect(yield* child.load(A + PAGE)).toBe(40);
    expect(yield* process.store(A + PAGE, 41)).toBe(0);
    expect(yield* child.load(A + PAGE)).toBe(40);
    yield* child.exit();
  });
});

/** A file of a block, of which two pages are written, mapped. */
function* mapBlock({ process, mm }: Heard): Body<{ fd: number; mapping: AddressSpace }> {
  const fd = yield* process.memfdCreate('f');
  yield* process.ftruncate(fd, BLOCK);
  yield* process.mmap(A, BLOCK, { flags: SHARED, fd });
  for (const at of [0, 300]) yield* process.store(A + at * PAGE, 40 + (at % 7));
  return { fd, mapping: vmas(mm)[0]!.mapping! };
}

test('khugepaged gives a block of a file other pages, and takes its page table away', () => {
  run({}, function* task(heard) {
    const { process, mm } = heard;
    const { fd, mapping } = yield* mapBlock(heard);
    const before = entriesOf(mm).map(({ pte }) => ptePfn(pte));
    heard.log.length = 0;
    expect(yield* collapseFile(mapping, 0)).toBe(true);
    expect(calls(heard.log)).toEqual([
      'start CLEAR 0-1',
      'end',
      'start CLEAR 300-301',
      'end',
      'start CLEAR 0-512',
      'end',
    ]);
    expect(mm.pageTables.find(A, 1)).toBe(null);
    for (const at of [0, 300]) expect(yield* process.load(A + at * PAGE)).toBe(40 + (at % 7));
    const after = entriesOf(mm).map(({ pte }) => ptePfn(pte));
    for (const at of [0, 1]) expect(after[at]).not.toBe(before[at]);
    yield* process.munmap(A, BLOCK);
    yield* process.close(fd);
  });
});

/** What is heard while a page that is mapped loses its page table and then its frame. */
function heardOfRetraction(fileCollapseNotifies: boolean): string[] {
  let log: string[] = [];
  run({ fileCollapseNotifies }, function* task(heard) {
    const { process, mm } = heard;
    const { fd, mapping } = yield* mapBlock(heard);
    heard.log.length = 0;
    yield* retractPageTables(mapping, 0);
    expect(entriesOf(mm)).toEqual([]);
    expect(yield* migratePage((yield* findGetPage(mapping, 0))!)).toBe(true);
    log = calls(heard.log);
    expect(yield* process.load(A)).toBe(40);
    yield* process.munmap(A, BLOCK);
    yield* process.close(fd);
  });
  return log;
}

test('fileCollapseNotifies: who mirrors a file hears that its pages are mapped no more, or goes on with freed ones', () => {
  expect(heardOfRetraction(true)).toEqual(['start CLEAR 0-512', 'end']);
  expect(heardOfRetraction(false)).toEqual([]);
});

test('khugepaged leaves page tables with private copies alone, and those whose mmap_sem is taken', () => {
  run({}, function* task(heard) {
    const { process, mm } = heard;
    const { fd, mapping } = yield* mapBlock(heard);
    heard.log.length = 0;
    yield* downRead(mm.mmapSem);
    yield* retractPageTables(mapping, 0);
    yield* upRead(mm.mmapSem);
    yield* process.mmap(A, BLOCK, { flags: m.MAP_PRIVATE | m.MAP_FIXED, fd });
    yield* process.store(A, 9);
    heard.log.length = 0;
    yield* retractPageTables(mapping, 0);
    expect(heard.log).toEqual([]);
    expect(yield* process.load(A)).toBe(9);
    yield* process.munmap(A, BLOCK);
    yield* process.close(fd);
  });
});

function heardOf(
  behaviour: Partial<Behaviour>,
  act: (heard: Heard) => Yieldable<unknown>,
): string[] {
  let log: string[] = [];
  run(behaviour, function* task(heard) {
    yield* heard.process.mmap(A, 2 * PAGE, ANON);
    yield* heard.process.store(A, 40);
    yield* heard.process.load(A + PAGE);
    heard.log.length = 0;
    yield* act(heard);
    log = heard.log.slice();
  });
  return log;
}

function unmapFirst({ process }: Heard): Yieldable<unknown> {
  return process.munmap(A, PAGE);
}

function reclaimFirst({ mm }: Heard): Yieldable<unknown> {
  return reclaimPage(mm, A, true);
}

test('invalidateRange: hardware hears of a munmap from the end, or from the flush after it', () => {
  const unmap = 'start UNMAP 0-1';
  expect(heardOf({ invalidateRange: 'end' }, unmapFirst)).toEqual([unmap, 'hardware 0', 'end']);
  expect(heardOf({ invalidateRange: 'flush' }, unmapFirst)).toEqual([unmap, 'end', 'hardware 0']);
});

test('invalidateRange: hardware hears of a copy on write and of reclaim under the page-table lock in either case', () => {
  for (const invalidateRange of ['end', 'flush'] as const) {
    const cow = heardOf({ invalidateRange }, ({ process }) => process.store(A + PAGE, 1));
    expect(cow).toEqual(['start CLEAR 1-2', 'hardware 1', 'end']);
  }
  const once = ['start CLEAR 0-1', 'hardware 0', 'end'];
  expect(heardOf({ invalidateRange: 'flush' }, reclaimFirst)).toEqual(once);
  // And again at the end.
  const twice = ['start CLEAR 0-1', 'hardware 0', 'hardware 0', 'end'];
  expect(heardOf({ invalidateRange: 'end' }, reclaimFirst)).toEqual(twice);
});

function heardOfMerge(changePte: boolean): string[] {
  let log: string[] = [];
  run({ changePte }, function* task(heard) {
    const { process, mm } = heard;
    yield* process.mmap(A, 2 * PAGE, ANON);
    for (const at of [A, A + PAGE]) yield* process.store(at, 5);
    const kpage = (yield* ksmStabilize({ mm, address: A }))!;
    heard.log.length = 0;
    expect(yield* ksmMerge({ mm, address: A + PAGE }, kpage)).toBe(true);
    log = calls(heard.log);
    yield* putPage(kpage);
  });
  return log;
}

test('changePte: KSM tells the entry that is read-only and the one that is shared, before they are set, or not', () => {
  const change = ['start CLEAR 1-2', 'change_pte 1', 'end'];
  expect(heardOfMerge(true)).toEqual([...change, ...change]);
  expect(heardOfMerge(false)).toEqual(['start CLEAR 1-2', 'end', 'start CLEAR 1-2', 'end']);
});

function readersDuringTruncate(unmapMappingLock: Behaviour['unmapMappingLock']): boolean[] {
  let canRead: boolean[] = [];
  run({ unmapMappingLock }, function* task(heard) {
    const { fd, mapping } = yield* mapBlock(heard);
    heard.watched = mapping;
    yield* truncateInode(mapping, 0);
    heard.watched = null;
    canRead = heard.canRead.slice();
    yield* heard.process.munmap(A, BLOCK);
    yield* heard.process.close(fd);
  });
  return canRead;
}

test('unmapMappingLock: truncation keeps walks of the reverse map out while it unmaps, or lets them in', () => {
  expect(readersDuringTruncate('read')).toEqual([true, true]);
  expect(readersDuringTruncate('write')).toEqual([false, false]);
});

test('a victim of the OOM reaper gets SIGBUS where its private memory was, and keeps what is shared', () => {
  run({}, function* task({ process, mm }) {
    const fd = yield* process.memfdCreate('f');
    yield* process.ftruncate(fd, PAGE);
    yield* process.mmap(A, 2 * PAGE, ANON);
    yield* process.mmap(A + 4 * PAGE, PAGE, { flags: SHARED, fd });
    yield* process.store(A, 40);
    yield* process.store(A + 4 * PAGE, 41);
    expect(yield* oomReapTask(mm)).toBe(true);
    expect(yield* process.load(A)).toBe(-m.SIGBUS);
    expect(yield* process.store(A + PAGE, 1)).toBe(-m.SIGBUS);
    expect(yield* process.load(A + 4 * PAGE)).toBe(41);
    yield* process.munmap(A, 8 * PAGE);
    yield* process.close(fd);
  });
});
