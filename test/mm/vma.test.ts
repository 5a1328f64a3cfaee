/** Which neighbours are one VMA and which are not, and what hangs on a VMA: anon_vmas, the file's tree. */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import { findVma, vmaLookup } from '../../src/mm/vma.ts';
import { vmaIntervalTreeFirst, vmaIntervalTreeNext } from '../../src/mm/file-mapping.ts';
import { rootOf } from '../../src/mm-types/anon-vma.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import type { VmArea } from '../../src/mm-types/vma.ts';
import { VM_LOCKED } from '../../src/mm-types/vm-flags.ts';
import type { Process } from '../../src/mm/process.ts';
import { at, BASE, pages, User } from '../util/direct-user.ts';

const R = m.PROT_READ;
const RW = R | m.PROT_WRITE;
const RWX = RW | m.PROT_EXEC;
const ANON = m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED;
const SHARED = m.MAP_SHARED | m.MAP_ANONYMOUS | m.MAP_FIXED;
const FIXED = m.MREMAP_MAYMOVE | m.MREMAP_FIXED;

function map(user: User, first: number, count: number, prot = RW, flags = ANON): void {
  const address = user.run(user.process.mmap(at(first), pages(count), { prot, flags }));
  expect(address).toBe(at(first));
}

function mapFile(
  user: User,
  fd: number,
  where: readonly [first: number, count: number],
  page: number,
) {
  const [first, count] = where;
  const options = { flags: m.MAP_SHARED | m.MAP_FIXED, fd, offset: pages(page) };
  expect(user.run(user.process.mmap(at(first), pages(count), options))).toBe(at(first));
}

function protect(user: User, first: number, count: number, prot: number): void {
  expect(user.run(user.process.mprotect(at(first), pages(count), prot))).toBe(0);
}

function store(user: User, page: number, byte = 1): void {
  expect(user.run(user.process.store(at(page), byte))).toBe(0);
}

function move(user: User, from: number, count: number, to: number, flags = FIXED): void {
  const options = { flags, newAddress: at(to) };
  const moved = user.process.mremap(at(from), pages(count), pages(count), options);
  expect(user.run(moved)).toBe(at(to));
}

function vmaAt(user: User, page: number, process: Process = user.process): VmArea {
  return vmaLookup(process.mm!, at(page))!;
}

test('a part with other rights is a VMA of its own, until it has the same again', () => {
  const user = new User();
  map(user, 0, 6);
  protect(user, 2, 2, R);
  expect(user.vmas()).toEqual(['0-2', '2-4', '4-6']);
  protect(user, 3, 3, R);
  expect(user.vmas()).toEqual(['0-2', '2-6']);
  protect(user, 2, 4, RW);
  expect(user.vmas()).toEqual(['0-6']);
  expect(user.process.mm!.mapCount).toBe(1);
});

test('a new mapping joins neighbours with the same flags, on one side or both', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 2, 1);
  map(user, 4, 1, R);
  map(user, 1, 1);
  expect(user.vmas()).toEqual(['0-3', '4-5']);
  map(user, 3, 1);
  expect(user.vmas()).toEqual(['0-4', '4-5']);
});

test('neighbours that have come to fit stay apart until a call touches their border', () => {
  const user = new User();
  map(user, 0, 4);
  user.run(user.process.mlock(at(0), pages(2)));
  // It takes the lock from its source, and looks at no neighbour.
  move(user, 0, 1, 8, FIXED | m.MREMAP_DONTUNMAP);
  expect(user.vmas()).toEqual(['0-2', '2-4', '8-9']);
  protect(user, 0, 2, R);
  protect(user, 0, 2, RW);
  expect(user.vmas()).toEqual(['0-4', '8-9']);
});

test('pieces of one shared mapping join again, two mappings never do', () => {
  const user = new User();
  map(user, 0, 4, RW, SHARED);
  map(user, 4, 2, RW, SHARED);
  protect(user, 1, 1, R);
  expect(user.vmas()).toEqual(['0-1', '1-2', '2-4', '4-6']);
  protect(user, 0, 4, RW);
  expect(user.vmas()).toEqual(['0-4', '4-6']);
});

test('mappings of a file join if the offset goes on and the open file is the same', () => {
  const user = new User();
  const fd = user.run(user.process.memfdCreate('f'));
  user.run(user.process.ftruncate(fd, pages(8)));
  mapFile(user, fd, [0, 1], 0);
  mapFile(user, fd, [1, 1], 1);
  mapFile(user, fd, [2, 1], 3);
  expect(user.vmas()).toEqual(['0-2', '2-3']);
  const again = user.run(user.process.open(`/proc/self/fd/${fd}`));
  mapFile(user, again, [3, 1], 4);
  expect(user.vmas()).toEqual(['0-2', '2-3', '3-4']);
});

test('memory that was writable and touched is charged for, and never joins what was not', () => {
  const user = new User();
  map(user, 0, 1, R);
  map(user, 1, 1);
  protect(user, 1, 1, R);
  // Never touched: the charge is given back.
  expect(user.vmas()).toEqual(['0-2']);
  map(user, 2, 1);
  store(user, 2);
  protect(user, 2, 1, R);
  expect(user.vmas()).toEqual(['0-2', '2-3']);
});

