import { expect, test } from 'vitest';
import { EBUSY } from '../../src/base/errno.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf, type TaskDefinition } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicFetchAdd, atomicXchg } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import {
  disableIrq,
  disableIrqNosync,
  enableIrq,
  freeIrq,
  raiseIrq,
  requestIrq,
  synchronizeIrq,
} from '../../src/kernel/interrupt.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { definePerCpu } from '../../src/kernel/per-cpu.ts';
import {
  localIrqDisable,
  localIrqEnable,
  localIrqRestore,
  localIrqSave,
  preemptDisable,
  preemptEnable,
} from '../../src/kernel/preempt.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import {
  spinlock,
  spinLock,
  spinLockIrqsave,
  spinUnlock,
  spinUnlockIrqrestore,
} from '../../src/kernel/spinlock.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';

const State = struct('s', {
  count: atomic(0),
  other: atomic(0),
  lock: spinlock(),
  mutex: mutex(),
  plain: 0,
});
type State = InstanceOf<typeof State>;

type Tasks = Record<string, TaskDefinition<State>>;

/** The line of the device under test. */
const IRQ = 17;

const handler = fn(function* handler(_irq: number, s: State) {
  prInfo(`handler ${yield* atomicFetchAdd(s.count, 1)}`);
});

function program(tasks: Tasks, setup: (s: State) => Body<unknown> = nothing): Program {
  return programOf(
    {
      name: 'interrupt',
      variants: { v: {} },
      boot: (options) => new Kernel(options),
      setup(kernel) {
        const state = allocateStatic(kernel, State);
        kernel.runNow(setup(state));
        return state;
      },
      tasks,
    },
    'v',
  );
}

function* nothing(): Body<void> {
  // No device.
}

