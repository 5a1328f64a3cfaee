/**
 * Errors of odd calls: what a real 6.18 was seen to return, and the cases of public suites (LTP, gVisor,
 * kernel selftests) for the same calls.
 */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import { TASK_SIZE } from '../../src/mm-types/mm-struct.ts';
import { MAP_COUNT_MAX } from '../../src/mm/vma.ts';
import { at, pages, User } from '../util/direct-user.ts';

const ANON = m.MAP_PRIVATE | m.MAP_ANONYMOUS;
const SHARED_ANON = m.MAP_SHARED | m.MAP_ANONYMOUS;
const RW = m.PROT_READ | m.PROT_WRITE;
const FIXED_MOVE = m.MREMAP_MAYMOVE | m.MREMAP_FIXED;

function map(user: User, first: number, count: number, prot = RW, flags = ANON): void {
  const options = { prot, flags: flags | m.MAP_FIXED };
  expect(user.run(user.process.mmap(at(first), pages(count), options))).toBe(at(first));
}

/** Options of mremap. */
function to(page: number, flags: number): { flags: number; newAddress: number } {
  return { flags, newAddress: at(page) };
}

function memfd(user: User, size: number): number {
  const fd = user.run(user.process.memfdCreate('file'));
  user.run(user.process.ftruncate(fd, size));
  return fd;
}

test('mmap refuses what makes no sense', () => {
  const user = new User();
  const { process } = user;
  const error = (...args: Parameters<typeof process.mmap>): string =>
    user.error(process.mmap(...args));
  expect(error(0, 0)).toBe('EINVAL');
  expect(error(0, pages(1), { flags: m.MAP_ANONYMOUS })).toBe('EINVAL');
  expect(error(0, pages(1), { flags: m.MAP_SHARED_VALIDATE | m.MAP_ANONYMOUS })).toBe('EINVAL');
  expect(error(at(0) + 1, pages(1), { flags: ANON | m.MAP_FIXED })).toBe('EINVAL');
  expect(error(at(0) + 1, pages(1), { flags: ANON | m.MAP_FIXED_NOREPLACE })).toBe('EINVAL');
  expect(error(0, pages(1), { flags: m.MAP_PRIVATE, fd: 99 })).toBe('EBADF');
  expect(error(0, pages(1), { flags: m.MAP_PRIVATE, fd: 99, offset: 1 })).toBe('EINVAL');
  expect(error(0, 2 ** 47)).toBe('ENOMEM');
  expect(error(0, -1)).toBe('ENOMEM');
  expect(error(0, 2 ** 60)).toBe('ENOMEM');
  expect(error(TASK_SIZE, pages(1), { flags: ANON | m.MAP_FIXED })).toBe('ENOMEM');
  expect(error(-4096, pages(1), { flags: ANON | m.MAP_FIXED })).toBe('ENOMEM');
  const fd = memfd(user, pages(1));
  expect(error(0, pages(1), { flags: 0, fd })).toBe('EINVAL');
  expect(error(0, pages(1), { flags: m.MAP_SHARED_VALIDATE | (2 ** 27), fd })).toBe('EOPNOTSUPP');
  expect(error(0, pages(1), { flags: m.MAP_SHARED_VALIDATE, fd })).toBe('ok');
  user.run(process.close(fd));
  expect(error(0, pages(1), { flags: m.MAP_SHARED, fd })).toBe('EBADF');
});

test('an address is a hint unless it is fixed, and MAP_FIXED_NOREPLACE replaces nothing', () => {
  const user = new User();
  const { process } = user;
  expect(user.run(process.mmap(at(3) + 100, pages(1)))).toBe(at(3));
  expect(user.run(process.mmap(at(3), pages(1)))).not.toBe(at(3));
  const flags = ANON | m.MAP_FIXED_NOREPLACE;
  const noReplace = (first: number, count: number): string =>
    user.error(process.mmap(at(first), pages(count), { flags }));
  map(user, 10, 3);
  expect(noReplace(10, 3)).toBe('EEXIST');
  expect(noReplace(11, 1)).toBe('EEXIST');
  expect(noReplace(9, 2)).toBe('EEXIST');
  expect(noReplace(12, 2)).toBe('EEXIST');
  expect(noReplace(9, 5)).toBe('EEXIST');
  expect(noReplace(9, 1)).toBe('ok');
  expect(noReplace(13, 1)).toBe('ok');
});