test('an anon_vma is shared with the next neighbour, else the one before, else made', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 1, 1, RWX);
  map(user, 2, 1);
  store(user, 0);
  store(user, 2);
  expect(vmaAt(user, 0).anonVma).not.toBe(vmaAt(user, 2).anonVma);
  store(user, 1);
  expect(vmaAt(user, 1).anonVma).toBe(vmaAt(user, 2).anonVma);
  map(user, 3, 1, RWX);
  store(user, 3);
  expect(vmaAt(user, 3).anonVma).toBe(vmaAt(user, 2).anonVma);
  // A file's neighbour is another's memory.
  map(user, 4, 1, RW, SHARED);
  store(user, 4);
  expect(vmaAt(user, 4).anonVma).toBeNull();
});

test('a new mapping between two with different anon_vmas joins only the left one', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 2, 1);
  store(user, 0);
  store(user, 2);
  map(user, 1, 1);
  expect(user.vmas()).toEqual(['0-2', '2-3']);
});

test('new rights between two with different anon_vmas join only the left one', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 1, 1, RWX);
  map(user, 2, 1);
  store(user, 0);
  store(user, 2);
  protect(user, 1, 1, RW);
  expect(user.vmas()).toEqual(['0-2', '2-3']);
});

test('a VMA without an anon_vma takes over that of what it takes in', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 1, 2, RWX);
  store(user, 2);
  const { anonVma } = vmaAt(user, 2);
  protect(user, 1, 2, RW);
  expect(user.vmas()).toEqual(['0-3']);
  expect(vmaAt(user, 0).anonVma).toBe(anonVma);
  expect(anonVma!.numActiveVmas).toBe(1);
});

test('untouched memory that moves fits its new place, touched memory only its old one', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 8, 1);
  move(user, 0, 1, 9);
  expect(user.vmas()).toEqual(['8-10']);
  map(user, 0, 2);
  store(user, 0);
  store(user, 1);
  move(user, 1, 1, 10);
  expect(user.vmas()).toEqual(['0-1', '8-10', '10-11']);
  move(user, 10, 1, 1);
  expect(user.vmas()).toEqual(['0-2', '8-10']);
});

test('untouched memory may move beside itself', () => {
  const user = new User();
  map(user, 4, 4);
  move(user, 6, 2, 2);
  expect(user.vmas()).toEqual(['2-6']);
  const flags = FIXED | m.MREMAP_DONTUNMAP;
  move(user, 2, 4, 6, flags);
  expect(user.vmas()).toEqual(['2-10']);
});

test('MREMAP_DONTUNMAP unlocks all of the source, and drops the anon_vma of what has moved as a whole', () => {
  const user = new User();
  map(user, 0, 3);
  user.run(user.process.mlock(at(0), pages(3)));
  const flags = FIXED | m.MREMAP_DONTUNMAP;
  move(user, 1, 1, 8, flags);
  expect(user.vmas()).toEqual(['0-3', '8-9']);
  expect(vmaAt(user, 0).vmFlags & VM_LOCKED).toBe(0);
  expect(vmaAt(user, 8).vmFlags & VM_LOCKED).toBe(VM_LOCKED);
  expect(vmaAt(user, 0).anonVma).not.toBeNull();
  move(user, 0, 3, 16, flags);
  expect(vmaAt(user, 0).anonVma).toBeNull();
});

test('a forked VMA that may map pages of the parent joins no untouched neighbour', () => {
  const user = new User();
  map(user, 0, 1);
  map(user, 1, 1, RWX);
  store(user, 1);
  const child = user.run(user.process.fork()) as Process;
  user.run(child.mprotect(at(1), pages(1), RW));
  expect(user.vmas(child)).toEqual(['0-1', '1-2']);
  protect(user, 1, 1, RW);
  expect(user.vmas()).toEqual(['0-2']);
});

test('fork links the child to the anon_vmas of its ancestors, with one root', () => {
  const user = new User();
  map(user, 0, 1);
  store(user, 0);
  const child = user.run(user.process.fork()) as Process;
  const grandchild = user.run(child.fork()) as Process;
  const [one, two, three] = [user.process, child, grandchild].map(
    (process) => vmaAt(user, 0, process).anonVma!,
  );
  expect(new Set([one, two, three]).size).toBe(3);
  expect([two, three].map((anonVma) => rootOf(anonVma!))).toEqual([one, one]);
  expect(one!.refcount.value).toBe(3);
});

test('an anon_vma whose VMA is gone is used again by the next child', () => {
  const user = new User();
  map(user, 0, 1);
  store(user, 0);
  const child = user.run(user.process.fork()) as Process;
  const { anonVma } = vmaAt(user, 0, child);
  const grandchild = user.run(child.fork()) as Process;
  user.run(child.exit());
  const next = user.run(grandchild.fork()) as Process;
  expect(vmaAt(user, 0, next).anonVma).toBe(anonVma);
});

