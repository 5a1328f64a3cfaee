/**
 * What one task does in a recording, as a tree of calls: what its rows in a picture are made of.
 *
 * Accesses are in it only if they have to do with the finding, returns only if they hand up an error
 * that has not been told.
 */
import type {
  RecordedEvent,
  RecordedFinding,
  RecordedStep,
  RecordedWait,
  Recording,
} from '../trace/recording.ts';
import { titleOf } from './titles.ts';

export type CallEvent = Extract<RecordedEvent, { kind: 'call' }>;
type AccessEvent = Extract<RecordedEvent, { kind: 'access' }>;
type ReturnEvent = Extract<RecordedEvent, { kind: 'return' }>;

export interface CallNode {
  readonly kind: 'call';
  /** Null for the body of the task. */
  readonly event: CallEvent | null;
  readonly children: Node[];
  /** The step at whose end it was entered, or -1. */
  readonly step: number;
  returned: ReturnEvent | null;
}

export interface LeafNode {
  readonly kind: 'operation' | 'access' | 'mishap' | 'return' | 'note' | 'wait';
  readonly text: string;
  readonly result: string | null;
  readonly place: string | null;
  /** The step that it is, or at whose end it happens. */
  readonly step: number;
  mark: string | null;
  isWrong: boolean;
}

export type Node = CallNode | LeafNode;
type BareLeaf = Pick<LeafNode, 'kind' | 'text' | 'place' | 'step'>;

/** The tree of task number `task`, for `finding` or, if null, for the execution as such. */
export function treeOf(
  recording: Recording,
  finding: RecordedFinding | null,
  task: number,
): CallNode {
  return new TreeBuilder(recording, finding, task).build();
}

class TreeBuilder {
  private readonly recording: Recording;
  private readonly finding: RecordedFinding | null;
  private readonly task: number;
  private readonly stack: CallNode[];
  /** An access that is not drawn unless it turns out to be the wrong one. */
  private access: BareLeaf | null = null;
  /** The value of the error that is being handed up. */
  private error: string | null = null;

  constructor(recording: Recording, finding: RecordedFinding | null, task: number) {
    this.recording = recording;
    this.finding = finding;
    this.task = task;
    this.stack = [{ kind: 'call', event: null, children: [], step: -1, returned: null }];
  }

  build(): CallNode {
    const { recording, task } = this;
    const root = this.stack[0] as CallNode;
    const self = recording.tasks[task];
    this.events(self?.events ?? [], self?.spawnedAt ?? -1);
    for (const step of recording.steps) {
      if (step.task !== task) continue;
      this.operation(step);
      this.events(step.events, step.index);
    }
    const wait = recording.waiting.find((item) => item.task === task);
    if (wait !== undefined) this.wait(wait);
    return root;
  }

  private add(node: Node): void {
    this.error = null;
    this.access = null;
    this.top.children.push(node);
  }

  private get top(): CallNode {
    return this.stack.at(-1) as CallNode;
  }

  private operation(step: RecordedStep): void {
    const mark = this.markOf(step);
    this.add({
      kind: 'operation',
      text: step.operation,
      result: shortResult(step),
      place: placeOf(step),
      step: step.index,
      mark,
      isWrong: false,
    });
  }

  /** What an operation is to the memory of the finding. Of a leak the counts matter: one is too high. */
  private markOf({ index: step, operation }: RecordedStep): string | null {
    const { finding } = this;
    const memory = finding?.memory ?? null;
    if (finding === null || memory === null) return null;
    if (memory.allocated?.step === step) return 'allocated';
    if (memory.freed?.step === step) return 'freed';
    const isCount = finding.kind === 'leak' && /^(?:atomic|refcount|kref)_/.test(operation);
    return isCount && memory.operations.includes(step) ? `of the leaked ${memory.name}` : null;
  }

  private events(events: readonly RecordedEvent[], step: number): void {
    for (const event of events) this.event(event, step);
  }

  private event(event: RecordedEvent, step: number): void {
    switch (event.kind) {
      case 'call': {
        const node: CallNode = { kind: 'call', event, children: [], step, returned: null };
        this.add(node);
        this.stack.push(node);
        return;
      }
      case 'return':
        this.leave(event, step);
        return;
      case 'note':
        this.leaf({ kind: 'note', text: event.text, place: null, step });
        return;
      case 'mishap':
        this.leaf({ kind: 'mishap', text: event.text, place: event.place, step });
        return;
      case 'access':
        this.noteAccess(event, step);
        return;
      case 'finding':
        if (this.recording.findings[event.finding] === this.finding) this.markWrong(step);
    }
  }

