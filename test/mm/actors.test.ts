import { expect, test } from 'vitest';
import {
  MADV_FREE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
} from '../../src/base/mman.ts';
import { fn } from '../../src/kernel/call.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { pageToPfn, type Page } from '../../src/mm-types/page.ts';
import { PTE_SOFT_DIRTY, ptePfn } from '../../src/mm-types/page-table.ts';
import { auditMemory, entriesOf, staleTranslations } from '../../src/mm/audit.ts';
import { usedPages } from '../../src/mm/frames.ts';
import { pinUserPages, unpinUserPage } from '../../src/mm/gup.ts';
import { collapseHugePage, scanHugePage } from '../../src/mm/khugepaged.ts';
import { splitHugePmdAddress } from '../../src/mm/huge-memory.ts';
import { ksmMerge, ksmStabilize } from '../../src/mm/ksm.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { migrateAt } from '../../src/mm/migrate.ts';
import { oomReapTask, oomReapTaskMm } from '../../src/mm/oom.ts';
import { pageIdleClearPteRefs, pageReferenced } from '../../src/mm/page-idle.ts';
import { lockPage, unlockPage } from '../../src/mm/page-cache.ts';
import { isPagePresent } from '../../src/mm/page-table-walk.ts';
import type { Process } from '../../src/mm/process.ts';
import { putPage } from '../../src/mm/frames.ts';
import { isolatePage, reclaimPage } from '../../src/mm/reclaim.ts';
import { clearRefsSoftDirty } from '../../src/mm/soft-dirty.ts';
import { swapDevice } from '../../src/mm/swap.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import type { Body } from '../../src/kernel/operation.ts';
import type { Behaviour } from '../../src/mm/behaviour.ts';
import { runOnMachine } from '../util/machine.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
const ANON = { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED };

interface Told {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly machine: Machine;
  /** What the notifier heard: start, end, young. */
  readonly heard: string[];
  /** What its callbacks answer. */
  answer: { refuses: boolean; isYoung: boolean; watchesHardware: boolean };
}

function show(range: MmuNotifierRange): string {
  const name = range.event.replace('MMU_NOTIFY_', '');
  return `${name} ${(range.start - A) / PAGE}-${(range.end - A) / PAGE}`;
}

/** Runs one task with a process that has a notifier, and audits the memory at the end. */
function runTold(body: (told: Told) => Body<unknown>, behaviour: Partial<Behaviour> = {}): void {
  const { findings } = runOnMachine(
    (machine) => {
      const process = machine.process();
      const mm = process.mm!;
      const heard: string[] = [];
      const answer = { refuses: false, isYoung: false, watchesHardware: false };
      const mn = allocateStatic(machine, MmuNotifier);
      mn.ops = {
        invalidateRangeStart: fn(function* start(_mn: MmuNotifier, range: MmuNotifierRange) {
          if (answer.refuses && range.flags === 0) return -11;
          heard.push(`start ${show(range)}`);
          return 0;
        }),
        invalidateRangeEnd: fn(function* end(_mn: MmuNotifier, range: MmuNotifierRange) {
          heard.push(`end ${show(range)}`);
        }),
        invalidateRange: fn(function* hardware(_mn: MmuNotifier, at: MmStruct, from: number) {
          const table = at.pageTables.find(from, 1);
          const pte = table === null ? 0 : (table.ptes[(from / PAGE) % 512] as number);
          if (answer.watchesHardware)
            heard.push(`invalidate_range ${pte === 0 ? 'empty' : 'mapped'}`);
        }),
        clearFlushYoung: fn(function* young() {
          heard.push('clear_flush_young');
          return answer.isYoung;
        }),
        testYoung: fn(function* look() {
          heard.push('test_young');
          return answer.isYoung;
        }),
        clearYoung: fn(function* idle() {
          heard.push('clear_young');
          return answer.isYoung;
        }),
      };
      machine.runNow(mmuNotifierRegister(mn, mm));
      return [
        function* task() {
          yield* body({ process, mm, machine, heard, answer });
          const mappings = vmas(mm).flatMap(({ mapping }) => (mapping === null ? [] : [mapping]));
          expect(auditMemory(machine, { mms: [mm], mappings })).toEqual([]);
          expect(staleTranslations(mm)).toEqual([]);
          yield* mmuNotifierUnregister(mn, mm);
          yield* process.exit();
          expect(usedPages(machine)).toEqual([]);
          expect(swapDevice(machine).slots.size).toBe(0);
        },
      ];
    },
    { behaviour },
  );
  expect(findings).toEqual([]);
}

