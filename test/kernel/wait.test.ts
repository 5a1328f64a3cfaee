import { expect, test } from 'vitest';
import { ERESTARTSYS } from '../../src/base/errno.ts';
import type { Program } from '../../src/check/program.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicFetchAdd, atomicRead, atomicXchg } from '../../src/kernel/atomic.ts';
import { awaitCondition, peek } from '../../src/kernel/await.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import {
  complete,
  completeAll,
  completion,
  completionDone,
  reinitCompletion,
  tryWaitForCompletion,
  waitForCompletion,
  waitForCompletionInterruptible,
  waitForCompletionKillable,
  waitForCompletionTimeout,
} from '../../src/kernel/completion.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import type { Budget } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { current } from '../../src/kernel/running.ts';
import { spinlock, spinLock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import {
  finishWait,
  prepareToWait,
  prepareToWaitExclusive,
  schedule,
  setCurrentState,
  waitEvent,
  waitEventInterruptible,
  waitEventKillable,
  waitEventTimeout,
  waitQueueHead,
  waitqueueActive,
  wakeUp,
  wakeUpAll,
  wakeUpInterruptible,
  wakeUpProcess,
} from '../../src/kernel/wait.ts';
import type { Task } from '../../src/kernel/task.ts';
import type { Watch } from '../../src/kernel/watch.ts';
import { compare } from '../util/brute-force.ts';
import { small } from '../util/programs.ts';

const FIELDS = {
  wq: waitQueueHead(),
  flag: atomic(0),
  done: completion(),
  lock: spinlock(),
  ready: 0,
};
const STATE = struct('s', FIELDS);
type State = InstanceOf<typeof STATE>;
type Tasks = Record<string, (s: State) => Body<unknown>>;

function program(tasks: Tasks, faults: Partial<Budget> = {}): Program {
  return small(FIELDS, tasks, { faults });
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

function* waiter(s: State): Body<void> {
  yield* waitEvent(s.wq, function* isSet() {
    return (yield* atomicRead(s.flag)) > 0;
  });
}

function* waker(s: State): Body<void> {
  yield* atomicXchg(s.flag, 1);
  yield* wakeUp(s.wq);
}

function* exclusiveWaiter(s: State): Body<void> {
  yield* prepareToWaitExclusive(s.wq, 'uninterruptible');
  yield* schedule();
  yield* finishWait(s.wq);
  prInfo('woken');
}

function* wakeOne(s: State): Body<void> {
  yield* wakeUp(s.wq);
}

function* wakeEveryone(s: State): Body<void> {
  yield* wakeUpAll(s.wq);
}

function* waitDone(s: State): Body<void> {
  yield* waitForCompletion(s.done);
  prInfo('through');
}

function* completer(s: State): Body<void> {
  yield* complete(s.done);
}

test('a wake-up after the condition is never lost', () => {
  expect(explore(program({ waiter, waker })).seen).toEqual([]);
});

test('a wake-up before the condition leaves the waiter stuck', () => {
  const found = explore(
    program({
      waiter,
      *waker(s) {
        yield* wakeUp(s.wq);
        yield* atomicXchg(s.flag, 1);
      },
    }),
  );
  expect(found.seen).toEqual(['stuck schedule(): waiting for s.wq']);
});

test('a missing wake-up leaves the waiter stuck', () => {
  const found = explore(
    program({
      waiter,
      *waker(s) {
        yield* atomicXchg(s.flag, 1);
      },
    }),
  );
  expect(found.seen).toEqual(['stuck schedule(): waiting for s.wq']);
});

test('asking waitqueue_active before the condition is set loses the wake-up', () => {
  const found = explore(
    program({
      waiter,
      *waker(s) {
        const isActive = yield* waitqueueActive(s.wq);
        yield* atomicXchg(s.flag, 1);
        if (isActive) yield* wakeUp(s.wq);
      },
    }),
  );
  expect(found.seen).toEqual(['stuck schedule(): waiting for s.wq']);
});

test('of exclusive waiters one is woken, of others all', () => {
  expect(explore(program({ a: exclusiveWaiter, b: exclusiveWaiter, wakeOne })).logs).toEqual([
    '',
    'woken',
  ]);
  expect(explore(program({ a: exclusiveWaiter, b: exclusiveWaiter, wakeEveryone })).logs).toContain(
    'woken woken',
  );
});

test('wake_up_interruptible leaves others asleep', () => {
  const found = explore(
    program({
      waiter,
      *waker(s) {
        yield* atomicXchg(s.flag, 1);
        yield* wakeUpInterruptible(s.wq);
      },
    }),
  );
  expect(found.seen).toEqual(['stuck schedule(): waiting for s.wq']);
});

test('a signal ends an interruptible wait, unless the condition is true', () => {
  for (const wait of [waitEventInterruptible, waitEventKillable]) {
    const tasks: Tasks = {
      *waiter(s) {
        const result = yield* wait(s.wq, function* isSet() {
          return (yield* atomicRead(s.flag)) > 0;
        });
        prInfo(result === -ERESTARTSYS ? 'signal' : `${result}`);
      },
      waker: wait === waitEventKillable ? waker : wakerInterruptible,
    };
    expect(explore(program(tasks)).logs).toEqual(['0']);
    expect(explore(program(tasks, { signals: 1 }))).toMatchObject({
      logs: ['0', 'signal'],
      seen: [],
    });
  }
});

test('a timeout ends a timed wait; who finds the condition true then has a jiffy left', () => {
  const tasks: Tasks = {
    *waiter(s) {
      const condition = function* isSet(): Body<boolean> {
        return (yield* atomicRead(s.flag)) > 0;
      };
      prInfo(`${yield* waitEventTimeout(s.wq, condition, 50)}`);
    },
    waker,
  };
  expect(explore(program(tasks)).logs).toEqual(['50']);
  expect(explore(program(tasks, { timeouts: 1 })).logs).toEqual(['0', '1', '50']);
});

test('waiting with preemption off is found', () => {
  const found = explore(
    program({
      *waiter(s) {
        yield* atomicXchg(s.flag, 1);
        yield* spinLock(s.lock);
        yield* waiter(s);
        yield* spinUnlock(s.lock);
      },
    }),
  );
  expect(found.seen).toEqual(['sleep wait_event(s.wq)']);
});

function* wakerInterruptible(s: State): Body<void> {
  yield* atomicXchg(s.flag, 1);
  yield* wakeUpInterruptible(s.wq);
}

function sleepTasks(beforeState: boolean): Tasks {
  let sleeper: Task;
  return {
    *sleeper(s) {
      sleeper = current();
      const isEarly = beforeState && (yield* atomicRead(s.flag)) > 0;
      yield* setCurrentState('uninterruptible');
      const isLate = !beforeState && (yield* atomicRead(s.flag)) > 0;
      if (isEarly || isLate) yield* setCurrentState(null);
      else yield* schedule();
    },
    *waker(s) {
      yield* atomicXchg(s.flag, 1);
      yield* wakeUpProcess(sleeper);
    },
  };
}

test('setting the state before looking loses no wake-up', () => {
  expect(explore(program(sleepTasks(false))).seen).toEqual([]);
});

test('looking before setting the state loses one', () => {
  expect(explore(program(sleepTasks(true))).seen).toEqual(['stuck schedule()']);
});

test('complete lets one waiter through, before or after it comes', () => {
  const found = explore(
    program({
      a: waitDone,
      b: waitDone,
      *c(s) {
        yield* complete(s.done);
      },
    }),
  );
  expect(found.logs).toEqual(['through']);
  expect(found.seen).toEqual(['stuck wait_for_completion(&s.done)']);
});

test('complete_all lets everyone through until it is initialised anew', () => {
  const found = explore(
    program({
      *a(s) {
        yield* completeAll(s.done);
        yield* waitForCompletion(s.done);
        yield* waitForCompletion(s.done);
        prInfo(`${yield* completionDone(s.done)}`);
        yield* reinitCompletion(s.done);
        prInfo(`${yield* tryWaitForCompletion(s.done)}`);
        yield* complete(s.done);
        prInfo(`${yield* tryWaitForCompletion(s.done)} ${yield* completionDone(s.done)}`);
      },
    }),
  );
  expect(found.logs).toEqual(['true false true false']);
});

test('signals and timeouts end the waits that allow it', () => {
  for (const wait of [waitForCompletionInterruptible, waitForCompletionKillable]) {
    const tasks: Tasks = {
      *a(s) {
        prInfo(`${yield* wait(s.done)}`);
      },
      completer,
    };
    expect(explore(program(tasks, { signals: 1 })).logs).toEqual(['-512', '0']);
  }
  const timed: Tasks = {
    *a(s) {
      prInfo(`${yield* waitForCompletionTimeout(s.done, 9)}`);
    },
    completer,
  };
  expect(explore(program(timed, { timeouts: 1 })).logs).toEqual(['0', '9']);
});

const asking: Tasks = {
  *asks(s) {
    yield* awaitCondition('flag', () => s.flag.value === 2, [s.flag]);
    prInfo('seen');
  },
  *sets(s) {
    yield* atomicFetchAdd(s.flag, 1);
    yield* atomicFetchAdd(s.flag, 1);
  },
};

test('goes on when the condition holds', () => {
  const found = explore(program(asking));
  expect(found).toMatchObject({ executions: 1, logs: ['seen'], seen: [] });
});

test('waits for a field of a struct', () => {
  const found = explore(
    program({
      *asks(s) {
        yield* awaitCondition('s->ready', () => peek(s, 'ready') > 0, [[s, 'ready']]);
        prInfo(`${yield* readOnce(s, 'ready')}`);
      },
      *sets(s) {
        yield* writeOnce(s, 'ready', 1);
        yield* writeOnce(s, 'ready', 2);
      },
    }),
  );
  expect(found).toMatchObject({ logs: ['1', '2'], seen: [] });
});

test('a condition that never holds is a deadlock', () => {
  const found = explore(
    program({
      *asks(s) {
        yield* awaitCondition('flag', () => s.flag.value > 5, [s.flag]);
      },
    }),
  );
  expect(found.seen).toEqual(['stuck while (!flag) cpu_relax()']);
});

const sets: Record<string, Tasks> = {
  'a waiter and a waker': { waiter, waker },
  'a waiter and two wakers': { waiter, one: waker, two: waker },
  'two waiters and a waker': { one: waiter, two: waiter, waker },
  'two wakers and nobody waiting': { one: waker, two: waker },
  'a waker that is too early': {
    waiter,
    *waker(s) {
      yield* wakeUp(s.wq);
      yield* atomicXchg(s.flag, 1);
    },
  },
  'two exclusive waiters, one wake-up': {
    *one(s) {
      yield* prepareToWaitExclusive(s.wq, 'uninterruptible');
      yield* schedule();
      yield* finishWait(s.wq);
    },
    *two(s) {
      yield* prepareToWaitExclusive(s.wq, 'uninterruptible');
      yield* schedule();
      yield* finishWait(s.wq);
    },
    *waker(s) {
      yield* wakeUp(s.wq);
    },
  },
  'an interruptible and an exclusive waiter': {
    *one(s) {
      yield* prepareToWait(s.wq, 'interruptible');
      yield* schedule();
      yield* finishWait(s.wq);
    },
    *two(s) {
      yield* prepareToWaitExclusive(s.wq, 'interruptible');
      yield* schedule();
      yield* finishWait(s.wq);
    },
    *waker(s) {
      yield* wakeUpInterruptible(s.wq);
    },
  },
  'asking whether anybody waits': {
    waiter,
    *waker(s) {
      yield* atomicXchg(s.flag, 1);
      if (yield* waitqueueActive(s.wq)) yield* wakeUp(s.wq);
    },
  },
  'a timed and an interruptible wait': {
    *timed(s) {
      yield* waitEventTimeout(
        s.wq,
        function* isSet() {
          return (yield* atomicRead(s.flag)) > 0;
        },
        5,
      );
    },
    waker,
  },
  'an interruptible wait': {
    *wait(s) {
      yield* waitEventInterruptible(s.wq, function* isSet() {
        return (yield* atomicRead(s.flag)) > 0;
      });
    },
    waker: wakerInterruptible,
  },
  'two completions and two waiters': {
    *one(s) {
      yield* waitForCompletion(s.done);
    },
    *two(s) {
      yield* waitForCompletion(s.done);
    },
    *c(s) {
      yield* complete(s.done);
    },
    *d(s) {
      yield* complete(s.done);
    },
  },
  'complete_all, a waiter and somebody who asks': {
    *one(s) {
      yield* waitForCompletion(s.done);
    },
    *two(s) {
      if (yield* completionDone(s.done)) yield* tryWaitForCompletion(s.done);
    },
    *c(s) {
      yield* complete(s.done);
      yield* completeAll(s.done);
    },
  },
  'a completion that is initialised anew': {
    *one(s) {
      yield* waitForCompletion(s.done);
    },
    *two(s) {
      yield* reinitCompletion(s.done);
      yield* complete(s.done);
    },
    *c(s) {
      yield* complete(s.done);
    },
  },
  'one that waits, then completes, and one that waits': {
    *a(s) {
      yield* waitForCompletion(s.done);
      yield* complete(s.done);
    },
    *b(s) {
      yield* waitForCompletion(s.done);
    },
    *c(s) {
      yield* complete(s.done);
    },
  },
  'a timed and an interruptible wait for a completion': {
    *one(s) {
      yield* waitForCompletionTimeout(s.done, 5);
    },
    *two(s) {
      yield* waitForCompletionInterruptible(s.done);
    },
    *c(s) {
      yield* complete(s.done);
    },
  },
  'a loop that asks': {
    *asks(s) {
      yield* atomicRead(s.flag);
      yield* awaitCondition('flag', () => s.flag.value >= 1, [s.flag]);
    },
    *one(s) {
      yield* atomicFetchAdd(s.flag, 1);
    },
    *two(s) {
      yield* atomicFetchAdd(s.flag, 1);
    },
  },
  'a loop that asks for one of two': {
    *asks(s) {
      yield* awaitCondition('either', () => s.flag.value > 0 || peek(s, 'ready') > 0, [
        s.flag,
        [s, 'ready'],
      ]);
    },
    *one(s) {
      yield* atomicFetchAdd(s.flag, 1);
    },
    *two(s) {
      yield* writeOnce(s, 'ready', 1);
    },
  },
  'a loop that asks for both of two': {
    *asks(s) {
      yield* awaitCondition('both', () => s.flag.value > 0 && peek(s, 'ready') > 0, [
        s.flag,
        [s, 'ready'],
      ]);
    },
    *one(s) {
      yield* atomicFetchAdd(s.flag, 1);
    },
    *two(s) {
      yield* writeOnce(s, 'ready', 1);
    },
  },
  'a loop that asks for what comes and goes': {
    *asks(s) {
      yield* awaitCondition('flag', () => s.flag.value === 1, [s.flag]);
    },
    *one(s) {
      yield* atomicFetchAdd(s.flag, 1);
      yield* atomicFetchAdd(s.flag, -1);
      yield* atomicFetchAdd(s.flag, 1);
    },
  },
};

const exactly = { missing: [], repeated: [], faults: [] };

/** The same tasks, so numbered that others go first. */
function reversed(tasks: Tasks): Tasks {
  return Object.fromEntries(Object.entries(tasks).toReversed());
}

test.each(Object.entries(sets))('each trace is executed once: %s', (_name, tasks) => {
  for (const order of [tasks, reversed(tasks)]) {
    expect(compare(program(order))).toMatchObject(exactly);
    expect(compare(program(order, { signals: 1, timeouts: 1 }))).toMatchObject(exactly);
  }
});
