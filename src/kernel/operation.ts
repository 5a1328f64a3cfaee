/**
 * Operations: what other tasks can see or be blocked by.
 *
 * A task yields an operation *before* it happens; the scheduler decides when it does. An operation
 * says when it is enabled, what it does, and what it touches. It lives on the lock or field it
 * belongs to and is never made anew for a step, so two tasks may have the same operation pending:
 * everything that differs between them (an argument, say) is kept in the task.
 *
 * What an operation touches is a list of accesses to *variables*: numbered places, one for each
 * lock, counter, list head and field. Two steps of different tasks depend on each other when they
 * access one variable and are not both reads and not both commuting updates.
 *
 *              READ   WRITE   COMMUTE
 *   READ        -       x        x
 *   WRITE       x       x        x
 *   COMMUTE     x       x        -
 *
 * Most operations of the kernel fit: acquiring a lock is a WRITE of it, `down_read` and
 * `atomic_inc` are COMMUTE. Releasing is no access: what a release allows is an order that cannot be
 * turned round, stated by `kernel.after` in the acquiring operation.
 */
import type { Memory } from './memory.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';
import type { Call } from './call.ts';

export const READ = 0;
export const WRITE = 1;
export const COMMUTE = 2;
export type AccessMode = typeof READ | typeof WRITE | typeof COMMUTE;

/** True unless both accesses are reads or both are commuting updates. */
export function conflicts(a: number, b: number): boolean {
  return a === WRITE || b === WRITE || a !== b;
}

/** An access as one number: variable × 4 + mode. */
export type Access = number;
export function access(variable: number, mode: AccessMode): Access {
  return variable * 4 + mode;
}
export function variableOf(item: Access): number {
  return item >>> 2;
}
export function modeOf(item: Access): AccessMode {
  return (item & 3) as AccessMode;
}

/** What a task may yield. */
export type Step = Operation<unknown> | Call<unknown>;
/** The body of a task or of a kernel function that returns `R`. */
export type Body<R> = Generator<Step, R, unknown>;

/**
 * The engine resumes a generator with this token. Operations and calls are their own iterators, and
 * tell by it whether they are asked for the first time (hand yourself to the engine) or for the
 * second (the engine has put the result into {@link DELIVERED}). That makes them free of state.
 */
export const RESUME: unique symbol = Symbol('resume');
export const DELIVERED: { done: true; value: unknown } = { done: true, value: undefined };

/** The iterator result that hands an operation or call to the engine, which looks at it at once. */
const HANDED: { done: false; value: Step } = { done: false, value: null as unknown as Step };

export abstract class Yieldable<R> {
  [Symbol.iterator](): Iterator<Step, R, unknown> {
    return this as unknown as Iterator<Step, R, unknown>;
  }

  next(token?: unknown): IteratorResult<Step, unknown> {
    if (token === RESUME) return DELIVERED;
    running.handedOver = this;
    HANDED.value = this as unknown as Step;
    return HANDED;
  }
}

/** A time for which something was held: the steps that began and ended it. */
export type PastHold = readonly [since: number, end: number];

/** One step of the kernel, made and not taken yet: `yield*` hands it to the engine, with its result as the value. */
export abstract class Operation<R = void> extends Yieldable<R> {
  /** The memory that the operation touches; using it after it was freed is a finding. */
  declare readonly memory: Memory | null;

  // The three below are false on the prototype, for all that do not say otherwise: what is made for every
  // fresh object should be small.

  /** True for operations that may sleep: running one in atomic context is a finding. */
  declare readonly maySleep: boolean;
  /**
   * True if the operation turns preemption off, which shuts out the other tasks of its CPU until it
   * is turned on again.
   */
  declare readonly disablesPreemption: boolean;
  /**
   * True if what the operation touches depends on the state it is judged in, as long as it is pending:
   * a trylock writes only when it succeeds.
   */
  declare readonly footprintVaries: boolean;

  constructor(memory: Memory | null) {
    super();
    this.memory = memory;
  }

  override next(token?: unknown): IteratorResult<Step, unknown> {
    if (token !== RESUME && running.directTask !== null && running.performAtOnce(this)) {
      return DELIVERED;
    }
    return super.next(token);
  }

  /** Whether `task` can take this step now. A disabled operation blocks its task. */
  isEnabled(_task: Task): boolean {
    return true;
  }

  /** The number of ways in which the step can turn out; each is explored. At least 1. */
  arity(_task: Task): number {
    return 1;
  }

  /** Appends what the step will touch, judged in the present state, before it is performed. */
  abstract footprint(out: Access[], task: Task): void;

  /** Takes the step. `outcome` is below {@link arity}. */
  abstract perform(task: Task, outcome: number): R;

  /** The step as a kernel developer would write it: `mutex_lock(&p->mutex)`. */
  abstract describe(task: Task): string;

  /** Names of the tasks that keep this operation from being enabled, for a wait-for cycle. */
  blockers(_task: Task): readonly Task[] {
    return [];
  }

  /**
   * The steps that began what keeps this operation from being enabled, while it is not: the
   * acquisitions of those who hold the lock. Needed to try all of them the other way round.
   */
  heldSince(_task: Task): readonly number[] {
    return [];
  }

  /**
   * All times, now over, in which the operation would have been kept waiting. It can come before or
   * after each of them, but not in between.
   */
  heldBefore(_task: Task): readonly PastHold[] {
    return [];
  }
}

Object.assign(Operation.prototype, {
  maySleep: false,
  disablesPreemption: false,
  footprintVaries: false,
});

/**
 * Registers that `operation` was made and must be the next thing its task yields, with the argument
 * it is to be performed with. Every function that hands out an operation ends in this call.
 */
export function made<T extends Yieldable<unknown>>(operation: T, argument?: unknown): T {
  running.noteMade(operation, argument);
  return operation;
}
