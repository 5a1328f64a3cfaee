import { expect, test } from 'vitest';
import { HappensBefore } from '../../src/check/happens-before.ts';
import { programOf } from '../../src/check/scenario.ts';
import { replay } from '../../src/check/replay.ts';
import { goal } from '../../src/kernel/choose.ts';
import { readOnce, smpLoadAcquire, smpStoreRelease, writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { current, running } from '../../src/kernel/running.ts';
import type { Fields } from '../../src/kernel/struct.ts';
import { scenarioOf, type Run } from './small-scenario.ts';

/** Notes taken by the code under test: labels to be asked about, and the answers. */
class Notes {
  readonly order = new HappensBefore();
  readonly answers: Record<string, boolean> = {};
  private readonly marks = new Map<string, { label: number; owner: number }>();

  mark(name: string): void {
    const owner = current().index;
    this.marks.set(name, { label: this.order.labels[owner] as number, owner });
  }

  ask(name: string): void {
    const mark = this.marks.get(name);
    if (mark === undefined) throw new Error(`nobody marked ${name}`);
    const { label, owner } = mark;
    this.answers[name] = this.order.isOrdered(label, owner, current().index);
  }
}

/** Runs the tasks in the given order of steps and returns what was asked. */
function answers<const F extends Fields>(
  fields: F,
  tasks: (notes: Notes) => Readonly<Record<string, Run<F>>>,
  steps: readonly number[],
): Record<string, boolean> {
  const notes = new Notes();
  const program = programOf(scenarioOf(fields, tasks(notes)), 'v');
  const schedule = { tasks: steps, outcomes: steps.map(() => 0) };
  const { diverged } = replay(program, schedule, { watches: [notes.order] });
  expect(diverged).toBeNull();
  return notes.answers;
}

test('a release covers what came before it and not the code after it in the same step', () => {
  const seen = answers(
    { lock: mutex() },
    (notes) => ({
      *a(s) {
        yield* mutexLock(s.lock);
        notes.mark('inside');
        yield* mutexUnlock(s.lock);
        notes.mark('after');
      },
      *b(s) {
        yield* mutexLock(s.lock);
        notes.ask('inside');
        notes.ask('after');
      },
    }),
    [0, 0, 1],
  );
  expect(seen).toEqual({ inside: true, after: false });
});

test('an acquire of a store-release orders, a relaxed read of it does not', () => {
  const seen = answers(
    { flag: 0 },
    (notes) => ({
      *a(s) {
        notes.mark('for acquire');
        notes.mark('for relaxed');
        yield* smpStoreRelease(s, 'flag', 1);
      },
      *b(s) {
        yield* smpLoadAcquire(s, 'flag');
        notes.ask('for acquire');
      },
      *c(s) {
        yield* readOnce(s, 'flag');
        notes.ask('for relaxed');
      },
    }),
    [0, 1, 2],
  );
  expect(seen).toEqual({ 'for acquire': true, 'for relaxed': false });
});

test('a relaxed store publishes nothing', () => {
  const seen = answers(
    { flag: 0 },
    (notes) => ({
      *a(s) {
        notes.mark('before');
        yield* writeOnce(s, 'flag', 1);
      },
      *b(s) {
        yield* smpLoadAcquire(s, 'flag');
        notes.ask('before');
      },
    }),
    [0, 1],
  );
  expect(seen).toEqual({ before: false });
});

test('a step hands on what its task had acquired', () => {
  const seen = answers(
    { one: mutex(), two: mutex() },
    (notes) => ({
      *a(s) {
        yield* mutexLock(s.one);
        notes.mark('first');
        yield* mutexUnlock(s.one);
      },
      *b(s) {
        yield* mutexLock(s.one);
        yield* mutexLock(s.two);
        yield* mutexUnlock(s.two);
      },
      *c(s) {
        yield* mutexLock(s.two);
        notes.ask('first');
      },
    }),
    [0, 0, 1, 1, 1, 2],
  );
  expect(seen).toEqual({ first: true });
});

test('a new task sees what came before the spawn and not what its spawner does then', () => {
  const seen = answers(
    { flag: 0 },
    (notes) => ({
      *a(s) {
        yield* readOnce(s, 'flag');
        notes.mark('before');
        running.spawn('child', 'thread', null, function* child() {
          notes.mark('first code');
          notes.ask('before');
          yield* readOnce(s, 'flag');
          notes.ask('after');
        });
        notes.mark('after');
        notes.ask('first code');
        yield* readOnce(s, 'flag');
      },
    }),
    [0, 1],
  );
  expect(seen).toEqual({ before: true, after: false, 'first code': false });
});

test('the first lines of the tasks of a scenario are not ordered with each other', () => {
  const seen = answers(
    { flag: 0 },
    (notes) => ({
      *a(s) {
        notes.mark('first line');
        yield* readOnce(s, 'flag');
      },
      *b(s) {
        notes.ask('first line');
        yield* readOnce(s, 'flag');
        goal('done');
      },
    }),
    [],
  );
  expect(seen).toEqual({ 'first line': false });
});

test('clocks of one execution do not reach into the next', () => {
  const notes = new Notes();
  const scenario = scenarioOf(
    { lock: mutex() },
    {
      *a(s) {
        yield* mutexLock(s.lock);
        notes.mark('inside');
        yield* mutexUnlock(s.lock);
      },
      *b(s) {
        yield* mutexLock(s.lock);
        notes.ask('inside');
        yield* mutexUnlock(s.lock);
      },
    },
  );
  const program = programOf(scenario, 'v');
  replay(program, { tasks: [0, 0, 1], outcomes: [0, 0, 0] }, { watches: [notes.order] });
  expect(notes.answers).toEqual({ inside: true });
  replay(program, { tasks: [1], outcomes: [0] }, { watches: [notes.order] });
  expect(notes.answers).toEqual({ inside: false });
});
