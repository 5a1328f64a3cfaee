import { expect, test } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import { checkVariant, type WithSchedule } from '../../src/check/check-variant.ts';
import type { Variant } from '../../src/check/scenario.ts';
import { bugOn, warnOn } from '../../src/kernel/assertion.ts';
import { goal } from '../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { struct, type Instance } from '../../src/kernel/struct.ts';
import { scenarioOf, violationsOf, type Extras } from './small-scenario.ts';

const fields = { users: 1, lock: mutex() };
type Shared = Instance<typeof fields>;

function* put(s: Shared) {
  yield* writeOnce(s, 'users', 0);
}

/** Fires if the task comes after `put`. */
function* get(s: Shared) {
  if ((yield* readOnce(s, 'users')) === 1) goal('got it');
  else bugOn(true, 'users == 0');
}

function racing(variant: Variant, extras: Extras<typeof fields> = {}) {
  return scenarioOf(fields, { put, get }, { variants: { v: variant }, ...extras });
}

function* lockedIncrement(s: Shared) {
  yield* mutexLock(s.lock);
  s.users += 1;
  yield* mutexUnlock(s.lock);
}

const increments = { a: lockedIncrement, b: lockedIncrement, c: lockedIncrement };

test('a violation is reported with its place, its message and the verdict', () => {
  const result = checkVariant(racing({}), 'v');
  expect(result).toMatchObject({
    scenario: 'small',
    variant: 'v',
    expected: null,
    asExpected: false,
    verdict: 'violation',
    complete: true,
    bound: null,
    executions: 2,
    blocked: 0,
    violations: [
      {
        kind: 'bug',
        object: 'users == 0',
        message: 'BUG_ON(users == 0) fires in get',
        invariant: null,
        places: ['get', ''],
        schedule: { tasks: [0, 1], outcomes: [0, 0] },
      },
    ],
  });
});

test('the search goes on after a violation and reports each distinct one once', () => {
  const scenario = scenarioOf(fields, {
    put,
    *get(s) {
      warnOn((yield* readOnce(s, 'users')) === 0, 'users == 0');
      warnOn((yield* readOnce(s, 'users')) === 1, 'users == 1');
    },
    other: lockedIncrement,
  });
  const result = checkVariant(scenario, 'v');
  expect(violationsOf(result).toSorted()).toEqual([
    'data-race s.users',
    'data-race s.users',
    'warn users == 0',
    'warn users == 1',
  ]);
  expect(result.complete).toBe(true);
});

test('with bail it stops at the first violation', () => {
  const result = checkVariant(racing({}), 'v', { bail: true });
  expect(result.verdict).toBe('violation');
  expect(result.complete).toBe(false);
  expect(result.bound).toEqual({ kind: 'first-violation', limit: 1, isRequested: true });
});

test('without a violation and with every goal reached it is clean', () => {
  const scenario = scenarioOf(fields, increments, {
    variants: { v: { expect: { verdict: 'clean' } } },
  });
  expect(checkVariant(scenario, 'v')).toMatchObject({
    verdict: 'clean',
    complete: true,
    asExpected: true,
    executions: 6,
    goals: [],
    violations: [],
    suspicions: [],
  });
});

test('with a goal that no execution reaches it is vacuous, which is not clean', () => {
  const variants = { v: { expect: { verdict: 'clean' } }, free: {} } as const;
  const goals = ['got it', { name: 'called', calls: 'nobody_calls_this' }];
  const scenario = scenarioOf(fields, { get }, { variants, goals });
  const result = checkVariant(scenario, 'v');
  expect(result).toMatchObject({
    verdict: 'vacuous',
    complete: true,
    asExpected: false,
    goals: [
      { name: 'got it', reached: true },
      { name: 'called', reached: false },
    ],
  });
  expect(checkVariant(scenario, 'free').asExpected).toBe(false);
});