test('rights of a shared mapping end where those of the descriptor do', () => {
  const user = new User();
  const { process } = user;
  const fd = memfd(user, pages(2));
  const readOnly = user.run(process.open(`/proc/self/fd/${fd}`, m.O_RDONLY));
  const writeOnly = user.run(process.open(`/proc/self/fd/${fd}`, m.O_WRONLY));
  const mapped = (fileFd: number, flags: number, prot: number): string =>
    user.error(process.mmap(at(0), pages(1), { flags: flags | m.MAP_FIXED, prot, fd: fileFd }));
  expect(mapped(readOnly, m.MAP_SHARED, RW)).toBe('EACCES');
  expect(mapped(readOnly, m.MAP_PRIVATE, RW)).toBe('ok');
  expect(mapped(writeOnly, m.MAP_PRIVATE, m.PROT_READ)).toBe('EACCES');
  expect(mapped(readOnly, m.MAP_SHARED, m.PROT_READ)).toBe('ok');
  expect(user.error(process.mprotect(at(0), pages(1), RW))).toBe('EACCES');
  expect(user.error(process.mprotect(at(0), pages(1), m.PROT_NONE))).toBe('ok');
});

test('munmap', () => {
  const user = new User();
  const { process } = user;
  const error = (start: number, length: number): string =>
    user.error(process.munmap(start, length));
  map(user, 0, 1);
  map(user, 2, 1);
  expect(error(at(0), 0)).toBe('EINVAL');
  expect(error(at(0) + 1, pages(1))).toBe('EINVAL');
  expect(error(at(0), -4096)).toBe('EINVAL');
  expect(error(at(0), 2 ** 60)).toBe('EINVAL');
  expect(error(TASK_SIZE, pages(1))).toBe('EINVAL');
  expect(error(at(0), pages(3))).toBe('ok');
  expect(error(at(0), pages(3))).toBe('ok');
  expect(user.vmas()).toEqual([]);
});

test('mprotect changes everything up to a hole, and nothing after it', () => {
  const user = new User();
  const { process } = user;
  const error = (start: number, length: number, prot: number): string =>
    user.error(process.mprotect(start, length, prot));
  map(user, 0, 1);
  map(user, 2, 1);
  expect(error(at(0) + 1, pages(1), RW)).toBe('EINVAL');
  expect(error(at(0), 0, RW)).toBe('ok');
  expect(error(at(0), 0, 64)).toBe('ok');
  expect(error(at(0), pages(1), 64)).toBe('EINVAL');
  expect(error(at(0), pages(3), m.PROT_READ)).toBe('ENOMEM');
  expect(user.signal(process.store(at(0), 1))).toBe('SIGSEGV');
  expect(user.signal(process.store(at(2), 1))).toBe('ok');
  expect(error(at(0), -4096, RW)).toBe('ENOMEM');
  expect(error(at(1), pages(1), RW)).toBe('ENOMEM');
  expect(error(0, pages(1), RW)).toBe('ENOMEM');
});

