/**
 * Random small programs of waits, completions, work items, timers and interrupts, to be explored and
 * compared with all interleavings.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { Program } from '../../src/check/program.ts';
import { programOf, type TaskDefinition } from '../../src/check/scenario.ts';
import { atomic, atomicFetchAdd, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import {
  complete,
  completeAll,
  completion,
  completionDone,
  reinitCompletion,
  tryWaitForCompletion,
  waitForCompletion,
  waitForCompletionInterruptible,
  waitForCompletionTimeout,
} from '../../src/kernel/completion.ts';
import {
  disableIrq,
  disableIrqNosync,
  enableIrq,
  freeIrq,
  raiseIrq,
  requestIrq,
  synchronizeIrq,
} from '../../src/kernel/interrupt.ts';
import {
  closeAll,
  copyFileTable,
  fileClose,
  fileDup,
  fileIoctl,
  fileOpen,
  newFileTable,
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
  type FileTable,
} from '../../src/kernel/file.ts';
import {
  loadModule,
  modulePut,
  moduleText,
  tryModuleGet,
  unloadModule,
  type ModuleType,
} from '../../src/kernel/module.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { running } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import {
  spinlock,
  spinLock,
  spinLockIrqsave,
  spinUnlock,
  spinUnlockIrqrestore,
} from '../../src/kernel/spinlock.ts';
import { containerOf, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import {
  delTimer,
  delTimerSync,
  modTimer,
  timerList,
  timerPending,
  timerSetup,
  type TimerList,
} from '../../src/kernel/timer.ts';
import {
  finishWait,
  prepareToWait,
  prepareToWaitExclusive,
  schedule,
  waitEvent,
  waitEventInterruptible,
  waitEventTimeout,
  waitQueueHead,
  waitqueueActive,
  wakeUp,
  wakeUpAll,
} from '../../src/kernel/wait.ts';
import {
  allocWorkqueue,
  cancelDelayedWorkSync,
  cancelWork,
  cancelWorkSync,
  delayedWork,
  flushDelayedWork,
  flushWork,
  flushWorkqueue,
  initDelayedWork,
  initWork,
  modDelayedWork,
  queueDelayedWork,
  queueWork,
  workStruct,
  type DelayedWork,
  type Workqueue,
  type WorkStruct,
} from '../../src/kernel/workqueue.ts';
import { compare, type Comparison } from './brute-force.ts';

const Objects = struct('s', {
  wq: waitQueueHead(),
  done: completion(),
  work: workStruct(),
  other: workStruct(),
  delayed: delayedWork(),
  timer: timerList(),
  flag: atomic(0),
  mutex: mutex(),
  lock: spinlock(),
});
type Objects = InstanceOf<typeof Objects>;

interface State {
  readonly table: FileTable;
  readonly fd: number;
  readonly s: Objects;
  readonly queue: Workqueue;
}

const IRQ = 5;

const driver = moduleText('driver');
const globals = driver.data({ driverMutex: mutex() });
const PATH = '/dev/driver';

const touch = driver.fn(function* touch() {
  yield* mutexLock(globals().driverMutex);
  yield* mutexUnlock(globals().driverMutex);
});
const ioctl = driver.fn(function* ioctl(_file: File) {
  yield* touch();
  return 0;
});
/** Without an owner, the module can go while a file is open. */
const unownedFops: FileOperations = { ioctl };
const ownedFops: FileOperations = { ioctl, owner: driver.text };

function driverWith(fops: FileOperations): ModuleType {
  return driver.module({
    data: globals,
    init: driver.fn(function* init() {
      return yield* registerChrdev(PATH, fops);
    }),
    exit: driver.fn(function* exit() {
      yield* unregisterChrdev(PATH);
    }),
  }) as unknown as ModuleType;
}
const OWNED = driverWith(ownedFops);
const UNOWNED = driverWith(unownedFops);

function inc(s: Objects): Body<unknown> {
  return atomicFetchAdd(s.flag, 1) as unknown as Body<unknown>;
}

const work = fn(function* work(item: WorkStruct) {
  yield* inc(containerOf(item, Objects, 'work'));
});
const other = fn(function* other(item: WorkStruct) {
  const s = containerOf(item, Objects, 'other');
  yield* mutexLock(s.mutex);
  yield* mutexUnlock(s.mutex);
});
const delayed = fn(function* delayed(item: DelayedWork) {
  yield* complete(containerOf(item, Objects, 'delayed').done);
});
const timer = fn(function* timer(list: TimerList) {
  yield* wakeUp(containerOf(list, Objects, 'timer').wq);
});
const handler = fn(function* handler(_irq: number, s: Objects) {
  yield* spinLock(s.lock);
  yield* spinUnlock(s.lock);
});

function isSet(s: Objects): () => Body<boolean> {
  return function* condition() {
    return (yield* atomicRead(s.flag)) > 0;
  };
}

