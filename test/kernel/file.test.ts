import { expect, test } from 'vitest';
import { EBADF, EBUSY, EINVAL, ENODEV, ENOENT, ENOMEM, ENOTTY } from '../../src/base/errno.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import {
  closeAll,
  copyFileTable,
  fileClose,
  fileDup,
  fileIoctl,
  fileMmap,
  fileOpen,
  fput,
  getFile,
  newFileTable,
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
  type FileTable,
} from '../../src/kernel/file.ts';
import { prInfo } from '../../src/kernel/choose.ts';
import { Kernel, NO_FAULTS, type Budget } from '../../src/kernel/kernel.ts';
import { load, moduleText, unloadModule } from '../../src/kernel/module.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { current } from '../../src/kernel/running.ts';
import type { Watch } from '../../src/kernel/watch.ts';
import { compare } from '../util/brute-force.ts';

const demo = moduleText('demo');
const globals = demo.data({ demoMutex: mutex() });
const PATH = '/dev/demo';

const touch = demo.fn(function* demoTouch() {
  yield* mutexLock(globals().demoMutex);
  yield* mutexUnlock(globals().demoMutex);
});

const open = demo.fn(function* demoOpen(_file: File) {
  prInfo('open');
  return 0;
});
const failingOpen = demo.fn(function* demoOpen(_file: File) {
  return -EINVAL;
});
const release = demo.fn(function* demoRelease(_file: File) {
  yield* touch();
  prInfo('release');
});
const tellingRelease = demo.fn(function* demoRelease(_file: File) {
  yield* touch();
  prInfo(`release by ${current().name}`);
});
const flush = demo.fn(function* demoFlush(_file: File) {
  prInfo('flush');
  return 0;
});
const ioctl = demo.fn(function* demoIoctl(_file: File, command: number | string, argument: number) {
  yield* touch();
  prInfo(`ioctl ${command}`);
  return argument + 1;
});
const mmap = demo.fn(function* demoMmap(file: File, area: { file: File | null }) {
  yield* getFile(file);
  area.file = file;
  return 0;
});

const full: FileOperations = { owner: demo.text, open, flush, release, ioctl, mmap };

/** The module, with the file operations that are asked for. */
function moduleWith(fops: FileOperations): ReturnType<typeof demo.module> {
  return demo.module({
    data: globals as never,
    init: demo.fn(function* demoInit() {
      return yield* registerChrdev(PATH, fops);
    }),
    exit: demo.fn(function* demoExit() {
      yield* unregisterChrdev(PATH);
    }),
  });
}

/** Runs `body` in a kernel with the module loaded; returns its result and what was logged. */
function now<R>(fops: FileOperations, body: (table: FileTable) => Body<R>): [R, string] {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  load(kernel, moduleWith(fops));
  const result = kernel.runNow<R>(
    (function* run(): Body<R> {
      return yield* body(newFileTable());
    })(),
  );
  return [result, kernel.log.join(' ')];
}

interface State {
  readonly table: FileTable;
  readonly fd: number;
}

type Tasks = Readonly<Record<string, (s: State) => Body<unknown>>>;

function* openOnce(): Body<State> {
  const table = newFileTable();
  return { table, fd: yield* fileOpen(table, PATH) };
}

