import { expect, test } from 'vitest';
import type { Program } from '../../src/check/program.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicFetchAdd } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { containerOf, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import type { Watch } from '../../src/kernel/watch.ts';
import {
  allocWorkqueue,
  cancelDelayedWork,
  cancelDelayedWorkSync,
  cancelWork,
  cancelWorkSync,
  delayedWork,
  destroyWorkqueue,
  flushDelayedWork,
  flushWork,
  flushWorkqueue,
  initDelayedWork,
  initWork,
  modDelayedWork,
  queueDelayedWork,
  queueWork,
  scheduleDelayedWork,
  scheduleWork,
  systemWq,
  workStruct,
  type DelayedWork,
  type Workqueue,
  type WorkStruct,
} from '../../src/kernel/workqueue.ts';
import { compare } from '../util/brute-force.ts';

const Demo = struct('demo', {
  work: workStruct(),
  other: workStruct(),
  delayed: delayedWork(),
  count: atomic(0),
  mutex: mutex(),
  plain: 0,
});
type Demo = InstanceOf<typeof Demo>;

const work = fn(function* work(item: WorkStruct) {
  const demo = containerOf(item, Demo, 'work');
  prInfo(`work ${yield* atomicFetchAdd(demo.count, 1)}`);
});
const other = fn(function* other(item: WorkStruct) {
  const demo = containerOf(item, Demo, 'other');
  prInfo(`other ${yield* atomicFetchAdd(demo.count, 1)}`);
});
const delayed = fn(function* delayed(item: DelayedWork) {
  const demo = containerOf(item, Demo, 'delayed');
  prInfo(`delayed ${yield* atomicFetchAdd(demo.count, 1)}`);
});
const quiet = fn(function* quiet(_item: WorkStruct) {
  // Nothing to do: only when it runs matters.
});
const freeing = fn(function* freeing(item: WorkStruct) {
  yield* kfree(containerOf(item, Demo, 'work'));
});
const locking = fn(function* locking(item: WorkStruct) {
  const demo = containerOf(item, Demo, 'work');
  yield* mutexLock(demo.mutex);
  yield* mutexUnlock(demo.mutex);
});
const again = fn(function* again(item: WorkStruct) {
  const demo = containerOf(item, Demo, 'work');
  if ((yield* atomicFetchAdd(demo.count, 1)) === 0) prInfo(`again ${yield* scheduleWork(item)}`);
});

interface Options {
  readonly func?: typeof work;
  readonly isOrdered?: boolean;
}

type Run = (s: { readonly demo: Demo; readonly queue: Workqueue }) => Body<unknown>;

function program(tasks: Readonly<Record<string, Run>>, options: Options = {}): Program {
  const { func = work, isOrdered = false } = options;
  return programOf(
    {
      name: 'work',
      variants: { v: {} },
      boot: (boot) => new Kernel(boot),
      setup: (kernel) =>
        kernel.runNow<{ demo: Demo; queue: Workqueue }>(
          (function* run(): Body<{ demo: Demo; queue: Workqueue }> {
            const demo = (yield* kzalloc(Demo, GFP_KERNEL)) as Demo;
            initWork(demo.work, func);
            initWork(demo.other, other);
            initDelayedWork(demo.delayed, delayed);
            const queue = (yield* allocWorkqueue('demo_wq', { isOrdered })) as Workqueue;
            return { demo, queue };
          })(),
        ),
      tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    },
    'v',
  );
}

interface Explored {
  readonly executions: number;
  readonly seen: string[];
  readonly logs: string[];
}

function explore(tested: Program): Explored {
  const seen = new Set<string>();
  const logs = new Set<string>();
  const watch: Watch = {
    onDeadAccess: (_kernel, memory, use) => seen.add(`dead ${memory.name}: ${use.path}`),
    onAssertion: (_kernel, grade, text) => seen.add(`${grade} ${text}`),
    onStuck: (_kernel, blocked) =>
      seen.add(`stuck ${blocked.map((task) => task.pending?.describe(task)).join(', ')}`),
    onMaySleep: (_kernel, _task, what) => seen.add(`sleep ${what}`),
  };
  const { executions } = new SourceDpor(tested, {
    watches: [watch],
    onExecution: ({ kernel }) => {
      logs.add(kernel.log.join(' '));
      return false;
    },
  }).run();
  return { executions, seen: [...seen].toSorted(), logs: [...logs].toSorted() };
}

test('a queued item runs once, in a task named after its function', () => {
  const found = explore(
    program({
      *a({ demo, queue }) {
        prInfo(String(yield* queueWork(queue, demo.work)));
        yield* flushWork(demo.work);
        prInfo('flushed');
      },
    }),
  );
  expect(found.logs).toEqual(['true work 0 flushed']);
  expect(found.seen).toEqual([]);
  expect(found.executions).toBe(1);
});

