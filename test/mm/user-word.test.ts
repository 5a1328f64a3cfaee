import { expect, test } from 'vitest';
import { ULONG_MAX } from '../../src/base/ulong.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { pageAlignWord, userFlags, userWord } from '../../src/mm/user-word.ts';
import { TASK_SIZE } from '../../src/mm-types/mm-struct.ts';

setRunning(new Kernel({ budget: NO_FAULTS, watches: [], tracer: null }));

test('numbers of programs become words: negative ones in two’s complement', () => {
  expect(userWord('x', 0)).toBe(0);
  expect(userWord('x', ULONG_MAX)).toBe(ULONG_MAX);
  expect(userWord('x', -1)).toBe(ULONG_MAX);
  expect(userWord('x', -4096)).toBe(ULONG_MAX - 4095);
});

test('what is too great for the model stays beyond all addresses, and does not wrap', () => {
  for (const value of [2 ** 48, 2 ** 52 + 17, 2 ** 60, 1e300, -(2 ** 50), -(2 ** 60)]) {
    const word = userWord('x', value);
    expect(word).toBeGreaterThan(TASK_SIZE);
    expect(word + TASK_SIZE).toBeGreaterThan(word);
    expect(word % 4096).toBe(((value % 4096) + 4096) % 4096);
    expect(word).toBeLessThanOrEqual(ULONG_MAX);
  }
});

test('what is no integer is refused by name', () => {
  for (const value of [0.5, Number.NaN, Infinity, '1' as unknown as number]) {
    expect(() => userWord('the length', value)).toThrow(/the length of a system call/);
    expect(() => userFlags('the flags', value)).toThrow(/the flags of a system call/);
  }
});

test('lengths are rounded up to pages, at the very end to nothing', () => {
  expect(pageAlignWord(1)).toBe(4096);
  expect(pageAlignWord(4096)).toBe(4096);
  expect(pageAlignWord(0)).toBe(0);
  expect(pageAlignWord(ULONG_MAX)).toBe(0);
});

test('flags beyond those of the model are flags that no call knows', () => {
  expect(userFlags('the flags', 7)).toBe(7);
  for (const value of [-1, 2 ** 31, 2 ** 40 + 3]) {
    expect(userFlags('the flags', value)).toBeGreaterThan(2 ** 29);
  }
});