/** The device interrupts its own CPU, or the one that is given. */
function device(cpu?: number): (s: State) => Body<unknown> {
  return function* setup(s) {
    yield* requestIrq(IRQ, handler, s, cpu === undefined ? {} : { cpu });
  };
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

const note = (name: string): TaskDefinition<State> => ({
  cpu: 0,
  *run(s) {
    prInfo(`${name}${yield* atomicFetchAdd(s.count, 1)}`);
    prInfo(`${name}${yield* atomicFetchAdd(s.count, 1)}`);
  },
});

const interrupting = (cpu = 0): TaskDefinition<State> => ({
  cpu,
  kind: 'interrupt',
  *run(s) {
    yield* atomicFetchAdd(s.count, 1);
    yield* atomicFetchAdd(s.count, 1);
    prInfo('irq');
  },
});

test('a handler comes between any two steps of its CPU and runs to its end', () => {
  const found = explore(program({ task: note('t'), irq: interrupting() }));
  expect(found.logs).toEqual(['irq t2 t3', 't0 irq t3', 't0 t1 irq']);
  expect(found.executions).toBe(3);
});

test('a handler of another CPU runs beside the task', () => {
  const found = explore(program({ task: note('t'), irq: interrupting(1) }));
  expect(found.executions).toBe(6);
});

test('a handler does not come while interrupts are off', () => {
  const found = explore(
    program({
      task: {
        cpu: 0,
        *run(s) {
          yield* localIrqDisable();
          yield* atomicFetchAdd(s.count, 1);
          yield* atomicFetchAdd(s.count, 1);
          yield* localIrqEnable();
        },
      },
      irq: interrupting(),
    }),
  );
  expect(found.executions).toBe(2);
});

test('a handler comes while preemption is off', () => {
  const found = explore(
    program({
      task: {
        cpu: 0,
        *run(s) {
          yield* preemptDisable();
          prInfo(`t${yield* atomicFetchAdd(s.count, 1)}`);
          prInfo(`t${yield* atomicFetchAdd(s.count, 1)}`);
          yield* preemptEnable();
        },
      },
      irq: interrupting(),
    }),
  );
  expect(found.logs).toEqual(['irq t2 t3', 't0 irq t3', 't0 t1 irq']);
});

test('a handler that takes a lock held by what it interrupted is a deadlock', () => {
  const locking: TaskDefinition<State> = {
    cpu: 0,
    kind: 'interrupt',
    *run(s) {
      yield* spinLock(s.lock);
      yield* spinUnlock(s.lock);
    },
  };
  const bare: TaskDefinition<State> = {
    cpu: 0,
    *run(s) {
      yield* spinLock(s.lock);
      yield* spinUnlock(s.lock);
    },
  };
  const saving: TaskDefinition<State> = {
    cpu: 0,
    *run(s) {
      const flags = yield* spinLockIrqsave(s.lock);
      yield* spinUnlockIrqrestore(s.lock, flags);
    },
  };
  expect(explore(program({ bare, locking })).findings.join()).toMatch(/^deadlock/);
  expect(explore(program({ saving, locking })).findings).toEqual([]);
  expect(explore(program({ saving, locking, far: { ...bare, cpu: 1 } })).findings).toEqual([]);
});

test('a handler must not sleep', () => {
  const found = explore(
    program({
      irq: {
        cpu: 0,
        kind: 'interrupt',
        *run(s) {
          yield* mutexLock(s.mutex);
        },
      },
    }),
  );
  expect(found.findings.join()).toMatch(/sleeping-in-atomic/);
});

test('what a handler shares with what it interrupts needs interrupts off', () => {
  const irq: TaskDefinition<State> = {
    cpu: 0,
    kind: 'interrupt',
    *run(s) {
      yield* atomicXchg(s.other, 1);
      s.plain += 1;
    },
  };
  const careless: TaskDefinition<State> = {
    cpu: 0,
    *run(s) {
      yield* atomicXchg(s.count, 1);
      s.plain += 1;
    },
  };
  const careful: TaskDefinition<State> = {
    cpu: 0,
    *run(s) {
      const flags = yield* localIrqSave();
      s.plain += 1;
      yield* localIrqRestore(flags);
    },
  };
  expect(explore(program({ careless, irq })).findings).toEqual(['data-race s.plain']);
  expect(explore(program({ careful, irq })).findings).toEqual([]);
});

test('a line is requested once, raised twice it is one interrupt', () => {
  const found = explore(
    program(
      {
        a: {
          *run(s) {
            prInfo(`${(yield* requestIrq(IRQ, handler, s)) === -EBUSY}`);
            yield* disableIrqNosync(IRQ);
            yield* raiseIrq(IRQ);
            yield* raiseIrq(IRQ);
            prInfo('raised');
            yield* enableIrq(IRQ);
          },
        },
      },
      device(),
    ),
  );
  expect(found.logs).toEqual(['true raised handler 0']);
});

test('disable_irq and synchronize_irq wait for the handler', () => {
  for (const wait of [disableIrq, synchronizeIrq]) {
    const found = explore(
      program(
        {
          a: {
            *run(s) {
              yield* raiseIrq(IRQ);
              yield* wait(IRQ);
              prInfo(`then ${yield* atomicFetchAdd(s.count, 0)}`);
              if (wait === disableIrq) yield* enableIrq(IRQ);
            },
          },
        },
        device(),
      ),
    );
    expect(found.logs).toEqual(['handler 0 then 1', 'then 0 handler 0']);
  }
});

test('no handler runs after free_irq', () => {
  const found = explore(
    program(
      {
        a: {
          *run() {
            yield* raiseIrq(IRQ);
            yield* freeIrq(IRQ);
            prInfo('freed');
            yield* raiseIrq(IRQ);
          },
        },
      },
      device(),
    ),
  );
  expect(found.logs).toEqual(['freed', 'handler 0 freed']);
});

test('enabling more often than disabling is a warning', () => {
  const found = explore(
    program(
      {
        a: {
          *run() {
            yield* enableIrq(IRQ);
          },
        },
      },
      device(),
    ),
  );
  expect(found.findings.join()).toMatch(/^warn/);
});

test('a handler comes between steps of tasks that ran on its CPU before the line was requested', () => {
  const late = program({
    a: {
      cpu: 1,
      *run(s) {
        yield* requestIrq(IRQ, handler, s, { cpu: 0 });
        yield* raiseIrq(IRQ);
      },
    },
    b: {
      cpu: 0,
      *run(s) {
        yield* localIrqDisable();
        yield* atomicFetchAdd(s.count, 10);
        yield* localIrqEnable();
      },
    },
  });
  expect(compare(late)).toMatchObject({
    traces: 2,
    executions: 2,
    missing: [],
    repeated: [],
    faults: [],
  });
});

const Counter = struct('counter', { hits: 0 });
const counters = definePerCpu(Counter);

test('each CPU has its own instance of a per-CPU variable', () => {
  const hit: TaskDefinition<State> = {
    *run(s) {
      yield* atomicXchg(s.other, 1);
      counters.thisCpuPtr().hits += 1;
    },
  };
  const found = explore(
    program({
      a: { ...hit, cpu: 0 },
      b: { ...hit, cpu: 1 },
      c: {
        cpu: 2,
        *run(s) {
          yield* atomicXchg(s.count, 1);
          prInfo(
            `${counters.perCpuPtr(2).hits} ${counters.perCpuPtr(2) === counters.thisCpuPtr()}`,
          );
        },
      },
    }),
  );
  expect(found).toMatchObject({ findings: [], logs: ['0 true'] });
});

const irqOff: TaskDefinition<State> = {
  cpu: 0,
  *run(s) {
    yield* atomicFetchAdd(s.count, 1);
    const flags = yield* localIrqSave();
    yield* atomicFetchAdd(s.other, 1);
    yield* localIrqRestore(flags);
    yield* atomicFetchAdd(s.count, 1);
  },
};

const locked: TaskDefinition<State> = {
  cpu: 0,
  *run(s) {
    const flags = yield* spinLockIrqsave(s.lock);
    yield* spinUnlockIrqrestore(s.lock, flags);
  },
};

const short = (cpu = 0): TaskDefinition<State> => ({
  cpu,
  kind: 'interrupt',
  *run(s) {
    yield* atomicFetchAdd(s.other, 1);
  },
});

const preemptOff: TaskDefinition<State> = {
  cpu: 0,
  *run(s) {
    yield* preemptDisable();
    yield* atomicFetchAdd(s.other, 1);
    yield* preemptEnable();
  },
};

const lockingHandler: TaskDefinition<State> = {
  cpu: 0,
  kind: 'interrupt',
  *run(s) {
    const flags = yield* spinLockIrqsave(s.lock);
    yield* spinUnlockIrqrestore(s.lock, flags);
  },
};

const sets: Record<string, [Tasks, ((s: State) => Body<unknown>)?]> = {
  'a task and a handler': [{ task: note('t'), irq: interrupting() }],
  'a section with interrupts off and a handler': [{ irqOff, irq: short() }],
  'a section with interrupts off and two handlers': [{ irqOff, one: short(), two: short() }],
  'a section with preemption off and a handler': [{ preemptOff, irq: short() }],
  'sections of two tasks of one CPU and a handler': [
    { one: preemptOff, two: preemptOff, irq: short() },
  ],
  'interrupts off, preemption off, a handler': [{ irqOff, preemptOff, irq: short() }],
  'two sections with interrupts off and a handler': [{ one: locked, two: locked, irq: short() }],
  'a lock shared with a handler': [{ locked, irq: lockingHandler }],
  'a lock shared with a handler and another CPU': [
    { locked, irq: lockingHandler, far: { ...locked, cpu: 1 } },
  ],
  'a lock that a handler takes from what it interrupts': [
    {
      task: {
        cpu: 0,
        *run(s) {
          yield* spinLock(s.lock);
          yield* spinUnlock(s.lock);
        },
      },
      irq: lockingHandler,
    },
  ],
  'a device that is raised and freed': [
    {
      a: {
        *run() {
          yield* raiseIrq(IRQ);
          yield* freeIrq(IRQ);
        },
      },
      b: {
        *run(s) {
          yield* atomicFetchAdd(s.count, 1);
        },
      },
    },
    device(),
  ],
  'a device that is raised twice': [
    {
      a: {
        *run() {
          yield* raiseIrq(IRQ);
        },
      },
      b: {
        *run() {
          yield* raiseIrq(IRQ);
        },
      },
    },
    device(),
  ],
  'a device that is raised while it is disabled': [
    {
      a: {
        *run() {
          yield* raiseIrq(IRQ);
        },
      },
      b: {
        *run() {
          yield* disableIrq(IRQ);
          yield* enableIrq(IRQ);
        },
      },
    },
    device(),
  ],
  'a device that interrupts a CPU': [
    {
      task: { ...note('t') },
      b: {
        *run() {
          yield* raiseIrq(IRQ);
        },
      },
    },
    device(0),
  ],
};

test.each(Object.entries(sets))('each trace is executed once: %s', (_name, [tasks, setup]) => {
  const reversed = Object.fromEntries(Object.entries(tasks).toReversed());
  for (const order of [tasks, reversed]) {
    expect(compare(program(order, setup))).toMatchObject({ missing: [], repeated: [], faults: [] });
  }
});
