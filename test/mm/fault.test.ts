import { expect, test } from 'vitest';
import { SIGBUS, SIGSEGV } from '../../src/base/mman.ts';
import { VM_READ } from '../../src/mm-types/vm-flags.ts';
import { auditMemory, entriesOf, staleTranslations } from '../../src/mm/audit.ts';
import { usedPages } from '../../src/mm/frames.ts';
import { isPagePresent } from '../../src/mm/page-table-walk.ts';
import { truncateInode, punchHole, readFileByte } from '../../src/mm/truncate.ts';
import { userLoad, userStore } from '../../src/mm/user-access.ts';
import { zapPageRangeSingle } from '../../src/mm/zap.ts';
import { faultAroundWindow } from '../../src/mm/fault-file.ts';
import {
  BASE,
  map,
  MAY,
  newFile,
  newMm,
  pageAt,
  runAlone,
  RW,
  RW_SHARED,
  unmapAll,
} from '../util/memory.ts';

test('reading anonymous memory maps the zero page, writing makes a page of its own', () => {
  const { findings } = runAlone({
    *task(kernel) {
      const mm = yield* newMm();
      const vma = yield* map(mm, [0, 4]);
      expect(yield* userLoad(mm, BASE + 5)).toBe(0);
      expect(usedPages(kernel)).toHaveLength(0);
      expect(isPagePresent(mm, BASE)).toBe(true);
      expect(vma.anonVma).toBeNull();
      expect(yield* userStore(mm, BASE + 5, 42)).toBe(0);
      expect(yield* userLoad(mm, BASE + 5)).toBe(42);
      expect(yield* userLoad(mm, BASE + 6)).toBe(0);
      expect(usedPages(kernel)).toHaveLength(1);
      expect(vma.anonVma).not.toBeNull();
      expect(auditMemory(kernel, { mms: [mm], mappings: [] })).toEqual([]);
      yield* unmapAll(mm);
      expect(usedPages(kernel)).toHaveLength(0);
    },
  });
  expect(findings).toEqual([]);
});

test('an access where nothing is mapped, or against the rights, is SIGSEGV', () => {
  const { findings } = runAlone({
    *task() {
      const mm = yield* newMm();
      yield* map(mm, [0, 1], VM_READ | MAY);
      yield* map(mm, [1, 1], MAY);
      expect(yield* userStore(mm, BASE, 1)).toBe(-SIGSEGV);
      expect(yield* userLoad(mm, BASE)).toBe(0);
      expect(yield* userLoad(mm, pageAt(1))).toBe(-SIGSEGV);
      expect(yield* userLoad(mm, pageAt(2))).toBe(-SIGSEGV);
      expect(yield* userLoad(mm, 2 ** 47)).toBe(-SIGSEGV);
      yield* unmapAll(mm);
    },
  });
  expect(findings).toEqual([]);
});

test('a private mapping of a file shows the file until it is written', () => {
  const { findings } = runAlone({
    *task(kernel) {
      const mm = yield* newMm();
      const mapping = yield* newFile(4);
      yield* map(mm, [0, 4], RW, { mapping });
      yield* map(mm, [8, 4], RW_SHARED, { mapping });
      expect(yield* userStore(mm, pageAt(8) + 1, 7)).toBe(0);
      expect(yield* userLoad(mm, pageAt(0) + 1)).toBe(7);
      expect(yield* userStore(mm, pageAt(0) + 1, 9)).toBe(0);
      expect(yield* userLoad(mm, pageAt(8) + 1)).toBe(7);
      expect(yield* userLoad(mm, pageAt(0) + 1)).toBe(9);
      expect(yield* readFileByte(mapping, 1)).toBe(7);
      expect(yield* userLoad(mm, pageAt(1))).toBe(0);
      expect(auditMemory(kernel, { mms: [mm], mappings: [mapping] })).toEqual([]);
      yield* unmapAll(mm);
      yield* truncateInode(mapping, 0);
      expect(usedPages(kernel)).toHaveLength(0);
    },
  });
  expect(findings).toEqual([]);
});