test('whatever the order in which a family exits, nothing is left behind', () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [1, 2, 0],
  ]) {
    const user = new User();
    map(user, 0, 4);
    store(user, 1);
    const child = user.run(user.process.fork()) as Process;
    user.run(child.store(at(1), 2));
    user.run(child.munmap(at(2), pages(1)));
    const grandchild = user.run(child.fork()) as Process;
    user.run(grandchild.mprotect(at(1), pages(1), R));
    const family = [user.process, child, grandchild];
    for (const index of order) user.run(family[index]!.exit());
    expect([...user.machine.slabMemory].map(({ name }) => name)).toEqual([]);
  }
});

test('DONTFORK is absent in the child, WIPEONFORK empty, locks are not inherited', () => {
  const user = new User();
  map(user, 0, 3);
  for (const page of [0, 1, 2]) store(user, page, 5);
  user.run(user.process.madvise(at(0), pages(1), m.MADV_DONTFORK));
  user.run(user.process.madvise(at(1), pages(1), m.MADV_WIPEONFORK));
  user.run(user.process.mlock(at(2), pages(1)));
  const child = user.run(user.process.fork()) as Process;
  expect(user.vmas(child)).toEqual(['1-2', '2-3']);
  expect([1, 2].map((page) => user.run(child.load(at(page))))).toEqual([0, 5]);
  expect(vmaAt(user, 2, child).vmFlags & VM_LOCKED).toBe(0);
  const grandchild = user.run(child.fork()) as Process;
  user.run(child.store(at(1), 9));
  expect(user.run(grandchild.load(at(1)))).toBe(0);
});

/** The mappings of the file in the order of its tree, by their first page of the window. */
function fileOrder(user: User, page: number): number[] {
  const mapping = vmaAt(user, page).mapping!;
  const found: number[] = [];
  let vma = vmaIntervalTreeFirst(mapping, 0, 99);
  for (; vma !== null; vma = vmaIntervalTreeNext(vma, 0, 99))
    found.push((vma.vmStart - BASE) / 4096);
  return found;
}

test('a file knows its mappings by offset, equal ones by when they were last put in', () => {
  const user = new User();
  const fd = user.run(user.process.memfdCreate('f'));
  user.run(user.process.ftruncate(fd, pages(8)));
  mapFile(user, fd, [20, 2], 4);
  mapFile(user, fd, [0, 4], 0);
  mapFile(user, fd, [10, 4], 0);
  expect(fileOrder(user, 0)).toEqual([0, 10, 20]);
  // A split puts the old part in anew, also if its offset stays.
  protect(user, 2, 2, R);
  expect(fileOrder(user, 0)).toEqual([10, 0, 2, 20]);
  protect(user, 10, 1, R);
  expect(fileOrder(user, 0)).toEqual([0, 10, 11, 2, 20]);
  protect(user, 10, 1, RW);
  expect(fileOrder(user, 0)).toEqual([0, 10, 2, 20]);
});

test('a split within a 2 MiB block of one VMA tells the block, also when a border moves into it', () => {
  const user = new User();
  map(user, 0, 2048);
  store(user, 0);
  user.listen();
  protect(user, 700, 1348, R);
  expect(user.heard()).toEqual(['512-1024', '700-2048']);
  protect(user, 1600, 448, RWX);
  expect(user.heard()).toEqual(['1536-2048', '1600-2048']);
  // The border moves: only the one that shrinks has a block there.
  protect(user, 1100, 500, RWX);
  expect(user.heard()).toEqual(['1024-1536', '1100-1600']);
  user.run(user.process.munmap(at(100), pages(100)));
  expect(user.heard()).toEqual(['0-512', '100-200']);
});

test('mappings nobody asked an address for are packed downwards, holes first', () => {
  const user = new User();
  const { process } = user;
  const any = (count: number): number => user.run(process.mmap(0, pages(count), { prot: R }));
  const top = any(1) + pages(1);
  const first = any(3);
  expect(first).toBe(top - pages(4));
  user.run(process.munmap(first, pages(2)));
  expect(any(3)).toBe(first - pages(1));
  expect(findVma(process.mm!, top)).toBeNull();
  expect(any(1)).toBe(first - pages(2));
});

test('where a mapping goes is where a search of all holes from the top finds room', () => {
  const user = new User();
  const { process } = user;
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const top = user.run(process.mmap(0, pages(1))) + pages(1);
  const naive = (length: number): number => {
    let end = top;
    for (const vma of vmas(process.mm!).toReversed()) {
      if (end - vma.vmEnd >= length) return end - length;
      end = vma.vmStart;
    }
    return end - length;
  };
  for (let round = 0; round < 600; round += 1) {
    if (random(3) > 0) {
      const length = pages(1 + random(6));
      const expected = naive(length);
      const prot = random(2) === 0 ? R : RW;
      expect(user.run(process.mmap(0, length, { prot }))).toBe(expected);
    } else {
      const start = top - pages(1 + random(300));
      user.run(process.munmap(start, pages(1 + random(8))));
    }
  }
});
