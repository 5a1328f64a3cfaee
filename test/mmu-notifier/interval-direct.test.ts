/** Interval notifiers as a program uses them that embeds the mm: each call at once, nobody explores. */
import { expect, test } from 'vitest';
import { MADV_DONTNEED } from '../../src/base/mman.ts';
import type { Call } from '../../src/kernel/call.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
} from '../../src/mmu-notifier/interval.ts';
import { mmuNotifierInvalidateRangeStart } from '../../src/mmu-notifier/invalidate.ts';
import { mirrorOps, newMirror, notifiersOf, rangeOf, type Mirror } from '../util/interval-user.ts';
import { PAGE, User } from '../util/user.ts';

/** A user with so many pages, a mirror of each. */
function mirrored(pages: number): { user: User; start: number; mirrors: Mirror[] } {
  const user = new User();
  const start = user.map(pages);
  const { mm } = user.process;
  const mirrors = Array.from({ length: pages }, (_, at) => {
    const mirror = newMirror(user.machine);
    const interval = { start: start + at * PAGE, length: PAGE };
    expect(user.run(mmuIntervalNotifierInsert(mirror.mni, mm!, interval, mirrorOps))).toBe(0);
    return mirror;
  });
  return { user, start, mirrors };
}

test('of many, those are told that a range hits', () => {
  const { user, start, mirrors } = mirrored(100);
  for (let at = 0; at < 100; at += 1) user.run(user.process.store(start + at * PAGE, 1));
  expect(user.run(user.process.madvise(start + 10 * PAGE, 3 * PAGE, MADV_DONTNEED))).toBe(0);
  const hit = mirrors.flatMap(({ hits }, at) => (hits > 0 ? [at] : []));
  expect(hit).toEqual([10, 11, 12]);
  for (const { mni } of mirrors) user.run(mmuIntervalNotifierRemove(mni));
  expect(user.run(user.process.munmap(start, 100 * PAGE))).toBe(0);
  expect(mirrors.every(({ hits }) => hits <= 1)).toBe(true);
  expect(user.process.mm!.mmCount.value).toBe(1);
});

test('what was read before a change must be read again, and then holds', () => {
  const { user, start, mirrors } = mirrored(1);
  const { mni } = mirrors[0]!;
  const seq = user.run(mmuIntervalReadBegin(mni));
  user.run(user.process.store(start, 1));
  expect(user.run(user.process.madvise(start, PAGE, MADV_DONTNEED))).toBe(0);
  expect(mmuIntervalReadRetry(mni, seq)).toBe(true);
  const next = user.run(mmuIntervalReadBegin(mni));
  expect(next).toBeGreaterThan(seq);
  user.run(user.process.store(start, 2));
  expect(mmuIntervalReadRetry(mni, next)).toBe(false);
});

test('a removal or a reader in the middle of a range that nobody will end is an error', () => {
  const waits = [
    ({ mni }: Mirror) => mmuIntervalNotifierRemove(mni) as Call<unknown>,
    ({ mni }: Mirror) => mmuIntervalReadBegin(mni) as Call<unknown>,
  ];
  for (const wait of waits) {
    const { user, start, mirrors } = mirrored(1);
    const range = rangeOf(user.process.mm!, start, start + PAGE);
    user.run(mmuNotifierInvalidateRangeStart(range));
    expect(notifiersOf(user.process.mm!).invalidateSeq % 2).toBe(1);
    expect(() => user.run(wait(mirrors[0]!))).toThrow(expect.objectContaining({ code: 'MN210' }));
  }
});