test('an item that is pending is not queued again, one that runs is', () => {
  const found = explore(
    program({
      *a({ demo }) {
        yield* scheduleWork(demo.work);
        prInfo(String(yield* scheduleWork(demo.work)));
      },
    }),
  );
  expect(found.logs).toEqual(['false work 0', 'work 0 true work 1']);
});

test('an item may queue itself while it runs', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
        },
      },
      { func: again },
    ),
  );
  expect(found.logs).toEqual(['again true']);
});

test('an item may free itself: nothing touches it after its function has begun', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
        },
        *b() {
          yield* flushWorkqueue(systemWq());
        },
      },
      { func: freeing },
    ),
  );
  expect(found.seen).toEqual([]);
});

test('freeing an item that is queued is found when its run begins', () => {
  const found = explore(
    program({
      *a({ demo }) {
        yield* scheduleWork(demo.work);
        yield* kfree(demo);
      },
    }),
  );
  expect(found.seen).toContain('dead demo: process_one_work(&demo.work)');
});

test('cancel_work removes what has not begun and says so', () => {
  const found = explore(
    program({
      *a({ demo }) {
        yield* scheduleWork(demo.work);
        prInfo(String(yield* cancelWork(demo.work)));
      },
    }),
  );
  expect(found.logs).toEqual(['true', 'work 0 false']);
});

test('cancel_work_sync waits for the function, so that the item can be freed', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
          yield* cancelWorkSync(demo.work);
          yield* kfree(demo);
        },
      },
      { func: locking },
    ),
  );
  expect(found.seen).toEqual([]);
});

test('cancel_work does not wait, and the free is found', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
          yield* cancelWork(demo.work);
          yield* kfree(demo);
        },
      },
      { func: locking },
    ),
  );
  expect(found.seen).toEqual([
    'dead demo: mutex_lock(&demo.mutex)',
    'dead demo: mutex_unlock(&demo.mutex)',
  ]);
});

test('cancel_work_sync under a lock that the function takes is a deadlock', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
          yield* mutexLock(demo.mutex);
          yield* cancelWorkSync(demo.work);
          yield* mutexUnlock(demo.mutex);
        },
      },
      { func: locking },
    ),
  );
  expect(found.seen).toEqual(['stuck cancel_work_sync(&demo.work): done, mutex_lock(&demo.mutex)']);
});

test('an item that queues itself is refused while it is being cancelled', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
          yield* cancelWorkSync(demo.work);
          prInfo('cancelled');
        },
      },
      { func: again },
    ),
  );
  for (const log of found.logs) expect(log.endsWith('cancelled')).toBe(true);
  expect(found.logs).toContain('again false cancelled');
});

test('an ordered queue runs one item at a time in the order of queueing', () => {
  const tasks: Readonly<Record<string, Run>> = {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* queueWork(queue, demo.other);
      yield* flushWorkqueue(queue);
      prInfo('flushed');
    },
  };
  expect(explore(program(tasks, { isOrdered: true })).logs).toEqual(['work 0 other 1 flushed']);
  expect(explore(program(tasks)).logs).toEqual([
    'other 0 work 1 flushed',
    'work 0 other 1 flushed',
  ]);
});

test('flush_work does not wait for a timer, flush_delayed_work does not need it', () => {
  const waiting = explore(
    program({
      *a({ demo, queue }) {
        yield* queueDelayedWork(queue, demo.delayed, 10);
        yield* flushWork(demo.delayed);
        prInfo(`flushed ${yield* atomicFetchAdd(demo.count, 0)}`);
      },
    }),
  );
  expect(waiting.logs).toContain('flushed 0 delayed 0');
  const expedited = explore(
    program({
      *a({ demo, queue }) {
        yield* queueDelayedWork(queue, demo.delayed, 10);
        yield* flushDelayedWork(demo.delayed);
        prInfo('flushed');
      },
    }),
  );
  expect(expedited.logs).toEqual(['delayed 0 flushed']);
});

test('a delayed item can be cancelled, waited for, and started anew', () => {
  const found = explore(
    program({
      *a({ demo, queue }) {
        yield* scheduleDelayedWork(demo.delayed, 10);
        prInfo(`mod ${yield* modDelayedWork(queue, demo.delayed, 0)}`);
        yield* cancelDelayedWork(demo.delayed);
        yield* cancelDelayedWorkSync(demo.delayed);
        yield* kfree(demo);
      },
    }),
  );
  expect(found.seen).toEqual([]);
  expect(found.logs).toContain('mod true');
  expect(found.logs).toContain('delayed 0 mod false delayed 1');
});

test('destroying a queue waits for its items, and for what they queue', () => {
  const found = explore(
    program({
      *a({ demo, queue }) {
        yield* queueWork(queue, demo.work);
        yield* destroyWorkqueue(queue);
        prInfo('destroyed');
      },
    }),
  );
  expect(found.seen).toEqual([]);
  expect(found.logs).toEqual(['work 0 destroyed']);
});

