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
}

/** What a detector states; the kernel adds where and when. */
export interface Report {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly invariant?: string;
  readonly memory?: Memory | null;
  /** Where it was noticed, if not in the function that is running. */
  readonly place?: string;
  readonly otherPlace?: string;
  readonly witnesses?: readonly number[];
  /** True if the finding is about the execution as a whole and not about the current task. */
  readonly isGlobal?: boolean;
}
