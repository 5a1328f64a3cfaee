/** Schedules of code that was edited afterwards. */
import { expect, test } from 'vitest';
import { SCENARIOS } from '../../src/catalogue/index.ts';
import { adaptSchedule, type Adapted } from '../../src/check/adapt.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { replay } from '../../src/check/replay.ts';
import { programOf } from '../../src/check/scenario.ts';
import { withMarks } from '../../src/check/step-marks.ts';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { decodeToken, encodeToken } from '../../src/trace/token.ts';
import { scenarioOf, type Run } from './small-scenario.ts';

const FIELDS = { lock: mutex(), counter: atomic(0), value: 0, other: 0 };
type Fields = typeof FIELDS;
type Tasks = Readonly<Record<string, Run<Fields>>>;

const writer: Run<Fields> = function* (s) {
  yield* mutexLock(s.lock);
  yield* writeOnce(s, 'value', 1);
  yield* mutexUnlock(s.lock);
  yield* atomicInc(s.counter);
};

const reader: Run<Fields> = function* (s) {
  yield* atomicRead(s.counter);
  yield* readOnce(s, 'value');
  yield* atomicRead(s.counter);
};

/** As a token carries it: the writer takes 3 steps, the reader 2, the writer 1, the reader 1. */
const WRITER = 0;
const READER = 1;
const SCHEDULE = throughToken(
  withMarks(program({ writer, reader }), {
    tasks: [WRITER, WRITER, WRITER, READER, READER, WRITER, READER],
    outcomes: [0, 0, 0, 0, 0, 0, 0],
  }),
);

function program(tasks: Tasks): Program {
  return programOf(scenarioOf(FIELDS, tasks), 'v');
}

function throughToken(schedule: Schedule): Schedule {
  const content = { version: '0', scenario: 'small', variant: 'v', schedule };
  return decodeToken(encodeToken(content)).schedule;
}

function adapt(tasks: Tasks): Adapted {
  return adaptSchedule(program(tasks), SCHEDULE);
}

test('a schedule of code that is the same is followed to its end', () => {
  expect(adapt({ writer, reader })).toEqual({
    schedule: { tasks: SCHEDULE.tasks, outcomes: SCHEDULE.outcomes },
    edits: [],
    stopped: null,
  });
});

test('a task that was inserted before the others does not make them follow it', () => {
  const { schedule, edits, stopped } = adapt({
    *bystander(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
    },
    writer,
    reader,
  });
  expect(schedule.tasks).toEqual(SCHEDULE.tasks.map((task) => task + 1));
  expect({ edits, stopped }).toEqual({ edits: [], stopped: null });
});

test('tasks that changed places are found by their names', () => {
  const { schedule, edits, stopped } = adapt({ reader, writer });
  expect(schedule.tasks).toEqual(SCHEDULE.tasks.map((task) => 1 - task));
  expect({ edits, stopped }).toEqual({ edits: [], stopped: null });
});

test('a variable with another name makes no difference', () => {
  const renamed = scenarioOf(
    { guard: mutex(), counter: atomic(0), text: 0 },
    {
      *writer(s) {
        yield* mutexLock(s.guard);
        yield* writeOnce(s, 'text', 1);
        yield* mutexUnlock(s.guard);
        yield* atomicInc(s.counter);
      },
      *reader(s) {
        yield* atomicRead(s.counter);
        yield* readOnce(s, 'text');
        yield* atomicRead(s.counter);
      },
    },
  );
  const { schedule, edits, stopped } = adaptSchedule(programOf(renamed, 'v'), SCHEDULE);
  expect(schedule.tasks).toEqual(SCHEDULE.tasks);
  expect({ edits, stopped }).toEqual({ edits: [], stopped: null });
});

test('a step that was inserted is taken as well, and told', () => {
  const { schedule, edits, stopped } = adapt({
    *writer(s) {
      yield* mutexLock(s.lock);
      yield* atomicRead(s.counter);
      yield* writeOnce(s, 'value', 1);
      yield* mutexUnlock(s.lock);
      yield* atomicInc(s.counter);
    },
    reader,
  });
  expect(schedule.tasks).toEqual([WRITER, ...SCHEDULE.tasks]);
  expect(stopped).toBeNull();
  expect(edits).toEqual([
    { step: 1, reason: "task 'writer' has atomic_read(&s.counter) in addition" },
  ]);
});

