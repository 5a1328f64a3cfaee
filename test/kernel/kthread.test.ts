import { expect, test } from 'vitest';
import { EINTR, ENOMEM } from '../../src/base/errno.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicFetchAdd, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import { isErr, ptrErr } from '../../src/kernel/err-ptr.ts';
import { Kernel, type Budget } from '../../src/kernel/kernel.ts';
import {
  kthreadRun,
  kthreadShouldStop,
  kthreadStop,
  type Kthread,
} from '../../src/kernel/kthread.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import {
  schedule,
  setCurrentState,
  waitEventInterruptible,
  waitQueueHead,
  wakeUp,
} from '../../src/kernel/wait.ts';
import { compare } from '../util/brute-force.ts';

const State = struct('s', { wq: waitQueueHead(), count: atomic(0), plain: 0 });
type State = InstanceOf<typeof State>;

type Run = (s: State) => Body<unknown>;

function program(tasks: Readonly<Record<string, Run>>, faults: Partial<Budget> = {}): Program {
  return programOf(
    {
      name: 'kthread',
      variants: { v: {} },
      faults,
      boot: (options) => new Kernel(options),
      setup: (kernel) => allocateStatic(kernel, State),
      tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    },
    'v',
  );
}

interface Explored {
  readonly executions: number;
  readonly findings: string[];
  readonly logs: string[];
}

function explore(tested: Program): Explored {
  const findings = new Set<string>();
  const logs = new Set<string>();
  const { executions } = new SourceDpor(tested, {
    watches: allDetectors(),
    onExecution: ({ kernel }) => {
      for (const found of kernel.findings) findings.add(`${found.kind} ${found.object}`);
      logs.add(kernel.log.join(' '));
      return false;
    },
  }).run();
  return { executions, findings: [...findings].toSorted(), logs: [...logs].toSorted() };
}

/** Sleeps until it is told to stop. */
const sleeper = fn(function* sleeper(s: State) {
  for (;;) {
    yield* setCurrentState('interruptible');
    if (yield* kthreadShouldStop()) break;
    yield* schedule();
  }
  yield* setCurrentState(null);
  s.plain += 1;
  return 7;
});
/** Looks before it sets its state: a stop in between is lost. */
const careless = fn(function* careless(_s: State) {
  while (!(yield* kthreadShouldStop())) {
    yield* setCurrentState('interruptible');
    yield* schedule();
  }
  return 0;
});
const short = fn(function* short(s: State) {
  return yield* atomicFetchAdd(s.count, 1);
});
const consumer = fn(function* consumer(s: State) {
  yield* waitEventInterruptible(s.wq, function* hasWork() {
    return (yield* atomicRead(s.count)) > 0 || (yield* kthreadShouldStop());
  });
  return 0;
});

function stopped(func: typeof sleeper): Run {
  return function* stop(s) {
    const thread = (yield* kthreadRun(func, s, 'demo')) as Kthread;
    prInfo(`${yield* kthreadStop(thread)}`);
  };
}

test('kthread_stop wakes the thread and returns what its function returned', () => {
  const found = explore(program({ stop: stopped(sleeper) }));
  expect(found.logs).toEqual([`${-EINTR}`, '7']);
  expect(found.findings).toEqual([]);
});

test('what the thread did is seen by who stopped it', () => {
  const found = explore(
    program({
      *stop(s) {
        s.plain = 1;
        yield* kthreadStop((yield* kthreadRun(sleeper, s, 'demo')) as Kthread);
        s.plain += 1;
      },
    }),
  );
  expect(found.findings).toEqual([]);
});

test('a thread that looks before it sets its state can sleep through the stop', () => {
  const found = explore(program({ stop: stopped(careless) }));
  expect(found.findings.join()).toMatch(/^deadlock/);
});

test('stopping a thread that ends by itself is a use after free in some orders', () => {
  const found = explore(program({ stop: stopped(short) }));
  expect(found.logs).toContain('0');
  expect(found.findings).toEqual(['use-after-free task_struct']);
});

test('a thread that nobody stops ends by itself and leaves nothing behind', () => {
  const found = explore(
    program({
      *start(s) {
        yield* kthreadRun(short, s, 'demo');
      },
    }),
  );
  expect(found).toMatchObject({ executions: 1, findings: [] });
});

test('a daemon may wait for ever, another thread may not', () => {
  for (const isDaemon of [true, false]) {
    const found = explore(
      program({
        *start(s) {
          yield* kthreadRun(sleeper, s, 'demo', { isDaemon });
        },
      }),
    );
    expect(found.findings.join()).toMatch(isDaemon ? /^$/ : /^deadlock/);
  }
});

test('without memory there is no thread', () => {
  const found = explore(
    program(
      {
        *start(s) {
          const thread = yield* kthreadRun(short, s, 'demo');
          prInfo(isErr(thread) && ptrErr(thread) === -ENOMEM ? 'ENOMEM' : 'runs');
        },
      },
      { allocations: 1 },
    ),
  );
  expect(found.logs).toEqual(['ENOMEM', 'runs']);
});

const sets: Record<string, Record<string, Run>> = {
  'a sleeper is stopped': { stop: stopped(sleeper) },
  'a careless sleeper is stopped': { stop: stopped(careless) },
  'a thread that ends by itself is stopped': { stop: stopped(short) },
  'a consumer is stopped and woken': {
    stop: stopped(consumer),
    *wake(s) {
      yield* atomicFetchAdd(s.count, 1);
      yield* wakeUp(s.wq);
    },
  },
};

test.each(Object.entries(sets))('each trace is executed once: %s', (_name, tasks) => {
  const reversed = Object.fromEntries(Object.entries(tasks).toReversed());
  for (const order of [tasks, reversed]) {
    const result = compare(program(order));
    expect(result).toMatchObject({ missing: [], repeated: [], faults: [] });
  }
});
