/** What a detector found in one execution, before it is known how to show it. */
import type { Memory } from './memory.ts';
import type { Task } from './task.ts';

export const FINDING_KINDS = [
  'use-after-free',
  'double-free',
  'leak',
  'null-dereference',
  'err-ptr-dereference',
  'data-race',
  'deadlock',
  'livelock',
  'lock-order',
  'irq-inversion',
  'sleeping-in-atomic',
  'refcount',
  'bug',
  'warn',
  'unloaded-code',
  'lock-misuse',
  'invariant',
] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export interface Finding {
  readonly kind: FindingKind;
  /** The kernel's name of the thing that suffered: a struct, a lock, a counter, a field. */
  readonly object: string;
  /** One sentence for people, without addresses (they differ between executions). */
  readonly message: string;
  /** Which invariant of the notifier core it breaks, `I1` … `I12`, where it speaks of one. */
  readonly invariant: string | null;
  /** What the invariant says, and where that is stated; left out where it speaks of none. */
  readonly explanation?: string;
  /** The memory concerned, whose allocation and free are worth showing. */
  readonly memory: Memory | null;
  /** The two places of the code, `function: operation`; with kind and object they tell findings apart. */
  readonly places: readonly [string, string];
  /** The task that took the step, or null for a finding about the execution as a whole. */
  readonly task: Task | null;
  /** The step at which it was noticed; for one about the whole execution the number of steps. */
  readonly step: number;
  /** Steps of other tasks that belong to the story even if no order leads from them here. */
  readonly witnesses: readonly number[];
  /** What lockdep has to say, for its findings. */
  readonly locking: LockReport | null;
}

/** A finding of lockdep in its own words: a deadlock that may happen, whether or not it was seen to. */
export interface LockReport {
  /** `possible circular locking dependency detected`. */
  readonly headline: string;
  /** The locks of a cycle in their order, by class: `a`, `b` for a --> b --> a; or of a chain. */
  readonly chain: readonly string[];
  /** The same locks as a deadlock would name them, sorted. */
  readonly resources: readonly string[];
  /** The CPU0/CPU1 table, row by row; CPUs from 0. */
  readonly scenario: readonly { readonly cpu: number; readonly text: string }[];
  /** Who did what makes it possible, and where. */
  readonly stacks: readonly LockStack[];
}

export interface LockStack {
  /** `b is taken with a held`. */
  readonly title: string;
  readonly taskName: string;
  /** Index of the task and the step; null if it was in an execution explored before, or set-up. */
  readonly task: number | null;
  readonly step: number | null;
  /** Names of kernel functions, outermost first. */
  readonly stack: readonly string[];
}

/** What a detector states; the kernel adds where and when. */
export interface Report {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly invariant?: string;
  readonly explanation?: string;
  readonly memory?: Memory | null;
  /** Where it was noticed, if not in the function that is running. */
  readonly place?: string;
  readonly otherPlace?: string;
  readonly witnesses?: readonly number[];
  readonly locking?: LockReport;
  /** True if the finding is about the execution as a whole and not about the current task. */
  readonly isGlobal?: boolean;
}
