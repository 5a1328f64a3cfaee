import { expect, test } from 'vitest';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { fn, type KernelCallable } from '../../src/kernel/call.ts';
import { programOf } from '../../src/check/scenario.ts';
import { goal } from '../../src/kernel/choose.ts';
import { rcuAssignPointer, rcuDereference, readOnce } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import {
  callSrcu,
  cleanupSrcuStruct,
  defineSrcu,
  rcuHead,
  srcuBarrier,
  srcuReadLock,
  srcuReadLockHeld,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
  type RcuHead,
} from '../../src/kernel/srcu.ts';
import { containerOf, field, ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

import { note, program, section, type State } from '../util/srcu-programs.ts';
test('synchronize_srcu inside its own read section waits for itself', () => {
  const made = program({
    *t(s) {
      yield* srcuReadLock(s.ss);
      yield* synchronizeSrcu(s.ss);
    },
  });
  expect(outcomes(made)).toEqual(['deadlock: t waits for t']);
});

test('a reader that waits for a lock whose holder synchronizes is a deadlock', () => {
  const made = program({
    *reader(s) {
      const index = yield* srcuReadLock(s.ss);
      yield* mutexLock(s.m);
      yield* mutexUnlock(s.m);
      yield* srcuReadUnlock(s.ss, index);
    },
    *writer(s) {
      yield* mutexLock(s.m);
      yield* synchronizeSrcu(s.ss);
      yield* mutexUnlock(s.m);
    },
  });
  expect(outcomes(made)).toEqual([
    'deadlock: reader waits for writer; writer waits for reader',
    'nothing',
  ]);
});

test('srcu_barrier inside its own read section is reported, whether it hangs or not', () => {
  const made = program({
    *t(s) {
      yield* callSrcu(s.ss, s.a, note);
      const index = yield* srcuReadLock(s.ss);
      yield* srcuBarrier(s.ss);
      yield* srcuReadUnlock(s.ss, index);
    },
  });
  expect(outcomes(made)).toEqual([
    'lock-misuse: srcu_barrier inside a read section of its own: ' +
      'callbacks may be waiting for that to end',
  ]);
});

test('an index that no open section has is reported', () => {
  const made = program({
    *t(s) {
      const index = yield* srcuReadLock(s.ss);
      yield* srcuReadUnlock(s.ss, index + 1);
    },
  });
  expect(outcomes(made)).toEqual([
    'lock-misuse: srcu_read_unlock with the index 1, which no open read section of the task has',
  ]);
});

test('a read section that is never left is reported', () => {
  const made = program({
    *t(s) {
      yield* srcuReadLock(s.ss);
      expect(srcuReadLockHeld(s.ss)).toBe(true);
      expect(srcuReadLockHeld(s.other)).toBe(false);
    },
  });
  expect(outcomes(made)).toEqual(["lock-misuse: a read section is still open when task 't' ended"]);
});

test('queueing a head that is queued warns and does nothing', () => {
  const made = program({
    *reader(s) {
      const index = yield* srcuReadLock(s.ss);
      yield* callSrcu(s.ss, s.a, note);
      yield* callSrcu(s.ss, s.a, note);
      yield* srcuReadUnlock(s.ss, index);
      yield* srcuBarrier(s.ss);
      goal(`ran ${yield* atomicRead(s.ran)} times`);
    },
  });
  expect(outcomes(made)).toEqual(['ran 1 times, warn: call_srcu: s.a is queued already']);
});

test('a callback may queue its own head again', () => {
  const requeue: KernelCallable<[RcuHead], void> = fn(function* again(head: RcuHead) {
    const s = head.container as State;
    if ((yield* atomicRead(s.ran)) === 0) yield* callSrcu(s.ss, head, requeue);
    yield* atomicInc(s.ran);
  });
  const made = program({
    *'t@0'(s) {
      yield* callSrcu(s.ss, s.a, requeue);
      yield* srcuBarrier(s.ss);
      yield* srcuBarrier(s.ss);
      goal(`ran ${yield* atomicRead(s.ran)} times`);
    },
  });
  expect(outcomes(made)).toEqual(['ran 2 times']);
});

test('a callback that sleeps is reported', () => {
  const sleeps = fn(function* sleeps(head: RcuHead) {
    yield* mutexLock((head.container as State).m);
    yield* mutexUnlock((head.container as State).m);
  });
  const made = program({
    *t(s) {
      yield* callSrcu(s.ss, s.a, sleeps);
    },
  });
  expect(outcomes(made)).toEqual(['sleeping-in-atomic: in an RCU or SRCU callback']);
});

test('cleaning up with a reader inside or a callback queued warns', () => {
  const made = program({
    reader: section,
    *'t@0'(s) {
      yield* callSrcu(s.ss, s.a, note);
      yield* cleanupSrcuStruct(s.ss);
    },
  });
  expect(outcomes(made)).toContain(
    'warn: cleanup_srcu_struct: s.ss still has callbacks queued, ' +
      'warn: cleanup_srcu_struct: s.ss still has readers',
  );
  const clean = program({
    *'t@0'(s) {
      yield* callSrcu(s.ss, s.a, note);
      yield* srcuBarrier(s.ss);
      yield* cleanupSrcuStruct(s.ss);
    },
  });
  expect(outcomes(clean)).toEqual(['nothing']);
});

const HOLDER = struct('holder', { ss: srcuStruct() });
const NODE = struct('node', { rcu: rcuHead(), value: 0 });
const SHARED = struct('shared', { ss: srcuStruct(), node: ptr<InstanceOf<typeof NODE>>() });

const free = fn(function* free(head: RcuHead) {
  yield* kfree(containerOf(head, NODE, 'rcu'));
});

/** A reader uses what it finds while the writer takes it away and frees it with `reclaim`. */
function withReader(
  reclaim: (s: InstanceOf<typeof SHARED>, node: InstanceOf<typeof NODE>) => Body<void>,
) {
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
            yield* reclaim(s, node);
          },
        },
        reader: {
          *run(s) {
            const index = yield* srcuReadLock(s.ss);
            const node = yield* rcuDereference(s, 'node');
            if (node !== null) goal(`saw ${yield* readOnce(node, 'value')}`);
            yield* srcuReadUnlock(s.ss, index);
          },
        },
      },
    },
    'v',
  );
}

