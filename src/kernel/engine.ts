/**
 * The engine's loop: resumes a task up to its next operation, keeps its stack of calls, and ends it.
 *
 * Only the innermost frame of a task is resumed. What a body may yield is checked here: operations and
 * calls, by `yield*`, each at once after it was made.
 */
import { InternalError } from '../base/assert.ts';
import { CALL_DEPTH_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { Call, type KernelFunction, type Text } from './call.ts';
import { describeValue, nameOf, nullDereference } from './explain.ts';
import { KernelState } from './kernel-state.ts';
import { OOPS, Oops } from './oops.ts';
import {
  access,
  DELIVERED,
  Operation,
  READ,
  RESUME,
  type Step,
  type Yieldable,
} from './operation.ts';
import { NONE_HELD, type Task } from './task.ts';

/** A condition that a task waits for, or a loop that it is in; see await.ts and retry.ts. */
export interface Awaited {
  /** `task` is about to perform `operation`. */
  before?(task: Task, operation: Operation<unknown>): void;
  /** A step was taken, by the current task. */
  poll(): void;
}

export abstract class Engine extends KernelState {
  /** Set by the iterator of an operation or call when it hands itself over. */
  handedOver: Yieldable<unknown> | null = null;
  private madeItem: Yieldable<unknown> | null = null;
  private madeArgument: unknown = undefined;

  /** True once a task was at an operation whose footprint varies. */
  hasVarying = false;

  /** What tasks wait for by asking again and again; looked at before and after each step. */
  readonly awaited = new Set<Awaited>();

  /** Modules that were unloaded; a task must not be found in their text. */
  readonly unloadedModules = new Set<string>();
  /**
   * What unloading a module conflicts on, by its name: every step of a task that is in its text, or
   * will return there, is a READ.
   */
  readonly textVariables = new Map<string, number>();

  /** In direct mode the task whose call is being run; see {@link performAtOnce}. */
  directTask: Task | null = null;
  /** What an operation threw that was performed at once. */
  private thrownAtOnce: { readonly error: unknown } | null = null;

  /** Called by every function that hands out an operation or a call. */
  noteMade(item: Yieldable<unknown>, argument: unknown): void {
    if (this.madeItem !== null) this.neverRun(this.madeItem);
    this.madeItem = item;
    this.madeArgument = argument;
    this.tracer?.onMade(this.currentTask, item);
  }

  /** Resumes the task, handing it `value`, up to its next operation or its end. */
  protected resume(task: Task, value: unknown): void {
    let delivered = value;
    for (;;) {
      const frame = task.frames.at(-1);
      if (frame === undefined) break;
      DELIVERED.value = delivered;
      const result = frame.generator.next(RESUME);
      if (this.thrownAtOnce !== null) this.throwAgain(this.thrownAtOnce.error);
      if (this.madeItem !== null && (result.done === true || this.madeItem !== result.value)) {
        this.neverRun(this.madeItem);
      }
      if (result.done === true) {
        task.frames.pop();
        this.tracer?.onReturn(task, result.value);
        for (const watch of this.callWatches) {
          watch.onReturned?.(this.kernel, task, frame, result.value);
        }
        this.noteEntered(task.frames.at(-1)?.callee.text ?? null, frame.text);
        this.checkText(task);
        delivered = result.value;
        continue;
      }
      const item = result.value;
      this.checkHandedOver(item);
      this.madeItem = null;
      // All calls are of one class, which is told faster than the many of operations.
      if (!(item instanceof Call)) {
        task.pending = item;
        task.argument = this.madeArgument;
        if (item.footprintVaries) this.hasVarying = true;
        if (item.maySleep && task.atomicReason() !== null)
          this.mightSleep(task, item.describe(task));
        return;
      }
      this.enter(task, item);
      delivered = undefined;
    }
    DELIVERED.value = delivered;
    this.endTask(task);
  }

  protected enter(task: Task, call: Call<unknown>): void {
    if (task.frames.length >= CALL_DEPTH_MAX) {
      this.misuse(`${call.callee.name}: more than ${CALL_DEPTH_MAX} calls deep`);
    }
    const { callee } = call;
    this.tracer?.onCall(task, call);
    if (this.goalCalls.size > 0) {
      const reached = this.goalCalls.get(callee.name);
      if (reached !== undefined) this.goals.add(reached);
    }
    const generator = callee.body(...(call.args as never[]));
    const caller = task.frames.at(-1) ?? null;
    const text = callee.text ?? caller?.text ?? null;
    const frame = { callee, generator, call, text, caller };
    task.frames.push(frame);
    for (const watch of this.callWatches) watch.onCalled?.(this.kernel, task, frame);
    if (callee.text !== null) {
      this.noteEntered(callee.text, caller?.text ?? null);
      this.checkText(task);
    }
  }

  /**
   * A module's text is entered by the plain code behind a step, where nobody knew before that it would be: `ops` of
   * a notifier were read from memory. Whether the text is still there depends on who unloads it.
   */
  private noteEntered(text: Text | null, from: Text | null): void {
    if (text === null || text === from) return;
    const variable = this.textVariables.get(text.moduleName);
    if (variable !== undefined) this.plainAccesses.push(access(variable, READ));
  }

  protected checkText(task: Task): void {
    if (this.unloadedModules.size === 0) return;
    const top = task.frames.at(-1);
    const text = top?.callee.text;
    if (text === null || text === undefined || !this.unloadedModules.has(text.moduleName)) return;
    for (const watch of this.watches) {
      watch.onUnloadedCode?.(
        this.kernel,
        (top as { callee: KernelFunction }).callee.name,
        text.moduleName,
      );
    }
    throw OOPS;
  }

  private endTask(task: Task): void {
    task.isDone = true;
    task.pending = null;
    if (task.kind === 'setup') return;
    for (const held of task.heldLocks) {
      this.lockMisuse(held.path, `still held when task '${task.name}' ended`, held);
    }
    for (const section of task.readSections) {
      this.lockMisuse(section.path, `a read section is still open when task '${task.name}' ended`);
    }
    if (task.cpu.holders.includes(task)) task.cpu.release(task, this.now);
  }

  protected endByError(task: Task, error: unknown): void {
    this.madeItem = null;
    if (error instanceof Oops) {
      this.killTask(task);
      return;
    }
    if (error instanceof TypeError) {
      const use = nullDereference(error.message);
      if (use !== null) {
        try {
          this.badPointer('NULL', use);
        } catch {
          this.killTask(task);
          return;
        }
      }
    }
    if (error instanceof UsageError || error instanceof InternalError) throw error;
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const wrapped = new UsageError('MN201', `task '${task.name}' threw ${text}`);
    wrapped.cause = error;
    throw wrapped;
  }

  protected killTask(task: Task): void {
    task.isDone = true;
    task.isOopsed = true;
    task.pending = null;
    // The frames are dropped, not returned: an abandoned run must not execute model code.
    task.frames.length = 0;
  }

  private checkHandedOver(item: unknown): void {
    // Only operations and calls hand themselves over.
    if (item === this.handedOver && item !== null) {
      this.handedOver = null;
      return;
    }
    if (!(item instanceof Operation || item instanceof Call)) {
      throw new UsageError(
        'MN203',
        `${this.currentTask.functionName} yielded ${describeValue(item)}, which is no operation ` +
          `and no call of an fn(); a body yields only those, with yield*`,
      );
    }
    throw new UsageError(
      'MN203',
      `${this.currentTask.functionName} wrote 'yield' where 'yield*' is needed, before ` +
        nameOf(item as Yieldable<unknown>, this.currentTask),
    );
  }

  private neverRun(item: Yieldable<unknown>): never {
    this.madeItem = null;
    throw new UsageError(
      'MN202',
      `${nameOf(item, this.currentTask)} in ${this.currentTask.functionName} was never run; ` +
        `put 'yield*' before it`,
    );
  }

  // ---- direct mode --------------------------------------------------------------------------

  /**
   * Direct mode: makes `item`, called with `argument`, what `task` does, and runs it up to its first
   * operation. See direct.ts.
   */
  beginDirectly(task: Task, item: Step, argument: unknown): void {
    const given = this.madeItem === item ? this.madeArgument : argument;
    this.madeItem = null;
    this.handedOver = null;
    this.currentTask = task;
    task.isDone = false;
    try {
      if (item instanceof Operation) {
        task.pending = item;
        task.argument = given;
      } else {
        this.enter(task, item);
        this.resume(task, undefined);
      }
    } catch (error) {
      this.endByError(task, error);
    }
  }

  /** Direct mode: takes the step that `task` is at, which is enabled, uncounted and unwatched. */
  takeDirectly(task: Task): void {
    const operation = task.pending as Operation<unknown>;
    this.currentTask = task;
    task.hasStarted = true;
    try {
      if (operation.memory !== null) this.touchFor(operation, task);
      if (this.awaited.size > 0) for (const item of this.awaited) item.before?.(task, operation);
      const result = operation.perform(task, 0);
      task.pending = null;
      this.resume(task, result);
    } catch (error) {
      this.endByError(task, error);
    }
  }

  /**
   * Direct mode: takes the step that `operation` is for the call that is being run, without a detour by way
   * of the engine's loop. False if it cannot be taken now, or takes more than that: then it is handed over as
   * usual. What it throws is thrown by the loop, too, since bodies must not catch it.
   */
  performAtOnce(operation: Operation<unknown>): boolean {
    const task = this.directTask;
    if (task === null || task !== this.currentTask || this.madeItem !== operation) return false;
    if (this.awaited.size > 0 || (operation.memory !== null && !operation.memory.isLive)) {
      return false;
    }
    if (operation.maySleep && task.atomicReason() !== null) return false;
    task.pending = operation;
    task.argument = this.madeArgument;
    if (!operation.isEnabled(task)) return false;
    this.madeItem = null;
    task.hasStarted = true;
    try {
      DELIVERED.value = operation.perform(task, 0);
    } catch (error) {
      this.thrownAtOnce = { error };
      return false;
    }
    task.pending = null;
    return true;
  }

  private throwAgain(error: unknown): never {
    this.thrownAtOnce = null;
    this.handedOver = null;
    throw error;
  }

  /** Direct mode: gives up what `task` was doing. */
  abandon(task: Task): void {
    this.killTask(task);
    task.heldLocks = NONE_HELD;
  }
}