test('mremap refuses what makes no sense, before it unmaps anything', () => {
  const user = new User();
  const { process } = user;
  const error = (...args: Parameters<typeof process.mremap>): string =>
    user.error(process.mremap(...args));
  map(user, 0, 2);
  expect(error(at(0) + 1, pages(1), pages(1))).toBe('EINVAL');
  expect(error(at(5), pages(1), pages(1))).toBe('EFAULT');
  expect(error(at(0), pages(1), 0)).toBe('EINVAL');
  expect(error(at(0), pages(1), pages(1), to(8, m.MREMAP_FIXED))).toBe('EINVAL');
  const unaligned = { flags: FIXED_MOVE, newAddress: at(8) + 1024 };
  expect(error(at(0), pages(1), pages(1), unaligned)).toBe('EINVAL');
  expect(error(at(0), pages(2), pages(2), to(1, FIXED_MOVE))).toBe('EINVAL');
  expect(error(at(0), pages(1), pages(1), to(8, 64 | m.MREMAP_MAYMOVE))).toBe('EINVAL');
  expect(error(at(0), pages(1), pages(1), to(8, m.MREMAP_DONTUNMAP))).toBe('EINVAL');
  const dontunmap = m.MREMAP_DONTUNMAP | m.MREMAP_MAYMOVE;
  expect(error(at(0), pages(1), pages(2), to(8, dontunmap))).toBe('EINVAL');
  expect(error(at(0), pages(1), pages(2))).toBe('ENOMEM');
  expect(error(at(0), pages(1), -4096)).toBe('EINVAL');
  expect(error(at(0), pages(1), 2 ** 60, { flags: m.MREMAP_MAYMOVE })).toBe('EINVAL');
  expect(user.vmas()).toEqual(['0-2']);
});

test('mremap over several VMAs moves them if the length stays, and fails if not', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 1);
  map(user, 1, 1, m.PROT_READ);
  map(user, 2, 1);
  const target = to(10, FIXED_MOVE);
  expect(user.error(process.mremap(at(0), pages(3), pages(4), { flags: 1 }))).toBe('EFAULT');
  map(user, 10, 3);
  user.run(process.store(at(11), 7));
  expect(user.error(process.mremap(at(0), pages(3), pages(2), target))).toBe('EFAULT');
  expect(user.error(process.mincore(at(2), pages(1)))).toBe('ok');
  expect(user.run(process.load(at(11)))).toBe(7);
  expect(user.error(process.mremap(at(0), pages(3), pages(3), target))).toBe('ok');
  expect(user.vmas()).toEqual(['10-11', '11-12', '12-13']);
});

test('mremap with old length 0 maps shared memory once more', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 1, RW, SHARED_ANON);
  map(user, 4, 1);
  user.run(process.store(at(0), 5));
  expect(user.error(process.mremap(at(0), 0, pages(1)))).toBe('ENOMEM');
  expect(user.error(process.mremap(at(4), 0, pages(1), { flags: 1 }))).toBe('EINVAL');
  const alias = user.run(process.mremap(at(0), 0, pages(1), { flags: 1 }));
  expect(user.run(process.load(alias))).toBe(5);
  expect(user.run(process.load(at(0)))).toBe(5);
  const fixed = { flags: FIXED_MOVE, newAddress: at(8) };
  expect(user.error(process.mremap(at(0), 0, pages(1), fixed))).toBe('ok');
  user.run(process.store(at(8), 6));
  expect(user.run(process.load(at(0)))).toBe(6);
});

test('MREMAP_DONTUNMAP leaves an empty mapping behind', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 5);
  map(user, 10, 5);
  for (let page = 0; page < 5; page += 1) {
    user.run(process.store(at(page), 1));
    user.run(process.store(at(10 + page), 2));
  }
  const flags = FIXED_MOVE | m.MREMAP_DONTUNMAP;
  const moved = process.mremap(at(0), pages(3), pages(3), { flags, newAddress: at(10) });
  expect(user.error(moved)).toBe('ok');
  const loads = (first: number): number[] =>
    [0, 1, 2, 3, 4].map((page) => user.run(process.load(at(first + page))));
  expect(loads(0)).toEqual([0, 0, 0, 1, 1]);
  expect(loads(10)).toEqual([1, 1, 1, 2, 2]);
});

