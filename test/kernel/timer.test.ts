import { expect, test } from 'vitest';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicFetchAdd } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { containerOf, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import {
  delTimer,
  delTimerSync,
  modTimer,
  timerList,
  timerPending,
  timerSetup,
  type TimerFunction,
  type TimerList,
} from '../../src/kernel/timer.ts';
import { compare } from '../util/brute-force.ts';

const Demo = struct('demo', {
  timer: timerList(),
  count: atomic(0),
  lock: spinlock(),
  mutex: mutex(),
  plain: 0,
});
type Demo = InstanceOf<typeof Demo>;

function demoOf(timer: TimerList): Demo {
  return containerOf(timer, Demo, 'timer');
}

const tick = fn(function* tick(timer: TimerList) {
  const demo = demoOf(timer);
  prInfo(`tick ${yield* atomicFetchAdd(demo.count, 1)}`);
  demo.plain += 1;
});
const twice = fn(function* twice(timer: TimerList) {
  if ((yield* atomicFetchAdd(demoOf(timer).count, 1)) === 0) yield* modTimer(timer);
});
const locking = fn(function* locking(timer: TimerList) {
  yield* spinLock(demoOf(timer).lock);
  yield* spinUnlock(demoOf(timer).lock);
});
const sleeping = fn(function* sleeping(timer: TimerList) {
  yield* mutexLock(demoOf(timer).mutex);
});

type Run = (demo: Demo) => Body<unknown>;

function program(tasks: Readonly<Record<string, Run>>, func: TimerFunction = tick): Program {
  return programOf(
    {
      name: 'timer',
      variants: { v: {} },
      boot: (options) => new Kernel(options),
      setup: (kernel) =>
        kernel.runNow<Demo>(
          (function* run(): Body<Demo> {
            const demo = (yield* kzalloc(Demo, GFP_KERNEL)) as Demo;
            timerSetup(demo.timer, func);
            return demo;
          })(),
        ),
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

test('an armed timer fires once, however often it was armed', () => {
  const found = explore(
    program({
      *a({ timer }) {
        prInfo(`${yield* timerPending(timer)} ${yield* modTimer(timer)}`);
      },
    }),
  );
  expect(found).toMatchObject({ executions: 1, logs: ['false false tick 0'] });
});

test('a timer that is deleted does not fire; del_timer says whether it was armed', () => {
  const found = explore(
    program({
      *a({ timer }) {
        yield* modTimer(timer);
        prInfo(`${yield* delTimer(timer)}`);
      },
    }),
  );
  expect(found.logs).toEqual(['tick 0 false', 'true']);
});

test('a timer may arm itself again', () => {
  const again = explore(
    program(
      {
        *a({ timer, count }) {
          yield* modTimer(timer);
          yield* delTimerSync(timer);
          prInfo(`${yield* atomicFetchAdd(count, 0)}`);
        },
      },
      twice,
    ),
  );
  expect(again.logs).toEqual(['0', '1', '2']);
});

function freeing(del: typeof delTimer): Run {
  return function* free(demo) {
    yield* modTimer(demo.timer);
    yield* del(demo.timer);
    yield* kfree(demo);
  };
}

test('del_timer_sync makes it safe to free, del_timer does not', () => {
  expect(explore(program({ a: freeing(delTimerSync) })).findings).toEqual([]);
  expect(explore(program({ a: freeing(delTimer) })).findings).toContain('use-after-free demo');
});

test('freeing an armed timer is found', () => {
  const found = explore(
    program({
      *a(demo) {
        yield* modTimer(demo.timer);
        yield* kfree(demo);
      },
    }),
  );
  expect(found.findings).toContain('use-after-free demo');
});

test('del_timer_sync under a lock that the function takes is a deadlock', () => {
  const found = explore(
    program(
      {
        *a({ timer, lock }) {
          yield* modTimer(timer);
          yield* spinLock(lock);
          yield* delTimerSync(timer);
          yield* spinUnlock(lock);
        },
      },
      locking,
    ),
  );
  expect(found.findings.join()).toMatch(/^deadlock/);
});

test('a timer function must not sleep', () => {
  const found = explore(
    program(
      {
        *a({ timer }) {
          yield* modTimer(timer);
        },
      },
      sleeping,
    ),
  );
  expect(found.findings.join()).toMatch(/sleeping-in-atomic/);
});

test('what came before arming is seen by the function, what it did by del_timer_sync', () => {
  const found = explore(
    program({
      *a(demo) {
        demo.plain = 1;
        yield* modTimer(demo.timer);
        yield* delTimerSync(demo.timer);
        demo.plain += 1;
      },
    }),
  );
  expect(found.findings).toEqual([]);
});

const sets: Record<string, Record<string, Run>> = {
  'arm and delete': {
    *a({ timer }) {
      yield* modTimer(timer);
    },
    *b({ timer }) {
      yield* delTimer(timer);
    },
  },
  'arm and delete and wait': {
    *a({ timer }) {
      yield* modTimer(timer);
    },
    *b({ timer }) {
      yield* delTimerSync(timer);
    },
  },
  'two that arm': {
    *a({ timer }) {
      yield* modTimer(timer);
    },
    *b({ timer }) {
      yield* modTimer(timer);
    },
  },
  'arm, delete, arm again, delete and wait': {
    *a({ timer }) {
      yield* modTimer(timer);
      yield* delTimer(timer);
      yield* modTimer(timer);
      yield* delTimerSync(timer);
    },
  },
  'arm and ask': {
    *a({ timer }) {
      yield* modTimer(timer);
    },
    *b({ timer }) {
      yield* timerPending(timer);
    },
    *c({ timer }) {
      yield* timerPending(timer);
    },
  },
  'two that delete and wait': {
    *a({ timer }) {
      yield* modTimer(timer);
      yield* delTimerSync(timer);
    },
    *b({ timer }) {
      yield* delTimerSync(timer);
    },
  },
};

test.each(Object.entries(sets))('each trace is executed once: %s', (_name, tasks) => {
  const reversed = Object.fromEntries(Object.entries(tasks).toReversed());
  for (const order of [tasks, reversed]) {
    for (const func of [tick, twice]) {
      const result = compare(program(order, func));
      expect(result).toMatchObject({ missing: [], repeated: [], faults: [] });
    }
  }
});