  private leaf(node: BareLeaf): void {
    this.add({ ...node, result: null, mark: null, isWrong: false });
  }

  /** Accesses are drawn if they are the wrong one, or the other one of a race. */
  private noteAccess({ path, mode, place }: AccessEvent, step: number): void {
    const { finding } = this;
    const text = mode === 'use' ? path : `${mode} ${path}`;
    this.access = { kind: 'access', text, place, step };
    const isOther = finding?.kind === 'data-race' && finding.task !== this.task;
    if (isOther && finding.access?.path === path) this.leaf(this.access);
  }

  /** Marks what came last: the operation, or what the code after it did. */
  private markWrong(step: number): void {
    const finding = this.finding as RecordedFinding;
    if (this.access !== null && !finding.isAtOperation) this.leaf(this.access);
    const last = this.top.children.at(-1);
    const title = titleOf(finding);
    const isCulprit =
      last !== undefined &&
      last.kind !== 'call' &&
      last.step === step &&
      (last.kind === 'operation') === finding.isAtOperation;
    if (isCulprit) {
      last.mark = title;
      last.isWrong = true;
    } else {
      const node = {
        kind: 'mishap',
        text: `*** ${title}`,
        result: null,
        place: finding.place,
      } as const;
      this.add({ ...node, step, mark: null, isWrong: true });
    }
  }

  private leave(event: ReturnEvent, step: number): void {
    const node = this.top;
    if (this.stack.length === 1) return;
    this.stack.pop();
    node.returned = event;
    if (!event.isError) {
      this.error = null;
      return;
    }
    const { value } = event;
    const isHandedUp = value === this.error;
    const isOnOneRow = node.children.length === 0 || isOnly(node, value);
    if (!isHandedUp && !isOnOneRow && !isSilent(node, this.top)) {
      const text = `return ${value ?? ''}`;
      node.children.push({
        kind: 'return',
        text,
        result: null,
        place: null,
        step,
        mark: null,
        isWrong: false,
      });
    }
    this.error = value;
  }

  private wait(wait: RecordedWait): void {
    const isWrong = this.finding?.kind === 'deadlock';
    const names = wait.waitsFor.map((other) => this.recording.tasks[other]?.name ?? '?');
    this.add({
      kind: 'wait',
      text: wait.operation,
      result: null,
      place: wait.place,
      step: this.recording.steps.length,
      mark: names.length === 0 ? 'waits for ever' : `waits for ${names.join(' and ')}`,
      isWrong,
    });
  }
}

/** Where the step is, in the code that called the kernel's own functions. */
function placeOf({ stack, place }: RecordedStep): string | null {
  const caller = stack.findLast((frame) => frame.place?.startsWith('src/kernel/') !== true);
  return caller?.place ?? place;
}

/** The address alone where the operation names the struct already. */
function shortResult(step: RecordedStep): string | null {
  const { result } = step;
  if (result === null) return null;
  const at = result.lastIndexOf('@');
  const isNamed = at > 0 && step.operation.includes(`struct ${result.slice(0, at)})`);
  return isNamed ? result.slice(at + 1) : result;
}

/** A function that one of the same name calls is drawn as part of it. */
export function isSilent(node: CallNode, parent: CallNode): boolean {
  return parent.event !== null && node.event?.function === parent.event.function;
}

/** What a call consists of, if it is one thing. */
export function onlyChild(node: CallNode): Node | null {
  return node.children.length === 1 ? (node.children[0] as Node) : null;
}

/** Whether a call is over and did one operation only, with nothing to tell but its result. */
export function isOnly(node: CallNode, value: string | null): boolean {
  const only = onlyChild(node);
  if (only === null || node.returned === null) return false;
  const isTold = !node.returned.isError || resultOf(only) === value;
  if (only.kind === 'call') return isTold && isOnly(only, only.returned?.value ?? null);
  return isTold && only.kind === 'operation';
}

function resultOf(node: Node): string | null {
  return node.kind === 'call' ? (node.returned?.value ?? null) : node.result;
}
