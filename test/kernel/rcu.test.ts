import { expect, test } from 'vitest';
import { programOf } from '../../src/check/scenario.ts';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { goal } from '../../src/kernel/choose.ts';
import { rcuAssignPointer, rcuDereference, readOnce } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import {
  callRcu,
  kfreeRcu,
  rcuBarrier,
  rcuHead,
  rcuReadLock,
  rcuReadLockHeld,
  rcuReadUnlock,
  synchronizeRcu,
  type RcuHead,
} from '../../src/kernel/rcu.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import { ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

const FIELDS = { a: rcuHead(), b: rcuHead(), ran: atomic(0), m: mutex() };
const STATE = struct('s', FIELDS);
type State = InstanceOf<typeof STATE>;

/** Programs of these tasks; `t0@1` runs on CPU 1. */
function program(tasks: Record<string, (s: State) => Body<unknown>>) {
  const cpus: Record<string, number> = {};
  for (const name of Object.keys(tasks)) {
    const cpu = name.split('@')[1];
    if (cpu !== undefined) cpus[name] = Number(cpu);
  }
  return small(FIELDS, tasks, { cpus });
}

function expectExact(made: ReturnType<typeof program>, traces: number): void {
  const found = compare(made);
  expect(found.faults).toEqual([]);
  expect(found).toMatchObject({ traces, executions: traces, missing: [], repeated: [] });
}

const note = fn(function* note(head: RcuHead) {
  yield* atomicInc((head.container as State).ran);
});

function* section(): Body<void> {
  yield* rcuReadLock();
  yield* rcuReadUnlock();
}

function* nested(): Body<void> {
  yield* rcuReadLock();
  yield* section();
  yield* rcuReadUnlock();
}

function* synchronize(): Body<void> {
  yield* synchronizeRcu();
}

test('a reader and a synchronizer have 2 traces, however deep the section nests', () => {
  expectExact(program({ reader: section, writer: synchronize }), 2);
  expectExact(program({ reader: nested, writer: synchronize }), 2);
});

test('readers of different CPUs have 1 trace', () => {
  expectExact(program({ t0: nested, t1: section, t2: section }), 1);
});

test('a read section shuts out the other tasks of its CPU', () => {
  const made = program({
    *'reader@0'(s) {
      yield* rcuReadLock();
      const before = yield* atomicRead(s.ran);
      goal(before === (yield* atomicRead(s.ran)) ? 'same' : 'changed');
      yield* rcuReadUnlock();
    },
    *'other@0'(s) {
      yield* atomicInc(s.ran);
    },
  });
  expectExact(made, 2);
  expect(outcomes(made)).toEqual(['same']);
});

test('readers and synchronizers of one CPU are explored exactly', () => {
  // The section is before, between or after the two halves of synchronize_rcu.
  expectExact(program({ 'reader@0': section, 'writer@0': synchronize }), 3);
  const found = compare(
    program({
      *'reader@0'() {
        yield* section();
        yield* section();
      },
      'writer@0': synchronize,
      *'third@1'(s) {
        yield* callRcu(s.a, note);
      },
    }),
  );
  expect(found).toMatchObject({ faults: [], missing: [], repeated: [] });
});

/** A callback is queued on CPU 0; afterwards CPU 1 waits, and looks whether it has run. */
function queuedElsewhere(wait: () => Body<void>) {
  return small(
    { ...FIELDS, queued: atomic(0) },
    {
      *t(s) {
        yield* callRcu(s.a, note);
        yield* atomicInc(s.queued);
      },
      *u(s) {
        if ((yield* atomicRead(s.queued)) === 0) return;
        yield* wait();
        goal((yield* atomicRead(s.ran)) === 0 ? 'has not run' : 'has run');
      },
    },
    { cpus: { t: 0, u: 1 } },
  );
}

test('rcu_barrier waits for callbacks of all CPUs, synchronize_rcu for those of its own', () => {
  expect(
    outcomes(
      queuedElsewhere(function* wait() {
        yield* rcuBarrier();
      }),
    ),
  ).toEqual(['has run', 'nothing']);
  expect(outcomes(queuedElsewhere(synchronize))).toEqual(['has not run', 'has run', 'nothing']);
});

test('sleeping in a read section is reported', () => {
  const made = program({
    *t(s) {
      yield* rcuReadLock();
      yield* mutexLock(s.m);
      yield* mutexUnlock(s.m);
      yield* rcuReadUnlock();
    },
  });
  expect(outcomes(made)).toEqual(['sleeping-in-atomic: inside rcu_read_lock']);
});

test('synchronize_rcu in a read section sleeps there, and waits for itself', () => {
  const made = program({
    *t() {
      yield* rcuReadLock();
      yield* synchronizeRcu();
    },
  });
  const [only] = outcomes(made);
  expect(only).toContain('deadlock: t waits for t');
  expect(only).toContain('sleeping-in-atomic');
});

test('a section that is left twice, or never, is reported', () => {
  const twice = program({
    *t() {
      yield* rcuReadLock();
      expect(rcuReadLockHeld()).toBe(true);
      yield* rcuReadUnlock();
      yield* rcuReadUnlock();
    },
  });
  expect(outcomes(twice)).toEqual(['lock-misuse: rcu_read_unlock outside a read section']);
  const never = program({
    *t() {
      yield* rcuReadLock();
    },
  });
  expect(outcomes(never)).toEqual([
    "lock-misuse: a read section is still open when task 't' ended",
  ]);
});

const NODE = struct('node', { value: 0, rcu: rcuHead() });
type Node = InstanceOf<typeof NODE>;
const SHARED = struct('shared', { node: ptr<Node>() });

/** A reader uses what it finds while the writer takes it away and frees it with `reclaim`. */
function withReader(reclaim: (node: Node) => Body<void>) {
  return programOf(
    {
      name: 'reclaim',
      variants: { v: {} },
      boot: (options) => new Kernel(options),
      setup(kernel: Kernel) {
        const s = allocateStatic(kernel, SHARED);
        s.node = kernel.runNow(kzalloc(NODE, GFP_KERNEL));
        return s;
      },
      tasks: {
        writer: {
          *run(s) {
            const node = s.node!;
            yield* rcuAssignPointer(s, 'node', null);
            yield* reclaim(node);
          },
        },
        reader: {
          *run(s) {
            yield* rcuReadLock();
            const node = yield* rcuDereference(s, 'node');
            if (node !== null) goal(`saw ${yield* readOnce(node, 'value')}`);
            yield* rcuReadUnlock();
          },
        },
      },
    },
    'v',
  );
}

test('kfree_rcu frees what readers use after they have left', () => {
  const made = withReader(function* reclaim(node) {
    yield* kfreeRcu(node.rcu);
  });
  expect(outcomes(made)).toEqual(['nothing', 'saw 0']);
});

test('kfree frees it under them', () => {
  const made = withReader(function* reclaim(node) {
    yield* kfree(node);
  });
  expect(outcomes(made)).toContain('use-after-free: READ_ONCE(node.value) is run');
});

test('kfree_rcu of what is queued already warns', () => {
  const made = withReader(function* reclaim(node) {
    yield* rcuReadLock();
    yield* kfreeRcu(node.rcu);
    yield* kfreeRcu(node.rcu);
    yield* rcuReadUnlock();
  });
  expect(outcomes(made)).toContain('warn: kfree_rcu: node.rcu is queued already');
});
