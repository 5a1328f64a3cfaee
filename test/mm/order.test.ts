/**
 * Locks and order of what the mm does, as v5.4 has them: mmap_sem, the locks of the reverse map, page-table locks and the
 * page lock; start, change of the entry, flush of the CPUs' TLBs, end. `hardware` is invalidate_range.
 */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { LINUX_5_4, LINUX_6_18, type Behaviour } from '../../src/mm/behaviour.ts';
import { retractPageTables } from '../../src/mm/collapse-file.ts';
import { putPage } from '../../src/mm/frames.ts';
import { collapseHugePage, scanHugePage } from '../../src/mm/khugepaged.ts';
import { ksmMerge, ksmStabilize } from '../../src/mm/ksm.ts';
import { migrateAt } from '../../src/mm/migrate.ts';
import { migrateVma } from '../../src/mm/migrate-vma.ts';
import { oomReapTaskMm } from '../../src/mm/oom.ts';
import { lockPage, unlockPage } from '../../src/mm/page-cache.ts';
import { pageReferenced } from '../../src/mm/page-idle.ts';
import { isolatePage, reclaimPage } from '../../src/mm/reclaim.ts';
import { clearRefsSoftDirty } from '../../src/mm/soft-dirty.ts';
import { truncateInode } from '../../src/mm/truncate.ts';
import { splitHugePmdAddress } from '../../src/mm/huge-memory.ts';
import { orderOf, type Place } from '../util/order-log.ts';

const A = 0x1_0000_0000;
const PAGE = 4096;
const BLOCK = 512 * PAGE;
const ANON = { flags: m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED };

/** One page of anonymous memory, written; beside it one that is not. */
function* anonymous({ process }: Place): Body<void> {
  yield* process.mmap(A, 2 * PAGE, ANON);
  yield* process.store(A, 1);
}

/** The zero page. */
function* onlyRead({ process }: Place): Body<void> {
  yield* process.mmap(A, PAGE, ANON);
  yield* process.load(A);
}

/** A page of a file that is shared. */
function* file({ process }: Place): Body<void> {
  const fd = yield* process.memfdCreate('f');
  yield* process.ftruncate(fd, BLOCK);
  yield* process.mmap(A, BLOCK, { flags: m.MAP_SHARED | m.MAP_FIXED, fd });
  yield* process.load(A);
}

function* twoEqual({ process }: Place): Body<void> {
  yield* process.mmap(A, 2 * PAGE, ANON);
  for (const at of [A, A + PAGE]) yield* process.store(at, 1);
}

function* merge({ mm }: Place): Body<void> {
  const kpage = (yield* ksmStabilize({ mm, address: A })) as Page;
  yield* ksmMerge({ mm, address: A + PAGE }, kpage);
  yield* putPage(kpage);
}

function* age({ mm }: Place): Body<void> {
  const page = (yield* isolatePage(mm, A)) as Page;
  yield* lockPage(page);
  yield* pageReferenced(page);
  yield* unlockPage(page);
  yield* putPage(page);
}

function* toDevice({ mm }: Place): Body<void> {
  yield* downRead(mm.mmapSem);
  yield* migrateVma(vmas(mm)[0]!, [A, A + PAGE], 'gpu');
  yield* upRead(mm.mmapSem);
}

interface Row {
  readonly prepare?: (place: Place) => Body<unknown>;
  readonly act: (place: Place) => Body<unknown>;
  readonly order: string;
}

const moved = { flags: m.MREMAP_MAYMOVE | m.MREMAP_FIXED, newAddress: A + 64 * PAGE };