const ONE_PAGE = ['start CLEAR 0-1', 'end CLEAR 0-1'];

test('reclaim writes a page to swap, tells the one page, and a load brings it back', () => {
  runTold(function* task({ process, mm, machine, heard }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A + 5, 42);
    expect(yield* reclaimPage(mm, A, true)).toBe(true);
    expect(heard).toEqual(ONE_PAGE);
    expect(usedPages(machine)).toEqual([]);
    expect(isPagePresent(mm, A)).toBe(false);
    expect(auditMemory(machine, { mms: [mm], mappings: [] })).toEqual([]);
    expect(yield* process.load(A + 5)).toBe(42);
    expect(yield* process.store(A + 5, 43)).toBe(0);
    expect(yield* process.load(A + 5)).toBe(43);
  });
});

test('a swapped page is dropped with its mapping, and shared by fork', () => {
  runTold(function* task({ process, mm, machine }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A, 42);
    yield* reclaimPage(mm, A, true);
    const child = yield* process.fork();
    if (typeof child === 'number') throw new Error('fork failed');
    const both = { mms: [mm, child.mm!], mappings: [] };
    expect(auditMemory(machine, both)).toEqual([]);
    expect(yield* child.load(A)).toBe(42);
    expect(auditMemory(machine, both)).toEqual([]);
    expect(yield* child.store(A, 1)).toBe(0);
    expect(yield* process.load(A)).toBe(42);
    expect(auditMemory(machine, both)).toEqual([]);
    yield* child.exit();
    yield* process.munmap(A, PAGE);
  });
});

test('reclaim leaves a page alone that was used lately, is pinned, or is locked into memory', () => {
  runTold(function* task({ process, mm, heard }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A, 42);
    expect(yield* reclaimPage(mm, A, false)).toBe(false);
    yield* downRead(mm.mmapSem);
    const pages = yield* pinUserPages(mm, A, 1, true);
    yield* upRead(mm.mmapSem);
    expect(yield* reclaimPage(mm, A, true)).toBe(false);
    for (const page of pages as Page[]) yield* unpinUserPage(page);
    yield* process.mlock(A, PAGE);
    heard.length = 0;
    expect(yield* reclaimPage(mm, A, true)).toBe(false);
    expect(heard).toEqual(ONE_PAGE);
    yield* process.munlock(A, PAGE);
    expect(yield* reclaimPage(mm, A, false)).toBe(true);
  });
});

test('a page of MADV_FREE goes without a trace, unless it was written since', () => {
  runTold(function* task({ process, mm, machine }) {
    yield* process.mmap(A, 2 * PAGE, ANON);
    for (const at of [A, A + PAGE]) yield* process.store(at, 42);
    yield* process.madvise(A, 2 * PAGE, MADV_FREE);
    yield* process.store(A + PAGE + 1, 7);
    expect(yield* reclaimPage(mm, A, true)).toBe(true);
    expect(swapDevice(machine).slots.size).toBe(0);
    expect(yield* reclaimPage(mm, A + PAGE, true)).toBe(false);
    expect(yield* process.load(A)).toBe(0);
    expect(yield* process.load(A + PAGE)).toBe(42);
  });
});

test('reclaim unmaps a page of a file from everybody and leaves it in the cache', () => {
  runTold(function* task({ process, mm, machine }) {
    const fd = yield* process.memfdCreate('f');
    yield* process.ftruncate(fd, PAGE);
    yield* process.mmap(A, PAGE, { flags: MAP_SHARED | MAP_FIXED, fd });
    yield* process.mmap(A + 8 * PAGE, PAGE, { flags: MAP_SHARED | MAP_FIXED, fd });
    yield* process.store(A, 42);
    expect(yield* process.load(A + 8 * PAGE)).toBe(42);
    expect(yield* reclaimPage(mm, A, true)).toBe(false);
    expect(entriesOf(mm)).toEqual([]);
    expect(usedPages(machine)).toHaveLength(1);
    expect(yield* process.load(A + 8 * PAGE)).toBe(42);
    yield* process.munmap(A, 16 * PAGE);
    yield* process.close(fd);
  });
});

