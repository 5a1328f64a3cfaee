/**
 * Cases of public suites that a real kernel passes: the kernel's mm selftests (mremap_test,
 * mremap_dontunmap, merge, madv_populate), LTP and gVisor, told in this mm's words.
 */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import type { Process } from '../../src/mm/process.ts';
import { at, BASE, pages, User } from '../util/direct-user.ts';

const R = m.PROT_READ;
const RW = R | m.PROT_WRITE;
const ANON = m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED;
const SHARED = m.MAP_SHARED | m.MAP_ANONYMOUS | m.MAP_FIXED;
const FIXED = m.MREMAP_MAYMOVE | m.MREMAP_FIXED;
const DONTUNMAP = FIXED | m.MREMAP_DONTUNMAP;

function map(user: User, first: number, count: number, prot = RW, flags = ANON): void {
  const address = user.run(user.process.mmap(at(first), pages(count), { prot, flags }));
  expect(address).toBe(at(first));
}

/** Writes the page's number plus `first` into each page. */
function fill(user: User, start: number, count: number, first: number): void {
  for (let page = 0; page < count; page += 1) {
    expect(user.run(user.process.store(at(start + page), first + page))).toBe(0);
  }
}

function bytes(user: User, start: number, count: number, process = user.process): number[] {
  return Array.from({ length: count }, (_, page) => user.run(process.load(at(start + page))));
}

function move(user: User, from: number, count: number, to: number, flags = FIXED): string {
  const options = { flags, newAddress: at(to) };
  return user.error(user.process.mremap(at(from), pages(count), pages(count), options));
}

/** A file of `count` pages, whose first bytes are `first`, `first` + 1 and so on. */
function memfd(user: User, count: number, first: number): number {
  const fd = user.run(user.process.memfdCreate('file'));
  user.run(user.process.ftruncate(fd, pages(count)));
  for (let page = 0; page < count; page += 1) {
    user.run(user.process.pwrite(fd, [first + page], pages(page)));
  }
  return fd;
}

test('mremap_test: moves between aligned and unaligned places keep the contents', () => {
  const pmd = 2 ** 21 / 4096;
  const pud = 2 ** 30 / 4096;
  const moves = [
    { from: 1, to: 100, count: 4 },
    { from: 1, to: 4 * pmd, count: pmd + 3 },
    { from: pmd, to: 4 * pmd + 1, count: pmd },
    { from: pmd, to: 4 * pmd, count: 2 * pmd },
    { from: pmd - 1, to: 4 * pmd - 1, count: pmd + 2 },
    { from: pmd, to: pud, count: pmd },
    { from: pud - 2, to: 3 * pud + 7, count: 5 },
  ];
  for (const { from, to, count } of moves) {
    const user = new User();
    map(user, from, count);
    const touched = [0, 1, 2, Math.floor(count / 2), count - 1];
    for (const page of touched) fill(user, from + page, 1, 1 + (page % 200));
    expect(move(user, from, count, to)).toBe('ok');
    for (const page of touched) expect(bytes(user, to + page, 1)).toEqual([1 + (page % 200)]);
    expect(user.signal(user.process.load(at(from)))).toBe('SIGSEGV');
    expect(user.vmas()).toEqual([`${to}-${to + count}`]);
  }
});

test('mremap_test: growing into a hole joins what is on both sides', () => {
  const user = new User();
  map(user, 0, 3);
  user.run(user.process.munmap(at(1), pages(1)));
  expect(user.error(user.process.mremap(at(0), pages(1), pages(2)))).toBe('ok');
  expect(user.vmas()).toEqual(['0-3']);
  map(user, 10, 4);
  user.run(user.process.munmap(at(12), pages(1)));
  expect(user.error(user.process.mremap(at(11), pages(1), pages(2)))).toBe('ok');
  expect(user.vmas()).toEqual(['0-3', '10-14']);
});

test('mremap_test: a move within one mapping replaces what is there and leaves a hole', () => {
  const user = new User();
  map(user, 0, 10);
  fill(user, 0, 10, 1);
  expect(move(user, 7, 2, 2)).toBe('ok');
  expect(bytes(user, 0, 7)).toEqual([1, 2, 8, 9, 5, 6, 7]);
  expect(user.signal(user.process.load(at(7)))).toBe('SIGSEGV');
  expect(bytes(user, 9, 1)).toEqual([10]);
});

test('mremap_test: a move of several mappings keeps the holes between them', () => {
  const user = new User();
  for (const page of [0, 2, 3, 6]) {
    map(user, page, 1, page === 3 ? R | m.PROT_EXEC : RW);
    if (page !== 3) fill(user, page, 1, page + 1);
  }
  expect(move(user, 0, 8, 20)).toBe('ok');
  expect(user.vmas()).toEqual(['20-21', '22-23', '23-24', '26-27']);
  expect(bytes(user, 20, 1)).toEqual([1]);
  expect(bytes(user, 26, 1)).toEqual([7]);
  // A hole at the start is an error, and nothing has moved.
  expect(move(user, 19, 4, 40)).toBe('EFAULT');
  expect(user.vmas()).toEqual(['20-21', '22-23', '23-24', '26-27']);
});