/** Tasks that share a table in which the device is open once. */
function shared(tasks: Tasks, fops = full, faults: Partial<Budget> = {}): Program {
  return programOf(
    {
      name: 'file',
      variants: { v: {} },
      faults,
      boot: (options) => new Kernel(options),
      setup(kernel) {
        load(kernel, moduleWith(fops));
        return kernel.runNow<State>(openOnce());
      },
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

function explore(program: Program): Explored {
  const seen = new Set<string>();
  const logs = new Set<string>();
  const watch: Watch = {
    onUnloadedCode: (_kernel, name) => seen.add(`unloaded ${name}`),
    onDeadAccess: (_kernel, memory) => seen.add(`dead ${memory.name}`),
    onDoubleFree: (_kernel, memory) => seen.add(`double free ${memory.name}`),
    onCounterMisuse: (_kernel, counter) => seen.add(`counter ${counter.path}`),
  };
  const { executions } = new SourceDpor(program, {
    watches: [watch],
    onExecution: ({ kernel }) => {
      logs.add(kernel.log.join(' '));
      return false;
    },
  }).run();
  return { executions, seen: [...seen].toSorted(), logs: [...logs].toSorted() };
}

test('open, ioctl and close reach the driver, and the last close runs release', () => {
  const [results, log] = now(full, function* run(table) {
    const fd = yield* fileOpen(table, PATH);
    const answer = yield* fileIoctl(table, fd, 'VERSION', 41);
    return [fd >= 0, answer, yield* fileClose(table, fd), yield* fileClose(table, fd)];
  });
  expect(results).toEqual([true, 42, 0, -EBADF]);
  expect(log).toBe('open ioctl VERSION flush release');
});

test('what is not there or not implemented has its own error', () => {
  const [results] = now({ owner: demo.text }, function* run(table) {
    const fd = yield* fileOpen(table, PATH);
    return [
      yield* fileOpen(table, '/dev/none'),
      yield* fileIoctl(table, fd, 1, 0),
      yield* fileMmap(table, fd, {}),
      yield* fileIoctl(table, fd + 1, 1, 0),
      yield* fileMmap(table, -1, {}),
      yield* fileDup(table, 77),
    ];
  });
  expect(results).toEqual([-ENOENT, -ENOTTY, -ENODEV, -EBADF, -EBADF, -EBADF]);
});

test('a path is registered once, and not found any more when it was unregistered', () => {
  const [results] = now(full, function* run(table) {
    const twice = yield* registerChrdev(PATH, full);
    yield* unregisterChrdev(PATH);
    return [twice, yield* fileOpen(table, PATH)];
  });
  expect(results).toEqual([-EBUSY, -ENOENT]);
});

test('an open that the driver refuses gives the module back', () => {
  const [results] = now({ owner: demo.text, open: failingOpen }, function* run(table) {
    return [yield* fileOpen(table, PATH), yield* unloadModule(demo)];
  });
  expect(results).toEqual([-EINVAL, 0]);
});

test('an open file keeps its module loaded', () => {
  const [results] = now(full, function* run(table) {
    const fd = yield* fileOpen(table, PATH);
    const refused = (yield* unloadModule(demo)) < 0;
    yield* fileClose(table, fd);
    return [refused, yield* unloadModule(demo)];
  });
  expect(results).toEqual([true, 0]);
});

test('a mapping and a copy of the descriptor keep the file open', () => {
  const [, log] = now(full, function* run(table) {
    const fd = yield* fileOpen(table, PATH);
    const area = { file: null as File | null };
    yield* fileMmap(table, fd, area);
    const second = yield* fileDup(table, fd);
    yield* fileClose(table, fd);
    prInfo('closed');
    yield* fileClose(table, second);
    prInfo('closed again');
    yield* fput(area.file as File);
  });
  expect(log).toBe('open flush closed flush closed again release');
});

test('fork copies descriptors, and exit closes them', () => {
  const [, log] = now(full, function* run(table) {
    yield* fileOpen(table, PATH);
    const child = yield* copyFileTable(table);
    yield* closeAll(table);
    prInfo('parent gone');
    yield* closeAll(child);
  });
  expect(log).toBe('open flush parent gone flush release');
});

test('without memory there is no file', () => {
  const program = shared(
    {
      *a({ table }) {
        const fd = yield* fileOpen(table, PATH);
        prInfo(fd === -ENOMEM ? 'ENOMEM' : 'opened');
      },
    },
    full,
    { allocations: 1 },
  );
  expect(explore(program).logs).toEqual(['open ENOMEM', 'open open opened']);
});

test('an ioctl keeps the file alive while another thread closes it', () => {
  const found = explore(
    shared(
      {
        *ioctl({ table, fd }) {
          yield* fileIoctl(table, fd, 'A', 0);
        },
        *close({ table, fd }) {
          yield* fileClose(table, fd);
        },
      },
      { owner: demo.text, open, ioctl, release: tellingRelease },
    ),
  );
  expect(found.seen).toEqual([]);
  expect(found.logs).toEqual([
    'open ioctl A release by close',
    'open ioctl A release by ioctl',
    'open release by close',
  ]);
});

test('two ioctls on one file do not depend on each other', () => {
  const quiet: FileOperations = { owner: demo.text };
  const tasks: Tasks = {
    *one({ table, fd }) {
      yield* fileIoctl(table, fd, 'A', 0);
    },
    *two({ table, fd }) {
      yield* fileIoctl(table, fd, 'B', 0);
    },
  };
  expect(explore(shared(tasks, quiet)).executions).toBe(1);
});

test('a device without an owner lets its module go under an open file', () => {
  const found = explore(
    shared(
      {
        *ioctl({ table, fd }) {
          yield* fileIoctl(table, fd, 'A', 0);
        },
        *rmmod() {
          yield* unloadModule(demo);
        },
      },
      { ioctl },
    ),
  );
  expect(found.seen).toEqual(['unloaded demo_ioctl', 'unloaded demo_touch']);
});

test('a device that outlives its module is a use of the memory of the module', () => {
  const forgetful = demo.module({
    data: globals,
    init: demo.fn(function* demoInit() {
      return yield* registerChrdev(PATH, full);
    }),
    exit: demo.fn(function* demoExit() {
      yield* touch();
    }),
  });
  const found = explore(
    programOf(
      {
        name: 'file',
        variants: { v: {} },
        boot: (options) => new Kernel(options),
        setup: (kernel) => load(kernel, forgetful),
        tasks: {
          rmmod: {
            *run() {
              yield* unloadModule(demo);
              yield* fileOpen(newFileTable(), PATH);
            },
          },
        },
      },
      'v',
    ),
  );
  expect(found.seen).toEqual(['dead demo']);
});

const quiet: FileOperations = { owner: demo.text };

test.each<[string, Tasks]>([
  [
    'two ioctls and a close',
    {
      *one({ table, fd }) {
        yield* fileIoctl(table, fd, 'A', 0);
      },
      *two({ table, fd }) {
        yield* fileIoctl(table, fd, 'B', 0);
      },
      *close({ table, fd }) {
        yield* fileClose(table, fd);
      },
    },
  ],
  [
    'two closes and an ioctl',
    {
      *one({ table, fd }) {
        yield* fileClose(table, fd);
      },
      *two({ table, fd }) {
        yield* fileClose(table, fd);
      },
      *ioctl({ table, fd }) {
        yield* fileIoctl(table, fd, 'A', 0);
      },
    },
  ],
  [
    'a dup, a close and an ioctl',
    {
      *dup({ table, fd }) {
        const copy = yield* fileDup(table, fd);
        if (copy >= 0) yield* fileClose(table, copy);
      },
      *close({ table, fd }) {
        yield* fileClose(table, fd);
      },
      *ioctl({ table, fd }) {
        yield* fileIoctl(table, fd, 'A', 0);
      },
    },
  ],
  [
    'a fork and an exit',
    {
      *fork({ table }) {
        const child = yield* copyFileTable(table);
        yield* closeAll(child);
      },
      *exit({ table }) {
        yield* closeAll(table);
      },
    },
  ],
  [
    'an open, a close and an unload',
    {
      *open({ table }) {
        yield* fileOpen(table, PATH);
      },
      *close({ table, fd }) {
        yield* fileClose(table, fd);
      },
      *rmmod() {
        yield* unloadModule(demo);
      },
    },
  ],
])('the explorer runs each trace once: %s', (_name, tasks) => {
  const reversed = Object.fromEntries(Object.entries(tasks).toReversed());
  for (const order of [tasks, reversed]) {
    const result = compare(shared(order, quiet));
    expect(result).toMatchObject({ missing: [], repeated: [], faults: [] });
  }
});