test('behind the end of the file an access is SIGBUS, and truncation takes private copies too', () => {
  const { findings } = runAlone({
    *task(kernel) {
      const mm = yield* newMm();
      const mapping = yield* newFile(4);
      yield* map(mm, [0, 8], RW, { mapping });
      expect(yield* userStore(mm, pageAt(2), 9)).toBe(0);
      expect(yield* userLoad(mm, pageAt(4))).toBe(-SIGBUS);
      expect(yield* truncateInode(mapping, 2 * 4096)).toBe(0);
      expect(yield* userLoad(mm, pageAt(2))).toBe(-SIGBUS);
      expect(yield* truncateInode(mapping, 4 * 4096)).toBe(0);
      expect(yield* userLoad(mm, pageAt(2))).toBe(0);
      expect(auditMemory(kernel, { mms: [mm], mappings: [mapping] })).toEqual([]);
      yield* unmapAll(mm);
    },
  });
  expect(findings).toEqual([]);
});

test('a hole takes pages of the file and leaves private copies, and zeroes parts of pages', () => {
  const { findings } = runAlone({
    *task(kernel) {
      const mm = yield* newMm();
      const mapping = yield* newFile(4);
      yield* map(mm, [0, 4], RW, { mapping });
      yield* map(mm, [8, 4], RW_SHARED, { mapping });
      for (const at of [0, 1, 2, 3]) yield* userStore(mm, pageAt(8 + at) + 100, 5);
      yield* userStore(mm, pageAt(1) + 100, 6);
      expect(yield* punchHole(mapping, 50, 2 * 4096 + 200)).toBe(0);
      expect(yield* userLoad(mm, pageAt(8) + 100)).toBe(0);
      expect(yield* userLoad(mm, pageAt(9) + 100)).toBe(0);
      expect(yield* userLoad(mm, pageAt(10) + 100)).toBe(0);
      expect(yield* userLoad(mm, pageAt(11) + 100)).toBe(5);
      expect(yield* userLoad(mm, pageAt(1) + 100)).toBe(6);
      expect(auditMemory(kernel, { mms: [mm], mappings: [mapping] })).toEqual([]);
      yield* unmapAll(mm);
    },
  });
  expect(findings).toEqual([]);
});

test('fault-around looks at 16 pages, from the VMA on, and not beyond the page table', () => {
  const vma = { vmStart: 5 * 4096, vmEnd: 600 * 4096 };
  const around = (page: number): number[] =>
    faultAroundWindow(vma, page * 4096).map((address) => address / 4096);
  expect(around(7)).toEqual([5, 21]);
  expect(around(17)).toEqual([16, 32]);
  expect(around(511)).toEqual([496, 512]);
  expect(around(512)).toEqual([512, 528]);
  expect(around(599)).toEqual([592, 600]);
});

test('what was zapped is read as zero, and no TLB knows it any more', () => {
  const { findings } = runAlone({
    *task(kernel) {
      const mm = yield* newMm();
      const vma = yield* map(mm, [0, 4]);
      yield* userStore(mm, pageAt(1), 3);
      yield* zapPageRangeSingle(vma, pageAt(1), pageAt(2));
      expect(staleTranslations(mm)).toEqual([]);
      expect(entriesOf(mm)).toEqual([]);
      expect(usedPages(kernel)).toHaveLength(0);
      expect(yield* userLoad(mm, pageAt(1))).toBe(0);
      yield* unmapAll(mm);
    },
  });
  expect(findings).toEqual([]);
});

test('a fault without memory is tried again, whichever allocation failed', () => {
  for (let fails = 0; fails < 12; fails += 1) {
    const outcomes = Array.from({ length: fails }, () => 0);
    const { findings } = runAlone(
      {
        *task(kernel) {
          const mm = yield* newMm();
          const mapping = yield* newFile(1);
          yield* map(mm, [0, 2]);
          yield* map(mm, [4, 1], RW, { mapping });
          expect(yield* userStore(mm, pageAt(1), 3)).toBe(0);
          expect(yield* userStore(mm, pageAt(4), 4)).toBe(0);
          expect(yield* userLoad(mm, pageAt(1))).toBe(3);
          expect(yield* userLoad(mm, pageAt(4))).toBe(4);
          expect(auditMemory(kernel, { mms: [mm], mappings: [mapping] })).toEqual([]);
          yield* unmapAll(mm);
        },
      },
      // The first few succeed: the mm, the file, VMAs.
      { budget: { allocations: 1 }, outcomes: [0, 0, 0, 0, ...outcomes, 1] },
    );
    expect(findings).toEqual([]);
  }
});