test('mremap_dontunmap: shared memory is seen at both places', () => {
  const user = new User();
  map(user, 0, 2, RW, SHARED);
  fill(user, 0, 2, 5);
  expect(move(user, 0, 2, 8, DONTUNMAP)).toBe('ok');
  expect(bytes(user, 0, 2)).toEqual([5, 6]);
  expect(bytes(user, 8, 2)).toEqual([5, 6]);
});

test('gVisor mremap: growing by a move keeps private copies and shows what follows in the file', () => {
  const user = new User();
  const fd = memfd(user, 3, 10);
  user.run(user.process.mmap(at(0), pages(2), { flags: m.MAP_PRIVATE | m.MAP_FIXED, fd }));
  fill(user, 0, 1, 99);
  map(user, 2, 1, R);
  expect(user.error(user.process.mremap(at(0), pages(2), pages(3)))).toBe('ENOMEM');
  const grown = user.run(user.process.mremap(at(0), pages(2), pages(3), { flags: 1 }));
  expect(bytes(user, (grown - BASE) / 4096, 3)).toEqual([99, 11, 12]);
  expect(user.vmas()[0]).toBe('2-3');
});

test('gVisor mremap: shared anonymous memory that shrank and grew has its page back, and no more', () => {
  const user = new User();
  map(user, 0, 2, RW, SHARED);
  fill(user, 0, 2, 1);
  expect(user.error(user.process.mremap(at(0), pages(2), pages(1)))).toBe('ok');
  map(user, 1, 1, R);
  const grown = user.run(user.process.mremap(at(0), pages(1), pages(3), { flags: 1 }));
  const first = (grown - BASE) / 4096;
  expect(bytes(user, first, 2)).toEqual([1, 2]);
  expect(user.signal(user.process.load(at(first + 2)))).toBe('SIGBUS');
});

test('LTP mremap06: pages of a file moved out and back are in order', () => {
  for (const prot of [RW, R]) {
    const user = new User();
    const fd = memfd(user, 4, 1);
    user.run(user.process.mmap(at(0), pages(4), { flags: m.MAP_SHARED | m.MAP_FIXED, fd }));
    expect(move(user, 1, 1, 10)).toBe('ok');
    user.run(user.process.mprotect(at(10), pages(1), prot));
    expect(move(user, 10, 1, 1)).toBe('ok');
    expect(bytes(user, 0, 4)).toEqual([1, 2, 3, 4]);
    expect(user.vmas()).toEqual(prot === RW ? ['0-4'] : ['0-1', '1-2', '2-4']);
  }
});

test('LTP mmap19: two mappings of files that change places show one another', () => {
  const user = new User();
  const [one, two] = [memfd(user, 1, 1), memfd(user, 1, 2)];
  const flags = m.MAP_SHARED | m.MAP_FIXED;
  user.run(user.process.mmap(at(0), pages(1), { flags, fd: one }));
  user.run(user.process.mmap(at(1), pages(1), { flags, fd: two }));
  expect(bytes(user, 0, 2)).toEqual([1, 2]);
  expect(move(user, 0, 1, 5)).toBe('ok');
  expect(move(user, 1, 1, 0)).toBe('ok');
  expect(move(user, 5, 1, 1)).toBe('ok');
  expect(bytes(user, 0, 2)).toEqual([2, 1]);
});

test('LTP mmap01: the rest of the last page is zero, and is not written to the file', () => {
  const user = new User();
  const fd = user.run(user.process.memfdCreate('f'));
  user.run(user.process.pwrite(fd, [1, 2, 3], 0));
  user.run(user.process.mmap(at(0), pages(1), { flags: m.MAP_SHARED | m.MAP_FIXED, fd }));
  expect(user.run(user.process.load(at(0) + 3))).toBe(0);
  expect(user.run(user.process.store(at(0) + 3, 9))).toBe(0);
  expect(user.run(user.process.pread(fd, 10, 0))).toEqual(Uint8Array.of(1, 2, 3));
});

test('LTP mmap12 and mmap14: MAP_POPULATE and MAP_LOCKED have the pages there at once', () => {
  for (const flag of [m.MAP_POPULATE, m.MAP_LOCKED]) {
    const user = new User();
    map(user, 0, 3, RW, ANON | flag);
    expect(user.run(user.process.mincore(at(0), pages(3)))).toEqual(Uint8Array.of(1, 1, 1));
  }
  const user = new User();
  map(user, 0, 3, RW, ANON | m.MAP_POPULATE | m.MAP_NONBLOCK);
  expect(user.run(user.process.mincore(at(0), pages(3)))).toEqual(Uint8Array.of(0, 0, 0));
});

