import { expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Schedule } from '../../src/check/program.ts';
import { replay } from '../../src/check/replay.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import { costOf, identityOf } from '../../src/check/shorten.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock, type Mutex } from '../../src/kernel/mutex.ts';
import { running } from '../../src/kernel/running.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { ptr, struct, type Instance, type InstanceOf } from '../../src/kernel/struct.ts';
import { scenarioOf } from './small-scenario.ts';

const Thing = struct('thing', { lock: mutex(), size: 7 });
type Thing = InstanceOf<typeof Thing>;
const fields = { a: mutex(), b: mutex(), value: 0, other: 0, thing: ptr<Thing>() };
type Shared = Instance<typeof fields>;

function* busy(s: Shared) {
  yield* writeOnce(s, 'other', 1);
  yield* readOnce(s, 'other');
  yield* writeOnce(s, 'other', 2);
}

function* nested(outer: Mutex, inner: Mutex) {
  yield* mutexLock(outer);
  yield* mutexLock(inner);
  yield* mutexUnlock(inner);
  yield* mutexUnlock(outer);
}

/** The schedules of all violations; each is replayed and must give its violation again. */
function schedulesOf<S>(scenario: Scenario<Kernel, S>): Schedule[] {
  const { violations } = checkVariant(scenario, 'v');
  expect(violations).not.toEqual([]);
  for (const violation of violations) {
    const program = programOf(scenario, 'v');
    const { kernel, diverged } = replay(program, violation.schedule, { watches: allDetectors() });
    expect(diverged).toBeNull();
    expect(kernel.findings.map((finding) => identityOf(finding))).toContain(identityOf(violation));
  }
  return violations.map(({ schedule }) => schedule);
}

test('the cost of a schedule is its changes between tasks, then its steps', () => {
  const tasks = [0, 0, 1, 1, 0, 2];
  expect(costOf({ tasks, outcomes: [] })).toEqual({ switches: 3, steps: 6 });
  expect(costOf({ tasks: [], outcomes: [] })).toEqual({ switches: 0, steps: 0 });
});

test('steps that the violation does not depend on are left out, later ones too', () => {
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      busy,
      *put(s) {
        yield* writeOnce(s, 'value', 1);
        yield* readOnce(s, 'other');
      },
      *get(s) {
        bugOn((yield* readOnce(s, 'value')) === 1, 'value == 1');
        yield* busy(s);
      },
    }),
  );
  expect(schedule).toEqual({ tasks: [1, 2], outcomes: [0, 0] });
});

test('what remains is put into an order with few changes between tasks', () => {
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      *one(s) {
        yield* writeOnce(s, 'value', 1);
        yield* writeOnce(s, 'value', 2);
      },
      *two(s) {
        yield* writeOnce(s, 'other', 1);
        yield* writeOnce(s, 'other', 2);
      },
      *judge(s) {
        const sum = (yield* readOnce(s, 'value')) + (yield* readOnce(s, 'other'));
        bugOn(sum === 4, 'sum == 4');
      },
    }),
  );
  expect(schedule?.tasks).toEqual([0, 0, 1, 1, 2, 2]);
});

test('a deadlock keeps all its steps, in the order of fewest changes', () => {
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      busy,
      *one(s) {
        yield* nested(s.a, s.b);
      },
      *two(s) {
        yield* nested(s.b, s.a);
      },
    }),
  );
  expect(schedule?.tasks).toEqual([0, 0, 0, 1, 2]);
});

test('a leak keeps all its steps', () => {
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      busy,
      *one(s) {
        yield* mutexLock(s.a);
        yield* kzalloc(Thing, GFP_KERNEL);
        yield* mutexUnlock(s.a);
      },
    }),
  );
  expect(schedule?.tasks).toEqual([0, 0, 0, 1, 1, 1]);
});

function* publish(s: Shared) {
  yield* writeOnce(s, 'thing', yield* kzalloc(Thing, GFP_KERNEL));
}

test('the free belongs to a use after free even if nothing orders it with the use', () => {
  const schedules = schedulesOf(
    scenarioOf(fields, {
      busy,
      *user(s) {
        yield* publish(s);
        const thing = (yield* readOnce(s, 'thing')) as Thing;
        yield* mutexLock(s.a);
        yield* mutexUnlock(s.a);
        yield* readOnce(s, 'value');
        if (thing.size === 7) yield* readOnce(s, 'value');
      },
      *owner(s) {
        const thing = yield* readOnce(s, 'thing');
        yield* mutexLock(s.a);
        yield* mutexUnlock(s.a);
        yield* kfree(thing);
        yield* writeOnce(s, 'value', 1);
      },
    }),
  );
  expect(schedules[0]?.tasks).toEqual([1, 1, 1, 2, 2, 2, 2, 1, 1, 1]);
});

function childOf(s: Shared, lock: Mutex, value: number) {
  return function* run() {
    yield* mutexLock(lock);
    yield* mutexUnlock(lock);
    bugOn((yield* readOnce(s, 'value')) === value, 'value is mine');
  };
}

test('tasks that are started on the way are numbered anew when their starters change places', () => {
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      *one(s) {
        yield* writeOnce(s, 'other', 1);
        running.spawn('first', 'thread', null, childOf(s, s.a, 1));
      },
      *two(s) {
        yield* readOnce(s, 'value');
        running.spawn('second', 'thread', null, childOf(s, s.b, 2));
        yield* writeOnce(s, 'value', 2);
      },
    }),
  );
  // 'second' is task 3 where 'one' went first, and task 2 where only 'two' has run.
  expect(schedule?.tasks).toEqual([1, 1, 2, 2, 2]);
});

test('of all executions with the violation the cheapest is kept', () => {
  // In the first execution that fails, 'put' is interrupted by 'get'.
  const [schedule] = schedulesOf(
    scenarioOf(fields, {
      *get(s) {
        const before = yield* readOnce(s, 'value');
        const after = yield* readOnce(s, 'value');
        bugOn(before + after > 0, 'not zero');
      },
      *put(s) {
        yield* writeOnce(s, 'value', 1);
        yield* writeOnce(s, 'value', 2);
      },
    }),
  );
  expect(schedule?.tasks).toEqual([1, 0, 0]);
});

test('a violation that hangs on a race is shown as far as it can be repeated', () => {
  const schedules = schedulesOf(
    scenarioOf(fields, {
      *writer(s) {
        yield* readOnce(s, 'other');
        s.value = 1;
        yield* readOnce(s, 'other');
      },
      *reader(s) {
        yield* writeOnce(s, 'other', 1);
        bugOn(s.value === 1, 'value == 1');
      },
    }),
  );
  expect(schedules.map(({ tasks }) => tasks)).toContainEqual([0, 1]);
});
