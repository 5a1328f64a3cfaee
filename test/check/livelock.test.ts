import { describe, expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { findLivelock } from '../../src/check/livelock.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { replay } from '../../src/check/replay.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicInc } from '../../src/kernel/atomic.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { Kernel, type KernelOptions } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock, type Mutex } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { retry, RETRY } from '../../src/kernel/retry.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct, type Instance, type InstanceOf } from '../../src/kernel/struct.ts';
import { small } from '../util/programs.ts';

/** The execution that does not end, as the explorer comes to it. */
function endless(program: Program): Schedule {
  const explorer = new SourceDpor(program, { stepCountMax: 300 });
  expect(() => explorer.run()).toThrow('did not end within 300 steps');
  return explorer.schedule;
}

/** What replaying the livelock of the program finds; null if it has none that is found. */
function livelockOf(program: Program): { message: string; object: string; steps: number } | null {
  const schedule = findLivelock(program, endless(program));
  if (schedule === null) return null;
  const { kernel, diverged } = replay(program, schedule);
  expect(diverged).toBeNull();
  expect(kernel.findings.map(({ kind }) => kind)).toEqual(['livelock']);
  const [finding] = kernel.findings;
  return {
    message: finding?.message ?? '',
    object: finding?.object ?? '',
    steps: schedule.tasks.length,
  };
}

/** Takes `first`, tries `second`, and gives way politely. */
function* politely(first: Mutex, second: Mutex): Body<void> {
  for (;;) {
    yield* mutexLock(first);
    if (yield* mutexTrylock(second)) break;
    yield* mutexUnlock(first);
  }
  yield* mutexUnlock(second);
  yield* mutexUnlock(first);
}

/** The same as a loop that is given up after some rounds. */
function politelySome(first: Mutex, second: Mutex) {
  return retry(
    'politely',
    function* () {
      yield* mutexLock(first);
      const isTaken = yield* mutexTrylock(second);
      if (isTaken) yield* mutexUnlock(second);
      yield* mutexUnlock(first);
      return isTaken ? 0 : RETRY;
    },
    { max: 6 },
  );
}

/** Waits for its turn by asking, and gives it to the other, a number of times. */
function* play(s: Instance<{ turn: 0 }>, own: number): Body<void> {
  for (let round = 0; round < 30; round += 1) {
    while ((yield* readOnce(s, 'turn')) !== own);
    yield* writeOnce(s, 'turn', 1 - own);
  }
}

describe('a livelock is found', () => {
  test('of two tasks that give way to each other for ever', () => {
    const program = small(
      { a: mutex(), b: mutex() },
      { one: (s) => politely(s.a, s.b), two: (s) => politely(s.b, s.a) },
    );
    expect(livelockOf(program)).toEqual({
      message:
        'one and two go on for ever and get nowhere: the last 6 steps come again and again, ' +
        'though each has its turn',
      object: 's.a, s.b',
      steps: 18,
    });
  });

  test('of a reader that tries again whenever a sequence count is bumped, for ever', () => {
    const program = small(
      { seq: 0 },
      {
        *reader(s) {
          yield* retry('read_seqretry', function* () {
            const seq = yield* readOnce(s, 'seq');
            return (yield* readOnce(s, 'seq')) === seq ? 0 : RETRY;
          });
        },
        *bumper(s) {
          for (let seq = 2; ; seq += 2) yield* writeOnce(s, 'seq', seq);
        },
      },
    );
    expect(livelockOf(program)?.message).toContain('reader and bumper go on for ever');
  });
});

