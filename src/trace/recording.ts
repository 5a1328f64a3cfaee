/**
 * A recording: one execution as plain data, to be drawn, printed or sent elsewhere.
 *
 * Everything in it can be written as JSON and is the same for equal executions. Places are texts like
 * `src/drivers/gru.ts:41`, made by the caller's `resolvePlace`; null where none is known (a browser
 * whose stacks we cannot read). Steps and tasks are referred to by index, from 0.
 */
import type { Divergence } from '../check/replay.ts';
import type { FindingKind, LockReport, LockStack } from '../kernel/finding.ts';
import type { TaskKind } from '../kernel/task.ts';

/** One kernel function of a stack. `place` is where it was: the call of the next, or the operation. */
export interface RecordedFrame {
  readonly function: string;
  readonly place: string | null;
}

/** What happened between a step's operation and the next operation of the same task, in order. */
export type RecordedEvent =
  | {
      readonly kind: 'call';
      readonly function: string;
      /** The arguments as a picture shows them: `&kfd_process.mmu_notifier, 1`; may be empty. */
      readonly args: string;
      readonly place: string | null;
    }
  | {
      readonly kind: 'return';
      readonly function: string;
      /** Null for nothing. */
      readonly value: string | null;
      readonly isError: boolean;
    }
  /** `pr_info` and the like. */
  | { readonly kind: 'note'; readonly text: string }
  /** An access of a field that has to do with a finding; others are not kept. */
  | {
      readonly kind: 'access';
      readonly path: string;
      readonly mode: AccessName;
      readonly place: string | null;
      readonly stack: readonly RecordedFrame[];
    }
  /** Something that only wrong code does: a BUG_ON that fires, a NULL pointer that is used. */
  | { readonly kind: 'mishap'; readonly text: string; readonly place: string | null }
  /** A finding, by its index; it belongs to the event before it, or to the operation. */
  | { readonly kind: 'finding'; readonly finding: number };

export type AccessName = 'read' | 'write' | 'use';

export interface RecordedTask {
  readonly index: number;
  readonly name: string;
  readonly kind: TaskKind;
  /** Null for a CPU of its own, which the scenario does not name. */
  readonly cpu: number | null;
  /** The step that started it, or null for the tasks of the scenario. */
  readonly spawnedAt: number | null;
  /** What it did on the way to its first operation. */
  readonly events: readonly RecordedEvent[];
}

export interface RecordedStep {
  readonly index: number;
  readonly task: number;
  readonly taskName: string;
  readonly taskKind: TaskKind;
  readonly cpu: number | null;
  /** The innermost kernel function. */
  readonly function: string;
  /** The stack of kernel functions at the operation, outermost first. */
  readonly stack: readonly RecordedFrame[];
  /** `mutex_lock(&kfd_processes_mutex)`. */
  readonly operation: string;
  /** `0`, `-ENOMEM`, `kfd_process@0x880000000040`; null for nothing. */
  readonly result: string | null;
  /** True if the result is an error: negative, NULL from an allocation, an ERR_PTR. */
  readonly isError: boolean;
  /** Which of its possible outcomes the step had. */
  readonly outcome: number;
  /** Where its `yield*` is. */
  readonly place: string | null;
  readonly events: readonly RecordedEvent[];
  /** What the step changed in memory, and the locks its task holds after it; if values are recorded. */
  readonly after?: RecordedAfter;
}

/** What is different once a step, and the code up to the task's next operation, is done. */
export interface RecordedAfter {
  readonly changes: readonly RecordedChange[];
  /** What the task holds: `&kfd_process.mutex`; `(read)` behind the shared side and read sections. */
  readonly held: readonly string[];
}

/** A field, and what it holds now: `kfd_process.ref`, `2`. A freed struct as a whole is `freed`. */
export interface RecordedChange {
  readonly path: string;
  readonly value: string;
}

/** Where something happened to memory or to a lock. `step` is null in set-up and `finally`. */
export interface RecordedOrigin {
  readonly step: number | null;
  /** Null for set-up and `finally`. */
  readonly task: number | null;
  readonly taskName: string;
  readonly function: string;
  readonly place: string | null;
  readonly stack: readonly RecordedFrame[];
}

export interface RecordedTouch extends RecordedOrigin {
  readonly path: string;
  readonly mode: AccessName;
}

export interface RecordedMemory {
  readonly name: string;
  readonly kind: 'slab' | 'static' | 'module';
  /** `0x880000000040`. */
  readonly address: string;
  readonly size: number;
  readonly allocated: RecordedOrigin | null;
  readonly freed: RecordedOrigin | null;
  /** The last use by each task, in the order of the steps; the violating one not included. */
  readonly touched: readonly RecordedTouch[];
  /** The steps whose operation is on something inside it, a reference count for instance. */
  readonly operations: readonly number[];
}

export interface RecordedFinding extends RecordedOrigin {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly invariant: string | null;
  /** What the invariant says, and where that is stated. */
  readonly explanation?: string;
  /** The two places by which findings are told apart, in function names. */
  readonly places: readonly [string, string];
  /** True if it is about the step's operation, false if about the code after it. */
  readonly isAtOperation: boolean;
  /** The access that was wrong, where it is one. */
  readonly access: { readonly path: string; readonly mode: AccessName } | null;
  readonly memory: RecordedMemory | null;
  /** Steps of other tasks that belong to the story. */
  readonly witnesses: readonly number[];
  /** What lockdep has to say, for its findings. */
  readonly locking: RecordedLocking | null;
}

/** As a {@link LockReport}, with places. */
export interface RecordedLocking extends Omit<LockReport, 'stacks'> {
  readonly stacks: readonly RecordedLockStack[];
}

export interface RecordedLockStack extends Omit<LockStack, 'stack'> {
  readonly stack: readonly RecordedFrame[];
}

/** A task that waits when nothing can go on any more. */
export interface RecordedWait {
  readonly task: number;
  readonly taskName: string;
  readonly cpu: number | null;
  readonly operation: string;
  readonly function: string;
  readonly place: string | null;
  readonly stack: readonly RecordedFrame[];
  /** The tasks that would have to go on first. */
  readonly waitsFor: readonly number[];
  readonly holds: readonly {
    readonly lock: string;
    readonly step: number | null;
    readonly place: string | null;
  }[];
}

export interface Recording {
  /** What memory held at first, if values are recorded. */
  readonly initial?: readonly RecordedChange[];
  readonly tasks: readonly RecordedTask[];
  readonly steps: readonly RecordedStep[];
  readonly findings: readonly RecordedFinding[];
  /** Empty unless the execution ended with tasks that wait for ever. */
  readonly waiting: readonly RecordedWait[];
  readonly goals: readonly string[];
  readonly log: readonly string[];
  /** Where the execution left the schedule that it was to follow, or null if it did not. */
  readonly divergence: Divergence | null;
}