test('migration moves the contents to another frame for all who map it', () => {
  runTold(function* task({ process, mm, heard }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A, 42);
    const child = yield* process.fork();
    if (typeof child === 'number') throw new Error('fork failed');
    const before = ptePfn(entriesOf(mm)[0]!.pte);
    heard.length = 0;
    expect(yield* migrateAt(mm, A)).toBe(true);
    expect(heard).toEqual(ONE_PAGE);
    const after = [entriesOf(mm)[0]!, entriesOf(child.mm!)[0]!].map(({ pte }) => ptePfn(pte));
    expect(after[0]).not.toBe(before);
    expect(after[1]).toBe(after[0]);
    expect(yield* child.load(A)).toBe(42);
    yield* child.exit();
    expect(yield* process.store(A, 43)).toBe(0);
    expect(yield* process.load(A)).toBe(43);
  });
});

test('migration of a page of a file keeps it in the cache, and a pinned page stays', () => {
  runTold(function* task({ process, mm }) {
    const fd = yield* process.memfdCreate('f');
    yield* process.ftruncate(fd, PAGE);
    yield* process.mmap(A, PAGE, { flags: MAP_SHARED | MAP_FIXED, fd });
    yield* process.store(A, 42);
    expect(yield* migrateAt(mm, A)).toBe(true);
    expect(yield* process.load(A)).toBe(42);
    expect(yield* process.pread(fd, 1, 0)).toEqual(Uint8Array.of(42));
    yield* downRead(mm.mmapSem);
    const pages = yield* pinUserPages(mm, A, 1, true);
    yield* upRead(mm.mmapSem);
    expect(yield* migrateAt(mm, A)).toBe(false);
    for (const page of pages as Page[]) yield* unpinUserPage(page);
    expect(yield* process.load(A)).toBe(42);
    yield* process.munmap(A, PAGE);
    yield* process.close(fd);
  });
});

test('page aging asks CPUs and secondary MMUs, with a flush or without', () => {
  runTold(function* task({ process, mm, heard, answer }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A, 42);
    const page = (yield* isolatePage(mm, A))!;
    yield* lockPage(page);
    expect(yield* pageReferenced(page)).toBe(1);
    expect(yield* pageReferenced(page)).toBe(0);
    answer.isYoung = true;
    expect(yield* pageReferenced(page)).toBe(1);
    expect(yield* pageIdleClearPteRefs(page)).toBe(true);
    answer.isYoung = false;
    expect(yield* pageIdleClearPteRefs(page)).toBe(false);
    yield* unlockPage(page);
    yield* putPage(page);
    expect(heard).toEqual([
      'clear_flush_young',
      'clear_flush_young',
      'clear_flush_young',
      'clear_young',
      'clear_young',
    ]);
    yield* process.load(A);
  });
});

test('clearing soft-dirty marks tells the whole address space, and the next write marks again', () => {
  runTold(function* task({ process, mm, heard }) {
    yield* process.mmap(A, 2 * PAGE, ANON);
    for (const at of [A, A + PAGE]) yield* process.store(at, 42);
    yield* clearRefsSoftDirty(mm);
    expect(heard.map((text) => text.split(' ').slice(0, 2).join(' '))).toEqual([
      'start SOFT_DIRTY',
      'end SOFT_DIRTY',
    ]);
    yield* process.store(A, 43);
    const marks = entriesOf(mm).map(({ pte }) => (pte & PTE_SOFT_DIRTY) !== 0);
    expect(marks).toEqual([true, false]);
  });
});

test('the OOM reaper takes private memory, and leaves a VMA whose notifier would sleep', () => {
  runTold(function* task({ process, mm, heard, answer }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.store(A, 42);
    answer.refuses = true;
    expect(yield* oomReapTask(mm, 2)).toBe(false);
    expect(heard).toEqual([]);
    expect(isPagePresent(mm, A)).toBe(true);
    answer.refuses = false;
    expect(yield* oomReapTask(mm)).toBe(true);
    expect(heard).toEqual(['start UNMAP 0-1', 'end UNMAP 0-1']);
    expect(isPagePresent(mm, A)).toBe(false);
  });
});

test('the OOM reaper of old leaves an mm with notifiers alone', () => {
  runTold(
    function* task({ process, mm, heard }) {
      yield* process.mmap(A, PAGE, ANON);
      yield* process.store(A, 42);
      expect(yield* oomReapTaskMm(mm)).toBe(true);
      expect(heard).toEqual([]);
      expect(isPagePresent(mm, A)).toBe(true);
    },
    { oomReaper: 'skips' },
  );
});

