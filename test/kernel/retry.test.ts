import { describe, expect, test } from 'vitest';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Program } from '../../src/check/program.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import {
  atomic,
  atomicCmpxchg,
  atomicCmpxchgLoop,
  atomicInc,
  atomicRead,
  type Atomic,
} from '../../src/kernel/atomic.ts';
import { choose } from '../../src/kernel/choose.ts';
import {
  cmpxchg,
  cmpxchgLoop,
  readOnce,
  smpLoadAcquire,
  smpStoreRelease,
  writeOnce,
} from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock, type Mutex } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { rcuReadLock, rcuReadUnlock, synchronizeRcu } from '../../src/kernel/rcu.ts';
import { retry, RETRY } from '../../src/kernel/retry.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { ptr, struct, type Instance, type InstanceOf } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';
import { same, small } from '../util/programs.ts';

/** What an exploration with all detectors comes to. */
function check(program: Program): { executions: number; kinds: string[]; cut: boolean } {
  const kinds = new Set<string>();
  let cut = false;
  const { executions } = new SourceDpor(program, {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { kind } of kernel.findings) kinds.add(kind);
      cut ||= kernel.cut !== null;
      return false;
    },
  }).run();
  return { executions, kinds: [...kinds], cut };
}

function expectExact(program: Program, traces: number): void {
  expect(compare(program)).toMatchObject({
    traces,
    executions: traces,
    blocked: 0,
    missing: [],
    repeated: [],
    faults: [],
  });
}

/** Waits until `s.x` is not 0, and returns it. */
const nonZero = (s: Instance<{ x: 0 }>) =>
  retry('x != 0', function* () {
    const x = yield* readOnce(s, 'x');
    return x === 0 ? RETRY : x;
  });

function* spinOnCmpxchg(s: Instance<{ l: 0 }>): Body<void> {
  yield* retry('l', function* () {
    return (yield* cmpxchg(s, 'l', 0, 1)) === 0 ? 0 : RETRY;
  });
  yield* writeOnce(s, 'l', 0);
}

function* spinOnTrylock(s: { m: Mutex }): Body<void> {
  yield* retry('trylock', function* () {
    return (yield* mutexTrylock(s.m)) ? 0 : RETRY;
  });
  yield* mutexUnlock(s.m);
}

function* incrementAsUsersDo(c: Atomic) {
  for (;;) {
    const before = yield* atomicRead(c);
    if ((yield* atomicCmpxchg(c, before, before + 1)) === before) return;
  }
}

const addTwo = (s: { c: Atomic }) =>
  atomicCmpxchgLoop(s.c, (value) => (value > 2 ? null : value + 2));