test('what a reader uses is freed after it, by a callback or after synchronize_srcu', () => {
  const withCallback = withReader(function* reclaim(s, node) {
    yield* callSrcu(s.ss, node.rcu, free);
  });
  const withSynchronize = withReader(function* reclaim(s, node) {
    yield* synchronizeSrcu(s.ss);
    yield* kfree(node);
  });
  expect(outcomes(withCallback)).toEqual(['nothing', 'saw 0']);
  expect(outcomes(withSynchronize)).toEqual(['nothing', 'saw 0']);
});

test('what a reader uses and the writer frees at once is used after free', () => {
  const atOnce = withReader(function* reclaim(_s, node) {
    yield* kfree(node);
  });
  expect(outcomes(atOnce)).toEqual([
    'nothing',
    'saw 0',
    'use-after-free: READ_ONCE(node.value) is run',
  ]);
});

test('using an srcu_struct in memory that was freed is a use after free', () => {
  const made = small(
    { holder: field<InstanceOf<typeof HOLDER> | null>(null), ready: atomic(0) },
    {
      *owner(s) {
        const holder = (yield* kzalloc(HOLDER, GFP_KERNEL))!;
        s.holder = holder;
        yield* atomicInc(s.ready);
        yield* kfree(holder);
      },
      *reader(s) {
        if ((yield* atomicRead(s.ready)) === 0) return;
        const { ss } = s.holder!;
        const index = yield* srcuReadLock(ss);
        yield* srcuReadUnlock(ss, index);
      },
    },
  );
  expect(outcomes(made)).toEqual([
    'nothing',
    'use-after-free: srcu_read_lock(&holder.ss) is run',
    'use-after-free: srcu_read_unlock(&holder.ss) is run',
  ]);
});

test('an srcu_struct defined for the kernel is one for each execution', () => {
  const srcu = defineSrcu('srcu');
  const options = { budget: NO_FAULTS, watches: [], tracer: null };
  const [one, two] = [new Kernel(options), new Kernel(options)];
  expect(srcu(one) === srcu(one)).toBe(true);
  expect(srcu(one) === srcu(two)).toBe(false);
  expect(srcu(one).path).toBe('srcu');
});
