/**
 * What Linux 6.18 answers to odd calls: some 80 answers of a real kernel, each given to the simulated mm.
 * The text of each case is the kernel's.
 */
import { expect, test } from 'vitest';
import { errnoName } from '../../src/base/errno.ts';
import * as mman from '../../src/base/mman.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE, User } from '../util/user.ts';

const { PROT_NONE, PROT_READ, PROT_WRITE } = mman;
const RW = PROT_READ | PROT_WRITE;
const PRIVATE = mman.MAP_PRIVATE | mman.MAP_ANONYMOUS;
const SHARED = mman.MAP_SHARED | mman.MAP_ANONYMOUS;
const MOVE = mman.MREMAP_MAYMOVE;
const FIXED = mman.MREMAP_MAYMOVE | mman.MREMAP_FIXED;
const DONTUNMAP = mman.MREMAP_MAYMOVE | mman.MREMAP_DONTUNMAP;
/** The end of 64 bits, as a program would write it. */
const WRAP = -PAGE;
const HUGE = 2 ** 46;

/** Everything that a case needs. */
class Probe extends User {
  readonly p: Process = this.process;

  /** The answer as the facts write it: `ok`, or the name of the error. */
  answer(call: ReturnType<Process['mmap']>): string {
    const result = this.run(call);
    return result >= 0 ? 'ok' : errnoName(result).slice(1);
  }

  /** A load, as the facts write it. */
  read(address: number): number | string {
    return signal(this.run(this.p.load(address)));
  }

  write(address: number, byte: number): number | string {
    return signal(this.run(this.p.store(address, byte)));
  }

  shared(pages: number): number {
    return this.map(pages, { flags: SHARED });
  }

  /** Three pages of which the middle one is a hole. */
  withHole(): number {
    const at = this.map(3);
    this.run(this.p.munmap(at + PAGE, PAGE));
    return at;
  }

  /** An address at which that many pages are free. */
  hole(pages: number): number {
    const at = this.map(pages);
    this.run(this.p.munmap(at, pages * PAGE));
    return at;
  }

  /** Three neighbours that differ in their rights: read-only, writable, read-only. */
  threeVmas(): number {
    const at = this.map(3, { prot: PROT_READ });
    this.run(this.p.mprotect(at + PAGE, PAGE, RW));
    return at;
  }

  readOnlyFd(): number {
    const fd = this.file(1, 1);
    return this.run(this.p.open(`/proc/self/fd/${fd}`, mman.O_RDONLY));
  }

  mapFile(fd: number, pages: number, options: { prot?: number; isShared?: boolean } = {}): number {
    const flags = options.isShared === false ? mman.MAP_PRIVATE : mman.MAP_SHARED;
    const prot = options.prot ?? RW;
    return this.run(this.p.mmap(0, pages * PAGE, { flags, fd, prot }));
  }
}

function signal(result: number): number | string {
  if (result === -mman.SIGSEGV) return 'SIGSEGV';
  return result === -mman.SIGBUS ? 'SIGBUS' : result;
}

