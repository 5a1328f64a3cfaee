import { expect, test } from 'vitest';
import { DistinctCounter, HASH_RANGE } from '../../src/base/distinct-counter.ts';
import { Random } from '../../src/base/random.ts';

function randomHash(random: Random): number {
  return (random.next() >>> 0) * 2 ** 21 + (random.next() >>> 11);
}

test('hashes are spread over their whole range', () => {
  const random = new Random(1);
  const all = Array.from({ length: 1000 }, () => randomHash(random) / HASH_RANGE);
  expect(Math.max(...all)).toBeGreaterThan(0.99);
  expect(Math.max(...all)).toBeLessThan(1);
});

test('up to its size the count is exact, however often each hash comes', () => {
  const random = new Random(2);
  const hashes = Array.from({ length: 4096 }, () => randomHash(random));
  const counter = new DistinctCounter();
  for (let round = 0; round < 3; round += 1) {
    for (const [at, hash] of hashes.entries()) {
      counter.add(hash);
      if (round === 0) expect(counter.count).toBe(at + 1);
    }
  }
  expect(counter).toMatchObject({ count: 4096, isExact: true, standardError: 0, onceShare: 0 });
});

test('beyond its size it is as exact as it says, and unbiased', () => {
  const size = 256;
  const trials = 400;
  const random = new Random(3);
  const truth = 5000;
  const errors: number[] = [];
  for (let trial = 0; trial < trials; trial += 1) {
    const counter = new DistinctCounter(size);
    for (let count = 0; count < truth; count += 1) counter.add(randomHash(random));
    expect(counter.isExact).toBe(false);
    errors.push(counter.count / truth - 1);
  }
  const { standardError } = new DistinctCounter(size);
  expect(standardError).toBe(0);
  const stated = 1 / Math.sqrt(size - 2);
  const mean = errors.reduce((sum, error) => sum + error, 0) / trials;
  const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / trials);
  // The mean of 400 is known to a twentieth of the deviation of one.
  expect(Math.abs(mean)).toBeLessThan((4 * stated) / 20);
  expect(deviation / stated).toBeGreaterThan(0.85);
  expect(deviation / stated).toBeLessThan(1.15);
});

test('with 4096 hashes the error is 1.6 %, whatever the number and the order', () => {
  const random = new Random(4);
  for (const truth of [5000, 20_000, 300_000]) {
    const counter = new DistinctCounter();
    const again: number[] = [];
    for (let count = 0; count < truth; count += 1) {
      const hash = randomHash(random);
      counter.add(hash);
      if (count % 3 === 0) again.push(hash);
    }
    const before = counter.count;
    for (const hash of again.toReversed()) counter.add(hash);
    expect(counter.count).toBe(before);
    expect(counter.standardError).toBeCloseTo(0.0156, 4);
    expect(Math.abs(counter.count / truth - 1)).toBeLessThan(4 * counter.standardError);
    // A third came twice.
    expect(Math.abs(counter.onceShare - 2 / 3)).toBeLessThan(0.04);
  }
});
