/**
 * struct completion: something is waited for that is done once, or so many times.
 *
 * Modelled: `complete` lets one waiter through, now or later; `complete_all` all of them until the
 * completion is initialised anew. What came before `complete` is seen by whom it lets through.
 * Signals and timeouts are choices, see sleep.ts; once the budget for timeouts is spent, a wait with a
 * timeout is one without.
 * Simplified: waiters are not queued; any of them may be next.
 *
 * Variables: completing conflicts on the first with completing and with what asks whether it is done;
 * waiters conflict on the second, over who takes what was completed.
 */
import { ERESTARTSYS } from '../base/errno.ts';
import { fn } from './call.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, made, Operation, READ, WRITE, type Access, type Body } from './operation.ts';
import { current, running } from './running.ts';
import { signalPending } from './signal.ts';
import { timeoutFires } from './sleep.ts';
import type { Task } from './task.ts';

/** struct completion. A field of a struct declares one: {@link completion}. */
export class Completion extends KernelObject {
  /** The steps of `complete` that nobody has taken yet, oldest first. */
  readonly doneSteps: number[] = [];
  /** True from `complete_all` until it is initialised anew. */
  isDoneForAll = false;
  allStep = -1;
  /** The step after which nothing was done any more: the last that was taken, or reinit; or -1. */
  emptySince = -1;
  readonly operations: Record<string, Operation<unknown>> = {};

  get isDone(): boolean {
    return this.isDoneForAll || this.doneSteps.length > 0;
  }

  /**
   * Takes what was completed, as part of the present step. A wait that never ends by itself comes
   * after it was completed, or before the time in which nothing was.
   */
  take(endsByItself: boolean): void {
    const step = this.doneSteps.shift() ?? this.allStep;
    if (endsByItself) running.after(step);
    else if (this.emptySince < 0) running.requires(step);
    else running.after(step, this.emptySince);
    if (!this.isDone) this.emptySince = running.now;
  }

  /** The operation `label`, made on first use. */
  operation<T>(
    label: string,
    build: (at: Completion, label: string) => Operation<T>,
  ): Operation<T> {
    const found = this.operations[label] ?? build(this, label);
    this.operations[label] = found;
    return found as Operation<T>;
  }
}

/** A field of type struct completion. */
export function completion(): FieldSpec<Completion> {
  return new FieldSpec(2, (at: Placement) => new Completion(at));
}

abstract class CompletionOperation<R> extends Operation<R> {
  readonly completion: Completion;
  readonly label: string;

  constructor(at: Completion, label: string) {
    super(at.memory);
    this.completion = at;
    this.label = label;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.completion.variable, WRITE));
  }

  describe(): string {
    return `${this.label}(&${this.completion.path})`;
  }

  /** What trying touches; who comes away with nothing changes nothing. */
  protected tryFootprint(out: Access[]): void {
    const { variable, isDone } = this.completion;
    out.push(access(variable, READ), access(variable + 1, isDone ? WRITE : READ));
  }
}

class Complete extends CompletionOperation<void> {
  perform(): void {
    if (!this.completion.isDoneForAll) this.completion.doneSteps.push(running.now);
  }
}

class CompleteAll extends CompletionOperation<void> {
  perform(): void {
    const { completion: at } = this;
    if (at.isDoneForAll) return;
    at.isDoneForAll = true;
    at.allStep = running.now;
  }
}

class Reinit extends CompletionOperation<void> {
  override footprint(out: Access[]): void {
    const { variable } = this.completion;
    out.push(access(variable, WRITE), access(variable + 1, WRITE));
  }

  perform(): void {
    const { completion: at } = this;
    if (at.isDone) at.emptySince = running.now;
    at.doneSteps.length = 0;
    at.isDoneForAll = false;
  }
}

class CompletionDone extends CompletionOperation<boolean> {
  override footprint(out: Access[]): void {
    const { variable } = this.completion;
    out.push(access(variable, READ), access(variable + 1, READ));
  }

  perform(): boolean {
    const { completion: at } = this;
    for (const step of at.doneSteps) running.after(step);
    if (at.isDoneForAll) running.after(at.allStep);
    return at.isDone;
  }
}

