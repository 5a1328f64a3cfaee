/** Whom a range is told, and what comes of a callback that refuses or sleeps. */
import { expect, test } from 'vitest';
import { EAGAIN } from '../../src/base/errno.ts';
import { ULONG_MAX } from '../../src/base/ulong.ts';
import { fn } from '../../src/kernel/call.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { downWrite, upWrite } from '../../src/kernel/rwsem.ts';
import {
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from '../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierInvalidateRangeStartNonblock,
} from '../../src/mmu-notifier/invalidate.ts';
import type { MmuNotifier, MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { notifiersOf } from '../util/interval-user.ts';
import { findingsOf, run, insert, remove, opsOf } from '../util/interval-given.ts';

/** A list notifier that says what it is told. */
function listener(log: string[], startResult = 0, hasEnd = true) {
  const start = fn(function* listenStart(_mn: MmuNotifier, _range: MmuNotifierRange) {
    log.push('list start');
    return startResult;
  });
  const end = fn(function* listenEnd(_mn: MmuNotifier, _range: MmuNotifierRange) {
    log.push('list end');
  });
  return hasEnd
    ? { invalidateRangeStart: start, invalidateRangeEnd: end }
    : { invalidateRangeStart: start };
}

test('a range that must not block and is refused is not active, and nobody on the list is told', () => {
  const log: string[] = [];
  run(function* body(given) {
    const { machine, mm, mn, one, range } = given;
    mn.ops = listener(log);
    yield* mmuNotifierRegister(mn, mm);
    yield* insert(given, one);
    yield* mutexLock(one.lock);
    expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(-EAGAIN);
    yield* mutexUnlock(one.lock);
    expect(log).toEqual([]);
    expect(notifiersOf(mm).activeInvalidateRanges).toBe(0);
    expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(0);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* remove(one);
    yield* mmuNotifierUnregister(mn, mm);
    expect(machine.log).toEqual([]);
  });
  expect(log).toEqual(['list start', 'list end']);
});

test('refusing a range that may block is a warning, and the others are told all the same', () => {
  const refusing = opsOf(function* refuse() {
    return false;
  });
  const found = findingsOf(function* body(given) {
    const { process, one, two, range } = given;
    yield* insert(given, two, refusing);
    yield* insert(given, one);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(one.hits).toBe(1);
    yield* remove(one);
    yield* remove(two);
    yield* process.exit();
  });
  expect(found).toMatchObject([{ kind: 'warn' }]);
});

test('sleeping in invalidate of a range that must not block is found', () => {
  const sleeping = opsOf(function* sleep(mni, _range, seq) {
    const { mmapSem } = mni.mm!;
    yield* downWrite(mmapSem);
    yield* mmuIntervalSetSeq(mni, seq);
    yield* upWrite(mmapSem);
    return true;
  });
  const found = findingsOf(function* body(given) {
    const { process, one, range } = given;
    yield* insert(given, one, sleeping);
    yield* mmuNotifierInvalidateRangeStartNonblock(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* remove(one);
    yield* process.exit();
  });
  expect(found.map(({ kind, invariant }) => [kind, invariant])).toContainEqual([
    'sleeping-in-atomic',
    'I9',
  ]);
});

test('exit tells interval notifiers once that everything goes, and leaves removing to the owner', () => {
  const seen: unknown[] = [];
  const noting = opsOf(function* note(mni, { event, start, end, flags }, seq) {
    seen.push([event, start, end, flags]);
    yield* mmuIntervalSetSeq(mni, seq);
    return true;
  });
  const found = findingsOf(function* body(given) {
    const { process, mm, one } = given;
    yield* insert(given, one, noting);
    const seq = yield* mmuIntervalReadBegin(one.mni);
    yield* process.exit();
    // They stay in the tree, so unmapping the rest tells them, too.
    expect(seen).toEqual([
      ['MMU_NOTIFY_RELEASE', 0, ULONG_MAX, 1],
      ['MMU_NOTIFY_UNMAP', 0, ULONG_MAX, 1],
    ]);
    expect(mmuIntervalReadRetry(one.mni, seq)).toBe(true);
    expect([mm.mmUsers.value, mm.mmCount.value]).toEqual([0, 1]);
    yield* remove(one);
  });
  expect(found).toEqual([]);
});

test('the interval notifiers are told before the list', () => {
  const log: string[] = [];
  const noting = opsOf(function* note(mni, _range, seq) {
    log.push('interval');
    yield* mmuIntervalSetSeq(mni, seq);
    return true;
  });
  run(function* body(given) {
    const { mm, mn, one, range } = given;
    mn.ops = listener(log);
    yield* mmuNotifierRegister(mn, mm);
    yield* insert(given, one, noting);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* remove(one);
    yield* mmuNotifierUnregister(mn, mm);
  });
  expect(log).toEqual(['interval', 'list start', 'list end']);
});

test.each([
  ['leaves the range active', false, 1, ['deadlock']],
  ['undoes it, with the switch', true, 0, []],
] as const)('a start that the list refuses %s', (_, undoesIntervals, active, kinds) => {
  const found = findingsOf(
    function* body(given) {
      const { process, mm, mn, one, range } = given;
      mn.ops = listener([], -EAGAIN, false);
      yield* mmuNotifierRegister(mn, mm);
      yield* insert(given, one);
      expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(-EAGAIN);
      expect(notifiersOf(mm).activeInvalidateRanges).toBe(active);
      yield* mmuIntervalReadBegin(one.mni);
      yield* remove(one);
      yield* mmuNotifierUnregister(mn, mm);
      yield* process.exit();
    },
    { notifiers: { undoesIntervals } },
  );
  expect(found.map(({ kind }) => kind)).toEqual(kinds);
});
