import { expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import { fn } from '../../src/kernel/call.ts';
import { choose } from '../../src/kernel/choose.ts';
import { complete, completion, waitForCompletion } from '../../src/kernel/completion.ts';
import { freeIrq, raiseIrq, requestIrq } from '../../src/kernel/interrupt.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { mightSleep } from '../../src/kernel/assertion.ts';
import { mutex, mutexLock, mutexUnlock, type Mutex } from '../../src/kernel/mutex.ts';
import { spinlock, spinLock, spinUnlock, type Spinlock } from '../../src/kernel/spinlock.ts';
import { jsonDocument } from '../../src/report/json.ts';
import { story } from '../../src/report/story.ts';
import { findingOf, type ShownViolation } from '../../src/report/text.ts';
import { record } from '../../src/trace/record.ts';
import { decodeToken, encodeToken } from '../../src/trace/token.ts';
import { scenarioOf } from '../check/small-scenario.ts';

interface Checked {
  readonly shown: readonly ShownViolation[];
  /** What comes below the picture of each violation. */
  readonly stories: readonly string[];
  readonly json: unknown;
}

/** Checks a scenario, and shows each violation as its token repeats it. */
function checked<S>(scenario: Scenario<Kernel, S>): Checked {
  const result = checkVariant(scenario, 'v');
  const shown = result.violations.map((violation) => {
    const { schedule } = violation;
    const token = encodeToken({ version: '0', scenario: 'small', variant: 'v', schedule });
    const again = decodeToken(token).schedule;
    expect(again).toEqual(schedule);
    const recording = record(programOf(scenario, 'v'), again, allDetectors(), {
      resolvePlace: () => null,
    });
    return { violation, recording, token };
  });
  const stories = shown.map(({ violation, recording }) =>
    story(recording, findingOf(recording, violation), { width: 100 }).join('\n'),
  );
  const [first] = jsonDocument([{ result, shown }]).results;
  return { shown, stories, json: first?.violations };
}

const takeBoth = fn(function* takeBoth(outer: Mutex, inner: Mutex) {
  yield* mutexLock(outer);
  yield* takeInner(inner);
  yield* mutexUnlock(outer);
});

const takeInner = fn(function* takeInner(lock: Mutex) {
  yield* mutexLock(lock);
  yield* mutexUnlock(lock);
});

const inverted = scenarioOf(
  { a: mutex(), b: mutex(), done: completion() },
  {
    *one(s) {
      yield* takeBoth(s.a, s.b);
      yield* complete(s.done);
    },
    *other(s) {
      yield* waitForCompletion(s.done);
      yield* takeBoth(s.b, s.a);
    },
  },
  { cpus: { one: 0, other: 1 } },
);

test('a circular dependency has the table of CPUs and both stacks of each order', () => {
  const { shown, stories } = checked(inverted);
  expect(shown[0]?.violation.schedule.tasks).toEqual([0, 0, 0, 0, 0, 1, 1, 1]);
  expect(`\n${stories.join()}\n`).toMatchInlineSnapshot(`
    "
    WARNING: possible circular locking dependency detected
    take_inner takes s.b with s.a held, but take_inner takes s.a with s.b held

    Possible unsafe locking scenario:

           CPU0                    CPU1
           ----                    ----
      lock(s.a);
                                   lock(s.b);
                                   lock(s.a);
      lock(s.b);

     *** DEADLOCK ***

    s.b is taken with s.a held, by CPU0 (one), step 2:
      take_inner
      take_both
      one

    s.a was taken, by CPU0 (one), step 1:
      take_both
      one

    s.a is taken with s.b held, by CPU1 (other), step 8:
      take_inner
      take_both
      other

    s.b was taken, by CPU1 (other), step 7:
      take_both
      other
    "
  `);
});

test('the same in JSON', () => {
  expect(checked(inverted).json).toMatchObject([
    {
      kind: 'lock-order',
      object: 's.a, s.b',
      locking: {
        headline: 'possible circular locking dependency detected',
        chain: ['s.a', 's.b'],
        scenario: [
          { cpu: 0, text: 'lock(s.a);' },
          { cpu: 1, text: 'lock(s.b);' },
          { cpu: 1, text: 'lock(s.a);' },
          { cpu: 0, text: 'lock(s.b);' },
        ],
        stacks: [
          {
            title: 's.b is taken with s.a held',
            task: 'one',
            step: 2,
            stack: [{ function: 'take_inner' }, { function: 'take_both' }, { function: 'one' }],
          },
          { title: 's.a was taken', task: 'one', step: 1 },
          { title: 's.a is taken with s.b held', task: 'other', step: 8 },
          { title: 's.b was taken', task: 'other', step: 7 },
        ],
      },
    },
  ]);
});

test('what was seen in another execution is said to be, and the token repeats both', () => {
  const { stories } = checked(
    scenarioOf(
      { a: mutex(), b: mutex(), c: mutex() },
      {
        *only(s) {
          if ((yield* choose(2)) === 0) {
            yield* takeBoth(s.a, s.b);
            yield* takeBoth(s.c, s.a);
          } else {
            yield* takeBoth(s.b, s.c);
          }
        },
      },
    ),
  );
  expect(`\n${stories.join()}\n`).toMatchInlineSnapshot(`
    "
    WARNING: possible circular locking dependency detected
    take_inner takes s.b with s.a held, but take_inner takes s.c with s.b held,
      but take_inner takes s.a with s.c held

    Chain exists of:
      s.a --> s.b --> s.c --> s.a

    Possible unsafe locking scenario:

           CPU0                    CPU1                    CPU2
           ----                    ----                    ----
      lock(s.a);
                                   lock(s.b);
                                                           lock(s.c);
                                                           lock(s.a);
                                   lock(s.c);
      lock(s.b);

     *** DEADLOCK ***

    s.b is taken with s.a held, by only, in another execution:
      take_inner
      take_both
      only

    s.a was taken, by only, in another execution:
      take_both
      only

    s.c is taken with s.b held, by only, step 3:
      take_inner
      take_both
      only

    s.b was taken, by only, step 2:
      take_both
      only

    s.a is taken with s.c held, by only, in another execution:
      take_inner
      take_both
      only

    s.c was taken, by only, in another execution:
      take_both
      only
    "
  `);
});

test('a lock of an interrupt handler has the table with the interrupt', () => {
  const handle = fn(function* handle(_irq: number, s: { a: Spinlock }) {
    yield* spinLock(s.a);
    yield* spinUnlock(s.a);
  });
  const { stories } = checked(
    scenarioOf(
      { a: spinlock() },
      {
        *only(s) {
          yield* requestIrq(7, handle, s);
          yield* raiseIrq(7);
          yield* spinLock(s.a);
          yield* spinUnlock(s.a);
          yield* freeIrq(7);
        },
      },
    ),
  );
  expect(`\n${stories.join()}\n`).toMatchInlineSnapshot(`
    "
    WARNING: inconsistent lock state
    inconsistent {HARDIRQ-ON-W} -> {IN-HARDIRQ-W} usage: handle takes s.a in an interrupt handler,
      only holds it with interrupts on

    Possible unsafe locking scenario:

           CPU0
           ----
      lock(s.a);
      <Interrupt>
        lock(s.a);

     *** DEADLOCK ***

    s.a is taken in an interrupt handler, by irq: handle, step 6:
      handle
      irq: handle

    s.a is held with interrupts on, by only, step 3:
      only
    "
  `);
});

test('sleeping in atomic context shows what made it so, and a lock that is kept where it was taken', () => {
  const lockAndForget = fn(function* lockAndForget(lock: Spinlock) {
    yield* spinLock(lock);
  });
  const { stories } = checked(
    scenarioOf(
      { a: spinlock() },
      {
        *only(s) {
          yield* lockAndForget(s.a);
          mightSleep();
        },
      },
    ),
  );
  expect(`\n${stories.join('\n\n')}\n`).toMatchInlineSnapshot(`
    "
    BUG: sleeping function in atomic context: might_sleep()
    only calls might_sleep(), which may sleep, with preemption off,
      since spin_lock(&s.a) in lock_and_forget

    Found by only, step 1:
      only

    spin_lock(&s.a) by only, step 1:
      lock_and_forget
      only

    BUG: misuse of a lock: s.a
    s.a: still held when task 'only' ended; it was taken in lock_and_forget

    Found by only, step 1:

    spin_lock(&s.a) by only, step 1:
      lock_and_forget
      only
    "
  `);
});