const ROWS: Readonly<Record<string, Row>> = {
  munmap: {
    *act({ process }) {
      yield* process.munmap(A, 2 * PAGE);
    },
    order:
      'mmap_sem:W mmap_sem:W>R start(UNMAP) ptl clear /ptl hardware end anon_vma:W /anon_vma pmd flush free-page free-table /mmap_sem',
  },
  'mmap over something': {
    *act({ process }) {
      yield* process.mmap(A, 2 * PAGE, ANON);
    },
    order:
      'mmap_sem:W start(UNMAP) ptl clear /ptl hardware end anon_vma:W /anon_vma pmd flush free-page free-table /mmap_sem',
  },
  exit: {
    *act({ process }) {
      yield* process.exit();
    },
    order:
      'mmap_sem:R ptl clear /ptl /mmap_sem mmap_sem:W anon_vma:W /anon_vma pmd flush free-page free-table /mmap_sem',
  },
  'madvise(MADV_DONTNEED)': {
    *act({ process }) {
      yield* process.madvise(A, PAGE, m.MADV_DONTNEED);
    },
    order: 'mmap_sem:R start(CLEAR) ptl clear /ptl hardware end flush free-page /mmap_sem',
  },
  'madvise(MADV_FREE)': {
    *act({ process }) {
      yield* process.madvise(A, PAGE, m.MADV_FREE);
    },
    order: 'mmap_sem:R start(CLEAR) ptl page clear set /page /ptl hardware end flush /mmap_sem',
  },
  ftruncate: {
    prepare: file,
    *act({ mm }) {
      yield* truncateInode(vmas(mm)[0]!.mapping!, 0);
    },
    order:
      'i_mmap:W start(CLEAR) ptl clear /ptl hardware end flush /i_mmap page /page free-page i_mmap:W start(CLEAR) ptl /ptl hardware end /i_mmap',
  },
  'madvise(MADV_REMOVE)': {
    prepare: file,
    *act({ process }) {
      yield* process.madvise(A, PAGE, m.MADV_REMOVE);
    },
    order:
      'mmap_sem:R /mmap_sem i_mmap:W start(CLEAR) ptl clear /ptl hardware end flush /i_mmap page /page free-page mmap_sem:R /mmap_sem',
  },
  'a heap that shrinks': {
    *prepare({ process, mm }) {
      yield* process.brk(mm.startBrk + PAGE);
      yield* process.store(mm.startBrk, 1);
    },
    *act({ process, mm }) {
      yield* process.brk(mm.startBrk);
    },
    order:
      'mmap_sem:W mmap_sem:W>R start(UNMAP) ptl clear /ptl hardware end anon_vma:W /anon_vma pmd flush free-page free-table /mmap_sem',
  },
  'a huge page that is split': {
    *act({ mm }) {
      yield* splitHugePmdAddress(vmas(mm)[0]!, A + PAGE);
    },
    order: 'start(CLEAR) end',
  },
  mremap: {
    *act({ process }) {
      yield* process.mremap(A, PAGE, PAGE, moved);
    },
    order:
      'mmap_sem:W anon_vma:W /anon_vma start(UNMAP) ptl clear set flush /ptl hardware end anon_vma:W /anon_vma anon_vma:W /anon_vma start(UNMAP) ptl /ptl hardware end anon_vma:W /anon_vma /mmap_sem',
  },
  mprotect: {
    *act({ process }) {
      yield* process.mprotect(A, 2 * PAGE, m.PROT_READ);
    },
    order: 'mmap_sem:W start(PROTECTION_VMA) ptl clear set /ptl hardware end flush /mmap_sem',
  },
  fork: {
    *act({ process }) {
      yield* process.fork();
    },
    order:
      'mmap_sem:W anon_vma:W /anon_vma anon_vma:W /anon_vma start(PROTECTION_PAGE) pmd_lock /pmd_lock pmd_lock /pmd_lock pmd_lock /pmd_lock pmd_lock pmd /pmd_lock ptl clear set /ptl hardware end flush /mmap_sem',
  },
  'a copy on write': {
    prepare: onlyRead,
    *act({ process }) {
      yield* process.store(A, 1);
    },
    order:
      'mmap_sem:R ptl /ptl anon_vma:W pmd_lock /pmd_lock /anon_vma alloc start(CLEAR) ptl clear flush hardware change_pte set /ptl end /mmap_sem',
  },
  KSM: {
    prepare: twoEqual,
    act: merge,
    order:
      'mmap_sem:R ptl /ptl page start(CLEAR) ptl clear flush change_pte set /ptl hardware end /page /mmap_sem mmap_sem:R ptl /ptl page start(CLEAR) ptl clear flush change_pte set /ptl hardware end start(CLEAR) ptl clear flush change_pte set /ptl hardware end /page free-page /mmap_sem',
  },
  reclaim: {
    *act({ mm }) {
      yield* reclaimPage(mm, A, true);
    },
    order:
      'page anon_vma:R start(CLEAR) ptl clear flush set hardware /ptl hardware end /anon_vma /page free-page',
  },
  'reclaim of a file': {
    prepare: file,
    *act({ mm }) {
      yield* reclaimPage(mm, A, true);
    },
    order: 'page i_mmap:R start(CLEAR) ptl clear flush /ptl hardware end /i_mmap /page',
  },
  migration: {
    *act({ mm }) {
      yield* migrateAt(mm, A);
    },
    order:
      'alloc page anon_vma:R start(CLEAR) ptl clear flush set /ptl hardware end /anon_vma anon_vma:R ptl set /ptl /anon_vma /page free-page',
  },
  'page aging': {
    act: age,
    order: 'page anon_vma:R ptl flush young /ptl /anon_vma /page',
  },
  'clearing soft-dirty marks': {
    *act({ mm }) {
      yield* clearRefsSoftDirty(mm);
    },
    order:
      'mmap_sem:W mmap_sem:W>R start(SOFT_DIRTY) ptl clear set /ptl hardware end flush /mmap_sem',
  },
  'khugepaged looking for pages that were used': {
    *prepare(place) {
      yield* anonymous(place);
      yield* age(place);
    },
    *act({ mm }) {
      yield* scanHugePage(mm, A);
    },
    order: 'mmap_sem:R ptl test_young /ptl /mmap_sem',
  },
  'khugepaged in anonymous memory': {
    *prepare({ process }) {
      yield* process.mmap(A, BLOCK, ANON);
      yield* process.store(A, 1);
    },
    *act({ mm }) {
      yield* collapseHugePage(mm, A);
    },
    order:
      'mmap_sem:W alloc anon_vma:W start(CLEAR) pmd_lock pmd flush /pmd_lock hardware end ptl /ptl set free-page pmd_lock pmd /pmd_lock /anon_vma /mmap_sem',
  },
  'khugepaged in a file, silently': {
    prepare: file,
    *act({ mm }) {
      yield* retractPageTables(vmas(mm)[0]!.mapping!, 0);
    },
    order:
      'i_mmap:W mmap_sem:W pmd_lock ptl clear pmd flush /ptl /pmd_lock free-table /mmap_sem /i_mmap',
  },
  'migration to a device': {
    act: toDevice,
    order:
      'mmap_sem:R start(CLEAR) ptl page clear set flush /ptl hardware end alloc page anon_vma:R ptl set /ptl /anon_vma /page free-page /mmap_sem',
  },
  'the OOM reaper': {
    *act({ mm }) {
      yield* oomReapTaskMm(mm);
    },
    order: 'mmap_sem:R start(UNMAP) ptl clear /ptl hardware end flush free-page /mmap_sem',
  },
};

