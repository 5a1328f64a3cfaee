import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus, xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { expect, test } from 'vitest';
import { Random, stateOfSeed } from '../../src/base/random.ts';

test('the numbers are those of another implementation from the same state', () => {
  for (const seed of [0, 1, -1, 123_456_789, 2 ** 40 + 7]) {
    const other = xoroshiro128plusFromState(stateOfSeed(seed));
    const random = new Random(seed);
    for (let count = 0; count < 1000; count += 1) expect(random.next()).toBe(other.next());
  }
});

function first(seed: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: 4 }, () => random.next());
}

test('equal seeds give equal numbers, and neighbours have nothing in common', () => {
  expect(first(7)).toEqual(first(7));
  const all = Array.from({ length: 1000 }, (_, seed) => first(seed)).flat();
  expect(new Set(all).size).toBe(all.length);
  const high = Array.from({ length: 1000 }, (_, seed) => new Random(seed).unit());
  const mean = high.reduce((sum, value) => sum + value, 0) / high.length;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.03);
});

/** Σ (seen - expected)² / expected. */
function chiSquare(counts: readonly number[], total: number): number {
  const expected = total / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

test('below() is even, as that of another implementation', () => {
  const total = 100_000;
  for (const range of [2, 3, 10, 31]) {
    const random = new Random(5);
    const other = xoroshiro128plus(5);
    const counts: number[] = Array.from({ length: range }, () => 0);
    const others = counts.slice();
    for (let count = 0; count < total; count += 1) {
      const value = random.below(range);
      counts[value] = (counts[value] as number) + 1;
      const one = uniformInt(other, 0, range - 1);
      others[one] = (others[one] as number) + 1;
    }
    // Mean range - 1, standard deviation √(2 (range - 1)); four of them.
    const limit = range - 1 + 4 * Math.sqrt(2 * (range - 1));
    expect(chiSquare(counts, total)).toBeLessThan(limit);
    expect(chiSquare(others, total)).toBeLessThan(limit);
  }
});

test('unit() stays below 1', () => {
  const random = new Random(1);
  for (let count = 0; count < 100_000; count += 1) {
    const value = random.unit();
    if (value < 0 || value >= 1) throw new Error(String(value));
  }
});
