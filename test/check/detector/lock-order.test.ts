import { describe, expect, test } from 'vitest';
import { fn } from '../../../src/kernel/call.ts';
import { choose } from '../../../src/kernel/choose.ts';
import {
  complete,
  completion,
  waitForCompletion,
  type Completion,
} from '../../../src/kernel/completion.ts';
import { isErr } from '../../../src/kernel/err-ptr.ts';
import { GFP_ATOMIC, GFP_KERNEL, GFP_NOFS } from '../../../src/kernel/gfp.ts';
import { SINGLE_DEPTH_NESTING } from '../../../src/kernel/held-lock.ts';
import { freeIrq, raiseIrq, requestIrq } from '../../../src/kernel/interrupt.ts';
import { kthreadRun, kthreadShouldStop, kthreadStop } from '../../../src/kernel/kthread.ts';
import { fsReclaimAcquire, fsReclaimRelease } from '../../../src/kernel/lock-map.ts';
import {
  mutex,
  mutexLock,
  mutexLockNested,
  mutexTrylock,
  mutexUnlock,
  type Mutex,
} from '../../../src/kernel/mutex.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import {
  downRead,
  downWrite,
  downWriteNestLock,
  downWriteNested,
  rwsem,
  upRead,
  upWrite,
} from '../../../src/kernel/rwsem.ts';
import { kfree, kzalloc } from '../../../src/kernel/slab.ts';
import {
  spinlock,
  spinLock,
  spinLockIrq,
  spinLockIrqsave,
  spinLockNested,
  spinUnlock,
  spinUnlockIrq,
  spinUnlockIrqrestore,
  type Spinlock,
} from '../../../src/kernel/spinlock.ts';
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
} from '../../../src/kernel/srcu.ts';
import { schedule, setCurrentState } from '../../../src/kernel/wait.ts';
import { containerOf, embed, struct } from '../../../src/kernel/struct.ts';
import {
  delTimerSync,
  modTimer,
  timerList,
  timerSetup,
  type TimerList,
} from '../../../src/kernel/timer.ts';
import {
  flushScheduledWork,
  flushWork,
  initWork,
  scheduleWork,
  workStruct,
  type WorkStruct,
} from '../../../src/kernel/workqueue.ts';
import { lockOrder } from '../../../src/check/detector/lock-order.ts';
import { replay } from '../../../src/check/replay.ts';
import { programOf } from '../../../src/check/scenario.ts';
import { check, messagesOf, scenarioOf, violationsOf } from '../small-scenario.ts';

function* nested(outer: Mutex, inner: Mutex): Body<void> {
  yield* mutexLock(outer);
  yield* mutexLock(inner);
  yield* mutexUnlock(inner);
  yield* mutexUnlock(outer);
}

function* inOrder(s: { a: Mutex; b: Mutex }): Body<void> {
  yield* nested(s.a, s.b);
}

function* shrink(lock: Mutex): Body<void> {
  fsReclaimAcquire(GFP_KERNEL);
  yield* mutexLock(lock);
  yield* mutexUnlock(lock);
  fsReclaimRelease(GFP_KERNEL);
}

const take = fn(function* take(work: WorkStruct) {
  const { lock } = containerOf(work, Owner, 'work');
  yield* mutexLock(lock);
  yield* mutexUnlock(lock);
});
const Owner = struct('owner', { lock: mutex(), work: workStruct() });