for (const [name, { prepare = anonymous, act, order }] of Object.entries(ROWS)) {
  test(`${name} takes its locks, tells notifiers, changes entries and flushes in the kernel's order`, () => {
    expect(orderOf(LINUX_5_4, prepare, act)).toBe(order);
  });
}

/** What is held when a start is called, what it is told, and when the CPUs' TLBs are flushed. */
interface Shape {
  readonly held: string;
  readonly event: string;
  readonly flush: 'under the lock, before the end' | 'before the end' | 'after the end' | 'never';
}

const UNDER = 'under the lock, before the end';
const AFTER = 'after the end';

/** From the facts about v5.4, not from what the model does. */
const SHAPES: Readonly<Record<string, Shape>> = {
  munmap: { held: 'mmap_sem:R', event: 'UNMAP', flush: AFTER },
  'mmap over something': { held: 'mmap_sem:W', event: 'UNMAP', flush: AFTER },
  'a heap that shrinks': { held: 'mmap_sem:R', event: 'UNMAP', flush: AFTER },
  'madvise(MADV_DONTNEED)': { held: 'mmap_sem:R', event: 'CLEAR', flush: AFTER },
  'madvise(MADV_FREE)': { held: 'mmap_sem:R', event: 'CLEAR', flush: AFTER },
  ftruncate: { held: 'i_mmap:W', event: 'CLEAR', flush: AFTER },
  'madvise(MADV_REMOVE)': { held: 'i_mmap:W', event: 'CLEAR', flush: AFTER },
  mremap: { held: 'mmap_sem:W', event: 'UNMAP', flush: UNDER },
  mprotect: { held: 'mmap_sem:W', event: 'PROTECTION_VMA', flush: AFTER },
  fork: { held: 'mmap_sem:W', event: 'PROTECTION_PAGE', flush: AFTER },
  'a copy on write': { held: 'mmap_sem:R', event: 'CLEAR', flush: UNDER },
  KSM: { held: 'mmap_sem:R page', event: 'CLEAR', flush: UNDER },
  reclaim: { held: 'page anon_vma:R', event: 'CLEAR', flush: UNDER },
  'reclaim of a file': { held: 'page i_mmap:R', event: 'CLEAR', flush: UNDER },
  migration: { held: 'page anon_vma:R', event: 'CLEAR', flush: UNDER },
  'clearing soft-dirty marks': { held: 'mmap_sem:R', event: 'SOFT_DIRTY', flush: AFTER },
  'khugepaged in anonymous memory': {
    held: 'mmap_sem:W anon_vma:W',
    event: 'CLEAR',
    flush: 'before the end',
  },
  'migration to a device': { held: 'mmap_sem:R', event: 'CLEAR', flush: UNDER },
  'the OOM reaper': { held: 'mmap_sem:R', event: 'UNMAP', flush: AFTER },
};