describe('no livelock is', () => {
  test('a loop that merely waits for another task', () => {
    const program = small(
      { x: 0 },
      {
        *waiter(s) {
          while ((yield* readOnce(s, 'x')) === 0);
        },
        *setter(s) {
          yield* writeOnce(s, 'x', 1);
        },
      },
    );
    expect(livelockOf(program)).toBeNull();
  });

  test('two loops that wait for each other in turn', () => {
    const program = small({ turn: 0 }, { ping: (s) => play(s, 0), pong: (s) => play(s, 1) });
    expect(livelockOf(program)).toBeNull();
  });

  test('a reader that would get through, were it not given up before', () => {
    const program = small(
      { seq: 0 },
      {
        *reader(s) {
          yield* retry(
            'read_seqretry',
            function* () {
              const seq = yield* readOnce(s, 'seq');
              return (yield* readOnce(s, 'seq')) === seq ? 0 : RETRY;
            },
            { max: 6 },
          );
        },
        *bumper(s) {
          for (let seq = 2; seq < 60; seq += 2) yield* writeOnce(s, 'seq', seq);
        },
      },
    );
    let cut: Schedule | null = null;
    new SourceDpor(program, {
      onExecution({ kernel, schedule }) {
        if (kernel.cut !== null) cut = schedule;
        return cut !== null;
      },
    }).run();
    expect(cut).not.toBeNull();
    expect(findLivelock(program, cut as unknown as Schedule)).toBeNull();
  });

  test('a task that goes round alone', () => {
    const program = small(
      { x: 0, c: atomic(0) },
      {
        *bystander(s) {
          yield* atomicInc(s.c);
        },
        *waiter(s) {
          while ((yield* readOnce(s, 'x')) === 0);
        },
      },
    );
    expect(livelockOf(program)).toBeNull();
  });

  test('a task that counts for a long time', () => {
    const program = small(
      { c: 0 },
      {
        *counter(s) {
          for (let count = 0; count < 1000; count += 1) yield* writeOnce(s, 'c', count);
        },
      },
    );
    expect(livelockOf(program)).toBeNull();
  });

  test('an execution that was cut off where its tasks happened to do the same again', () => {
    const program = small(
      { x: 0 },
      {
        *one(s) {
          for (let count = 0; count < 6; count += 1) yield* readOnce(s, 'x');
        },
      },
    );
    const { kernel } = replay(program, { tasks: [0, 0, 0, 0], outcomes: [0, 0, 0, 0] });
    expect(kernel.findings).toEqual([]);
  });
});

describe('checking a variant', () => {
  const State = struct('s', { a: mutex(), b: mutex(), x: 0 });
  type State = InstanceOf<typeof State>;

  function scenario(tasks: Record<string, { run: (s: State) => Body<unknown> }>) {
    return {
      name: 'endless',
      variants: { v: {} },
      boot: (options: KernelOptions) => new Kernel(options),
      setup: (kernel: Kernel) => allocateStatic(kernel, State),
      tasks,
    };
  }

  test('reports a livelock with the round as its schedule', () => {
    const result = checkVariant(
      scenario({
        one: { run: (s) => politely(s.a, s.b) },
        two: { run: (s) => politely(s.b, s.a) },
      }),
      'v',
    );
    expect(result).toMatchObject({
      verdict: 'violation',
      complete: false,
      bound: { kind: 'steps' },
    });
    const [violation] = result.violations;
    expect(violation).toMatchObject({ kind: 'livelock', object: 's.a, s.b' });
    expect(violation?.schedule.tasks.slice(-6)).toEqual([0, 1, 0, 1, 0, 1]);
  });

  test('still refuses a loop that asks instead of waiting', () => {
    const waiting = scenario({
      waiter: {
        *run(s) {
          while ((yield* readOnce(s, 'x')) === 0);
        },
      },
      setter: {
        *run(s) {
          yield* writeOnce(s, 'x', 1);
        },
      },
    });
    expect(() => checkVariant(waiting, 'v')).toThrow('did not end within 10000 steps');
  });

  test('never passes where a loop was given up', () => {
    const hopeless = scenario({
      spinner: {
        *run(s) {
          yield* retry(
            'twice',
            function* () {
              yield* mutexLock(s.a);
              s.x += 1;
              yield* mutexUnlock(s.a);
              return s.x < 5 ? RETRY : 0;
            },
            { max: 3 },
          );
        },
      },
    });
    expect(checkVariant(hopeless, 'v')).toMatchObject({
      verdict: 'bounded',
      complete: false,
      bound: { kind: 'rounds', limit: 3, isRequested: false },
    });
  });

  test('finds the livelock behind a loop that was given up', () => {
    const result = checkVariant(
      scenario({
        one: {
          *run(s) {
            yield* politelySome(s.a, s.b);
          },
        },
        two: {
          *run(s) {
            yield* politelySome(s.b, s.a);
          },
        },
      }),
      'v',
      {
        executionCountMax: 2000,
      },
    );
    expect(result.violations.map(({ kind }) => kind)).toEqual(['livelock']);
  });
});