test('a bound on executions that was asked for makes it bounded, which is no finding', () => {
  const scenario = scenarioOf(fields, increments, {
    variants: { v: {}, expected: { expect: { verdict: 'clean' } } },
    goals: ['never'],
  });
  const result = checkVariant(scenario, 'v', { executionCountMax: 3 });
  expect(result).toMatchObject({
    verdict: 'bounded',
    complete: false,
    asExpected: true,
    executions: 3,
    bound: { kind: 'executions', limit: 3, isRequested: true },
  });
  expect(checkVariant(scenario, 'expected', { executionCountMax: 3 }).asExpected).toBe(false);
});

test('a bound that is not reached changes nothing', () => {
  const scenario = scenarioOf(fields, increments);
  expect(checkVariant(scenario, 'v', { executionCountMax: 6 })).toMatchObject({
    verdict: 'clean',
    complete: true,
    bound: null,
  });
});

test('a bound from outside ends the search and is handed on', () => {
  const bound = { kind: 'time', limit: 30, isRequested: false } as const;
  const result = checkVariant(scenarioOf(fields, increments), 'v', {
    boundReached: ({ executions }) => (executions === 2 ? bound : null),
  });
  expect(result).toMatchObject({ verdict: 'bounded', complete: false, executions: 2, bound });
});

test('a bound on steps that was asked for makes it bounded, too', () => {
  const result = checkVariant(scenarioOf(fields, increments), 'v', { stepCountMax: 4 });
  expect(result).toMatchObject({
    verdict: 'bounded',
    complete: false,
    bound: { kind: 'steps', limit: 4, isRequested: true },
  });
});

test('a violation is found within a bound as well', () => {
  const result = checkVariant(racing({}), 'v', { executionCountMax: 1 });
  expect(result.verdict).toBe('violation');
  expect(result.complete).toBe(false);
});

function judged(variant: Variant): boolean {
  return checkVariant(racing(variant), 'v').asExpected;
}

test('an expectation is compared as far as it goes', () => {
  expect(judged({ expect: { verdict: 'violation' } })).toBe(true);
  expect(judged({ expect: { verdict: 'violation', kind: 'bug' } })).toBe(true);
  expect(judged({ expect: { verdict: 'violation', kind: 'bug', object: 'users == 0' } })).toBe(
    true,
  );
  expect(judged({ expect: { verdict: 'violation', kind: 'warn' } })).toBe(false);
  expect(judged({ expect: { verdict: 'violation', object: 'users == 1' } })).toBe(false);
  expect(judged({ expect: { verdict: 'violation', invariant: 'I1' } })).toBe(false);
  expect(judged({ expect: { verdict: 'clean' } })).toBe(false);
});

function* getAndWarn(s: Shared) {
  warnOn((yield* readOnce(s, 'users')) === 0, 'users == 0');
  yield* get(s);
}

function judgedBeside(alsoKnown: Variant['alsoKnown']): boolean {
  const bug: Variant = { expect: { verdict: 'violation', kind: 'bug' } };
  const variants = { v: alsoKnown === undefined ? bug : { ...bug, alsoKnown } };
  return checkVariant(scenarioOf(fields, { put, get: getAndWarn }, { variants }), 'v').asExpected;
}

test('a violation beside the expected one must be known by what it looks like', () => {
  expect(judgedBeside(undefined)).toBe(false);
  expect(judgedBeside(['D8-3'])).toBe(false);
  expect(judgedBeside([{ name: 'D8-3', kind: 'warn' }])).toBe(true);
  expect(judgedBeside([{ name: 'D8-3', kind: 'warn', object: 'users == 0' }])).toBe(true);
  expect(judgedBeside([{ name: 'D8-3', kind: 'warn', object: 'users == 1' }])).toBe(false);
});

