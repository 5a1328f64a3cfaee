import { expect, test } from 'vitest';
import { EAGAIN, EBUSY, EEXIST, ENOENT, ENOMEM } from '../../src/base/errno.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { unloadedCode } from '../../src/check/detector/unloaded-code.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicInc } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import {
  load,
  loadModule,
  modulePut,
  moduleText,
  tryModuleGet,
  unloadModule,
} from '../../src/kernel/module.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Watch } from '../../src/kernel/watch.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { compare } from '../util/brute-force.ts';

const demo = moduleText('demo');
const globals = demo.data({ demoMutex: mutex(), demoCount: 1 });

const init = demo.fn(function* demoInit() {
  const { demoMutex } = globals();
  yield* mutexLock(demoMutex);
  globals().demoCount += 1;
  yield* mutexUnlock(demoMutex);
  return 0;
});

const exit = demo.fn(function* demoExit() {
  yield* mutexLock(globals().demoMutex);
  yield* mutexUnlock(globals().demoMutex);
});

const work = demo.fn(function* demoWork() {
  yield* mutexLock(globals().demoMutex);
  globals().demoCount += 1;
  yield* mutexUnlock(globals().demoMutex);
});

const demoModule = demo.module({ data: globals, init, exit });
const stuckModule = demo.module({ data: globals, init });
const failingModule = demo.module({
  data: globals,
  init: demo.fn(function* demoInit() {
    yield* mutexLock(globals().demoMutex);
    yield* mutexUnlock(globals().demoMutex);
    return -ENOMEM;
  }),
  exit,
});

function kernelOf(watches: readonly Watch[] = []): Kernel {
  return new Kernel({ budget: NO_FAULTS, watches, tracer: null });
}

function now<R>(kernel: Kernel, body: () => Body<R>): R {
  return kernel.runNow<R>(body());
}

function program(
  tasks: Readonly<Record<string, () => Body<unknown>>>,
  setup: (kernel: Kernel) => void = (kernel) => load(kernel, demoModule),
): Program {
  return programOf(
    {
      name: 'module',
      variants: { v: {} },
      boot: (options) => new Kernel(options),
      setup,
      tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    },
    'v',
  );
}

/** Every kind of finding that the hooks of the engine alone can see, over all executions. */
function explore(tested: Program): { executions: number; seen: string[]; results: string[] } {
  const seen = new Set<string>();
  const results = new Set<string>();
  const watch: Watch = {
    onUnloadedCode: (_kernel, name, module) => seen.add(`unloaded ${module} ${name}`),
    onDeadAccess: (_kernel, memory) => seen.add(`dead ${memory.name}`),
    onAssertion: (_kernel, grade, text) => seen.add(`${grade} ${text}`),
  };
  const { executions } = new SourceDpor(tested, {
    watches: [watch],
    onExecution: ({ kernel }) => {
      results.add(kernel.log.join(' '));
      return false;
    },
  }).run();
  return { executions, seen: [...seen].toSorted(), results: [...results].toSorted() };
}

test('loading makes the data and runs init', () => {
  const kernel = kernelOf();
  const data = load(kernel, demoModule);
  expect(
    now(kernel, function* run() {
      return globals() === data && globals().demoCount === 2;
    }),
  ).toBe(true);
  expect(data.memory.kind).toBe('module');
  expect(data.memory.name).toBe('demo');
  expect(data.demoMutex.path).toBe('demo_mutex');
});

test('the data of a module that is not loaded is a misuse', () => {
  expect(() =>
    now(kernelOf(), function* run() {
      yield* work();
    }),
  ).toThrow(/data of module 'demo'.*no such module is loaded/);
});

test('data may be wider than what an accessor asks for, but not narrower', () => {
  const more = demo.data({ demoMutex: mutex(), demoCount: 5, demoExtra: 7 });
  const kernel = kernelOf();
  load(kernel, demo.module({ data: more }));
  expect(
    now(kernel, function* run() {
      return [globals().demoCount, more().demoExtra];
    }),
  ).toEqual([5, 7]);
  const other = kernelOf();
  load(other, demoModule);
  expect(() =>
    now(other, function* run() {
      return more().demoExtra;
    }),
  ).toThrow(/no 'demoExtra'/);
});

test('a name is loaded once', () => {
  const kernel = kernelOf();
  load(kernel, demoModule);
  expect(
    now(kernel, function* run() {
      return yield* loadModule(demoModule);
    }),
  ).toBe(-EEXIST);
});

test('a failing init frees the data', () => {
  const kernel = kernelOf();
  expect(
    now(kernel, function* run() {
      return yield* loadModule(failingModule);
    }),
  ).toBe(-ENOMEM);
  expect(
    now(kernel, function* run() {
      return yield* unloadModule(demo);
    }),
  ).toBe(-ENOENT);
  expect(() => load(kernelOf(), failingModule)).toThrow(/returned -12/);
});

