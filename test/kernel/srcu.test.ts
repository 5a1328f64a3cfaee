import { array, assert, constantFrom, property, tuple } from 'fast-check';
import { expect, test } from 'vitest';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { goal } from '../../src/kernel/choose.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import {
  callSrcu,
  srcuReadLock,
  srcuReadUnlock,
  synchronizeSrcu,
  type RcuHead,
} from '../../src/kernel/srcu.ts';
import { compare } from '../util/brute-force.ts';
import { compareSmall } from '../util/compare-small.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

import {
  after,
  barrier,
  FIELDS,
  note,
  program,
  queueA,
  section,
  synchronize,
  type State,
} from '../util/srcu-programs.ts';
function expectExact(made: ReturnType<typeof program>, traces: number): void {
  const found = compare(made);
  expect(found.faults).toEqual([]);
  expect(found).toMatchObject({ traces, executions: traces, missing: [], repeated: [] });
}

test('a reader and a synchronizer have 2: waited for or not', () => {
  expectExact(
    program({
      reader: section,
      writer: synchronize,
    }),
    2,
  );
});

test('readers alone have 1', () => {
  expectExact(program({ t0: section, t1: section, t2: section }), 1);
});

test('synchronizers alone have 1', () => {
  expectExact(program({ t0: synchronize, t1: synchronize, t2: synchronize }), 1);
});

test('two readers and a synchronizer have 4', () => {
  expectExact(
    program({
      t0: section,
      t1: section,
      writer: synchronize,
    }),
    4,
  );
});

test('two read sections one after another and a synchronizer have 3', () => {
  expectExact(
    program({
      *reader(s) {
        yield* section(s);
        yield* section(s);
      },
      writer: synchronize,
    }),
    3,
  );
});

test('a section inside a section and a synchronizer have 3', () => {
  expectExact(
    program({
      *reader(s) {
        const outer = yield* srcuReadLock(s.ss);
        yield* section(s);
        yield* srcuReadUnlock(s.ss, outer);
      },
      writer: synchronize,
    }),
    3,
  );
});

test('sections that overlap and a synchronizer have 3', () => {
  expectExact(
    program({
      *reader(s) {
        const one = yield* srcuReadLock(s.ss);
        const two = yield* srcuReadLock(s.ss);
        yield* srcuReadUnlock(s.ss, one);
        yield* srcuReadUnlock(s.ss, two);
      },
      writer: synchronize,
    }),
    3,
  );
});

test('a reader of another srcu_struct is not waited for', () => {
  expectExact(
    program({
      reader: section,
      *writer(s) {
        yield* synchronizeSrcu(s.other);
      },
    }),
    1,
  );
});

test('a reader and a callback have 2', () => {
  expectExact(
    program({
      reader: section,
      writer: queueA,
    }),
    2,
  );
});

test('callbacks queued on two CPUs have 1', () => {
  expectExact(
    program({
      't@0': queueA,
      *'t@1'(s) {
        yield* callSrcu(s.ss, s.b, note);
      },
    }),
    1,
  );
});

test('callbacks queued by two tasks of one CPU have 2: the order of its list', () => {
  expectExact(
    program({
      't@0': queueA,
      *'u@0'(s) {
        yield* callSrcu(s.ss, s.b, note);
      },
    }),
    2,
  );
});

test('a callback and a synchronizer have 2 on one CPU and 1 on two', () => {
  expectExact(program({ 't@0': queueA, 'u@0': synchronize }), 2);
  expectExact(program({ 't@0': queueA, 'u@1': synchronize }), 1);
});

test('a callback and a barrier of another CPU have 2', () => {
  expectExact(
    program({
      't@0': queueA,
      'u@1': barrier,
    }),
    2,
  );
});