test('only known violations are not the expected one', () => {
  const variant: Variant = {
    expect: { verdict: 'violation', kind: 'use-after-free' },
    alsoKnown: [{ name: 'D8-3', kind: 'bug' }],
  };
  expect(checkVariant(racing(variant), 'v').asExpected).toBe(false);
});

test('an unknown variant is answered with those there are', () => {
  expect(() => checkVariant(racing({}), 'v5.3')).toThrow(
    "scenario 'small' has no variant 'v5.3'; it has 'v'",
  );
});

test('an error in a task passes through with the steps that led to it', () => {
  const scenario = scenarioOf(fields, {
    put,
    *broken(s) {
      const users = yield* readOnce(s, 'users');
      if (users === 0) throw new RangeError('cannot be');
      yield* readOnce(s, 'users');
    },
  });
  let caught: unknown;
  try {
    checkVariant(scenario, 'v');
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(UsageError);
  expect((caught as UsageError).code).toBe('MN201');
  expect((caught as UsageError).message).toBe("task 'broken' threw RangeError: cannot be");
  expect((caught as WithSchedule).schedule).toEqual({ tasks: [0, 1], outcomes: [0, 0] });
});

test('an error in set-up passes through without steps', () => {
  const scenario = scenarioOf(
    fields,
    { put },
    {
      setup() {
        throw new RangeError('cannot be');
      },
    },
  );
  let caught: unknown;
  try {
    checkVariant(scenario, 'v');
  } catch (error) {
    caught = error;
  }
  expect((caught as UsageError).message).toBe('set-up of the scenario threw RangeError: cannot be');
  expect((caught as WithSchedule).schedule).toBeUndefined();
});

test('a task that never ends is an error unless a bound on steps was asked for', () => {
  const scenario = scenarioOf(fields, {
    *forever(s) {
      for (;;) yield* readOnce(s, 'users');
    },
  });
  expect(() => checkVariant(scenario, 'v')).toThrow("task 'forever' took 10000 of them");
});

test('every step is a sign of life', () => {
  let steps = 0;
  const result = checkVariant(scenarioOf(fields, increments), 'v', { onStep: () => (steps += 1) });
  expect(steps).toBeGreaterThanOrEqual(result.steps);
});

const Thing = struct('thing', { size: 7 });

test('a use after free in finally is a finding, not a crash', () => {
  const things: Instance<{ size: number }>[] = [];
  const scenario = scenarioOf(
    fields,
    {
      *only() {
        const thing = yield* kzalloc(Thing, GFP_KERNEL);
        if (thing !== null) things[0] = thing;
        yield* kfree(thing);
      },
    },
    {
      finally() {
        const [thing] = things;
        if (thing !== undefined) thing.size += 1;
      },
    },
  );
  const result = checkVariant(scenario, 'v');
  expect(violationsOf(result)).toEqual(['use-after-free thing']);
  expect(result.violations[0]?.schedule.tasks).toEqual([0, 0]);
});

test('a finding in set-up is reported though no step was taken', () => {
  const scenario = scenarioOf(
    fields,
    { put },
    {
      setup() {
        bugOn(true, 'in set-up');
      },
    },
  );
  const result = checkVariant(scenario, 'v');
  expect(violationsOf(result)).toEqual(['bug in set-up']);
  expect(result.violations[0]?.schedule.tasks).toEqual([]);
  expect(result.executions).toBe(1);
});

test('two checks of the same variant give the same result', () => {
  expect(checkVariant(racing({}), 'v')).toEqual(checkVariant(racing({}), 'v'));
});

test('code that keeps state between executions is told so', () => {
  let count = 0;
  const scenario = scenarioOf(fields, {
    *only(s) {
      yield* readOnce(s, 'users');
      count += 1;
      warnOn(count === 1, 'first execution');
    },
  });
  expect(() => checkVariant(scenario, 'v')).toThrow(
    'a violation was found (WARN_ON(first execution) fires in only), but the same schedule did ' +
      'not lead to it again',
  );
});
