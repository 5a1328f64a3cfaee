import { expect, test } from 'vitest';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Schedule } from '../../src/check/program.ts';
import { replay } from '../../src/check/replay.ts';
import { programOf } from '../../src/check/scenario.ts';
import { choose } from '../../src/kernel/choose.ts';
import { writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { scenarioOf } from './small-scenario.ts';

const program = programOf(
  scenarioOf(
    { lock: mutex(), value: 0 },
    {
      *a(s) {
        yield* mutexLock(s.lock);
        yield* writeOnce(s, 'value', yield* choose(3));
        yield* mutexUnlock(s.lock);
      },
      *b(s) {
        yield* mutexLock(s.lock);
        yield* mutexUnlock(s.lock);
      },
    },
  ),
  'v',
);

function along(...steps: readonly [task: number, outcome: number][]): Schedule {
  return { tasks: steps.map(([task]) => task), outcomes: steps.map(([, outcome]) => outcome) };
}

test('a schedule is followed and the execution left where it ends', () => {
  const { kernel, diverged, isOver } = replay(program, along([0, 0], [0, 2], [0, 0]));
  expect(diverged).toBeNull();
  expect(isOver).toBe(false);
  expect(kernel.stepCount).toBe(3);
  expect(kernel.tasks[0]?.pending?.describe(kernel.tasks[0])).toBe('mutex_unlock(&s.lock)');
});

test('with toEnd it goes on, with the same task as long as it can', () => {
  const { schedule, diverged, isOver } = replay(program, along([0, 0], [0, 2]), { toEnd: true });
  expect(diverged).toBeNull();
  expect(isOver).toBe(true);
  expect(schedule).toEqual({ tasks: [0, 0, 0, 0, 1, 1], outcomes: [0, 2, 0, 0, 0, 0] });
});

test('a step of a blocked task is explained', () => {
  const { diverged, kernel } = replay(program, along([0, 0], [1, 0]));
  expect(diverged).toEqual({
    step: 1,
    reason: "task 'b' should go on, but it is blocked at mutex_lock(&s.lock)",
  });
  expect(kernel.stepCount).toBe(1);
});

test('a step of a task that has ended is explained', () => {
  expect(replay(program, along([1, 0], [1, 0], [1, 0])).diverged).toEqual({
    step: 2,
    reason: "task 'b' should go on, but it has ended",
  });
});

test('a step of a task that was never started is explained', () => {
  expect(replay(program, along([2, 0])).diverged).toEqual({
    step: 0,
    reason: 'task 2 should go on, but only 2 tasks have started',
  });
});

test('an outcome that there is not is explained', () => {
  expect(replay(program, along([0, 0], [0, 3])).diverged).toEqual({
    step: 1,
    reason: "choose(3) in task 'a' should turn out in way 4, but it has only 3",
  });
});

test('with toEnd it goes on after the schedule was left, too', () => {
  const { diverged, isOver } = replay(program, along([0, 0], [1, 0]), { toEnd: true });
  expect(diverged?.step).toBe(1);
  expect(isOver).toBe(true);
});

test('what shows only at the end is looked for when the schedule reaches it', () => {
  const stuck = programOf(
    scenarioOf(
      { lock: mutex() },
      {
        *a(s) {
          yield* mutexLock(s.lock);
          yield* mutexLock(s.lock);
        },
      },
    ),
    'v',
  );
  const watches = allDetectors();
  expect(replay(stuck, along(), { watches }).kernel.findings).toEqual([]);
  const { kernel, isOver } = replay(stuck, along([0, 0]), { watches });
  expect(isOver).toBe(true);
  expect(kernel.findings.map(({ kind }) => kind)).toEqual(['deadlock']);
});

test('a replay that does not end is an error', () => {
  const endless = programOf(
    scenarioOf(
      { value: 0 },
      {
        *forever(s) {
          for (;;) yield* writeOnce(s, 'value', 1);
        },
      },
    ),
    'v',
  );
  expect(() => replay(endless, along(), { toEnd: true, stepCountMax: 10 })).toThrow(
    "the replayed execution did not end within 10 steps; task 'forever' is in forever",
  );
});