test('LTP mprotect05: pieces of other rights within the range become one', () => {
  const user = new User();
  map(user, 0, 16);
  for (const page of [3, 7, 11]) {
    expect(user.run(user.process.mprotect(at(page), pages(2), R))).toBe(0);
  }
  expect(user.vmas()).toHaveLength(7);
  expect(user.run(user.process.mprotect(at(0), pages(16), R))).toBe(0);
  expect(user.vmas()).toEqual(['0-16']);
});

test('LTP munmap03 and munmap04: a part in the middle goes, the rest stays', () => {
  const user = new User();
  map(user, 0, 3);
  fill(user, 0, 3, 1);
  expect(user.error(user.process.munmap(at(1), pages(1)))).toBe('ok');
  expect(user.vmas()).toEqual(['0-1', '2-3']);
  expect(bytes(user, 0, 1)).toEqual([1]);
  expect(bytes(user, 2, 1)).toEqual([3]);
});

test('LTP madvise10: KEEPONFORK undoes WIPEONFORK, and no length changes nothing', () => {
  const user = new User();
  map(user, 0, 3);
  fill(user, 0, 3, 1);
  user.run(user.process.madvise(at(0), pages(2), m.MADV_WIPEONFORK));
  user.run(user.process.madvise(at(1), pages(1), m.MADV_KEEPONFORK));
  user.run(user.process.madvise(at(2), 0, m.MADV_WIPEONFORK));
  const child = user.run(user.process.fork()) as Process;
  expect(bytes(user, 0, 3, child)).toEqual([0, 2, 3]);
});

test('LTP vma01: a mapping of the child beside an inherited one of its own is not joined to it', () => {
  const user = new User();
  map(user, 0, 3);
  fill(user, 0, 3, 1);
  const child = user.run(user.process.fork()) as Process;
  const flags = ANON;
  user.run(child.mmap(at(3), pages(3), { prot: RW, flags }));
  expect(user.vmas(child)).toEqual(['0-3', '3-6']);
});

test('gVisor fork: memory is private over three generations, shared memory is not', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 1, 1, RW, SHARED);
  fill(user, 0, 2, 1);
  const child = user.run(user.process.fork()) as Process;
  const grandchild = user.run(child.fork()) as Process;
  user.run(child.store(at(0), 50));
  user.run(grandchild.store(at(0), 60));
  user.run(grandchild.store(at(1), 70));
  expect(bytes(user, 0, 2)).toEqual([1, 70]);
  expect(bytes(user, 0, 2, child)).toEqual([50, 70]);
  expect(bytes(user, 0, 2, grandchild)).toEqual([60, 70]);
});

test('gVisor madvise: DONTNEED brings back what the file has, in this process only', () => {
  const user = new User();
  const fd = memfd(user, 1, 7);
  user.run(user.process.mmap(at(0), pages(1), { flags: m.MAP_PRIVATE | m.MAP_FIXED, fd }));
  fill(user, 0, 1, 30);
  const child = user.run(user.process.fork()) as Process;
  user.run(user.process.madvise(at(0), pages(1), m.MADV_DONTNEED));
  expect(bytes(user, 0, 1)).toEqual([7]);
  expect(bytes(user, 0, 1, child)).toEqual([30]);
});

test('gVisor mmap: without access the memory stays, and is back with the rights', () => {
  const user = new User();
  map(user, 0, 1);
  fill(user, 0, 1, 8);
  user.run(user.process.mprotect(at(0), pages(1), m.PROT_NONE));
  expect(user.signal(user.process.load(at(0)))).toBe('SIGSEGV');
  user.run(user.process.mprotect(at(0), pages(1), RW));
  expect(bytes(user, 0, 1)).toEqual([8]);
});

test('gVisor mmap: a file cut short and made longer shows zeroes, its own and a private copy', () => {
  const user = new User();
  const fd = memfd(user, 2, 5);
  for (const [page, kind] of [
    [0, m.MAP_SHARED],
    [2, m.MAP_PRIVATE],
  ] as const) {
    user.run(user.process.mmap(at(page), pages(2), { flags: kind | m.MAP_FIXED, fd }));
  }
  fill(user, 2, 2, 90);
  user.run(user.process.ftruncate(fd, 1));
  expect(bytes(user, 0, 1)).toEqual([5]);
  expect(bytes(user, 2, 1)).toEqual([90]);
  expect(user.signal(user.process.load(at(1)))).toBe('SIGBUS');
  expect(user.signal(user.process.load(at(3)))).toBe('SIGBUS');
  user.run(user.process.ftruncate(fd, pages(2)));
  expect(bytes(user, 0, 2)).toEqual([5, 0]);
  expect(bytes(user, 2, 2)).toEqual([90, 0]);
});
