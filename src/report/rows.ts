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
import type { RecordedFinding, Recording } from '../trace/recording.ts';
import {
  isOnly,
  isSilent,
  onlyChild,
  treeOf,
  type CallEvent,
  type CallNode,
  type LeafNode,
  type Node,
} from './task-tree.ts';

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

/** Rows for `finding`, one of the recording's; or for the execution as such if it is null. */
export function rowsOf(recording: Recording, finding: RecordedFinding | null): Row[] {
  const rows = recording.tasks.flatMap((task) => {
    const tree = treeOf(recording, finding, task.index);
    return new Flattener(task.index).flatten(tree);
  });
  return rows.toSorted((a, b) => a.time - b.time).map((timed) => timed.row);
}

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
