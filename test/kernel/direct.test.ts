/** Direct mode: calls run to their end, others run when they must, and what cannot go on says so. */
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { fn } from '../../src/kernel/call.ts';
import { completion, complete, waitForCompletion } from '../../src/kernel/completion.ts';
import { runDirect, settle } from '../../src/kernel/direct.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { callSrcu, rcuHead, srcuReadLock, srcuReadUnlock } from '../../src/kernel/srcu.ts';
import { srcuStruct, synchronizeSrcu, type RcuHead } from '../../src/kernel/srcu.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import { containerOf, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { modTimer, timerList, timerSetup } from '../../src/kernel/timer.ts';
import {
  delayedWork,
  flushWork,
  initDelayedWork,
  initWork,
  queueWork,
  scheduleDelayedWork,
  scheduleWork,
  systemWq,
  workStruct,
} from '../../src/kernel/workqueue.ts';

const Thing = struct('thing', {
  lock: mutex(),
  srcu: srcuStruct(),
  done: completion(),
  work: workStruct(),
  delayed: delayedWork(),
  timer: timerList(),
  rcu: rcuHead(),
  count: atomic(0),
  value: 0,
});
type Thing = InstanceOf<typeof Thing>;

function boot(): { kernel: Kernel; thing: Thing } {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  return { kernel, thing: allocateStatic(kernel, Thing) };
}

const increment = fn(function* increment(thing: Thing) {
  yield* mutexLock(thing.lock);
  thing.value += 1;
  yield* mutexUnlock(thing.lock);
  return thing.value;
});

/** What a usage error says, with its code. */
function failure(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return `${(error as UsageError).code}: ${(error as UsageError).message}`;
  }
  return 'nothing was thrown';
}

describe('a direct call', () => {
  it('returns what the call returns, and leaves nothing behind', () => {
    const { kernel, thing } = boot();
    for (let at = 1; at <= 1000; at += 1) expect(runDirect(kernel, increment(thing))).toBe(at);
    expect(thing.value).toBe(1000);
    expect(kernel.now).toBe(-1);
    expect(thing.lock.pastHolds).toEqual([]);
  });

  it('may be a single operation with an argument', () => {
    const { kernel, thing } = boot();
    runDirect(kernel, atomicInc(thing.count));
    expect(runDirect(kernel, atomicRead(thing.count))).toBe(1);
    const index = runDirect(kernel, srcuReadLock(thing.srcu));
    runDirect(kernel, srcuReadUnlock(thing.srcu, index));
  });

  it('lets work items, callbacks and grace periods run when it waits for them', () => {
    const { kernel, thing } = boot();
    const order: string[] = [];
    const work = fn(function* work() {
      yield* atomicInc(thing.count);
      order.push('work');
    });
    const wait = fn(function* wait() {
      initWork(thing.work, work);
      yield* scheduleWork(thing.work);
      yield* flushWork(thing.work);
      order.push('flushed');
      yield* synchronizeSrcu(thing.srcu);
      order.push('synchronized');
    });
    runDirect(kernel, wait());
    expect(order).toEqual(['work', 'flushed', 'synchronized']);
    expect(kernel.tasks).toEqual([]);
  });

  it('lets what it has started run when it is over, except what waits for time to pass', () => {
    const { kernel, thing } = boot();
    const order: string[] = [];
    const note = (what: string) =>
      fn(function* noted() {
        order.push(what);
      });
    const start = fn(function* start() {
      initWork(thing.work, note('work'));
      initDelayedWork(thing.delayed, note('delayed'));
      timerSetup(thing.timer, note('timer'));
      yield* scheduleDelayedWork(thing.delayed, 1);
      yield* modTimer(thing.timer);
      yield* queueWork(systemWq(), thing.work);
      order.push('started');
    });
    runDirect(kernel, start());
    expect(order).toEqual(['started', 'work']);
    settle(kernel, { timers: true });
    expect(order).toEqual(['started', 'work', 'timer', 'delayed']);
    expect(kernel.tasks).toEqual([]);
  });

  it('lets a timer fire if nothing else can bring it on', () => {
    const { kernel, thing } = boot();
    const fire = fn(function* fire() {
      yield* complete(thing.done);
    });
    const wait = fn(function* wait() {
      timerSetup(thing.timer, fire);
      yield* modTimer(thing.timer);
      yield* waitForCompletion(thing.done);
      return 'woken';
    });
    expect(runDirect(kernel, wait())).toBe('woken');
  });

  it('lets a thread run that the program has started', () => {
    const { kernel, thing } = boot();
    kernel.spawn('helper', 'thread', null, function* helper() {
      yield* increment(thing);
      yield* complete(thing.done);
    });
    runDirect(kernel, waitForCompletion(thing.done));
    expect(thing.value).toBe(1);
  });

  it('runs any number of work items and callbacks, and forgets them', () => {
    const { kernel, thing } = boot();
    const free = fn(function* free(head: RcuHead) {
      yield* kfree(containerOf(head, Thing, 'rcu'));
    });
    const round = fn(function* round() {
      for (let at = 0; at < 50; at += 1) {
        const fresh = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
        yield* callSrcu(thing.srcu, fresh.rcu, free);
      }
    });
    for (let at = 0; at < 20; at += 1) runDirect(kernel, round());
    expect(kernel.tasks).toEqual([]);
    expect(kernel.slabMemory.size).toBe(0);
    expect(kernel.cpus.size).toBeLessThanOrEqual(1);
  });

  it('gives memory that lives at the same time different addresses', () => {
    const { kernel, thing } = boot();
    const kept: Thing[] = [];
    const allocate = fn(function* allocate() {
      kept.push((yield* kzalloc(Thing, GFP_KERNEL)) as Thing);
    });
    for (let at = 0; at < 5; at += 1) {
      runDirect(kernel, allocate());
      const queue = fn(function* queue() {
        initWork(thing.work, allocate);
        yield* scheduleWork(thing.work);
      });
      runDirect(kernel, queue());
    }
    expect(new Set(kept.map((item) => item.address)).size).toBe(10);
  });
});

