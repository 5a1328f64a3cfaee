/**
 * What detectors and recorders can see. The kernel calls these hooks; whoever wants to know
 * implements the ones it needs. A hook that finds something calls `kernel.report`.
 */
import type { Call } from './call.ts';
import type { Finding, Report } from './finding.ts';
import type { Memory, KernelObject } from './memory.ts';
import type { Access, Operation, Yieldable } from './operation.ts';
import type { Kernel } from './kernel.ts';
import type { Frame, HeldLock, Task } from './task.ts';

/** What is known of order by synchronisation; see happens-before.ts of the checker. */
export interface Order {
  /** The label of what each task does now, by its index. */
  readonly labels: ArrayLike<number>;
  /** Whether what `owner` did under `label` happened before what `task` (an index, too) does now. */
  isOrdered(label: number, owner: number, task: number): boolean;
}

/** What a finding of another detector breaks besides: `I9`, and what that says, with its source. */
export interface Breach {
  readonly invariant: string;
  readonly explanation: string;
}

export interface Watch {
  /** Offered to the other watches of a kernel by the one that knows. */
  readonly knownOrder?: Order;
  /** A new search or replay begins: what was learnt from other executions counts no more. */
  onForget?(): void;
  /** A new execution begins; nothing of it exists yet. */
  onStart?(kernel: Kernel): void;
  /** A kernel function was called: `frame` is the innermost one of `task` now. */
  onCalled?(kernel: Kernel, task: Task, frame: Frame): void;
  /** A kernel function returned `value`; its caller has not gone on yet. */
  onReturned?(kernel: Kernel, task: Task, frame: Frame, value: unknown): void;
  /** Another watch reports something: which invariant that breaks, if it did not say itself. */
  classify?(kernel: Kernel, report: Report): Breach | null;
  /** A task was made; its code up to its first operation is about to run. */
  onSpawn?(kernel: Kernel, task: Task): void;
  /**
   * A step has had its effect; its task has not gone on yet. `after` lists the steps it
   * synchronises with: what happened before them happens before what follows.
   */
  onOrdered?(kernel: Kernel, task: Task, after: readonly number[]): void;
  /** A plain access (not an operation) of the field `key`, named as in the model's code. */
  onPlainAccess?(kernel: Kernel, object: KernelObject, key: string, item: Access): void;
  /** A marked access of a field, by an operation. */
  onMarkedAccess?(kernel: Kernel, object: KernelObject, key: string, item: Access): void;
  /** Memory that was freed is being used. */
  onDeadAccess?(kernel: Kernel, memory: Memory, use: Use): void;
  onAllocate?(kernel: Kernel, memory: Memory): void;
  /** Live memory is being freed. */
  onFree?(kernel: Kernel, memory: Memory): void;
  /** Memory that was freed is being freed again. */
  onDoubleFree?(kernel: Kernel, memory: Memory): void;
  /** A pointer that is NULL or an ERR_PTR is being used. */
  onBadPointer?(kernel: Kernel, pointer: string, use: string): void;
  /** A task is about to do what may sleep. */
  onMaySleep?(kernel: Kernel, task: Task, what: string): void;
  /** A reference counter was misused: `what` is a clause like "incremented from 0". */
  onCounterMisuse?(kernel: Kernel, counter: KernelObject, what: string): void;
  /** A lock was misused: `what` is a clause like "released by a task that does not hold it". */
  onLockMisuse?(kernel: Kernel, lock: string, what: string, held: HeldLock | null): void;
  /**
   * A task is taking a lock, or waiting for what lockdep treats as one; what it holds does not
   * include it yet.
   */
  onLockTaken?(kernel: Kernel, task: Task, held: HeldLock): void;
  /** Interrupts were turned on by a task that holds locks. */
  onIrqsOnWithLocks?(kernel: Kernel, task: Task): void;
  /** BUG_ON, WARN_ON or a lockdep assertion fired. */
  onAssertion?(kernel: Kernel, grade: AssertionGrade, condition: string): void;
  /** A function of an unloaded module is about to run, or to go on. */
  onUnloadedCode?(kernel: Kernel, functionName: string, moduleName: string): void;
  /** No task can go on and not all have ended. */
  onStuck?(kernel: Kernel, blocked: readonly Task[]): void;
  /** The execution is over, `finally` included. */
  onEnd?(kernel: Kernel): void;
}

export type AssertionGrade = 'BUG_ON' | 'WARN_ON' | 'lockdep';

/** How memory is being used: `kfd_process.mm` is `read`, `mutex_lock(&kfd_process.mutex)` is `run`. */
export interface Use {
  readonly path: string;
  readonly verb: 'read' | 'written' | 'used' | 'run';
}

/** What a recorder sees, besides: only one execution in a million is recorded. */
export interface Tracer {
  /** An operation or call was made; the caller's place is on the JavaScript stack. */
  onMade(task: Task, item: Yieldable<unknown>): void;
  onStep(task: Task, operation: Operation<unknown>, description: string): void;
  onResult(task: Task, result: unknown): void;
  onCall(task: Task, call: Call<unknown>): void;
  onReturn(task: Task, value: unknown): void;
  /** A plain access, an allocation, a message: something worth a line under the present step. */
  onNote(task: Task, text: string): void;
  /** A detector found something; `task` is the current one. The place is on the JavaScript stack. */
  onFinding?(finding: Finding, task: Task): void;
}
