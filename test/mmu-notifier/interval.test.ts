import { expect, test } from 'vitest';
import { EINTR, EINVAL, ENOMEM, EOVERFLOW } from '../../src/base/errno.ts';
import { ULONG_MAX } from '../../src/base/ulong.ts';
import { downWrite, upWrite } from '../../src/kernel/rwsem.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { mmdrop, mmgrab } from '../../src/mm-types/mm-struct.ts';
import {
  mmuIntervalCheckRetry,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierInsertLocked,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
} from '../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../src/mmu-notifier/invalidate.ts';
import { mirrorOps, notifiersOf, rangeOf } from '../util/interval-user.ts';
import { ADDRESS, INTERVAL, findingsOf, run, insert, remove } from '../util/interval-given.ts';

test('inserting pins the mm and hands out an odd sequence; removing drops the pin', () => {
  run(function* body(given) {
    const { mm, one } = given;
    const { mni } = one;
    expect(yield* insert(given, one)).toBe(0);
    expect(mm.mmCount.value).toBe(2);
    expect([mni.intervalTree.start, mni.intervalTree.last]).toEqual([ADDRESS, ADDRESS + 4095]);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([1, 2]);
    yield* remove(one);
    expect(mm.mmCount.value).toBe(1);
  });
});

test('an interval that is empty or goes beyond the last address is refused and pins nothing', () => {
  run(function* body({ mm, one: { mni } }) {
    for (const interval of [
      { start: ADDRESS, length: 0 },
      { start: 1, length: ULONG_MAX + 1 },
      { start: ULONG_MAX, length: 2 },
    ]) {
      expect(yield* mmuIntervalNotifierInsert(mni, mm, interval, mirrorOps)).toBe(-EOVERFLOW);
    }
    expect(mm.mmCount.value).toBe(1);
    for (const interval of [
      { start: 0, length: ULONG_MAX },
      { start: ULONG_MAX, length: 1 },
    ]) {
      expect(yield* mmuIntervalNotifierInsert(mni, mm, interval, mirrorOps)).toBe(0);
      yield* mmuIntervalNotifierRemove(mni);
    }
  });
});

test('only a range that hits the interval is told, and what was read before must be read again', () => {
  run(function* body(given) {
    const { process, mm, one } = given;
    const { mni } = one;
    yield* insert(given, one);
    const seq = yield* mmuIntervalReadBegin(mni);
    yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
    expect([one.hits, mmuIntervalReadRetry(mni, seq)]).toEqual([0, false]);
    expect(notifiersOf(mm).invalidateSeq).toBe(2);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect([one.hits, mmuIntervalReadRetry(mni, seq)]).toEqual([1, true]);
    expect(yield* mmuIntervalCheckRetry(mni, seq)).toBe(true);
    const next = yield* mmuIntervalReadBegin(mni);
    expect([next, mmuIntervalReadRetry(mni, next)]).toEqual([3, false]);
    yield* remove(one);
  });
});

test('the sequence is odd from the first hit until the last active range ends', () => {
  run(function* body(given) {
    const { mm, one, range: hit } = given;
    yield* insert(given, one);
    const miss = rangeOf(mm, 0, PAGE_SIZE);
    const again = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    const seen: [number, number][] = [];
    const note = () => {
      const { activeInvalidateRanges, invalidateSeq } = notifiersOf(mm);
      seen.push([activeInvalidateRanges, invalidateSeq]);
    };
    yield* mmuNotifierInvalidateRangeStart(miss);
    note();
    yield* mmuNotifierInvalidateRangeStart(hit);
    note();
    yield* mmuNotifierInvalidateRangeStart(again);
    yield* mmuNotifierInvalidateRangeEnd(again);
    note();
    yield* mmuNotifierInvalidateRangeEnd(hit);
    note();
    yield* mmuNotifierInvalidateRangeEnd(miss);
    note();
    expect(seen).toEqual([
      [1, 2],
      [2, 3],
      [2, 3],
      [1, 3],
      [0, 4],
    ]);
    yield* remove(one);
  });
});