function sleeping(isExclusive: boolean): (state: State) => Body<unknown> {
  return function* sleep({ s }) {
    const prepare = isExclusive ? prepareToWaitExclusive : prepareToWait;
    yield* prepare(s.wq, 'interruptible');
    yield* schedule();
    yield* finishWait(s.wq);
  };
}

type Statement = (state: State) => Body<unknown>;
type Statements = Readonly<Record<string, Statement>>;

/** A statement of one operation or call. */
function one(make: (state: State) => unknown): Statement {
  return function* statement(state) {
    return yield* make(state) as Body<unknown>;
  };
}

const WAITS: Statements = {
  inc: one(({ s }) => inc(s)),
  waitEvent: one(({ s }) => waitEvent(s.wq, isSet(s))),
  waitEventInterruptible: one(({ s }) => waitEventInterruptible(s.wq, isSet(s))),
  waitEventTimeout: one(({ s }) => waitEventTimeout(s.wq, isSet(s), 3)),
  sleep: sleeping(false),
  sleepExclusive: sleeping(true),
  wakeUp: one(({ s }) => wakeUp(s.wq)),
  wakeUpAll: one(({ s }) => wakeUpAll(s.wq)),
  waitqueueActive: one(({ s }) => waitqueueActive(s.wq)),
};

const COMPLETIONS: Statements = {
  complete: one(({ s }) => complete(s.done)),
  completeAgain: one(({ s }) => complete(s.done)),
  completeAll: one(({ s }) => completeAll(s.done)),
  reinit: one(({ s }) => reinitCompletion(s.done)),
  wait: one(({ s }) => waitForCompletion(s.done)),
  waitTimeout: one(({ s }) => waitForCompletionTimeout(s.done, 3)),
  waitInterruptible: one(({ s }) => waitForCompletionInterruptible(s.done)),
  tryWait: one(({ s }) => tryWaitForCompletion(s.done)),
  isDone: one(({ s }) => completionDone(s.done)),
};

const WORKS: Statements = {
  queue: one(({ s, queue }) => queueWork(queue, s.work)),
  queueOther: one(({ s, queue }) => queueWork(queue, s.other)),
  cancel: one(({ s }) => cancelWork(s.work)),
  cancelSync: one(({ s }) => cancelWorkSync(s.work)),
  cancelOtherSync: one(({ s }) => cancelWorkSync(s.other)),
  flush: one(({ s }) => flushWork(s.work)),
  flushAll: one(({ queue }) => flushWorkqueue(queue)),
  locked: function* locked({ s, queue }) {
    yield* mutexLock(s.mutex);
    yield* queueWork(queue, s.other);
    yield* mutexUnlock(s.mutex);
  },
};

const DELAYED: Statements = {
  queue: one(({ s, queue }) => queueDelayedWork(queue, s.delayed, 1)),
  queueNow: one(({ s, queue }) => queueDelayedWork(queue, s.delayed, 0)),
  mod: one(({ s, queue }) => modDelayedWork(queue, s.delayed, 1)),
  modNow: one(({ s, queue }) => modDelayedWork(queue, s.delayed, 0)),
  flush: one(({ s }) => flushDelayedWork(s.delayed)),
  flushWork: one(({ s }) => flushWork(s.delayed)),
  cancelSync: one(({ s }) => cancelDelayedWorkSync(s.delayed)),
  wait: one(({ s }) => waitForCompletion(s.done)),
};

const TIMERS: Statements = {
  mod: one(({ s }) => modTimer(s.timer)),
  del: one(({ s }) => delTimer(s.timer)),
  delSync: one(({ s }) => delTimerSync(s.timer)),
  pending: one(({ s }) => timerPending(s.timer)),
  sleep: sleeping(false),
};

const IRQS: Statements = {
  raise: one(() => raiseIrq(IRQ)),
  disable: function* disable() {
    yield* disableIrq(IRQ);
    yield* enableIrq(IRQ);
  },
  disableNosync: function* disableNosync({ s }) {
    yield* disableIrqNosync(IRQ);
    yield* inc(s);
    yield* enableIrq(IRQ);
  },
  synchronize: one(() => synchronizeIrq(IRQ)),
  free: one(() => freeIrq(IRQ)),
  irqsave: function* irqsave({ s }) {
    const flags = yield* spinLockIrqsave(s.lock);
    yield* spinUnlockIrqrestore(s.lock, flags);
  },
  inc: one(({ s }) => inc(s)),
};

const FILES: Statements = {
  open: one(({ table }) => fileOpen(table, PATH)),
  ioctl: one(({ table, fd }) => fileIoctl(table, fd, 0, 0)),
  close: one(({ table, fd }) => fileClose(table, fd)),
  *dup({ table, fd }) {
    const copy = yield* fileDup(table, fd);
    if (copy >= 0) yield* fileClose(table, copy);
  },
  *fork({ table }) {
    yield* closeAll(yield* copyFileTable(table));
  },
  exit: one(({ table }) => closeAll(table)),
};

