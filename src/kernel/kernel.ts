/**
 * One execution of a kernel, step by step: what explorers, replays and direct mode drive.
 *
 * `step(task, outcome)` performs the task's pending operation, then resumes the task up to its next
 * operation: everything in between (plain code, calls, returns) belongs to the step. Who steps next
 * and how choices turn out is decided outside, by an explorer, a replay or direct mode.
 *
 * Invariants: a task that is not done has exactly one pending operation; only the innermost frame of
 * a task is resumed; nothing here reads a clock, a random number or any state that outlives the
 * execution.
 */
import { assert } from '../base/assert.ts';
import { TASK_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { KernelFunction } from './call.ts';
import { Cpu, OWN_CPU_FIRST } from './cpu.ts';
import { IDLE } from './idle.ts';
import { Engine } from './engine.ts';
import { ARENA_BASE, isInterruptEntry, reserveFixed } from './kernel-state.ts';
import {
  access,
  DELIVERED,
  type Operation,
  READ,
  type Access,
  type Body,
  type Step,
  type Yieldable,
} from './operation.ts';
import { PLAIN_CODE } from './plain-code.ts';
import { setRunning } from './running.ts';
import { Task, type Frame, type TaskKind } from './task.ts';

export type { Awaited } from './engine.ts';
export { fieldPath, NO_FAULTS, type Budget, type KernelOptions } from './kernel-state.ts';

/**
 * Added to the outcome of a step: the task stops after the effect of its operation. The plain code that
 * follows, up to its next operation, is then a step of its own, so that others can come in between.
 */
export const PAUSE = 1 << 12;

export type TaskBody = () => Body<unknown>;

const ARENA_STRIDES = [2 ** 36, 2 ** 30, 2 ** 24, 2 ** 18] as const;

export class Kernel extends Engine {
  /** Whether a task does something: not while it is only asked what it would do. */
  isStepping = false;

  // ---- what explorers use -------------------------------------------------------------------

  /** Whether the task can take its next step now. */
  isEnabled(task: Task): boolean {
    const operation = task.pending;
    if (operation === null) return false;
    const { cpu } = task;
    if (cpu.isShared && cpu.excludes(task) && !isInterruptEntry(task)) return false;
    if (task.twin !== null && task.twin.firstStep < 0) return false;
    return operation.isEnabled(task);
  }

  /** Appends what the task's next step touches, judged in the present state. */
  footprint(task: Task, out: Access[]): void {
    const operation = task.pending as Operation<unknown>;
    const count = out.length;
    this.isAsking = true;
    operation.footprint(out, task);
    this.isAsking = false;
    // Withdrawn: what it conflicts with is what withdrew it, and nothing that came later.
    if (task.isDone) return;
    const { isShared } = task.cpu;
    // As long as it waits for something to happen, and not for who holds it, it needs no CPU.
    const isAway =
      isShared && out.length === count && !isInterruptEntry(task) && !operation.isEnabled(task);
    if (isShared && !isAway) task.cpu.footprint(task, operation.disablesPreemption, out);
    const text = task.frames.at(-1)?.text ?? null;
    if (text === null) return;
    const variable = this.textVariables.get(text.moduleName);
    if (variable !== undefined) out.push(access(variable, READ));
  }

  /**
   * Takes the task's next step, which must be enabled. `outcome` says how it turns out, from 0 to its
   * arity - 1, and may have {@link PAUSE} added.
   */
  step(task: Task, outcome: number): void {
    const operation = task.pending as Operation<unknown>;
    const before = setRunning(this);
    this.currentTask = task;
    this.stepCount += 1;
    this.forgetOrder();
    task.lastStep = this.stepCount - 1;
    if (task.firstStep < 0) {
      task.firstStep = task.lastStep;
      if (task.twin !== null) this.requires(task.twin.firstStep);
    }
    if (task.cpu.isShared) {
      // An interrupt comes in between all the same: only what turns interrupts off keeps it waiting.
      const since = isInterruptEntry(task) ? -1 : task.cpu.lastReleaseSince;
      this.after(task.cpu.lastRelease, since);
    }
    task.hasStarted = true;
    try {
      this.tracer?.onStep(task, operation, operation.describe(task));
      this.checkText(task);
      this.touchFor(operation, task);
      if (this.awaited.size > 0) for (const item of this.awaited) item.before?.(task, operation);
      this.isStepping = true;
      const result = operation.perform(task, outcome & ~PAUSE);
      this.notifyOrdered(task);
      this.tracer?.onResult(task, result);
      task.pending = null;
      if ((outcome & PAUSE) === 0) {
        this.resume(task, result);
      } else {
        task.pending = PLAIN_CODE;
        task.argument = result;
      }
    } catch (error) {
      this.endByError(task, error);
    }
    this.isStepping = false;
    if (this.awaited.size > 0) for (const item of this.awaited) item.poll();
    setRunning(before);
  }

  /** Ends the execution: reports what is stuck. Call once, when no task is enabled. */
  finish(): void {
    const before = setRunning(this);
    if (this.watches.length > 0 && this.cut === null) this.reportStuck();
    this.currentTask = this.setupTask;
    setRunning(before);
  }

  private reportStuck(): void {
    if (this.tasks.some((task) => task.isOopsed)) return;
    const blocked = this.tasks.filter((task) => !task.isDone && task.kind !== 'daemon');
    if (blocked.length === 0) return;
    for (const watch of this.watches) watch.onStuck?.(this, blocked);
  }

  /** Whether every task ran to its end, so that what is left over was really forgotten. */
  get isQuiet(): boolean {
    if (this.setupTask.isOopsed) return false;
    for (const task of this.tasks) {
      if ((!task.isDone || task.isOopsed) && task.kind !== 'daemon') return false;
    }
    return true;
  }

  /** Tells the detectors that all is over. Call after `finally` of the scenario. */
  end(): void {
    const before = setRunning(this);
    for (const watch of this.watches) watch.onEnd?.(this);
    setRunning(before);
  }

  // ---- tasks --------------------------------------------------------------------------------

  /**
   * Starts a task. Its code up to the first operation runs at once, as part of the present step, so
   * a body begins with an operation that says when it may start.
   *
   * @param cpu a CPU number, or null for one of its own.
   */
  spawn(name: string, kind: TaskKind, cpu: number | null, body: TaskBody): Task {
    if (this.tasks.length >= TASK_COUNT_MAX && this.directCursor === 0) {
      throw new UsageError(
        'MN207',
        `this execution starts more than ${TASK_COUNT_MAX} tasks (work items, callbacks and ` +
          `interrupts included); the last is '${name}'. Use a smaller scenario.`,
      );
    }
    const parent = this.currentTask.kind === 'setup' ? null : this.currentTask;
    const task = new Task(
      this.tasks.length,
      {
        name,
        kind,
        cpu: cpu === null ? this.newOwnCpu() : this.cpu(cpu),
        parent,
        spawnedAt: parent === null ? -1 : this.now,
      },
      this.arenaFor(parent),
      parent === null ? 0 : parent.arenaDepth + 1,
    );
    task.cpu.contextCount += 1;
    this.tasks.push(task);
    for (const watch of this.watches) watch.onSpawn?.(this, task);
    const callee: KernelFunction = { name, body, text: null };
    const spawner = this.currentTask;
    const before = setRunning(this);
    this.currentTask = task;
    try {
      task.frames = stackOf({ callee, generator: body(), call: null, text: null, caller: null });
      this.resume(task, undefined);
    } catch (error) {
      this.endByError(task, error);
    }
    this.currentTask = spawner;
    setRunning(before);
    return task;
  }

  /**
   * Runs a call or body to its end at once, in the present task, without interleaving: for set-up
   * and `finally`. What would block is an error.
   */
  runNow<R>(body: { [Symbol.iterator](): Iterator<Step, R, unknown> }): R {
    IDLE.take(body as unknown as Yieldable<unknown>);
    const before = setRunning(this);
    const task = this.currentTask;
    assert(task.kind === 'setup', 'runNow is for set-up and finally');
    const callee: KernelFunction = { name: 'setup', body: () => body as never, text: null };
    task.isDone = false;
    task.frames.push({ callee, generator: runBody(body), call: null, text: null, caller: null });
    try {
      this.resume(task, undefined);
      while (task.pending !== null) {
        const operation: Operation<unknown> = task.pending;
        if (!operation.isEnabled(task)) {
          throw new UsageError('MN208', `set-up would block at ${operation.describe(task)}`);
        }
        this.forgetOrder();
        this.touchFor(operation, task);
        const result = operation.perform(task, 0);
        task.pending = null;
        this.resume(task, result);
      }
    } catch (error) {
      this.endByError(task, error);
      DELIVERED.value = undefined;
    } finally {
      setRunning(before);
    }
    const value = DELIVERED.value as R;
    DELIVERED.value = undefined;
    return value;
  }

  /** Whose context set-up and direct calls run in. */
  get ownTask(): Task {
    return this.setupTask;
  }

  /** CPU number `id`, made on first use; the CPU of a task that has one of its own is there already. */
  cpu(id: number): Cpu {
    let cpu = this.cpus.get(id);
    if (cpu === undefined && id >= OWN_CPU_FIRST) {
      cpu = this.tasks.find((task) => task.cpu.id === id)?.cpu;
    }
    if (cpu === undefined) {
      cpu = new Cpu(id, this.reserveVariables(2));
      this.cpus.set(id, cpu);
    }
    return cpu;
  }

  private newOwnCpu(): Cpu {
    const id = this.nextOwnCpu;
    this.nextOwnCpu += 1;
    return new Cpu(id, this.reserveVariables(2));
  }

  /**
   * Ends a task that waits to begin what was now cancelled. Its pending operation stays, and must not be
   * enabled any more: it might have come first, so it still conflicts with the cancellation.
   */
  withdraw(task: Task): void {
    task.isDone = true;
  }

  /** Where the arena of the next task begins. */
  private arenaFor(parent: Task | null): number {
    // Arena 0 of depth 0 belongs to set-up.
    if (parent === null) return ARENA_BASE + (this.tasks.length + 1) * ARENA_STRIDES[0];
    parent.childCount += 1;
    const stride = ARENA_STRIDES[parent.arenaDepth + 1] ?? 2 ** 12;
    return parent.arenaStart + parent.childCount * stride;
  }
}

/** A stack with room for some more frames, which it keeps: pushing onto `[]` makes room that popping gives back. */
function stackOf(frame: Frame): Frame[] {
  const stack = [frame, frame, frame, frame];
  stack.pop();
  stack.pop();
  stack.pop();
  return stack;
}

/**
 * Made once: a generator function made for each execution would keep the whole kernel in memory until
 * the next full collection.
 */
function* runBody(body: { [Symbol.iterator](): Iterator<Step, unknown, unknown> }): Body<unknown> {
  return yield* body;
}

/**
 * State of one part of the kernel, made anew for each execution: `const devices = perKernel(() =>
 * new DeviceTable())`, then `devices()` wherever it is needed.
 *
 * @param variables how many it reserves. Needed where it may be made after set-up: see `reserveFixed`.
 */
export function perKernel<T>(make: (kernel: Kernel) => T, variables = 0): (kernel: Kernel) => T {
  const index = slotCount++;
  const first = reserveFixed(variables);
  return (kernel) => {
    const found = kernel.slots[index];
    if (found !== undefined) return found as T;
    const value =
      variables === 0 ? make(kernel) : kernel.makeFixed(first, variables, () => make(kernel));
    kernel.slots[index] = value;
    return value;
  };
}

let slotCount = 0;