describe('a direct call that cannot go on', () => {
  it('is an error that says where it stands and who keeps it waiting', () => {
    const { kernel, thing } = boot();
    const twice = fn(function* lockTwice() {
      yield* mutexLock(thing.lock);
      yield* mutexLock(thing.lock);
    });
    expect(failure(() => runDirect(kernel, twice()))).toBe(
      'MN210: lock_twice waits at mutex_lock(&thing.lock), kept waiting by itself, and nothing that ' +
        'could still run will let it go on',
    );
  });

  it('is an error too if a thread holds what it wants', () => {
    const { kernel, thing } = boot();
    kernel.spawn('holder', 'thread', null, function* holder() {
      yield* mutexLock(thing.lock);
      yield* waitForCompletion(thing.done);
      yield* mutexUnlock(thing.lock);
    });
    settle(kernel);
    expect(failure(() => runDirect(kernel, increment(thing)))).toContain('kept waiting by holder');
  });

  it('says that it ended in an oops', () => {
    const { kernel, thing } = boot();
    const broken = fn(function* broken() {
      yield* mutexLock(thing.lock);
      bugOn(true, 'true');
    });
    expect(failure(() => runDirect(kernel, broken()))).toMatch(
      /^MN211: broken\(\) ended in an oops/,
    );
    const late = fn(function* late() {
      const fresh = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
      yield* kfree(fresh);
      yield* mutexLock(fresh.lock);
    });
    expect(failure(() => runDirect(boot().kernel, late()))).toMatch(/^MN211: late\(\)/);
  });

  it('ends in an oops of an operation without running what follows in the body', () => {
    const { kernel, thing } = boot();
    const ran: string[] = [];
    const twice = fn(function* twice() {
      const fresh = (yield* kzalloc(Thing, GFP_KERNEL)) as Thing;
      try {
        yield* kfree(fresh);
        yield* kfree(fresh);
      } catch {
        ran.push('catch');
      } finally {
        ran.push('finally');
      }
    });
    expect(failure(() => runDirect(kernel, twice()))).toMatch(/^MN211: twice\(\)/);
    expect(ran).toEqual([]);
    expect(runDirect(kernel, increment(thing))).toBe(1);
  });

  it('lets exceptions through, and the next call begins anew', () => {
    const { kernel, thing } = boot();
    const bad = fn(function* bad() {
      yield* atomicInc(thing.count);
      throw new Error('no');
    });
    expect(failure(() => runDirect(kernel, bad()))).toContain('MN201');
    expect(runDirect(kernel, increment(thing))).toBe(1);
  });

  it('notices a call that was made and never run', () => {
    const { kernel, thing } = boot();
    void increment(thing);
    expect(failure(() => runDirect(kernel, increment(thing)))).toMatch(/^MN202: .*runDirect/);
    expect(runDirect(kernel, increment(thing))).toBe(1);
  });

  it('says so if some task goes on for ever', { timeout: 60_000 }, () => {
    const { kernel, thing } = boot();
    kernel.spawn('spinner', 'thread', null, function* spinner() {
      for (;;) yield* atomicInc(thing.count);
    });
    expect(failure(() => settle(kernel))).toContain('some task goes on for ever');
  });
});
