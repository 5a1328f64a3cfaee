import { expect, test } from 'vitest';
import { atomic, atomicFetchAdd, atomicInc } from '../../src/kernel/atomic.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { bruteForce, compare, traceKey } from './brute-force.ts';
import { same, small } from './programs.ts';

test('two independent tasks of two steps have 6 interleavings and 1 trace', () => {
  const program = small(
    { a: atomic(0), b: atomic(0) },
    {
      *one(s) {
        yield* atomicInc(s.a);
        yield* atomicInc(s.a);
      },
      *two(s) {
        yield* atomicInc(s.b);
        yield* atomicInc(s.b);
      },
    },
  );
  const all = bruteForce(program);
  expect(all.interleavings).toBe(6);
  expect(all.traces.size).toBe(1);
  expect(all.faults).toEqual([]);
});

test('two conflicting tasks of two steps have 6 interleavings and 6 traces', () => {
  const program = small(
    { a: atomic(0) },
    same(2, function* run(s) {
      yield* atomicFetchAdd(s.a, 1);
      yield* atomicFetchAdd(s.a, 1);
    }),
  );
  const all = bruteForce(program);
  expect(all.interleavings).toBe(6);
  expect(all.traces.size).toBe(6);
});

test('the schedule kept for a trace has the key of that trace', () => {
  const program = small(
    { m: mutex() },
    same(3, function* run(s) {
      yield* mutexLock(s.m);
      yield* mutexUnlock(s.m);
    }),
  );
  const all = bruteForce(program);
  expect(all.traces.size).toBe(6);
  for (const [key, schedule] of all.scheduleOf) expect(traceKey(program, schedule)).toBe(key);
});

test('the explorer is compared with all interleavings', () => {
  const program = small(
    { m: mutex() },
    same(3, function* run(s) {
      yield* mutexLock(s.m);
      yield* mutexUnlock(s.m);
    }),
  );
  expect(compare(program)).toEqual({
    interleavings: 6,
    traces: 6,
    executions: 6,
    blocked: 0,
    missing: [],
    repeated: [],
    faults: [],
  });
});