test.each<[string, string, (u: Probe, at: number) => ReturnType<Process['mmap']>]>([
  // mmap
  ['mmap len=0', 'EINVAL', ({ p }) => p.mmap(0, 0)],
  ['mmap no PRIVATE/SHARED', 'EINVAL', ({ p }) => p.mmap(0, PAGE, { flags: mman.MAP_ANONYMOUS })],
  [
    'mmap PRIVATE|SHARED(=VALIDATE 3) anon',
    'EINVAL',
    ({ p }) => p.mmap(0, PAGE, { flags: PRIVATE | mman.MAP_SHARED }),
  ],
  [
    'mmap FIXED unaligned',
    'EINVAL',
    ({ p }, at) => p.mmap(at + 1, PAGE, { flags: PRIVATE | mman.MAP_FIXED }),
  ],
  ['mmap bad fd', 'EBADF', ({ p }) => p.mmap(0, PAGE, { flags: mman.MAP_PRIVATE, fd: 99 })],
  [
    'mmap FIXED_NOREPLACE on existing',
    'EEXIST',
    ({ p }, at) => p.mmap(at, PAGE, { flags: PRIVATE | mman.MAP_FIXED_NOREPLACE }),
  ],
  ['mmap huge length', 'ENOMEM', ({ p }) => p.mmap(0, 2 ** 47)],
  // munmap
  ['munmap len=0', 'EINVAL', ({ p }, at) => p.munmap(at, 0)],
  ['munmap unaligned', 'EINVAL', ({ p }, at) => p.munmap(at + 1, PAGE)],
  ['munmap wrap', 'EINVAL', ({ p }, at) => p.munmap(at, WRAP)],
  ['munmap over a hole', 'ok', (u) => u.p.munmap(u.withHole(), 3 * PAGE)],
  ['munmap unmapped range', 'ok', (u) => u.p.munmap(u.hole(2), 2 * PAGE)],
  // mprotect
  ['mprotect unaligned', 'EINVAL', ({ p }, at) => p.mprotect(at + 1, PAGE, RW)],
  ['mprotect len=0', 'ok', ({ p }, at) => p.mprotect(at, 0, RW)],
  ['mprotect bad prot bits', 'EINVAL', ({ p }, at) => p.mprotect(at, PAGE, 0x80)],
  ['mprotect across hole', 'ENOMEM', (u) => u.p.mprotect(u.withHole(), 3 * PAGE, PROT_READ)],
  ['mprotect huge len', 'ENOMEM', ({ p }, at) => p.mprotect(at, HUGE, PROT_READ)],
  ['mprotect unmapped', 'ENOMEM', (u) => u.p.mprotect(u.hole(1), PAGE, RW)],
  [
    'mprotect SHARED ro-fd to WRITE',
    'EACCES',
    (u) => u.p.mprotect(u.mapFile(u.readOnlyFd(), 1, { prot: PROT_READ }), PAGE, RW),
  ],
  [
    'mmap SHARED WRITE on ro fd',
    'EACCES',
    (u) => u.p.mmap(0, PAGE, { flags: mman.MAP_SHARED, fd: u.readOnlyFd() }),
  ],
  [
    'mmap PRIVATE WRITE on ro fd',
    'ok',
    (u) => u.p.mmap(0, PAGE, { flags: mman.MAP_PRIVATE, fd: u.readOnlyFd() }),
  ],
  // mremap
  ['mremap unaligned old', 'EINVAL', ({ p }, at) => p.mremap(at + 1, PAGE, PAGE)],
  ['mremap unmapped', 'EFAULT', (u) => u.p.mremap(u.hole(1), PAGE, PAGE, { flags: MOVE })],
  ['mremap new len 0', 'EINVAL', ({ p }, at) => p.mremap(at, PAGE, 0)],
  [
    'mremap FIXED without MAYMOVE',
    'EINVAL',
    (u, at) => u.p.mremap(at, PAGE, PAGE, { flags: mman.MREMAP_FIXED, newAddress: at + 64 * PAGE }),
  ],
  [
    'mremap FIXED unaligned new',
    'EINVAL',
    ({ p }, at) => p.mremap(at, PAGE, PAGE, { flags: FIXED, newAddress: at + 64 * PAGE + 1 }),
  ],
  [
    'mremap FIXED overlapping',
    'EINVAL',
    ({ p }, at) => p.mremap(at, 2 * PAGE, 2 * PAGE, { flags: FIXED, newAddress: at + PAGE }),
  ],
  ['mremap unknown flag', 'EINVAL', ({ p }, at) => p.mremap(at, PAGE, PAGE, { flags: 0x80 })],
  [
    'mremap DONTUNMAP w/o MAYMOVE',
    'EINVAL',
    ({ p }, at) => p.mremap(at, PAGE, PAGE, { flags: mman.MREMAP_DONTUNMAP }),
  ],
  [
    'mremap DONTUNMAP with resize',
    'EINVAL',
    ({ p }, at) => p.mremap(at, PAGE, 2 * PAGE, { flags: DONTUNMAP }),
  ],
  [
    'mremap expand in place blocked',
    'ENOMEM',
    (u) => {
      const at = u.map(2);
      u.run(u.p.mprotect(at + PAGE, PAGE, PROT_READ));
      return u.p.mremap(at, PAGE, 2 * PAGE);
    },
  ],
  ['mremap expand into hole of 1 (1->2)', 'ok', (u) => u.p.mremap(u.withHole(), PAGE, 2 * PAGE)],
  [
    'mremap grow across 2 VMAs (3->4 MAYMOVE)',
    'EFAULT',
    (u) => u.p.mremap(u.threeVmas(), 3 * PAGE, 4 * PAGE, { flags: MOVE }),
  ],
  [
    'mremap FIXED 3->2 across 2 VMAs',
    'EFAULT',
    (u) => {
      const to = u.hole(8);
      return u.p.mremap(u.threeVmas(), 3 * PAGE, 2 * PAGE, { flags: FIXED, newAddress: to });
    },
  ],
  [
    'mremap FIXED same-size across 3 VMAs (6.17+ allows)',
    'ok',
    (u) => {
      const from = u.threeVmas();
      const to = u.hole(8);
      return u.p.mremap(from, 3 * PAGE, 3 * PAGE, { flags: FIXED, newAddress: to });
    },
  ],
  [
    'mremap old_len=0 shared MAYMOVE (dup)',
    'ok',
    (u) => u.p.mremap(u.shared(1), 0, PAGE, { flags: MOVE }),
  ],
  ['mremap old_len=0 shared no MAYMOVE', 'ENOMEM', (u) => u.p.mremap(u.shared(1), 0, PAGE)],
  ['mremap old_len=0 private', 'EINVAL', ({ p }, at) => p.mremap(at, 0, PAGE, { flags: MOVE })],
  // madvise
  ['madvise unaligned', 'EINVAL', ({ p }, at) => p.madvise(at + 1, PAGE, mman.MADV_DONTNEED)],
  ['madvise bad advice', 'EINVAL', ({ p }, at) => p.madvise(at, PAGE, 999)],
  ['madvise len 0', 'ok', ({ p }, at) => p.madvise(at, 0, mman.MADV_DONTNEED)],
  ['madvise len wrap', 'EINVAL', ({ p }, at) => p.madvise(at, WRAP, mman.MADV_DONTNEED)],
  [
    'madvise DONTNEED across hole',
    'ENOMEM',
    (u) => u.p.madvise(u.withHole(), 3 * PAGE, mman.MADV_DONTNEED),
  ],
  [
    'madvise DONTNEED PROT_NONE',
    'ok',
    (u) => u.p.madvise(u.map(1, { prot: PROT_NONE }), PAGE, mman.MADV_DONTNEED),
  ],
  [
    'madvise POPULATE_READ PROT_NONE',
    'EINVAL',
    (u) => u.p.madvise(u.map(1, { prot: PROT_NONE }), PAGE, mman.MADV_POPULATE_READ),
  ],
  [
    'madvise POPULATE_WRITE on PROT_READ',
    'EINVAL',
    (u) => u.p.madvise(u.map(1, { prot: PROT_READ }), PAGE, mman.MADV_POPULATE_WRITE),
  ],
  ['madvise FREE anon', 'ok', ({ p }, at) => p.madvise(at, PAGE, mman.MADV_FREE)],
  ['madvise FREE shared', 'EINVAL', (u) => u.p.madvise(u.shared(1), PAGE, mman.MADV_FREE)],
  [
    'madvise WIPEONFORK shared',
    'EINVAL',
    (u) => u.p.madvise(u.shared(1), PAGE, mman.MADV_WIPEONFORK),
  ],
  ['madvise REMOVE private anon', 'EINVAL', ({ p }, at) => p.madvise(at, PAGE, mman.MADV_REMOVE)],
  [
    'madvise DONTNEED mlocked',
    'EINVAL',
    (u, at) => {
      u.run(u.p.mlock(at, PAGE));
      return u.p.madvise(at, PAGE, mman.MADV_DONTNEED);
    },
  ],
  // msync
  [
    'msync INVALIDATE mlocked',
    'EBUSY',
    (u, at) => {
      u.run(u.p.mlock(at, PAGE));
      return u.p.msync(at, PAGE, mman.MS_INVALIDATE);
    },
  ],
  ['msync SYNC|ASYNC', 'EINVAL', ({ p }, at) => p.msync(at, PAGE, mman.MS_SYNC | mman.MS_ASYNC)],
  ['msync unaligned', 'EINVAL', ({ p }, at) => p.msync(at + 1, PAGE, mman.MS_SYNC)],
  ['msync unmapped', 'ENOMEM', (u) => u.p.msync(u.hole(1), PAGE, mman.MS_SYNC)],
  ['msync unmapped len0', 'ok', (u) => u.p.msync(u.hole(1), 0, mman.MS_SYNC)],
  // mlock
  ['mlock unmapped', 'ENOMEM', (u) => u.p.mlock(u.hole(1), PAGE)],
  ['munlock unmapped', 'ENOMEM', (u) => u.p.munlock(u.hole(1), PAGE)],
])('%s: %s', (_name, expected, make) => {
  const user = new Probe();
  const at = user.map(4);
  expect(user.answer(make(user, at))).toBe(expected);
});