test('a step that is gone is left out, and told', () => {
  const { schedule, edits, stopped } = adapt({
    *writer(s) {
      yield* mutexLock(s.lock);
      yield* mutexUnlock(s.lock);
      yield* atomicInc(s.counter);
    },
    reader,
  });
  expect(schedule.tasks).toEqual([WRITER, WRITER, READER, READER, WRITER, READER]);
  expect(stopped).toBeNull();
  expect(edits).toEqual([
    { step: 1, reason: "a step is gone: task 'writer' comes to mutex_unlock(&s.lock)" },
  ]);
});

test('a last step that is gone is left out, and told', () => {
  const { schedule, edits, stopped } = adapt({
    *writer(s) {
      yield* mutexLock(s.lock);
      yield* writeOnce(s, 'value', 1);
      yield* mutexUnlock(s.lock);
    },
    reader,
  });
  expect(schedule.tasks).toEqual([WRITER, WRITER, WRITER, READER, READER, READER]);
  expect({ edits, stopped }).toEqual({
    edits: [{ step: 5, reason: "a step is gone: task 'writer' has ended" }],
    stopped: null,
  });
});

test('a step that another has replaced is told', () => {
  const { schedule, edits, stopped } = adapt({
    writer,
    *reader(s) {
      yield* atomicRead(s.counter);
      yield* writeOnce(s, 'value', 2);
      yield* atomicRead(s.counter);
    },
  });
  expect(schedule.tasks).toEqual(SCHEDULE.tasks);
  expect({ edits, stopped }).toEqual({
    edits: [
      { step: 4, reason: "task 'reader' comes to WRITE_ONCE(s.value, 2), where another step was" },
    ],
    stopped: null,
  });
});

test('a lock that was inserted keeps the task waiting: there the schedule ends', () => {
  const marked = withMarks(program({ writer, reader }), {
    tasks: [WRITER, WRITER, READER, READER, READER, WRITER],
    outcomes: [0, 0, 0, 0, 0, 0],
  });
  const { schedule, edits, stopped } = adaptSchedule(
    program({
      writer,
      *reader(s) {
        yield* mutexLock(s.lock);
        yield* atomicRead(s.counter);
        yield* readOnce(s, 'value');
        yield* atomicRead(s.counter);
        yield* mutexUnlock(s.lock);
      },
    }),
    marked,
  );
  expect(schedule.tasks).toEqual([WRITER, WRITER]);
  expect(edits).toEqual([]);
  expect(stopped).toMatchObject({
    step: 2,
    reason:
      "task 'reader' should go on, but it is blocked at mutex_lock(&s.lock), which is not the step that was there",
  });
});

test('a task that was removed ends the following', () => {
  const { schedule, edits, stopped } = adapt({ writer });
  expect(schedule.tasks).toEqual([WRITER, WRITER, WRITER]);
  expect(edits).toEqual([]);
  expect(stopped).toMatchObject({
    step: 3,
    reason: "a task should go on that is none of 'writer'",
  });
});

test('code that has nothing in common with the schedule ends it at once', () => {
  const { schedule, stopped } = adapt({
    *writer(s) {
      for (let round = 0; round < 9; round += 1) yield* atomicInc(s.counter);
    },
    *reader(s) {
      for (let round = 0; round < 9; round += 1) yield* atomicInc(s.counter);
    },
  });
  expect(schedule.tasks).toEqual([]);
  expect(stopped).toMatchObject({
    step: 0,
    reason: "task 'writer' comes to atomic_inc(&s.counter), which is not the step that was there",
  });
});

test('a schedule without marks is followed by its indexes', () => {
  const { tasks, outcomes } = SCHEDULE;
  const { schedule, edits, stopped } = adaptSchedule(program({ reader, writer }), {
    tasks,
    outcomes,
  });
  // What was the writer is the reader now, which has a step less.
  expect(schedule.tasks).toEqual([0, 0, 0, 1, 1]);
  expect(edits).toEqual([]);
  expect(stopped).toMatchObject({
    step: 5,
    reason: "task 'reader' should go on, but it has ended",
  });
});

test('executions of the whole catalogue are followed as they were', { timeout: 120_000 }, () => {
  for (const scenario of SCENARIOS) {
    for (const variant of Object.keys(scenario.variants)) {
      const own = programOf(scenario, variant);
      const { schedule } = replay(own, { tasks: [], outcomes: [] }, { toEnd: true });
      const adapted = adaptSchedule(own, throughToken(withMarks(own, schedule)));
      expect(adapted, `${scenario.name} ${variant}`).toEqual({
        schedule,
        edits: [],
        stopped: null,
      });
    }
  }
});