const MODULES: Statements = {
  open: one(({ table }) => fileOpen(table, PATH)),
  ioctl: one(({ table, fd }) => fileIoctl(table, fd, 0, 0)),
  close: one(({ table, fd }) => fileClose(table, fd)),
  unload: one(() => unloadModule(driver)),
  load: one(() => loadModule(OWNED)),
  *use() {
    if (!(yield* tryModuleGet(driver))) return;
    yield* touch();
    yield* modulePut(driver);
  },
  get: one(() => tryModuleGet(driver)),
  // Without a reference: the module may be gone before, or go meanwhile.
  *enter({ s }) {
    yield* inc(s);
    yield* touch();
  },
};

export const KINDS: Readonly<Record<string, Statements>> = {
  wait: WAITS,
  completion: COMPLETIONS,
  work: WORKS,
  delayed: DELAYED,
  timer: TIMERS,
  irq: IRQS,
  file: FILES,
  module: MODULES,
};

/** A program as data, so that it can be printed and made smaller. */
export interface Plan {
  readonly kind: string;
  readonly tasks: readonly (readonly string[])[];
  readonly isOrdered: boolean;
  readonly faults: { readonly signals: number; readonly timeouts: number };
  /** For each task its CPU, or null for one of its own. */
  readonly cpus: readonly (number | null)[];
}

export function generate(kind: string, seed: number): Plan {
  const random = xoroshiro128plus(seed * 7919 + 1);
  const from = (low: number, high: number): number => uniformInt(random, low, high);
  const names = Object.keys(KINDS[kind] as Statements);
  const tasks = Array.from({ length: from(2, 3) }, () =>
    Array.from({ length: from(1, 3) }, () => names[from(0, names.length - 1)] as string),
  );
  const isOrdered = from(0, 1) === 1;
  const faults = { signals: from(0, 1), timeouts: from(0, 1) };
  const cpus = tasks.map(() => (kind === 'irq' && from(0, 2) > 0 ? 0 : null));
  return { kind, tasks, isOrdered, faults, cpus };
}

export function programOfPlan({ kind, tasks, isOrdered, faults, cpus }: Plan): Program {
  const definitions = tasks.map((statements, at): [string, TaskDefinition<State>] => {
    const cpu = cpus[at] ?? null;
    return [`t${at}`, { run: bodyOf(kind, statements), ...(cpu === null ? {} : { cpu }) }];
  });
  return programOf<Kernel, State>(
    {
      name: 'fuzz',
      variants: { v: {} },
      faults,
      boot: (options) => new Kernel(options),
      setup: (kernel) => kernel.runNow(setUp(isOrdered, cpus.includes(0) ? { cpu: 0 } : {})),
      tasks: Object.fromEntries(definitions),
    },
    'v',
  );
}

function bodyOf(kind: string, names: readonly string[]): (state: State) => Body<unknown> {
  const statements = names.map((name) => (KINDS[kind] as Statements)[name] as Statement);
  return function* run(state) {
    for (const statement of statements) yield* statement(state);
  };
}

function* setUp(isOrdered: boolean, irq: { cpu?: number }): Body<State> {
  const s = allocateStatic(running, Objects);
  initWork(s.work, work);
  initWork(s.other, other);
  initDelayedWork(s.delayed, delayed);
  timerSetup(s.timer, timer);
  yield* requestIrq(IRQ, handler, s, irq);
  // An ordered queue and a module without an owner have nothing to do with each other.
  yield* loadModule(isOrdered ? UNOWNED : OWNED);
  const table = newFileTable();
  const fd = yield* fileOpen(table, PATH);
  return { s, table, fd, queue: (yield* allocWorkqueue('wq', { isOrdered })) as Workqueue };
}

const INTERLEAVING_COUNT_MAX = 2000;

/** What is wrong with how the program is explored; null if nothing, or if the program is too big. */
export function faultOf(plan: Plan): Comparison | null {
  let found: Comparison;
  try {
    found = compare(programOfPlan(plan), { interleavingCountMax: INTERLEAVING_COUNT_MAX });
  } catch (error) {
    if (String(error).includes(`more than ${INTERLEAVING_COUNT_MAX}`)) return null;
    throw new Error(JSON.stringify(plan), { cause: error });
  }
  const { missing, repeated, faults } = found;
  return missing.length + repeated.length + faults.length > 0 ? found : null;
}

/** The plan without one statement, or without one task. */
function* smaller(plan: Plan): Generator<Plan> {
  for (const [at, statements] of plan.tasks.entries()) {
    for (const [place] of statements.entries()) {
      const rest = statements.filter((_, index) => index !== place);
      const tasks = plan.tasks.map((old, index) => (index === at ? rest : old));
      yield { ...plan, tasks };
    }
  }
  const { signals, timeouts } = plan.faults;
  if (signals > 0) yield { ...plan, faults: { signals: 0, timeouts } };
  if (timeouts > 0) yield { ...plan, faults: { signals, timeouts: 0 } };
}

/** A plan with the same sort of mistake from which nothing can be left out. */
export function shrink(plan: Plan): Plan {
  for (const less of smaller(plan)) if (faultOf(less) !== null) return shrink(less);
  return plan;
}
