import { expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { goal } from '../../src/kernel/choose.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { RETRY, retry } from '../../src/kernel/retry.ts';
import { kfree } from '../../src/kernel/slab.ts';
import {
  mmuIntervalCheckRetry,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
} from '../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../src/mmu-notifier/invalidate.ts';
import { mnItreeInvalidate, mnItreeInvEnd } from '../../src/mmu-notifier/interval-invalidate.ts';
import { expectTraces } from '../util/exact.ts';
import {
  bareOps,
  hit,
  INTERVAL,
  intervalProgram,
  intervalScenario,
  miss,
  type Mirrors,
} from '../util/interval-programs.ts';
import { mirrorOps, notifiersOf } from '../util/interval-user.ts';

/** From start to end, as far as interval notifiers are concerned. */
function* invalidate({ mm }: Mirrors): Body<void> {
  yield* mnItreeInvalidate(notifiersOf(mm), hit(mm));
  yield* mnItreeInvEnd(notifiersOf(mm));
}

function* invalidateElsewhere({ mm }: Mirrors): Body<void> {
  yield* mnItreeInvalidate(notifiersOf(mm), miss(mm));
  yield* mnItreeInvEnd(notifiersOf(mm));
}

function* read({ one }: Mirrors): Body<void> {
  const seq = yield* mmuIntervalReadBegin(one.mni);
  goal(`began with ${seq}`);
}

function* look({ one }: Mirrors): Body<void> {
  goal(`must retry: ${yield* mmuIntervalCheckRetry(one.mni, 1)}`);
}

function* insert({ mm, two }: Mirrors): Body<void> {
  yield* mmuIntervalNotifierInsert(two.mni, mm, INTERVAL, bareOps);
}

function* remove({ one }: Mirrors): Body<void> {
  yield* mmuIntervalNotifierRemove(one.mni);
}

/** Asks without a lock of its own: the core's steps alone. */
function* readUntilCurrent({ one }: Mirrors): Body<void> {
  for (;;) {
    const seq = yield* mmuIntervalReadBegin(one.mni);
    if (!(yield* mmuIntervalCheckRetry(one.mni, seq))) break;
    goal('once more');
  }
}

/** The same as a loop that the engine knows. */
function* retryUntilCurrent({ one }: Mirrors): Body<void> {
  yield* retry('mmu_interval_read_begin', function* round() {
    const seq = yield* mmuIntervalReadBegin(one.mni);
    if (!(yield* mmuIntervalCheckRetry(one.mni, seq))) return seq;
    goal('once more');
    return RETRY;
  });
}

type Programs = Readonly<Record<string, readonly [number, ...Parameters<typeof intervalProgram>]>>;

/** With the number of their traces. */
const PROGRAMS: Programs = {
  'read_begin beside an invalidation': [7, [read, invalidate]],
  'read_begin beside an invalidation that hits nothing': [3, [read, invalidateElsewhere]],
  'check_retry beside an invalidation': [2, [look, invalidate]],
  'remove beside an invalidation': [6, [remove, invalidate]],
  'remove of v5.5 beside an invalidation': [
    6,
    [remove, invalidate],
    { notifiers: { removeLooksLocked: false } },
  ],
  'insert beside an invalidation': [3, [insert, invalidate]],
  'insert beside an invalidation that hits nothing': [3, [insert, invalidateElsewhere]],
  'a loop of readers beside an invalidation': [17, [readUntilCurrent, invalidate]],
  'a loop of readers, as retry, beside an invalidation': [17, [retryUntilCurrent, invalidate]],
  'two invalidations': [10, [invalidate, invalidate]],
  'two invalidations, one of which hits': [6, [invalidate, invalidateElsewhere]],
  'read_begin beside an insertion': [2, [read, insert]],
  'insert, remove and an invalidation that hits nothing': [
    21,
    [insert, remove, invalidateElsewhere],
  ],
  'check_retry, removal and an invalidation': [11, [look, remove, invalidate]],
};

for (const [name, [count, ...program]] of Object.entries(PROGRAMS)) {
  test(`each trace of ${name} is executed once`, () => {
    expectTraces(intervalProgram(...program), count);
  });
}

// ---- what can be seen of it ----------------------------------------------------------------------

/** The verdict, and kinds and objects of what is found, each once. */
function found(...program: Parameters<typeof intervalScenario>): string[] {
  const { verdict, violations } = checkVariant(intervalScenario(...program), 'only', {});
  return [verdict, ...new Set(violations.map(({ kind, object }) => `${kind} ${object}`))];
}

function* removeAndFree({ dynamic }: Mirrors): Body<void> {
  yield* mmuIntervalNotifierRemove(dynamic!.mni);
  yield* kfree(dynamic);
}

test('a removal that looks without the lock may return before the tree lets go of what is freed then', () => {
  const bodies = [removeAndFree, invalidate];
  const notifiers = { removeLooksLocked: false };
  expect(found(bodies, { hasDynamic: true, notifiers })).toContain('use-after-free mirror');
  expect(found(bodies, { hasDynamic: true })).toEqual(['clean']);
});

/** Looks something up and puts it to use; without asking whether it may, if so told. */
const driver = (asks: boolean) =>
  function* run({ one }: Mirrors): Body<void> {
    for (;;) {
      const seq = yield* mmuIntervalReadBegin(one.mni);
      yield* mutexLock(one.lock);
      if (!asks || !mmuIntervalReadRetry(one.mni, seq)) break;
      yield* mutexUnlock(one.lock);
    }
    one.isMapped = true;
    yield* mutexUnlock(one.lock);
  };

function* invalidateAndLook({ mm, one }: Mirrors): Body<void> {
  yield* mnItreeInvalidate(notifiersOf(mm), hit(mm));
  yield* mutexLock(one.lock);
  bugOn(one.isMapped, 'used while it is invalid');
  yield* mutexUnlock(one.lock);
  yield* mnItreeInvEnd(notifiersOf(mm));
}

test('what was looked up before an invalidation is not put to use during it', () => {
  const options = { ops: mirrorOps };
  expect(found([driver(true), invalidateAndLook], options)).toEqual(['clean']);
  expect(found([driver(false), invalidateAndLook], options)).toContain(
    'bug used while it is invalid',
  );
});

test('so it is with two invalidations that overlap', () => {
  const bodies = [driver(true), invalidateAndLook, invalidateAndLook];
  expect(found(bodies, { ops: mirrorOps })).toEqual(['clean']);
});

function* removeLocked({ one }: Mirrors): Body<void> {
  yield* mutexLock(one.lock);
  yield* mmuIntervalNotifierRemove(one.mni);
  yield* mutexUnlock(one.lock);
}

test('a removal with a lock held that callbacks take is a deadlock', () => {
  expect(found([removeLocked, invalidate], { ops: mirrorOps })[1]).toMatch(/^deadlock /);
});

function* invalidateThenRemove(state: Mirrors): Body<void> {
  const range = hit(state.mm);
  yield* mmuNotifierInvalidateRangeStart(range);
  yield* mmuNotifierInvalidateRangeEnd(range);
  yield* removeLocked(state);
}

test('lockdep sees it coming where the two never meet', () => {
  expect(found([invalidateThenRemove], { ops: mirrorOps })[1]).toMatch(/^lock-order mirror.lock/);
});
