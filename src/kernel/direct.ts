/**
 * Direct mode: calls simply run, as fast as they can, for programs that embed the mm.
 *
 *     const machine = bootMachine();
 *     const process = machine.process();
 *     const address = runDirect(machine, process.mmap(0, 4096));
 *
 * The code is that of checked mode; only who takes the steps differs. A call runs to its end without
 * interruption. Others (work items, RCU and SRCU callbacks, daemons, interrupt handlers, threads that the
 * program spawned) run when the call must wait, and when it is over, until none of them can go on. Every
 * choice turns out the first way: allocations succeed, no signal comes, no timeout fires. A timer fires
 * when nothing else can bring a waiting call further, or when `settle` is asked for it.
 * Simplified: a step is not counted, so there is no order to remember, and no watch that asks for it;
 * memory is given addresses from one arena. What was freed is still noticed when an operation uses it.
 */
import { DIRECT_STEPS_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { IDLE } from './idle.ts';
import { ARENA_BASE } from './kernel-state.ts';
import type { Kernel } from './kernel.ts';
import { DELIVERED, type Operation, type Step, type Yieldable } from './operation.ts';
import { setRunning } from './running.ts';
import type { Task } from './task.ts';
import { FireTimer } from './work.ts';

/** Above the arenas of all tasks. */
const DIRECT_ARENA = ARENA_BASE + 2 ** 42;

/**
 * Runs a call (or an operation) to its end and returns what it returns. Make the call in the same
 * expression: nothing else may be made before it is run.
 *
 * @throws UsageError MN210 if the call waits for what can never come; MN211 if it ended in an oops. The
 *   machine is of no use afterwards.
 */
export function runDirect<R>(machine: Kernel, call: Yieldable<R>): R {
  const argument = IDLE.take(call);
  const before = setRunning(machine);
  try {
    if (machine.directCursor === 0) machine.directCursor = DIRECT_ARENA;
    const task = machine.ownTask;
    task.isOopsed = false;
    machine.directTask = task;
    machine.beginDirectly(task, call as unknown as Step, argument);
    if (machine.awaited.size > 0) pollAwaited(machine);
    while (task.pending !== null) {
      if (!task.pending.isEnabled(task)) waitFor(machine, task);
      machine.takeDirectly(task);
      if (machine.awaited.size > 0) pollAwaited(machine);
    }
    const value = DELIVERED.value as R;
    DELIVERED.value = undefined;
    machine.directTask = null;
    if (task.isOopsed) throw oopsed(machine, call as unknown as Step);
    if (machine.tasks.length > 0) runOthers(machine);
    return value;
  } catch (error) {
    // What the call has not done it never will: the next one begins anew.
    machine.abandon(machine.ownTask);
    throw error;
  } finally {
    machine.directTask = null;
    setRunning(before);
  }
}

/**
 * Runs everything that can go on without a call, until nothing can.
 *
 * @param options `timers`: let each timer that is armed, and each delayed work item, go off once.
 * @throws UsageError MN205 if it does not come to rest.
 */
export function settle(machine: Kernel, options: { readonly timers?: boolean } = {}): void {
  const before = setRunning(machine);
  try {
    runOthers(machine);
    if (options.timers !== true) return;
    for (const timer of machine.tasks.filter((task) => waitsForTime(task))) {
      if (machine.isEnabled(timer)) takeStep(machine, timer);
    }
    runOthers(machine);
  } finally {
    setRunning(before);
  }
}

/** Lets others run until `task`, which waits, can go on. */
function waitFor(machine: Kernel, task: Task): void {
  const operation = task.pending as Operation<unknown>;
  for (let steps = 0; steps < DIRECT_STEPS_MAX; steps += 1) {
    const other = nextEnabled(machine, false) ?? nextEnabled(machine, true);
    if (other === null) throw stuck(machine, task);
    takeStep(machine, other);
    if (operation.isEnabled(task)) return;
  }
  throw restless(`while ${operation.describe(task)} waits`);
}

function runOthers(machine: Kernel): void {
  for (let steps = 0; steps < DIRECT_STEPS_MAX; steps += 1) {
    const other = nextEnabled(machine, false);
    if (other === null) {
      dropDone(machine);
      return;
    }
    takeStep(machine, other);
  }
  throw restless('after a call');
}

function takeStep(machine: Kernel, task: Task): void {
  machine.takeDirectly(task);
  if (machine.awaited.size > 0) pollAwaited(machine);
  if (task.isOopsed) throw oopsed(machine, null, task);
}

function pollAwaited(machine: Kernel): void {
  for (const item of machine.awaited) item.poll();
}

/** The first of the other tasks that can go on, those that only wait for time to pass last or never. */
function nextEnabled(machine: Kernel, withTimers: boolean): Task | null {
  for (const task of machine.tasks) {
    if (task.isDone || (!withTimers && waitsForTime(task))) continue;
    if (machine.isEnabled(task)) return task;
  }
  return null;
}

/** Whether only time has to pass: a timer or a delayed work item before its function is called. */
function waitsForTime(task: Task): boolean {
  if (task.kind === 'timer') return !task.hasStarted;
  return task.kind === 'work' && task.pending instanceof FireTimer;
}

/** Forgets tasks that are over. Those before one that lives keep their place, which is their number. */
function dropDone(machine: Kernel): void {
  const { tasks } = machine;
  for (;;) {
    const last = tasks.at(-1);
    if (last === undefined || !last.isDone) return;
    tasks.pop();
  }
}

function stuck(machine: Kernel, task: Task): UsageError {
  const operation = task.pending as Operation<unknown>;
  const at = operation.describe(task);
  const names = operation.blockers(task).map((other) => (other === task ? 'itself' : other.name));
  const by = names.length === 0 ? '' : `, kept waiting by ${[...new Set(names)].join(', ')}`;
  const place = task.functionName;
  machine.abandon(task);
  return new UsageError(
    'MN210',
    `${place} waits at ${at}${by}, and nothing that could still run will let it go on`,
  );
}

function oopsed(machine: Kernel, call: Step | null, task: Task | null = null): UsageError {
  const finding = machine.findings.at(-1);
  const who = task === null ? nameOf(call) : `task '${task.name}'`;
  const what = finding === undefined ? '' : `: ${finding.kind}, ${finding.message}`;
  return new UsageError('MN211', `${who} ended in an oops${what}; 'mmulab check' shows how`);
}

function nameOf(call: Step | null): string {
  return call !== null && 'callee' in call ? `${call.callee.name}()` : 'the operation';
}

function restless(when: string): UsageError {
  return new UsageError(
    'MN205',
    `more than ${DIRECT_STEPS_MAX} steps ${when}: some task goes on for ever`,
  );
}