test('a delayed item whose timer fires on a queue that is gone is found', () => {
  const found = explore(
    program({
      *a({ demo, queue }) {
        yield* queueDelayedWork(queue, demo.delayed, 10);
        yield* destroyWorkqueue(queue);
      },
    }),
  );
  expect(found.seen).toEqual([
    'WARN_ON queue_work on demo_wq, which is being destroyed',
    'dead workqueue_struct: demo_wq',
  ]);
});

test('an item that flushes itself is stuck', () => {
  const found = explore(
    program(
      {
        *a({ demo }) {
          yield* scheduleWork(demo.work);
        },
      },
      {
        func: fn(function* selfish(item: WorkStruct) {
          yield* flushWork(item);
        }),
      },
    ),
  );
  expect(found.seen).toEqual(['stuck flush_work: selfish is done']);
});

const exactly = { missing: [], repeated: [], faults: [], blocked: 0 };

const sets: Readonly<Record<string, Readonly<Record<string, Run>>>> = {
  'two tasks queue one item': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
    },
    *b({ demo, queue }) {
      yield* queueWork(queue, demo.work);
    },
  },
  'queue, then cancel from elsewhere': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
    },
    *b({ demo }) {
      yield* cancelWork(demo.work);
    },
  },
  'queue, then cancel and wait from elsewhere': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
    },
    *b({ demo }) {
      yield* cancelWorkSync(demo.work);
    },
  },
  'cancel what one queued oneself': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* cancelWork(demo.work);
    },
  },
  'cancel, queue again and flush': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* cancelWork(demo.work);
      yield* queueWork(queue, demo.work);
      yield* flushWork(demo.work);
    },
  },
  'two items and a flush of the queue': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* queueWork(queue, demo.other);
    },
    *b({ queue }) {
      yield* flushWorkqueue(queue);
    },
  },
  'two tasks, two items, one cancelled': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* cancelWork(demo.work);
    },
    *b({ demo, queue }) {
      yield* queueWork(queue, demo.other);
    },
  },
  'a delayed item, flushed': {
    *a({ demo, queue }) {
      yield* queueDelayedWork(queue, demo.delayed, 1);
    },
    *b({ demo }) {
      yield* flushWork(demo.delayed);
    },
  },
  'a delayed item, cancelled': {
    *a({ demo, queue }) {
      yield* queueDelayedWork(queue, demo.delayed, 1);
      yield* cancelDelayedWorkSync(demo.delayed);
    },
  },
  'a delayed item, started anew': {
    *a({ demo, queue }) {
      yield* queueDelayedWork(queue, demo.delayed, 1);
      yield* modDelayedWork(queue, demo.delayed, 0);
    },
  },
  'a delayed item, expedited': {
    *a({ demo, queue }) {
      yield* queueDelayedWork(queue, demo.delayed, 1);
      yield* flushDelayedWork(demo.delayed);
    },
  },
  'queueing against destroying': {
    *a({ demo, queue }) {
      yield* queueWork(queue, demo.work);
      yield* destroyWorkqueue(queue);
    },
    *b({ demo }) {
      yield* atomicFetchAdd(demo.count, 1);
    },
  },
};

for (const isOrdered of [false, true]) {
  const kind = isOrdered ? 'an ordered queue' : 'a queue';
  test.each(Object.entries(sets))(`each trace is executed once on ${kind}: %s`, (_name, tasks) => {
    const reversed = Object.fromEntries(Object.entries(tasks).toReversed());
    for (const order of [tasks, reversed]) {
      expect(compare(program(order, { isOrdered }))).toMatchObject(exactly);
      expect(compare(program(order, { isOrdered, func: quiet }))).toMatchObject(exactly);
    }
  });
}

test('each trace is executed once when an item queues itself and is cancelled', () => {
  const tasks: Readonly<Record<string, Run>> = {
    *a({ demo }) {
      yield* scheduleWork(demo.work);
      yield* cancelWorkSync(demo.work);
    },
  };
  expect(compare(program(tasks, { func: again }))).toMatchObject(exactly);
});

const counting = fn(function* counting(item: WorkStruct) {
  containerOf(item, Demo, 'work').plain += 1;
});

test('what the function did last is seen by whoever flushed it', () => {
  const tasks: Readonly<Record<string, Run>> = {
    *a({ demo }) {
      demo.plain = 1;
      yield* scheduleWork(demo.work);
      yield* flushWork(demo.work);
      demo.plain += 1;
    },
  };
  const kinds: string[] = [];
  new SourceDpor(program(tasks, { func: counting }), {
    watches: allDetectors(),
    onExecution: ({ kernel }) => {
      kinds.push(...kernel.findings.map((found) => found.kind));
      return false;
    },
  }).run();
  // Nobody destroys the queue or frees the item, but the state still refers to both.
  expect(kinds).toEqual([]);
});