describe('a loop that tries again', () => {
  test('waits until what it has read is changed', () => {
    const program = small(
      { x: 0 },
      {
        *reader(s) {
          yield* nonZero(s);
        },
        *writer(s) {
          yield* writeOnce(s, 'x', 1);
        },
      },
    );
    // It reads 1 at once, or 0 and then 1.
    expectExact(program, 2);
  });

  test('tells apart the writes that it sees, but not when it noticed the first', () => {
    const program = small(
      { x: 0 },
      {
        *reader(s) {
          yield* nonZero(s);
        },
        *writer(s) {
          yield* writeOnce(s, 'x', 1);
          yield* writeOnce(s, 'x', 2);
        },
      },
    );
    // The last round reads 1 or 2; it is the first round, or there was one before.
    expectExact(program, 4);
  });

  test('is not woken by a store of the value that is there', () => {
    const program = small(
      { x: 0 },
      {
        *reader(s) {
          yield* nonZero(s);
        },
        *writer(s) {
          yield* writeOnce(s, 'x', 0);
        },
      },
    );
    expectExact(program, 2);
    expect(check(program).kinds).toEqual(['deadlock']);
  });

  test('waits for the first of several changes, whichever that is', () => {
    const program = small(
      { x: 0, y: 0 },
      {
        *reader(s) {
          yield* retry('x or y', function* () {
            if ((yield* readOnce(s, 'x')) !== 0) return 0;
            return (yield* readOnce(s, 'y')) !== 0 ? 1 : RETRY;
          });
        },
        *one(s) {
          yield* writeOnce(s, 'x', 1);
        },
        *two(s) {
          yield* writeOnce(s, 'y', 1);
        },
      },
    );
    const { traces, ...rest } = compare(program);
    expectExact(program, traces);
    expect(rest.faults).toEqual([]);
  });

  test('waits for updates that commute', () => {
    const program = small(
      { c: atomic(0) },
      {
        *reader(s) {
          yield* retry('c == 2', function* () {
            return (yield* atomicRead(s.c)) === 2 ? 0 : RETRY;
          });
        },
        *one(s) {
          yield* atomicInc(s.c);
        },
        *two(s) {
          yield* atomicInc(s.c);
        },
      },
    );
    const { traces } = compare(program);
    expectExact(program, traces);
    expect(check(program).kinds).toEqual([]);
  });

  test('spins on a cmpxchg that others spin on without ever waking them by its failures', () => {
    const program = small({ l: 0 }, same(2, spinOnCmpxchg));
    const { traces } = compare(program);
    expectExact(program, traces);
    expect(check(program).kinds).toEqual([]);
  });

  test('spins on a mutex that is only tried', () => {
    const program = small({ m: mutex() }, same(2, spinOnTrylock));
    const { traces } = compare(program);
    expectExact(program, traces);
    expect(check(program).kinds).toEqual([]);
  });

  test('reads a consistent pair under a sequence count', () => {
    const program = small(
      { seq: 0, a: 0, b: 0 },
      {
        *reader(s) {
          const [a, b] = yield* retry('read_seqretry', function* () {
            const seq = yield* smpLoadAcquire(s, 'seq');
            if (seq % 2 !== 0) return RETRY;
            const pair = [yield* readOnce(s, 'a'), yield* readOnce(s, 'b')] as const;
            return (yield* smpLoadAcquire(s, 'seq')) === seq ? pair : RETRY;
          });
          if (a !== b) throw new Error('torn');
        },
        *writer(s) {
          yield* smpStoreRelease(s, 'seq', 1);
          yield* writeOnce(s, 'a', 1);
          yield* writeOnce(s, 'b', 1);
          yield* smpStoreRelease(s, 'seq', 2);
        },
      },
    );
    const { traces } = compare(program);
    expectExact(program, traces);
    expect(check(program)).toMatchObject({ kinds: [], cut: false });
  });

  test('may look inside a read section', () => {
    const program = small(
      { x: 0 },
      {
        *reader(s) {
          yield* retry('x', function* () {
            yield* rcuReadLock();
            const x = yield* readOnce(s, 'x');
            yield* rcuReadUnlock();
            return x === 0 ? RETRY : x;
          });
        },
        *writer(s) {
          yield* writeOnce(s, 'x', 1);
          yield* synchronizeRcu();
        },
      },
    );
    const { traces } = compare(program);
    expectExact(program, traces);
    expect(check(program)).toMatchObject({ kinds: [], cut: false });
  });

  test('that nobody ends is stuck', () => {
    const program = small(
      { x: 0 },
      {
        *reader(s) {
          yield* nonZero(s);
        },
      },
    );
    expect(check(program)).toMatchObject({ executions: 1, kinds: ['deadlock'], cut: false });
  });

  test('goes on at once after a round that changed something, and is given up in the end', () => {
    const program = small(
      { c: atomic(0), m: mutex() },
      {
        *spinner(s) {
          yield* retry(
            'never',
            function* () {
              yield* mutexLock(s.m);
              yield* mutexUnlock(s.m);
              return RETRY;
            },
            { max: 5 },
          );
        },
      },
    );
    expect(check(program)).toMatchObject({ executions: 1, kinds: [], cut: true });
  });

  test('goes on at once after a round in which there was a choice', () => {
    const program = small(
      { x: 0 },
      {
        *gambler() {
          yield* retry(
            'luck',
            function* () {
              return (yield* choose(2)) === 1 ? 0 : RETRY;
            },
            { max: 4 },
          );
        },
      },
    );
    expect(check(program)).toMatchObject({ executions: 5, kinds: [], cut: true });
  });

  test('wakes up to find what it has read freed', () => {
    const Box = struct('box', { full: 0 });
    const program = small(
      { box: ptr<InstanceOf<typeof Box>>() },
      {
        *reader(s) {
          const box = yield* retry('box', function* () {
            return (yield* readOnce(s, 'box')) ?? RETRY;
          });
          yield* retry('full', function* () {
            return (yield* readOnce(box, 'full')) === 0 ? RETRY : 0;
          });
        },
        *owner(s) {
          const box = yield* kzalloc(Box, GFP_KERNEL);
          yield* writeOnce(s, 'box', box);
          yield* kfree(box);
        },
      },
    );
    expect(check(program).kinds).toContain('use-after-free');
  });
});

describe('a cmpxchg loop as users write it', () => {
  test('comes to its end: who fails was overtaken', () => {
    const program = small(
      { c: atomic(0) },
      { a: (s) => incrementAsUsersDo(s.c), b: (s) => incrementAsUsersDo(s.c) },
    );
    const { traces } = compare(program);
    expectExact(program, traces);
  });
});

describe('a cmpxchg loop in one step', () => {
  test('of an atomic is one update, whoever comes in between', () => {
    const program = small(
      { c: atomic(0) },
      same(3, function* (s: { c: Atomic }) {
        yield* addTwo(s);
      }),
    );
    expectExact(program, 6);
    const ends = new Set<unknown>();
    new SourceDpor(program, {
      onExecution({ kernel }) {
        ends.add((kernel.roots.at(-1) as { c: Atomic }).c.value);
        return false;
      },
    }).run();
    expect([...ends]).toEqual([4]);
  });

  test('of a field returns what was there', () => {
    const seen: number[] = [];
    const program = small(
      { x: 0 },
      {
        *one(s) {
          seen.push(yield* cmpxchgLoop(s, 'x', (x) => x + 1));
          seen.push(yield* cmpxchgLoop(s, 'x', (x) => (x === 1 ? undefined : 7)));
          seen.push(yield* readOnce(s, 'x'));
        },
      },
    );
    expectExact(program, 1);
    expect(seen.slice(0, 3)).toEqual([0, 1, 1]);
  });
});