describe('cycles', () => {
  test('two locks taken in both orders are found, though one task has ended before the other begins', () => {
    const result = check(
      { a: mutex(), b: mutex(), done: completion() },
      {
        *one(s) {
          yield* nested(s.a, s.b);
          yield* complete(s.done);
        },
        *other(s) {
          yield* waitForCompletion(s.done);
          yield* nested(s.b, s.a);
        },
      },
    );
    expect(result.executions).toBe(1);
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.b']);
    expect(messagesOf(result)).toEqual([
      'one takes s.b with s.a held, but other takes s.a with s.b held',
    ]);
  });

  test('one order is clean', () => {
    const result = check({ a: mutex(), b: mutex() }, { one: inOrder, other: inOrder });
    expect(result.verdict).toBe('clean');
  });

  test('a deadlock that happens is told as such, and not as one that may', () => {
    const result = check(
      { a: mutex(), b: mutex() },
      {
        *one(s) {
          yield* nested(s.a, s.b);
        },
        *other(s) {
          yield* nested(s.b, s.a);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['deadlock s.a, s.b']);
  });

  test('so is a deadlock with who waits for a work item, or for readers', () => {
    const result = check(
      { owner: embed(Owner), ss: srcuStruct() },
      {
        *flush({ owner }) {
          initWork(owner.work, take);
          yield* scheduleWork(owner.work);
          yield* mutexLock(owner.lock);
          yield* flushWork(owner.work);
          yield* mutexUnlock(owner.lock);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['deadlock s.owner.lock, take']);
    const other = check(
      { ss: srcuStruct(), lock: mutex() },
      {
        *reader(s) {
          const index = yield* srcuReadLock(s.ss);
          yield* mutexLock(s.lock);
          yield* mutexUnlock(s.lock);
          yield* srcuReadUnlock(s.ss, index);
        },
        *updater(s) {
          yield* mutexLock(s.lock);
          yield* synchronizeSrcu(s.ss);
          yield* mutexUnlock(s.lock);
        },
      },
    );
    expect(violationsOf(other)).toEqual(['deadlock s.lock, s.ss']);
  });

  test('a cycle of three locks is found in one task that takes them two by two', () => {
    const result = check(
      { a: mutex(), b: mutex(), c: mutex() },
      {
        *only(s) {
          yield* nested(s.b, s.c);
          yield* nested(s.a, s.b);
          yield* nested(s.c, s.a);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.b, s.c']);
  });

  test('of a cycle of two and one of three around it, the smaller is told', () => {
    const result = check(
      { a: mutex(), b: mutex(), c: mutex() },
      {
        *only(s) {
          yield* mutexLock(s.a);
          yield* nested(s.b, s.c);
          yield* mutexUnlock(s.a);
          yield* nested(s.c, s.a);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.c']);
  });

  test('one wrong order among many locks is one finding', () => {
    const fields = { a: mutex(), b: mutex(), c: mutex(), d: mutex(), e: mutex(), f: mutex() };
    const result = check(fields, {
      *only(s) {
        const all = [s.a, s.b, s.c, s.d, s.e, s.f];
        for (const lock of all) yield* mutexLock(lock);
        for (const lock of all) yield* mutexUnlock(lock);
        yield* nested(s.f, s.a);
      },
    });
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.f']);
  });

  test('orders that no execution has both of are found, and what is found can be repeated', () => {
    const result = check(
      { a: mutex(), b: mutex() },
      {
        *only(s) {
          if ((yield* choose(2)) === 0) yield* nested(s.a, s.b);
          else yield* nested(s.b, s.a);
        },
      },
    );
    expect(result.executions).toBe(2);
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.b']);
    expect(result.violations[0]?.schedule.earlier).toHaveLength(1);
  });

  test('locks of two objects are one class', () => {
    const Node = struct('node', { lock: mutex() });
    const result = check(
      { outer: mutex(), left: embed(Node), right: embed(Node) },
      {
        *only(s) {
          yield* nested(s.left.lock, s.outer);
          yield* nested(s.outer, s.right.lock);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order node.lock, s.outer']);
  });
});

describe('trylocks', () => {
  test('a trylock comes after nothing', () => {
    const result = check(
      { a: mutex(), b: mutex() },
      {
        *only(s) {
          yield* nested(s.a, s.b);
          yield* mutexLock(s.b);
          if (yield* mutexTrylock(s.a)) yield* mutexUnlock(s.a);
          yield* mutexUnlock(s.b);
        },
      },
    );
    expect(result.verdict).toBe('clean');
  });

  test('what is taken under a lock got by trylock comes after it', () => {
    const result = check(
      { a: mutex(), b: mutex() },
      {
        *only(s) {
          yield* nested(s.a, s.b);
          if (!(yield* mutexTrylock(s.b))) return;
          yield* mutexLock(s.a);
          yield* mutexUnlock(s.a);
          yield* mutexUnlock(s.b);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order s.a, s.b']);
  });
});

describe('one class inside itself', () => {
  const Node = struct('node', { lock: mutex(), spin: spinlock(), sem: rwsem() });
  const fields = { outer: mutex(), sem: rwsem(), left: embed(Node), right: embed(Node) };

  test('two locks of one class are found', () => {
    const result = check(fields, {
      *only(s) {
        yield* nested(s.left.lock, s.right.lock);
      },
    });
    expect(violationsOf(result)).toEqual(['lock-order node.lock']);
  });

  test('two locks of one class are clean with nesting levels', () => {
    const result = check(fields, {
      *only(s) {
        yield* mutexLock(s.left.lock);
        yield* mutexLockNested(s.right.lock, SINGLE_DEPTH_NESTING);
        yield* mutexUnlock(s.right.lock);
        yield* mutexUnlock(s.left.lock);
        yield* spinLock(s.left.spin);
        yield* spinLockNested(s.right.spin, SINGLE_DEPTH_NESTING);
        yield* spinUnlock(s.right.spin);
        yield* spinUnlock(s.left.spin);
        yield* downWrite(s.left.sem);
        yield* downWriteNested(s.right.sem, SINGLE_DEPTH_NESTING);
        yield* upWrite(s.right.sem);
        yield* upWrite(s.left.sem);
      },
    });
    expect(result.verdict).toBe('clean');
  });

  test('many of one class are clean under a lock that serialises them, and found without it', () => {
    for (const [isHeld, found] of [
      [true, []],
      [false, ['lock-order node.sem']],
    ] as const) {
      const result = check(fields, {
        *only(s) {
          if (isHeld) yield* downWrite(s.sem);
          yield* downWriteNestLock(s.right.sem, s.sem);
          yield* downWriteNestLock(s.left.sem, s.sem);
          yield* upWrite(s.left.sem);
          yield* upWrite(s.right.sem);
          if (isHeld) yield* upWrite(s.sem);
        },
      });
      expect(violationsOf(result)).toEqual(found);
    }
  });

  test('a semaphore read twice by one task is found, since a writer may come in between', () => {
    const result = check(fields, {
      *only(s) {
        yield* downRead(s.sem);
        yield* downRead(s.sem);
        yield* upRead(s.sem);
        yield* upRead(s.sem);
      },
    });
    expect(violationsOf(result)).toEqual(['lock-order s.sem']);
  });
});

describe('readers', () => {
  test('readers of two semaphores in both orders are found: a writer may wait at each', () => {
    const result = check(
      { a: rwsem(), b: rwsem() },
      {
        *one(s) {
          yield* downRead(s.a);
          yield* downRead(s.b);
          yield* upRead(s.b);
          yield* upRead(s.a);
        },
        *other(s) {
          yield* downRead(s.b);
          yield* downRead(s.a);
          yield* upRead(s.a);
          yield* upRead(s.b);
        },
      },
    );
    expect(messagesOf(result)).toEqual([
      'one takes s.b with s.a held, but other takes s.a with s.b held; a reader waits for a reader ' +
        'if a writer has come in between',
    ]);
  });

  test('SRCU read sections nest, and inside and outside a lock they are clean', () => {
    const result = check(
      { ss: srcuStruct(), lock: mutex() },
      {
        *only(s) {
          const outer = yield* srcuReadLock(s.ss);
          yield* mutexLock(s.lock);
          const inner = yield* srcuReadLock(s.ss);
          yield* srcuReadUnlock(s.ss, inner);
          yield* mutexUnlock(s.lock);
          yield* srcuReadUnlock(s.ss, outer);
        },
      },
    );
    expect(result.verdict).toBe('clean');
  });

  test('synchronize_srcu under a lock that readers take is found though nobody waits for another', () => {
    const result = check(
      { ss: srcuStruct(), lock: mutex() },
      {
        *only(s) {
          const index = yield* srcuReadLock(s.ss);
          yield* mutexLock(s.lock);
          yield* mutexUnlock(s.lock);
          yield* srcuReadUnlock(s.ss, index);
          yield* mutexLock(s.lock);
          yield* synchronizeSrcu(s.ss);
          yield* mutexUnlock(s.lock);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order s.lock, s.ss']);
  });
});

describe('interrupts', () => {
  const fields = { a: spinlock(), b: spinlock() };
  const handle = fn(function* handle(_irq: number, s: { a: Spinlock }) {
    yield* spinLock(s.a);
    yield* spinUnlock(s.a);
  });

  test('a lock of a handler that a task holds with interrupts on is found', () => {
    const result = check(fields, {
      *only(s) {
        yield* requestIrq(7, handle, s);
        yield* raiseIrq(7);
        yield* spinLock(s.a);
        yield* spinUnlock(s.a);
        yield* freeIrq(7);
      },
    });
    expect(violationsOf(result)).toEqual(['irq-inversion s.a']);
    expect(messagesOf(result)).toEqual([
      'inconsistent {HARDIRQ-ON-W} -> {IN-HARDIRQ-W} usage: handle takes s.a in an interrupt ' +
        'handler, only holds it with interrupts on',
    ]);
  });

  test('a lock that is held with interrupts off everywhere is clean', () => {
    const result = check(fields, {
      *only(s) {
        yield* requestIrq(7, handle, s);
        yield* raiseIrq(7);
        const flags = yield* spinLockIrqsave(s.a);
        yield* spinUnlockIrqrestore(s.a, flags);
        yield* freeIrq(7);
      },
    });
    expect(result.verdict).toBe('clean');
  });

  test('interrupts turned on by an inner unlock count for the outer lock', () => {
    const result = check(fields, {
      *only(s) {
        yield* requestIrq(7, handle, s);
        yield* raiseIrq(7);
        yield* spinLockIrq(s.a);
        yield* spinLockIrq(s.b);
        yield* spinUnlockIrq(s.b);
        yield* spinUnlock(s.a);
        yield* freeIrq(7);
      },
    });
    expect(violationsOf(result)).toEqual(['irq-inversion s.a']);
  });

  test('a lock held with interrupts on that comes after a lock of a handler is found', () => {
    const result = check(fields, {
      *only(s) {
        yield* requestIrq(7, handle, s);
        yield* raiseIrq(7);
        const flags = yield* spinLockIrqsave(s.a);
        yield* spinLock(s.b);
        yield* spinUnlock(s.b);
        yield* spinUnlockIrqrestore(s.a, flags);
        yield* spinLock(s.b);
        yield* spinUnlock(s.b);
        yield* freeIrq(7);
      },
    });
    expect(violationsOf(result)).toEqual(['irq-inversion s.a, s.b']);
  });
});

describe('reclaim', () => {
  const Thing = struct('thing', { size: 1 });
  const fields = { lock: mutex() };
  test('an allocation under a lock that reclaim takes is found if it may enter reclaim', () => {
    for (const [gfp, found] of [
      [GFP_KERNEL, ['lock-order fs_reclaim, s.lock']],
      [GFP_NOFS, []],
      [GFP_ATOMIC, []],
    ] as const) {
      const result = check(fields, {
        *only(s) {
          yield* shrink(s.lock);
          yield* mutexLock(s.lock);
          const thing = yield* kzalloc(Thing, gfp);
          yield* mutexUnlock(s.lock);
          yield* kfree(thing);
        },
      });
      expect(violationsOf(result)).toEqual(found);
    }
  });

  test('an allocation in reclaim does not enter reclaim again', () => {
    const result = check(fields, {
      *only(s) {
        fsReclaimAcquire(GFP_KERNEL);
        yield* mutexLock(s.lock);
        yield* kfree(yield* kzalloc(Thing, GFP_KERNEL));
        yield* mutexUnlock(s.lock);
        fsReclaimRelease(GFP_KERNEL);
      },
    });
    expect(result.verdict).toBe('clean');
  });
});

describe('waiting for work, timers and threads', () => {
  const fields = { owner: embed(Owner), done: completion() };

  test('an item flushed under a lock that its function takes is found though it has run already', () => {
    const result = check(fields, {
      *only({ owner }) {
        initWork(owner.work, take);
        yield* scheduleWork(owner.work);
        yield* flushWork(owner.work);
        yield* mutexLock(owner.lock);
        yield* flushWork(owner.work);
        yield* mutexUnlock(owner.lock);
      },
    });
    expect(violationsOf(result)).toEqual(['lock-order (work_completion)owner.work, owner.lock']);
  });

  test('flushed before the lock is taken it is clean', () => {
    const result = check(fields, {
      *only({ owner }) {
        initWork(owner.work, take);
        yield* scheduleWork(owner.work);
        yield* flushWork(owner.work);
        yield* mutexLock(owner.lock);
        yield* mutexUnlock(owner.lock);
      },
    });
    expect(result.verdict).toBe('clean');
  });

  test('flush_scheduled_work under a lock that some item takes is found', () => {
    const result = check(fields, {
      *only({ owner }) {
        initWork(owner.work, take);
        yield* scheduleWork(owner.work);
        yield* flushScheduledWork();
        yield* mutexLock(owner.lock);
        yield* flushScheduledWork();
        yield* mutexUnlock(owner.lock);
      },
    });
    expect(violationsOf(result)).toEqual(['lock-order (wq_completion)system_wq, owner.lock']);
  });

  test('del_timer_sync under a lock that the timer takes is found', () => {
    const Blinker = struct('blinker', { lock: spinlock(), timer: timerList() });
    const blink = fn(function* blink(timer: TimerList) {
      const { lock } = containerOf(timer, Blinker, 'timer');
      yield* spinLock(lock);
      yield* spinUnlock(lock);
    });
    const result = check(
      { blinker: embed(Blinker), done: completion() },
      {
        *only({ blinker }) {
          timerSetup(blinker.timer, blink);
          yield* modTimer(blinker.timer);
          yield* delTimerSync(blinker.timer);
          yield* spinLock(blinker.lock);
          yield* delTimerSync(blinker.timer);
          yield* spinUnlock(blinker.lock);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order (timer)blinker.timer, blinker.lock']);
  });

  test('kthread_stop under a lock that the thread takes is found', () => {
    const main = fn(function* main(lock: Mutex) {
      yield* mutexLock(lock);
      yield* mutexUnlock(lock);
      return 0;
    });
    const result = check(
      { lock: mutex(), done: completion() },
      {
        *only(s) {
          const thread = yield* kthreadRun(
            fn(function* body(at: { lock: Mutex; done: Completion }) {
              yield* main(at.lock);
              yield* complete(at.done);
              for (;;) {
                yield* setCurrentState('interruptible');
                if (yield* kthreadShouldStop()) return 0;
                yield* schedule();
              }
            }),
            s,
            'worker',
          );
          if (isErr(thread)) return;
          yield* waitForCompletion(s.done);
          yield* mutexLock(s.lock);
          yield* kthreadStop(thread);
          yield* mutexUnlock(s.lock);
        },
      },
    );
    expect(violationsOf(result)).toEqual(['lock-order (kthread)worker, s.lock']);
  });
});

test('what is found in a run that is then abandoned is kept', () => {
  const tested = programOf(
    scenarioOf(
      { a: mutex(), b: mutex() },
      {
        *only(s) {
          yield* nested(s.a, s.b);
          yield* nested(s.b, s.a);
        },
      },
    ),
    'v',
  );
  const detector = lockOrder();
  const tasks = [0, 0, 0, 0, 0, 0, 0];
  const taken = { tasks, outcomes: tasks.map(() => 0) };
  detector.scheduleSoFar = () => taken;
  const { kernel } = replay(tested, taken, { watches: [detector] });
  expect(kernel.findings).toHaveLength(1);
  expect(detector.unfinished).toEqual([{ finding: kernel.findings[0], schedule: taken }]);
  replay(tested, taken, { watches: [detector], learners: [], toEnd: true });
  expect(detector.unfinished).toHaveLength(1);
});