test('KSM makes equal pages one, and a write copies it', () => {
  runTold(function* task({ process, mm, heard, machine }) {
    yield* process.mmap(A, 3 * PAGE, ANON);
    for (const at of [0, 1, 2]) yield* process.store(A + at * PAGE, at === 2 ? 9 : 5);
    const kpage = (yield* ksmStabilize({ mm, address: A }))!;
    expect(heard).toEqual(ONE_PAGE);
    heard.length = 0;
    expect(yield* ksmMerge({ mm, address: A + PAGE }, kpage)).toBe(true);
    expect(heard.filter((text) => text.startsWith('start'))).toEqual([
      'start CLEAR 1-2',
      'start CLEAR 1-2',
    ]);
    expect(yield* ksmMerge({ mm, address: A + 2 * PAGE }, kpage)).toBe(false);
    expect(entriesOf(mm).map(({ pte }) => ptePfn(pte))).toEqual([
      pageToPfn(kpage),
      pageToPfn(kpage),
      expect.any(Number),
    ]);
    yield* putPage(kpage);
    yield* process.store(A + PAGE, 6);
    expect([yield* process.load(A), yield* process.load(A + PAGE)]).toEqual([5, 6]);
    expect(usedPages(machine)).toHaveLength(3);
  });
});

const BLOCK = 2 * 1024 * 1024;

test('khugepaged replaces the pages of a block, telling the whole block once', () => {
  runTold(function* task({ process, mm, heard }) {
    yield* process.mmap(A, 2 * BLOCK, ANON);
    for (const at of [0, 1, 300]) yield* process.store(A + at * PAGE, at % 100);
    const before = new Set(entriesOf(mm).map(({ pte }) => ptePfn(pte)));
    expect(yield* scanHugePage(mm, A)).toBe(true);
    expect(yield* collapseHugePage(mm, A + 7 * PAGE)).toBe(true);
    expect(heard).toEqual(['start CLEAR 0-512', 'end CLEAR 0-512']);
    const after = entriesOf(mm).map(({ pte }) => ptePfn(pte));
    expect(after.filter((pfn) => before.has(pfn))).toEqual([]);
    for (const at of [0, 1, 300]) expect(yield* process.load(A + at * PAGE)).toBe(at % 100);
    heard.length = 0;
    yield* splitHugePmdAddress(vmas(mm)[0]!, A + PAGE);
    expect(heard).toEqual(['start CLEAR 0-512', 'end CLEAR 0-512']);
  });
});

test('khugepaged leaves a block alone that is pinned, shared, unused or not whole', () => {
  runTold(function* task({ process, mm, heard, answer }) {
    yield* process.mmap(A, BLOCK, ANON);
    yield* process.store(A, 42);
    expect(yield* collapseHugePage(mm, A + BLOCK)).toBe(false);
    yield* downRead(mm.mmapSem);
    const pages = yield* pinUserPages(mm, A, 1, true);
    yield* upRead(mm.mmapSem);
    expect(yield* collapseHugePage(mm, A)).toBe(false);
    for (const page of pages as Page[]) yield* unpinUserPage(page);
    expect(yield* process.load(A)).toBe(42);
    const page = (yield* isolatePage(mm, A))!;
    yield* lockPage(page);
    yield* pageReferenced(page);
    yield* unlockPage(page);
    yield* putPage(page);
    heard.length = 0;
    expect(yield* scanHugePage(mm, A)).toBe(false);
    expect(heard).toEqual(['test_young']);
    answer.isYoung = true;
    expect(yield* scanHugePage(mm, A)).toBe(true);
    yield* process.munmap(A + PAGE, PAGE);
    expect(yield* collapseHugePage(mm, A)).toBe(false);
  });
});

test('a copy on write invalidates hardware that walks the page table before the new page is there', () => {
  runTold(function* task({ process, heard, answer }) {
    yield* process.mmap(A, PAGE, ANON);
    yield* process.load(A);
    answer.watchesHardware = true;
    yield* process.store(A, 1);
    expect(heard).toEqual(['start CLEAR 0-1', 'invalidate_range empty', 'end CLEAR 0-1']);
  });
});