test('random programs are explored exactly', () => {
  let compared = 0;
  assert(
    property(
      array(
        tuple(
          constantFrom('', '@0', '@0', '@1'),
          array(constantFrom(...Object.keys(STEPS)), { minLength: 1, maxLength: 2 }),
        ),
        { minLength: 2, maxLength: 3 },
      ),
      (tasks) => {
        const bodies = tasks.map(([cpu, steps], at) => [
          `t${at}${cpu}`,
          function* body(s: State): Body<void> {
            for (const step of steps) yield* STEPS[step]!(s);
          },
        ]);
        const found = compareSmall(program(Object.fromEntries(bodies)));
        if (found === null) return;
        compared += 1;
        expect(found.faults).toEqual([]);
        expect(found.missing).toEqual([]);
        expect(found.repeated).toEqual([]);
        expect(found.executions).toBe(found.traces);
      },
    ),
    { numRuns: 100, seed: 20_190_806 },
  );
  expect(compared).toBeGreaterThan(45);
});

const STEPS: Record<string, (s: State) => Body<void>> = {
  section,
  *lockedSection(s) {
    const index = yield* srcuReadLock(s.ss);
    yield* mutexLock(s.m);
    yield* mutexUnlock(s.m);
    yield* srcuReadUnlock(s.ss, index);
  },
  synchronize,
  barrier,
  queueA,
  *lockedSynchronize(s) {
    yield* mutexLock(s.m);
    yield* synchronizeSrcu(s.ss);
    yield* mutexUnlock(s.m);
  },
  *queueB(s) {
    yield* callSrcu(s.ss, s.b, note);
  },
  *read(s) {
    yield* atomicRead(s.ran);
  },
};

test('synchronize_srcu waits for a callback queued before on its own CPU', () => {
  const made = program({
    *'t@0'(s) {
      yield* callSrcu(s.ss, s.a, note);
      yield* after(s, synchronize);
    },
  });
  expect(outcomes(made)).toEqual(['has run']);
});

// What candidate A-13 of mmu_notifier_synchronize rests on: module exit on another CPU.
test('synchronize_srcu does not wait for a callback queued before on another CPU', () => {
  const made = queuedElsewhere((s) => after(s, synchronize));
  expect(outcomes(made)).toEqual(['has not run', 'has run']);
});

test('srcu_barrier waits for a callback queued before on another CPU', () => {
  const made = queuedElsewhere((s) => after(s, barrier));
  expect(outcomes(made)).toEqual(['has run']);
});

/** Task t on CPU 0 queues a callback; `then` runs on CPU 1, afterwards. */
function queuedElsewhere(then: (s: State) => Body<void>) {
  return small(
    { ...FIELDS, queued: atomic(0) },
    {
      *t(s) {
        yield* callSrcu(s.ss, s.a, note);
        yield* atomicInc(s.queued);
      },
      *u(s) {
        if ((yield* atomicRead(s.queued)) === 1) yield* then(s as unknown as State);
        else goal('has run');
      },
    },
    { cpus: { t: 0, u: 1 } },
  );
}

test('a callback waits for a reader that was there when it was queued', () => {
  const made = program({
    *t(s) {
      const index = yield* srcuReadLock(s.ss);
      yield* callSrcu(s.ss, s.a, note);
      goal((yield* atomicRead(s.ran)) === 0 ? 'has not run' : 'has run');
      yield* srcuReadUnlock(s.ss, index);
    },
  });
  expect(outcomes(made)).toEqual(['has not run']);
});

test('callbacks of one CPU run in the order in which they were queued', () => {
  const first = fn(function* first(head: RcuHead) {
    yield* atomicRead((head.container as State).ran);
    yield* atomicInc((head.container as State).ran);
  });
  const second = fn(function* second(head: RcuHead) {
    goal(`${yield* atomicRead((head.container as State).ran)} before`);
  });
  const made = program({
    *'t@0'(s) {
      yield* callSrcu(s.ss, s.a, first);
      yield* callSrcu(s.ss, s.b, second);
    },
  });
  expect(outcomes(made)).toEqual(['1 before']);
});