/** Returns whether it was let through; it always is unless the wait may end by itself. */
class WaitForCompletion extends CompletionOperation<boolean> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return this.completion.isDone || task.argument === true;
  }

  override footprint(out: Access[], task: Task): void {
    if (task.argument === true) this.tryFootprint(out);
    else out.push(access(this.completion.variable + 1, WRITE));
  }

  perform(task: Task): boolean {
    const { completion: at } = this;
    if (!at.isDone) return false;
    at.take(task.argument === true);
    return true;
  }

  override heldSince(): readonly number[] {
    const { emptySince } = this.completion;
    return emptySince < 0 ? [] : [emptySince];
  }
}

class TryWaitForCompletion extends CompletionOperation<boolean> {
  override readonly footprintVaries = true;
  override footprint(out: Access[]): void {
    this.tryFootprint(out);
  }

  perform(): boolean {
    const { completion: at } = this;
    if (!at.isDone) return false;
    at.take(true);
    return true;
  }
}

/** `init_completion(c)`: nothing is done. For memory that nobody else knows. */
export function initCompletion(at: Completion): void {
  running.touch(at.memory, at.path);
  at.doneSteps.length = 0;
  at.isDoneForAll = false;
}

/** `reinit_completion(c)`: nothing is done any more. */
export function reinitCompletion(at: Completion): Operation<void> {
  return made(at.operation('reinit_completion', (c, label) => new Reinit(c, label)));
}

/** `complete(c)`: lets one waiter through. Never sleeps. */
export function complete(at: Completion): Operation<void> {
  return made(at.operation('complete', (c, label) => new Complete(c, label)));
}

/** `complete_all(c)`: lets everyone through. Never sleeps. */
export function completeAll(at: Completion): Operation<void> {
  return made(at.operation('complete_all', (c, label) => new CompleteAll(c, label)));
}

/** `completion_done(c)`: whether a waiter would be let through. */
export function completionDone(at: Completion): Operation<boolean> {
  return made(at.operation('completion_done', (c, label) => new CompletionDone(c, label)));
}

/** `try_wait_for_completion(c)`: whether it was let through. Never sleeps. */
export function tryWaitForCompletion(at: Completion): Operation<boolean> {
  const build = (c: Completion, label: string): TryWaitForCompletion =>
    new TryWaitForCompletion(c, label);
  return made(at.operation('try_wait_for_completion', build));
}

function wait(at: Completion, label: string, endsByItself: boolean): Operation<boolean> {
  const operation = at.operation(label, (c, name) => new WaitForCompletion(c, name));
  return made(operation, endsByItself);
}

/** `wait_for_completion(c)`. May sleep. Pairs with {@link complete}. */
export function waitForCompletion(at: Completion): Operation<boolean> {
  return wait(at, 'wait_for_completion', false);
}

/** `wait_for_completion_timeout(c, timeout)`: the jiffies that were left, 0 if it fired. May sleep. */
export const waitForCompletionTimeout = fn(function* waitForCompletionTimeout(
  at: Completion,
  timeout: number,
) {
  const timesOut = yield* timeoutFires();
  return (yield* wait(at, 'wait_for_completion_timeout', timesOut)) ? timeout : 0;
});

function* waitForSignal(at: Completion, label: string): Body<number> {
  if (running.budget.signals > 0 && !current().hasSignal) yield* signalPending();
  const { hasSignal } = current();
  return (yield* wait(at, label, hasSignal)) ? 0 : -ERESTARTSYS;
}

/** `wait_for_completion_interruptible(c)`: 0, or -ERESTARTSYS on a signal. May sleep. */
export const waitForCompletionInterruptible = fn(function* waitForCompletionInterruptible(
  at: Completion,
) {
  return yield* waitForSignal(at, 'wait_for_completion_interruptible');
});

/** `wait_for_completion_killable(c)`: 0, or -ERESTARTSYS on a fatal signal. May sleep. */
export const waitForCompletionKillable = fn(function* waitForCompletionKillable(at: Completion) {
  return yield* waitForSignal(at, 'wait_for_completion_killable');
});