test('mprotect across a hole changes what comes before it and nothing after', () => {
  const u = new Probe();
  const at = u.withHole();
  expect(u.answer(u.p.mprotect(at, 3 * PAGE, PROT_READ))).toBe('ENOMEM');
  expect(u.write(at, 1)).toBe('SIGSEGV');
  expect(u.write(at + 2 * PAGE, 1)).toBe(0);
});

test('mremap FIXED 3->2 across 2 VMAs leaves the tail of the source and the target mapped', () => {
  const u = new Probe();
  const to = u.map(8);
  const from = u.threeVmas();
  const call = u.p.mremap(from, 3 * PAGE, 2 * PAGE, { flags: FIXED, newAddress: to });
  expect(u.answer(call)).toBe('EFAULT');
  expect(u.inMemory(from + 2 * PAGE, 1)).toEqual([0]);
  expect(u.inMemory(to, 2)).toEqual([0, 0]);
});

test('mremap DONTUNMAP of anonymous memory: old reads 0, new reads what was there', () => {
  const u = new Probe();
  const at = u.map(1);
  u.write(at, 0x61);
  const to = u.run(u.p.mremap(at, PAGE, PAGE, { flags: DONTUNMAP }));
  expect(to).toBeGreaterThan(0);
  expect([u.read(at), u.read(to)]).toEqual([0, 0x61]);
});

