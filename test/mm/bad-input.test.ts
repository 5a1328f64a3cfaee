/** Arguments that no program should pass: an errno of the kernel or a clear error, and nothing is broken. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errnoName } from '../../src/base/errno.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, SIGBUS, SIGSEGV } from '../../src/base/mman.ts';
import { UsageError } from '../../src/base/usage-error.ts';
import type { Yieldable } from '../../src/kernel/operation.ts';
import type { Process } from '../../src/mm/process.ts';
import { frames } from '../../src/mm/frames.ts';
import { mmProblems } from '../util/mm-invariants.ts';
import { PAGE, User } from '../util/user.ts';

const GOOD = 0x1_0000_0000;

/** What a program may get wrong about an address, a length or an offset. */
const integer = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    -PAGE,
    GOOD,
    GOOD + 1,
    GOOD + PAGE,
    GOOD + 2 * PAGE,
    2 ** 31,
    2 ** 32,
    2 ** 46,
    2 ** 47 - PAGE,
    2 ** 47,
    2 ** 48 - PAGE,
    2 ** 48 - 1,
    2 ** 48,
    2 ** 53,
    2 ** 63,
    2 ** 64 - PAGE,
    2 ** 64,
    -(2 ** 47),
    -(2 ** 63),
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    1e300,
    -1e300,
  ),
  fc.integer(),
  fc.maxSafeInteger(),
);
const notInteger = fc.constantFrom(0.5, -0.5, 4096.25, NaN, Infinity, -Infinity);
const notNumber = fc.constantFrom(undefined, null, '4096', {}, [], true, 1n);

type Make = (p: Process, a: number, b: number, c: number) => Yieldable<unknown>;

/** A small number of a great one. */
const small = (value: number): number =>
  typeof value === 'number' ? Math.trunc(value) & 255 : value;

const CALLS: readonly (readonly [string, Make])[] = [
  ['mmap', (p, a, b, c) => p.mmap(a, b, { prot: c })],
  ['mmap fixed', (p, a, b) => p.mmap(a, b, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED })],
  ['mmap of a file', (p, a, b, c) => p.mmap(0, a, { flags: MAP_PRIVATE, fd: small(b), offset: c })],
  ['mmap with flags', (p, a, b, c) => p.mmap(GOOD, PAGE, { flags: a, prot: b, offset: c })],
  ['munmap', (p, a, b) => p.munmap(a, b)],
  ['mprotect', (p, a, b, c) => p.mprotect(a, b, c)],
  ['mremap', (p, a, b, c) => p.mremap(a, b, c)],
  ['mremap moved', (p, a, b, c) => p.mremap(a, b, c, { flags: 1 })],
  ['mremap fixed', (p, a, b, c) => p.mremap(GOOD, a, b, { flags: 3, newAddress: c })],
  ['mremap with flags', (p, a, b) => p.mremap(GOOD, PAGE, PAGE, { flags: a, newAddress: b })],
  ['madvise', (p, a, b, c) => p.madvise(a, b, c)],
  ['msync', (p, a, b, c) => p.msync(a, b, c)],
  ['mlock', (p, a, b) => p.mlock(a, b)],
  ['munlock', (p, a, b) => p.munlock(a, b)],
  ['mincore', (p, a, b) => p.mincore(a, b)],
  ['brk', (p, a) => p.brk(a)],
  ['load', (p, a) => p.load(a)],
  ['store', (p, a, b) => p.store(a, b)],
  ['ftruncate', (p, a, b) => p.ftruncate(small(b), a)],
  ['fallocate', (p, a, b, c) => p.fallocate(0, small(c), a, b)],
  ['pwrite', (p, a) => p.pwrite(0, [1, 2], a)],
  ['pread', (p, a, b) => p.pread(0, small(b), a)],
  ['close', (p, a) => p.close(a)],
];

/** A program with some memory and a file of its own. */
function user(): User {
  const made = new User();
  made.file(2, 1);
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  made.run(made.process.mmap(GOOD, 3 * PAGE, { flags }));
  made.run(made.process.store(GOOD + PAGE, 7));
  return made;
}

/** Makes a call. Returns what came of it; never anything but an answer or a clear error. */
function answer(made: User, make: Make, args: readonly unknown[]): string {
  const [a, b, c] = args as [number, number, number];
  let result: unknown;
  try {
    result = made.run(make(made.process, a, b, c));
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    const { code, message } = error as UsageError;
    expect(code).toBe('MN209');
    expect(message).toMatch(/must be integers|is an integer from 0 to 255/);
    return 'refused';
  }
  if (result instanceof Uint8Array) return 'bytes';
  expect(typeof result).toBe('number');
  const value = result as number;
  if (value >= 0) return 'ok';
  const isSignal = value === -SIGSEGV || value === -SIGBUS;
  if (!isSignal) expect(errnoName(value)).toMatch(/^-E/);
  return isSignal ? 'signal' : errnoName(value);
}

/** Nothing is broken, the memory is what it was, and the program can still end. */
function expectWhole(made: User): void {
  expect(mmProblems(made.machine, [made.process.mm!])).toEqual([]);
  made.run(made.process.exit());
  expect([...made.machine.slabMemory].map((memory) => memory.name)).toEqual([]);
  expect(frames(made.machine).pages.size).toBe(0);
}

describe.each(CALLS)('%s', (_name, make) => {
  test('bears integers of any size', () => {
    fc.assert(
      fc.property(integer, integer, integer, (...args) => {
        const made = user();
        expect(answer(made, make, args)).not.toBe('');
        expectWhole(made);
      }),
      { numRuns: 150, seed: 2 },
    );
  });

  test('refuses what is no integer, in words, or does not look at it', () => {
    const any = fc.oneof(notInteger, notNumber, integer);
    fc.assert(
      fc.property(any, any, any, (...args) => {
        const made = user();
        answer(made, make, args);
        expectWhole(made);
      }),
      { numRuns: 150, seed: 3 },
    );
  });
});