test('unloading is refused while there are references, and for good without an exit', () => {
  const kernel = kernelOf();
  load(kernel, demoModule);
  const results = now(kernel, function* run() {
    const all: unknown[] = [yield* tryModuleGet(demo)];
    all.push(yield* unloadModule(demo));
    yield* modulePut(demo);
    all.push(yield* unloadModule(demo), yield* tryModuleGet(demo), yield* unloadModule(demo));
    return all;
  });
  expect(results).toEqual([true, -EAGAIN, 0, false, -ENOENT]);
  const stuck = kernelOf();
  load(stuck, stuckModule);
  expect(
    now(stuck, function* run() {
      return yield* unloadModule(demo);
    }),
  ).toBe(-EBUSY);
});

test('a module can be loaded again after it was unloaded', () => {
  const kernel = kernelOf();
  const first = load(kernel, demoModule);
  now(kernel, function* run() {
    return yield* unloadModule(demo);
  });
  const second = load(kernel, demoModule);
  expect(first.memory.isLive).toBe(false);
  expect(second.memory.isLive).toBe(true);
  now(kernel, function* run() {
    yield* work();
  });
});

test('putting a reference that nobody took is a warning', () => {
  const { seen } = explore(
    program({
      *put() {
        yield* modulePut(demo);
      },
    }),
  );
  expect(seen).toEqual(['WARN_ON module_put(demo): more often than it was taken']);
});

test('a task in the text of a module that goes away is found', () => {
  const found = explore(
    program({
      *user() {
        yield* work();
      },
      *rmmod() {
        yield* unloadModule(demo);
      },
    }),
  );
  expect(found.seen).toContain('unloaded demo demo_work');
});

const core = fn(function* core(lock: ReturnType<typeof globals>['demoMutex']) {
  yield* mutexLock(lock);
  yield* mutexUnlock(lock);
});

test('a task that comes back into the text of a module that is gone is found', () => {
  const other = moduleText('other');
  const otherData = other.data({ otherMutex: mutex() });
  const wait = demo.fn(function* demoWait() {
    yield* core(otherData().otherMutex as never);
  });
  const found = explore(
    program(
      {
        *user() {
          if (!(yield* tryModuleGet(other))) return;
          yield* wait();
        },
        *rmmod() {
          yield* unloadModule(demo);
        },
      },
      (kernel) => {
        load(kernel, demoModule);
        load(kernel, other.module({ data: otherData }));
      },
    ),
  );
  expect(found.seen).toEqual(['unloaded demo demo_wait']);
});

test('a reference keeps text and data in place', () => {
  const found = explore(
    program({
      *user() {
        if (!(yield* tryModuleGet(demo))) return;
        yield* work();
        yield* modulePut(demo);
      },
      *rmmod() {
        yield* unloadModule(demo);
      },
    }),
  );
  expect(found.seen).toEqual([]);
});

function* user(): Body<void> {
  if (!(yield* tryModuleGet(demo))) return;
  yield* mutexLock(globals().demoMutex);
  yield* mutexUnlock(globals().demoMutex);
  yield* modulePut(demo);
}

test('the explorer runs each trace of loading, using and unloading once', () => {
  const result = compare(
    program({
      user,
      *rmmod() {
        yield* unloadModule(demo);
      },
    }),
  );
  expect(result).toMatchObject({ missing: [], repeated: [], faults: [], blocked: 0 });
  const loading = compare(
    program(
      {
        *one() {
          yield* loadModule(demoModule);
        },
        *two() {
          if (yield* tryModuleGet(demo)) yield* modulePut(demo);
        },
        *rmmod() {
          yield* unloadModule(demo);
        },
      },
      () => undefined,
    ),
  );
  expect(loading).toMatchObject({ missing: [], repeated: [], faults: [] });
});

const Caller = struct('caller', { calls: atomic(0) });

test.each([['caller', 'rmmod'] as const, ['rmmod', 'caller'] as const])(
  'text that is entered without a reference is entered before it goes and after (%s first)',
  (...names) => {
    let caller: InstanceOf<typeof Caller>;
    const tasks = {
      // As the walk of a list does: an operation of the core, and then whatever it has found.
      *caller(): Body<void> {
        yield* atomicInc(caller.calls);
        yield* work();
      },
      *rmmod(): Body<void> {
        yield* unloadModule(demo);
      },
    };
    const tested = program(
      Object.fromEntries(names.map((name) => [name, tasks[name]])),
      (kernel) => {
        load(kernel, demoModule);
        caller = allocateStatic(kernel, Caller);
      },
    );
    const result = compare(tested, { watches: () => [unloadedCode()] });
    expect(result).toMatchObject({ missing: [], repeated: [], faults: [] });
  },
);