test('mremap old_len=0 of a shared mapping maps the same pages once more', () => {
  const u = new Probe();
  const at = u.shared(1);
  const copy = u.run(u.p.mremap(at, 0, PAGE, { flags: MOVE }));
  u.write(at, 7);
  expect(u.read(copy)).toBe(7);
});

test('madvise DONTNEED across a hole zaps both sides', () => {
  const u = new Probe();
  const at = u.withHole();
  u.write(at, 1);
  u.write(at + 2 * PAGE, 2);
  expect(u.answer(u.p.madvise(at, 3 * PAGE, mman.MADV_DONTNEED))).toBe('ENOMEM');
  expect([u.read(at), u.read(at + 2 * PAGE)]).toEqual([0, 0]);
});

test('madvise DONTNEED of shared anonymous memory keeps it, REMOVE does not', () => {
  const u = new Probe();
  const at = u.shared(1);
  u.write(at, 3);
  expect(u.answer(u.p.madvise(at, PAGE, mman.MADV_DONTNEED))).toBe('ok');
  expect(u.read(at)).toBe(3);
  expect(u.answer(u.p.madvise(at, PAGE, mman.MADV_REMOVE))).toBe('ok');
  expect(u.read(at)).toBe(0);
});

test('mincore: unmapped, unaligned, untouched and touched', () => {
  const u = new Probe();
  const at = u.map(2);
  expect(errnoName(u.run(u.p.mincore(u.hole(1), PAGE)) as number)).toBe('-ENOMEM');
  expect(errnoName(u.run(u.p.mincore(at + 1, PAGE)) as number)).toBe('-EINVAL');
  expect(u.inMemory(at, 2)).toEqual([0, 0]);
  u.write(at, 1);
  expect(u.inMemory(at, 2)).toEqual([1, 0]);
});

test('accesses that rights forbid, or that find nothing, are SIGSEGV', () => {
  const u = new Probe();
  expect(u.read(u.map(1, { prot: PROT_NONE }))).toBe('SIGSEGV');
  expect(u.write(u.map(1, { prot: PROT_READ }), 1)).toBe('SIGSEGV');
  // x86 cannot forbid reading what may be written.
  expect(u.read(u.map(1, { prot: PROT_WRITE }))).toBe(0);
  expect(u.read(u.hole(1))).toBe('SIGSEGV');
});

test('a file that is mapped: its end, truncation and growing again', () => {
  const u = new Probe();
  const fd = u.run(u.p.memfdCreate('file'));
  u.run(u.p.ftruncate(fd, 100));
  u.run(u.p.pwrite(fd, [65], 0));
  const at = u.mapFile(fd, 2);
  expect([u.read(at), u.read(at + 200)]).toEqual([65, 0]);
  expect(u.read(at + PAGE)).toBe('SIGBUS');
  u.run(u.p.ftruncate(fd, 0));
  expect(u.read(at)).toBe('SIGBUS');
  u.run(u.p.ftruncate(fd, PAGE));
  expect(u.read(at)).toBe(0);
});

test('truncation takes away private copies too', () => {
  const u = new Probe();
  const fd = u.file(1, 65);
  const at = u.mapFile(fd, 1, { isShared: false });
  u.write(at, 90);
  u.run(u.p.ftruncate(fd, 0));
  expect(u.read(at)).toBe('SIGBUS');
  u.run(u.p.ftruncate(fd, PAGE));
  expect(u.read(at)).toBe(0);
});

test('fork: private 5, wipeonfork 0, dontfork SIGSEGV; parent 5 afterwards, shared visible', () => {
  const u = new Probe();
  const [own, wiped, kept, shared] = [u.map(1), u.map(1), u.map(1), u.shared(1)];
  for (const at of [own, wiped, kept, shared]) u.write(at, 5);
  u.run(u.p.madvise(wiped, PAGE, mman.MADV_WIPEONFORK));
  u.run(u.p.madvise(kept, PAGE, mman.MADV_DONTFORK));
  const child = u.run(u.p.fork());
  if (typeof child === 'number') throw new Error(errnoName(child));
  expect(u.run(child.load(own))).toBe(5);
  expect(u.run(child.load(wiped))).toBe(0);
  expect(u.run(child.load(kept))).toBe(-mman.SIGSEGV);
  u.run(child.store(own, 6));
  u.run(child.store(shared, 1));
  u.run(child.exit());
  expect([u.read(own), u.read(shared)]).toEqual([5, 1]);
});
