/** What a recorder keeps while an execution runs; turned into a recording when it is over. */
import type { Finding } from '../kernel/finding.ts';
import type { Memory } from '../kernel/memory.ts';
import type { Task } from '../kernel/task.ts';
import type { CodeStack } from './code-place.ts';
import type { AccessName, RecordedAfter, RecordedEvent } from './recording.ts';
import type { ValueText } from './value-text.ts';

/** A kernel function on a stack, and where it was when the next one was called. */
export interface FrameNote {
  readonly function: string;
  readonly at: CodeStack | null;
}

/** A task at one moment. */
export interface Moment {
  /** Null in set-up, in `finally`, at the end, and for a task before its first step. */
  readonly step: number | null;
  readonly task: Task;
  readonly frames: readonly FrameNote[];
}

export interface AccessNote {
  readonly path: string;
  readonly mode: AccessName;
  readonly memory: Memory;
}

/** An access and when it was. */
export interface TouchNote extends AccessNote {
  readonly moment: Moment;
}

/** As a recorded event, but with stacks in place of places, and with more accesses. */
export type EventNote =
  | Exclude<RecordedEvent, { readonly place: string | null }>
  | {
      readonly kind: 'call';
      readonly function: string;
      readonly args: string;
      readonly at: CodeStack | null;
    }
  | (TouchNote & { readonly kind: 'access' })
  | { readonly kind: 'mishap'; readonly text: string; readonly at: CodeStack };

export interface StepNote {
  moment: Moment;
  operation: string;
  /** What the operation is on. */
  readonly memory: Memory | null;
  readonly events: EventNote[];
  result: ValueText | null;
  /** Filled in when the next step begins; null if values are not recorded. */
  after: RecordedAfter | null;
}

export interface FindingNote {
  readonly finding: Finding;
  readonly moment: Moment;
  readonly isAtOperation: boolean;
  readonly access: AccessNote | null;
}

/** The notes of one execution. */
export interface Notes {
  /** What memory held before the first step; null if values are not recorded. */
  readonly initial: ReadonlyMap<string, string> | null;
  readonly steps: readonly StepNote[];
  /** What each task did before its first step, by index. */
  readonly entries: readonly (readonly EventNote[] | undefined)[];
  readonly findings: readonly FindingNote[];
  readonly touches: readonly TouchNote[];
  readonly allocations: ReadonlyMap<Memory, Moment>;
  readonly frees: ReadonlyMap<Memory, Moment>;
  /** Where a task is that waits. */
  readonly momentOf: (task: Task) => Moment;
}