test('madvise passes over holes, and stops at what cannot be advised', () => {
  const user = new User();
  const { process } = user;
  const error = (first: number, count: number, advice: number): string =>
    user.error(process.madvise(at(first), pages(count), advice));
  map(user, 0, 1);
  map(user, 2, 1);
  for (const page of [0, 2]) user.run(process.store(at(page), 9));
  expect(user.error(process.madvise(at(0) + 1, pages(1), m.MADV_NORMAL))).toBe('EINVAL');
  expect(error(0, 1, 999)).toBe('EINVAL');
  expect(error(0, 0, m.MADV_DONTNEED)).toBe('ok');
  expect(error(0, 0, 999)).toBe('EINVAL');
  expect(user.error(process.madvise(at(0), -4096, m.MADV_DONTNEED))).toBe('EINVAL');
  expect(user.error(process.madvise(at(0), -1, m.MADV_DONTNEED))).toBe('EINVAL');
  expect(error(0, 3, m.MADV_DONTNEED)).toBe('ENOMEM');
  expect([0, 2].map((page) => user.run(process.load(at(page))))).toEqual([0, 0]);
  map(user, 4, 1, m.PROT_NONE);
  map(user, 5, 1, m.PROT_READ);
  map(user, 6, 1, m.PROT_WRITE);
  expect(error(4, 1, m.MADV_DONTNEED)).toBe('ok');
  expect(error(4, 1, m.MADV_POPULATE_READ)).toBe('EINVAL');
  expect(error(5, 1, m.MADV_POPULATE_READ)).toBe('ok');
  expect(error(5, 1, m.MADV_POPULATE_WRITE)).toBe('EINVAL');
  expect(error(6, 1, m.MADV_POPULATE_WRITE)).toBe('ok');
  for (const first of [1, 0, 2]) expect(error(first, 2, m.MADV_POPULATE_READ)).toBe('ENOMEM');
  expect(error(0, 1, m.MADV_FREE)).toBe('ok');
});

test('madvise: what shared memory, files and locked memory refuse', () => {
  const user = new User();
  const { process } = user;
  const error = (first: number, advice: number): string =>
    user.error(process.madvise(at(first), pages(1), advice));
  map(user, 0, 1);
  map(user, 2, 1, RW, SHARED_ANON);
  const fd = memfd(user, pages(1));
  const file = { flags: m.MAP_PRIVATE | m.MAP_FIXED, fd };
  user.run(process.mmap(at(4), pages(1), file));
  user.run(process.store(at(2), 3));
  expect(error(2, m.MADV_FREE)).toBe('EINVAL');
  expect(error(4, m.MADV_FREE)).toBe('EINVAL');
  expect(error(2, m.MADV_WIPEONFORK)).toBe('EINVAL');
  expect(error(4, m.MADV_WIPEONFORK)).toBe('EINVAL');
  expect(error(2, m.MADV_DONTNEED)).toBe('ok');
  expect(user.run(process.load(at(2)))).toBe(3);
  expect(error(2, m.MADV_REMOVE)).toBe('ok');
  expect(user.run(process.load(at(2)))).toBe(0);
  expect(error(0, m.MADV_REMOVE)).toBe('EINVAL');
  expect(error(4, m.MADV_REMOVE)).toBe('EACCES');
  user.run(process.mlock(at(0), pages(5)));
  for (const first of [0, 2]) {
    expect(user.error(process.mlock(at(first), pages(1)))).toBe('ok');
    expect(error(first, m.MADV_DONTNEED)).toBe('EINVAL');
    expect(error(first, m.MADV_COLD)).toBe('EINVAL');
  }
  expect(error(2, m.MADV_REMOVE)).toBe('EINVAL');
});

test('msync', () => {
  const user = new User();
  const { process } = user;
  const error = (start: number, length: number, flags: number): string =>
    user.error(process.msync(start, length, flags));
  map(user, 0, 1);
  map(user, 2, 1);
  expect(error(at(0), pages(1), m.MS_SYNC | m.MS_ASYNC)).toBe('EINVAL');
  expect(error(at(0), pages(1), 64)).toBe('EINVAL');
  expect(error(at(0) + 1, pages(1), m.MS_SYNC)).toBe('EINVAL');
  expect(error(at(5), pages(1), m.MS_SYNC)).toBe('ENOMEM');
  expect(error(at(5), 0, m.MS_SYNC)).toBe('ok');
  expect(error(at(0), pages(3), m.MS_SYNC)).toBe('ENOMEM');
  expect(error(at(0), pages(1), m.MS_SYNC)).toBe('ok');
  expect(error(at(0), -4096, m.MS_SYNC)).toBe('ENOMEM');
  user.run(process.mlock(at(0), pages(1)));
  expect(error(at(0), pages(1), m.MS_INVALIDATE)).toBe('EBUSY');
  user.run(process.munlock(at(0), pages(1)));
  expect(error(at(0), pages(1), m.MS_INVALIDATE)).toBe('ok');
});

