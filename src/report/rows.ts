/**
 * A recording as rows of a picture, before anybody knows how wide it is: for each row its task, how
 * deep it is nested, and what it says.
 *
 * A call gets a row of its own, and what it does is indented below. Such rows come just before the next
 * row of their task, since a call is nothing that others can see. Left out is what says nothing new: a
 * function that one of the same name calls (the kernel's halves of one function), returns that are no
 * error, accesses that have nothing to do with the finding. A call that does nothing but one operation
 * shares its row.
 */
import type { RecordedEvent, RecordedFinding, Recording } from '../trace/recording.ts';
import type { RecordedStep, RecordedWait } from '../trace/recording.ts';
import { titleOf } from './titles.ts';

export interface Row {
  readonly task: number;
  readonly kind: 'operation' | 'call' | 'access' | 'mishap' | 'return' | 'note' | 'wait';
  /** The step of an operation, from 1; null for what is part of a step. */
  readonly step: number | null;
  readonly depth: number;
  /**
   * Calls that do nothing but this operation, outermost first. They stand before it where there is
   * room, or in rows of their own.
   */
  readonly callers: readonly Caller[];
  readonly text: string;
  /** `text` without what can be left out where there is no room. */
  readonly brief: string;
  readonly result: string | null;
  readonly place: string | null;
  /** What is remarkable about it: `use after free of kfd_process`. */
  readonly mark: string | null;
  /** True if the mark is what went wrong. */
  readonly isWrong: boolean;
}

/** A call that shares the row of what it does. */
export interface Caller {
  readonly text: string;
  readonly brief: string;
  readonly place: string | null;
}

type CallEvent = Extract<RecordedEvent, { kind: 'call' }>;
type AccessEvent = Extract<RecordedEvent, { kind: 'access' }>;
type ReturnEvent = Extract<RecordedEvent, { kind: 'return' }>;

interface CallNode {
  readonly kind: 'call';
  /** Null for the body of the task. */
  readonly event: CallEvent | null;
  readonly children: Node[];
  /** The step at whose end it was entered, or -1. */
  readonly step: number;
  returned: ReturnEvent | null;
}

interface LeafNode {
  readonly kind: 'operation' | 'access' | 'mishap' | 'return' | 'note' | 'wait';
  readonly text: string;
  readonly result: string | null;
  readonly place: string | null;
  /** The step that it is, or at whose end it happens. */
  readonly step: number;
  mark: string | null;
  isWrong: boolean;
}

type Node = CallNode | LeafNode;
type BareLeaf = Pick<LeafNode, 'kind' | 'text' | 'place' | 'step'>;

/** Rows for `finding`, one of the recording's; or for the execution as such if it is null. */
export function rowsOf(recording: Recording, finding: RecordedFinding | null): Row[] {
  const rows = recording.tasks.flatMap((task) => {
    const tree = new TreeBuilder(recording, finding, task.index).build();
    return new Flattener(task.index).flatten(tree);
  });
  return rows.toSorted((a, b) => a.time - b.time).map((timed) => timed.row);
}

// ---- what one task does, as a tree -----------------------------------------------------------

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

// ---- and as rows -----------------------------------------------------------------------------

interface TimedRow {
  readonly row: Row;
  /** Three for each step: before its operation, the operation, after it. */
  readonly time: number;
}

class Flattener {
  private readonly task: number;
  private readonly rows: TimedRow[] = [];

  constructor(task: number) {
    this.task = task;
  }

  flatten(root: CallNode): TimedRow[] {
    for (const child of root.children) this.node(child, root, 0, []);
    return this.rows;
  }

  /** @param callers the calls that share the row with what comes next. */
  private node(node: Node, parent: CallNode, depth: number, callers: readonly Caller[]): void {
    if (node.kind !== 'call') {
      this.leaf(node, depth, callers);
      return;
    }
    const event = node.event as CallEvent;
    if (isSilent(node, parent) || isSaidBelow(node)) {
      for (const child of node.children) this.node(child, parent, depth, callers);
      return;
    }
    const only = onlyChild(node);
    if (only !== null && isOnly(node, node.returned?.value ?? null)) {
      this.node(only, node, depth, [...callers, callerOf(event)]);
      return;
    }
    const time = timeBefore(node);
    if (time === null) return;
    const isFailure = node.children.length === 0 && node.returned?.isError === true;
    const { text, brief, place } = callerOf(event);
    this.rows.push({
      time,
      row: {
        task: this.task,
        kind: 'call',
        step: null,
        depth,
        callers: [],
        text,
        brief,
        result: isFailure ? (node.returned?.value ?? null) : null,
        place,
        mark: null,
        isWrong: false,
      },
    });
    for (const child of node.children) this.node(child, node, depth + 1, []);
  }

  private leaf(node: LeafNode, depth: number, callers: readonly Caller[]): void {
    this.rows.push({
      time: timeOf(node),
      row: {
        task: this.task,
        kind: node.kind,
        step: node.kind === 'operation' ? node.step + 1 : null,
        depth,
        callers,
        text: node.text,
        brief: node.text,
        result: node.result,
        place: node.place,
        mark: node.mark,
        isWrong: node.isWrong,
      },
    });
  }
}

function callerOf({ function: name, args, place }: CallEvent): Caller {
  return { text: `${name}(${args})`, brief: `${name}()`, place };
}

/** A function that one of the same name calls is drawn as part of it. */
function isSilent(node: CallNode, parent: CallNode): boolean {
  return parent.event !== null && node.event?.function === parent.event.function;
}

/** A function whose operations bear its name: `synchronize_rcu(): ends`. */
function isSaidBelow({ event, children }: CallNode): boolean {
  const name = event?.function ?? '';
  return (
    children.length > 0 &&
    children.every(
      (child) =>
        child.kind === 'operation' && (child.text === name || child.text.startsWith(`${name}(`)),
    )
  );
}

function onlyChild(node: CallNode): Node | null {
  return node.children.length === 1 ? (node.children[0] as Node) : null;
}

/** Whether a call is over and did one operation only, with nothing to tell but its result. */
function isOnly(node: CallNode, value: string | null): boolean {
  const only = onlyChild(node);
  if (only === null || node.returned === null) return false;
  const isTold = !node.returned.isError || resultOf(only) === value;
  if (only.kind === 'call') return isTold && isOnly(only, only.returned?.value ?? null);
  return isTold && only.kind === 'operation';
}

function resultOf(node: Node): string | null {
  return node.kind === 'call' ? (node.returned?.value ?? null) : node.result;
}

function timeOf(node: LeafNode): number {
  return node.kind === 'operation' || node.kind === 'wait'
    ? node.step * 3 + 1
    : afterStep(node.step);
}

function afterStep(step: number): number {
  return step * 3 + 2;
}

/** When the row of a call is due: with the first thing drawn in it; null if there is none. */
function timeBefore(node: CallNode): number | null {
  if (node.children.length === 0) return node.returned === null ? null : afterStep(node.step);
  for (const child of node.children) {
    if (child.kind !== 'call') {
      const time = timeOf(child);
      return child.kind === 'operation' || child.kind === 'wait' ? time - 1 : time;
    }
    const time = timeBefore(child);
    if (time !== null) return time;
  }
  return null;
}