/** Without its mode. */
function lockName(word: string): string {
  return word.replace(/^\//, '').replace(/:.*/, '');
}

const LOCKS: ReadonlySet<string> = new Set(['mmap_sem', 'i_mmap', 'anon_vma', 'page', 'ptl']);

/** The locks held after some words. */
function heldAfter(words: readonly string[]): string[] {
  const held: string[] = [];
  for (const word of words) {
    const name = lockName(word);
    if (!LOCKS.has(name)) continue;
    const at = held.findIndex((other) => lockName(other) === name);
    if (at >= 0) held.splice(at, 1);
    if (!word.startsWith('/')) held.push(word.replace('W>R', 'R'));
  }
  return held;
}

function shapeOf(order: string): Shape {
  const words = order.split(' ');
  const start = words.findIndex((word) => word.startsWith('start('));
  const end = words.indexOf('end', start);
  const flush = words.indexOf('flush', start);
  const isUnder = heldAfter(words.slice(0, Math.max(flush, 0))).includes('ptl');
  const before = isUnder ? UNDER : 'before the end';
  return {
    held: heldAfter(words.slice(0, start)).join(' '),
    event: (words[start] as string).slice(6, -1),
    flush: flush < 0 ? 'never' : flush < end ? before : AFTER,
  };
}

test('every start has the event and the locks, and every flush the place, that the facts say', () => {
  for (const [name, shape] of Object.entries(SHAPES)) {
    const { prepare = anonymous, act } = ROWS[name] as Row;
    expect({ name, ...shapeOf(orderOf(LINUX_5_4, prepare, act)) }).toEqual({ name, ...shape });
  }
});

test('every start has its end, and entries change only in between and under their lock', () => {
  for (const behaviour of [LINUX_5_4, LINUX_6_18]) {
    for (const [name, { prepare = anonymous, act }] of Object.entries(ROWS)) {
      const words = orderOf(behaviour, prepare, act).split(' ');
      let open = 0;
      for (const [at, word] of words.entries()) {
        if (word.startsWith('start(')) open += 1;
        if (word === 'end') open -= 1;
        if (word !== 'clear') continue;
        expect([name, heldAfter(words.slice(0, at)).includes('ptl')]).toEqual([name, true]);
        const isExempt = ['exit', 'page aging', 'khugepaged in a file, silently'].includes(name);
        expect([name, open > 0 || isExempt]).toEqual([name, true]);
      }
      expect([name, open]).toEqual([name, 0]);
    }
  }
});

/** Who hears later, or earlier, in the kernel of the recordings. */
function newer(name: string, behaviour: Behaviour = LINUX_6_18): string {
  const { prepare = anonymous, act } = ROWS[name] as Row;
  return orderOf(behaviour, prepare, act);
}

test('in the kernel of the recordings hardware hears from each flush, and readers walk beside truncation', () => {
  expect(newer('munmap')).toBe(
    'mmap_sem:W mmap_sem:W>R start(UNMAP) ptl clear /ptl end anon_vma:W /anon_vma pmd flush hardware free-page free-table /mmap_sem',
  );
  expect(newer('a copy on write')).toBe(
    'mmap_sem:R ptl /ptl anon_vma:W pmd_lock /pmd_lock /anon_vma alloc start(CLEAR) ptl clear flush hardware set /ptl end /mmap_sem',
  );
  expect(newer('ftruncate')).toBe(
    'i_mmap:R start(CLEAR) ptl clear /ptl end flush hardware /i_mmap page /page free-page i_mmap:R start(CLEAR) ptl /ptl end /i_mmap',
  );
  expect(newer('khugepaged in a file, silently')).toBe(
    'i_mmap:W mmap_sem:W start(CLEAR) pmd_lock ptl clear pmd flush hardware /ptl /pmd_lock end free-table /mmap_sem /i_mmap',
  );
});