test('mincore tells what was touched', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 2);
  expect(user.error(process.mincore(at(5), pages(1)))).toBe('ENOMEM');
  expect(user.error(process.mincore(at(0), pages(3)))).toBe('ENOMEM');
  expect(user.error(process.mincore(at(0) + 1, pages(1)))).toBe('EINVAL');
  expect(user.error(process.mincore(at(0), 2 ** 50))).toBe('ENOMEM');
  expect(user.run(process.mincore(at(0), pages(2)))).toEqual(Uint8Array.of(0, 0));
  user.run(process.store(at(0), 1));
  expect(user.run(process.mincore(at(0), pages(2)))).toEqual(Uint8Array.of(1, 0));
});

test('mlock and munlock of what is not mapped', () => {
  const user = new User();
  const { process } = user;
  expect(user.error(process.mlock(at(0), pages(1)))).toBe('ENOMEM');
  expect(user.error(process.munlock(at(0), pages(1)))).toBe('ENOMEM');
  expect(user.error(process.mlock(at(0), 0))).toBe('ok');
  expect(user.error(process.mlock(at(1), -4096))).toBe('EINVAL');
  map(user, 0, 3);
  expect(user.error(process.mlock(at(0) + 100, pages(1)))).toBe('ok');
  expect(user.run(process.mincore(at(0), pages(3)))).toEqual(Uint8Array.of(1, 1, 0));
  map(user, 4, 1, m.PROT_NONE);
  expect(user.error(process.mlock(at(4), pages(1)))).toBe('ENOMEM');
});

test('loads and stores against the rights are SIGSEGV, beyond the file SIGBUS', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 1, m.PROT_NONE);
  map(user, 1, 1, m.PROT_READ);
  map(user, 2, 1, m.PROT_WRITE);
  expect(user.signal(process.load(at(0)))).toBe('SIGSEGV');
  expect(user.signal(process.store(at(1), 1))).toBe('SIGSEGV');
  expect(user.signal(process.load(at(2)))).toBe('ok');
  expect(user.signal(process.load(at(3)))).toBe('SIGSEGV');
  const fd = memfd(user, 100);
  const shared = { flags: m.MAP_SHARED | m.MAP_FIXED, fd };
  user.run(process.mmap(at(4), pages(2), shared));
  expect(user.run(process.load(at(4) + 200))).toBe(0);
  expect(user.signal(process.load(at(5)))).toBe('SIGBUS');
  user.run(process.ftruncate(fd, 0));
  expect(user.signal(process.load(at(4)))).toBe('SIGBUS');
  user.run(process.ftruncate(fd, 100));
  expect(user.signal(process.load(at(4)))).toBe('ok');
});

test('truncation takes private copies too, and they do not come back', () => {
  const user = new User();
  const { process } = user;
  const fd = memfd(user, pages(1));
  user.run(process.mmap(at(0), pages(1), { flags: m.MAP_PRIVATE | m.MAP_FIXED, fd }));
  user.run(process.store(at(0), 8));
  user.run(process.ftruncate(fd, 0));
  expect(user.signal(process.load(at(0)))).toBe('SIGBUS');
  user.run(process.ftruncate(fd, pages(1)));
  expect(user.run(process.load(at(0)))).toBe(0);
});