test('an insertion while the sequence is odd is put off until the last end', () => {
  run(function* body(given) {
    const { one, two, range } = given;
    yield* insert(given, one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* insert(given, two);
    expect([two.mni.invalidateSeq, two.mni.intervalTree.root]).toEqual([3, null]);
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(two.mni.intervalTree.root).not.toBeNull();
    expect(yield* mmuIntervalReadBegin(two.mni)).toBe(3);
    yield* remove(two);
    yield* remove(one);
  });
});

test('who reads what was inserted in the middle of an invalidation waits for its end', () => {
  const found = findingsOf(function* body(given) {
    const { one, range } = given;
    yield* insert(given, one);
    yield* remove(one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* insert(given, one);
    yield* mmuIntervalReadBegin(one.mni);
  });
  expect(found).toMatchObject([{ kind: 'deadlock' }]);
});

test('an insertion while a range is active that hit nothing takes effect at once, as if it were hit', () => {
  run(function* body(given) {
    const { mm, one, range } = given;
    const { mni } = one;
    yield* downWrite(mm.mmapSem);
    expect(yield* mmuIntervalNotifierInsertLocked(mni, mm, INTERVAL, mirrorOps)).toBe(0);
    yield* upWrite(mm.mmapSem);
    yield* remove(one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* insert(given, one);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([3, 3]);
    expect(mni.intervalTree.root).not.toBeNull();
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(notifiersOf(mm).invalidateSeq).toBe(4);
    yield* remove(one);
  });
});

test('removing what waits to be inserted takes it off the list at once', () => {
  run(function* body(given) {
    const { one, two, range } = given;
    yield* insert(given, one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* insert(given, two);
    // It would wait for itself otherwise.
    yield* remove(two);
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(two.hits).toBe(0);
    yield* remove(one);
  });
});

test('a notifier that was put off and removed may be inserted again', () => {
  run(function* body(given) {
    const { one, two, range } = given;
    yield* insert(given, one);
    for (let time = 0; time < 2; time += 1) {
      yield* mmuNotifierInvalidateRangeStart(range);
      yield* insert(given, two);
      yield* remove(two);
      yield* insert(given, two);
      yield* mmuNotifierInvalidateRangeEnd(range);
      expect(two.mni.intervalTree.root).not.toBeNull();
      yield* remove(two);
    }
    yield* remove(one);
  });
});

test('a removal while the sequence is odd waits for the last end', () => {
  const found = findingsOf(function* body(given) {
    const { one, range } = given;
    yield* insert(given, one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* remove(one);
  });
  expect(found).toMatchObject([{ kind: 'deadlock' }]);
});

test('removing what was never inserted into a tree that may change is a warning', () => {
  const found = findingsOf(function* body(given) {
    const { process, mm, one } = given;
    yield* insert(given, one);
    yield* mmgrab(mm);
    yield* remove(one);
    yield* remove(one);
    yield* process.exit();
  });
  expect(found[0]?.message).toContain('RB_EMPTY_NODE(&mni->interval_tree.rb)');
});

test.each([
  ['mm_users', -EINVAL, 'atomic_read(&mm->mm_users) <= 0'],
  ['mm_count', 0, 'mirror'],
] as const)(
  'an insertion into an mm that has ended, where %s is looked at, returns %i',
  (insertTests, expected, object) => {
    const found = findingsOf(
      function* body(given) {
        const { process, mm, one } = given;
        yield* mmgrab(mm);
        // So that the mm is ready for it.
        yield* insert(given, one);
        yield* remove(one);
        yield* process.exit();
        expect(yield* insert(given, one)).toBe(expected);
        if (expected === 0) yield* remove(one);
        yield* mmdrop(mm);
      },
      { notifiers: { insertTests } },
    );
    expect(found).toMatchObject([{ object }]);
  },
);

test.each([
  ['no memory', -ENOMEM, { allocations: 1 }],
  ['a signal', -EINTR, { signals: 1 }],
])('the first insertion may fail for %s, and nothing has changed', (_, error, budget) => {
  run(
    function* body(given) {
      const { mm, one } = given;
      expect(yield* insert(given, one)).toBe(error);
      expect([mm.mmCount.value, mm.mmuNotifierMm]).toEqual([1, null]);
    },
    { budget, outcomes: [1] },
  );
});

test('the sequence wraps, and who waits for it is let go all the same', () => {
  run(function* body(given) {
    const { mm, one, range } = given;
    const { mni } = one;
    yield* insert(given, one);
    notifiersOf(mm).invalidateSeq = ULONG_MAX - 1;
    yield* mmuNotifierInvalidateRangeStart(range);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([ULONG_MAX, ULONG_MAX]);
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(notifiersOf(mm).invalidateSeq).toBe(0);
    expect(yield* mmuIntervalReadBegin(mni)).toBe(ULONG_MAX);
    yield* remove(one);
    yield* insert(given, one);
    expect(mni.invalidateSeq).toBe(ULONG_MAX);
    yield* remove(one);
  });
});