test('brk moves the end of the heap, and stays where it cannot', () => {
  const user = new User();
  const { process } = user;
  const start = user.run(process.brk(0));
  expect(user.run(process.brk(start))).toBe(start);
  expect(user.run(process.brk(start + 5000))).toBe(start + 5000);
  expect(user.run(process.brk(start + 6000))).toBe(start + 6000);
  expect(process.mm!.mapCount).toBe(1);
  user.run(process.store(start, 4));
  expect(user.run(process.brk(start + pages(6)))).toBe(start + pages(6));
  expect(process.mm!.mapCount).toBe(1);
  user.run(process.mprotect(start + pages(2), pages(1), m.PROT_READ));
  expect(user.run(process.brk(start + pages(1)))).toBe(start + pages(1));
  expect(process.mm!.mapCount).toBe(1);
  expect(user.run(process.load(start))).toBe(4);
  expect(user.run(process.brk(start - 1))).toBe(start + pages(1));
  const flags = ANON | m.MAP_FIXED;
  user.run(process.mmap(start + pages(4), pages(1), { flags }));
  // A page of distance is kept.
  expect(user.run(process.brk(start + pages(4)))).toBe(start + pages(1));
  expect(user.run(process.brk(start + pages(3)))).toBe(start + pages(3));
  expect(user.run(process.brk(TASK_SIZE))).toBe(start + pages(3));
});

test('a call on the limit of VMAs fails and changes nothing', () => {
  const user = new User();
  const { process } = user;
  map(user, 0, 3);
  const mm = process.mm!;
  const { mapCount } = mm;
  mm.mapCount = MAP_COUNT_MAX;
  expect(user.error(process.munmap(at(1), pages(1)))).toBe('ENOMEM');
  expect(user.error(process.mprotect(at(1), pages(1), m.PROT_READ))).toBe('ENOMEM');
  expect(user.error(process.madvise(at(1), pages(1), m.MADV_DONTFORK))).toBe('EAGAIN');
  expect(user.error(process.mremap(at(1), pages(1), pages(1), to(9, FIXED_MOVE)))).toBe('ENOMEM');
  mm.mapCount = MAP_COUNT_MAX + 1;
  expect(user.error(process.mmap(0, pages(1)))).toBe('ENOMEM');
  mm.mapCount = mapCount;
  expect(user.vmas()).toEqual(['0-3']);
});

test('calls on files', () => {
  const user = new User();
  const { process } = user;
  const fd = memfd(user, 10);
  expect(user.error(process.ftruncate(99, 0))).toBe('EBADF');
  expect(user.error(process.ftruncate(fd, -1))).toBe('EINVAL');
  expect(user.error(process.ftruncate(fd, 2 ** 52))).toBe('EFBIG');
  expect(user.run(process.pwrite(fd, [1, 2, 3], 8))).toBe(3);
  expect(user.run(process.pread(fd, 10, 7))).toEqual(Uint8Array.of(0, 1, 2, 3));
  const punch = m.FALLOC_FL_PUNCH_HOLE | m.FALLOC_FL_KEEP_SIZE;
  expect(user.error(process.fallocate(fd, m.FALLOC_FL_PUNCH_HOLE, 0, 10))).toBe('EOPNOTSUPP');
  expect(user.error(process.fallocate(fd, punch, 0, 0))).toBe('EINVAL');
  expect(user.error(process.fallocate(fd, punch, 9, 1))).toBe('ok');
  expect(user.run(process.pread(fd, 10, 8))).toEqual(Uint8Array.of(1, 0, 3));
  const readOnly = user.run(process.open(`/proc/self/fd/${fd}`, m.O_RDONLY));
  expect(user.error(process.pwrite(readOnly, [1], 0))).toBe('EBADF');
  expect(user.error(process.ftruncate(readOnly, 0))).toBe('EINVAL');
  expect(user.error(process.fallocate(readOnly, punch, 0, 1))).toBe('EBADF');
});

test('an argument that is no integer is a mistake in the scenario', () => {
  const user = new User();
  const { process } = user;
  expect(() => process.munmap(at(0), 0.5)).toThrow(/munmap must be integers, not 0.5/);
  expect(() => process.mmap(Number.NaN, 4096)).toThrow(/mmap must be integers, not NaN/);
  expect(() => process.mprotect(at(0), 4096, 0.5)).toThrow(/mprotect must be integers/);
  expect(() => process.store(at(0), 256)).toThrow(/a byte/);
  expect(() => process.pwrite(3, [1], 1.5)).toThrow(/integers, not 1.5/);
});
