/**
 * struct list_head: the circular doubly linked list, in plain forms and for RCU readers.
 *
 * Modelled: the links themselves. A deleted node is poisoned, or made an empty list of its own; a node
 * unlinked by an RCU form keeps its `next`, so that readers who stand on it find their way on.
 *
 * The plain forms are plain functions for lists that a lock protects: no step of their own, but every
 * node they touch is checked for life, and for races as a plain field is. The RCU forms and the
 * lockless test for emptiness are operations (list-rcu.ts).
 *
 * As Linux with CONFIG_DEBUG_LIST, and stricter: adding what is on any list, and deleting what is on
 * none, is WARN_ON and does nothing.
 * Not modelled: list_sort, list_bulk_move, the nulls lists; counting (`list_count_nodes`).
 */
import { kernelName } from './call.ts';
import {
  isRefusedAsLinked,
  isRefusedAsUnlinked,
  readNext,
  readPrev,
  writeNext,
  writePrev,
  type ListHead,
} from './list-node.ts';
import { LIST_POISON1, LIST_POISON2 } from './list-poison.ts';
import { running } from './running.ts';
import { containerOf, type Fields, type Instance, type StructType } from './struct.ts';

export { ListHead, listHead, listNode } from './list-node.ts';
export * from './list-rcu.ts';

/** `INIT_LIST_HEAD(head)`: an empty list, whatever it was before. */
export function initListHead(head: ListHead): void {
  writeNext(head, head, -1);
  writePrev(head, head);
}

function insert(node: ListHead, prev: ListHead, next: ListHead): void {
  writePrev(next, node);
  writeNext(node, next, prev.nextRelease);
  writePrev(node, prev);
  writeNext(prev, node, -1);
}

function unlink(node: ListHead): void {
  const next = readNext(node);
  const prev = readPrev(node);
  writePrev(next, prev);
  writeNext(prev, next, node.nextRelease);
}

/** `list_add(node, head)`: puts it first, or behind the node `head`. */
export function listAdd(node: ListHead, head: ListHead): void {
  if (!isRefusedAsLinked(node)) insert(node, head, readNext(head));
}

/** `list_add_tail(node, head)`: puts it last, or before the node `head`. */
export function listAddTail(node: ListHead, head: ListHead): void {
  if (!isRefusedAsLinked(node)) insert(node, readPrev(head), head);
}

/** `list_del(node)`: takes it off its list and poisons it. */
export function listDel(node: ListHead): void {
  if (isRefusedAsUnlinked(node)) return;
  unlink(node);
  writeNext(node, LIST_POISON1, -1);
  writePrev(node, LIST_POISON2);
}

/** `list_del_init(node)`: takes it off its list and makes it an empty one; may be done again. */
export function listDelInit(node: ListHead): void {
  if (isRefusedAsUnlinked(node)) return;
  unlink(node);
  initListHead(node);
}

/** `list_move(node, head)`: off its list and to the front of another. */
export function listMove(node: ListHead, head: ListHead): void {
  if (isRefusedAsUnlinked(node)) return;
  unlink(node);
  insert(node, head, readNext(head));
}

/** `list_move_tail(node, head)`: off its list and to the end of another. */
export function listMoveTail(node: ListHead, head: ListHead): void {
  if (isRefusedAsUnlinked(node)) return;
  unlink(node);
  insert(node, readPrev(head), head);
}

/** `list_empty(head)`, under the list's lock; otherwise see {@link listEmptyLockless}. */
export function listEmpty(head: ListHead): boolean {
  return readNext(head) === head;
}

/** `list_is_singular(head)`: whether exactly one node is on it. */
export function listIsSingular(head: ListHead): boolean {
  return !listEmpty(head) && readNext(head) === readPrev(head);
}

function splice(list: ListHead, prev: ListHead, next: ListHead): void {
  const first = readNext(list);
  const last = readPrev(list);
  writePrev(first, prev);
  writeNext(prev, first, list.nextRelease);
  writeNext(last, next, -1);
  writePrev(next, last);
}

/** `list_splice_init(list, head)`: all of `list` to the front of `head`; `list` is empty then. */
export function listSpliceInit(list: ListHead, head: ListHead): void {
  if (listEmpty(list)) return;
  splice(list, head, readNext(head));
  initListHead(list);
}

/** `list_splice_tail_init(list, head)`: all of `list` to the end of `head`; `list` is empty then. */
export function listSpliceTailInit(list: ListHead, head: ListHead): void {
  if (listEmpty(list)) return;
  splice(list, readPrev(head), head);
  initListHead(list);
}

/** The first node, or NULL. */
export function listFirstOrNull(head: ListHead): ListHead | null {
  const first = readNext(head);
  return first === head ? null : first;
}

/** The last node, or NULL. */
export function listLastOrNull(head: ListHead): ListHead | null {
  const last = readPrev(head);
  return last === head ? null : last;
}

/** `list_first_entry_or_null(head, type, key)`. */
export function listFirstEntryOrNull<F extends Fields>(
  head: ListHead,
  type: StructType<F>,
  key: keyof F & string,
): Instance<F> | null {
  const first = listFirstOrNull(head);
  return first === null ? null : containerOf(first, type, key);
}

/** `list_first_entry(head, type, key)`; the list must not be empty. */
export function listFirstEntry<F extends Fields>(
  head: ListHead,
  type: StructType<F>,
  key: keyof F & string,
): Instance<F> {
  const entry = listFirstEntryOrNull(head, type, key);
  // Linux would take the head itself for an entry.
  if (entry === null) {
    const name = `${type.name}.${kernelName(key)}`;
    running.badPointer('the head of an empty list', `use of ${head.path} as ${name}`);
  }
  return entry;
}

interface WalkKind {
  /** Reads the link to the following node before the present one is handed out. */
  readonly isSafe: boolean;
  readonly step: (at: ListHead) => ListHead;
}

const FORWARD: WalkKind = { isSafe: false, step: readNext };
const FORWARD_SAFE: WalkKind = { isSafe: true, step: readNext };
const BACKWARD: WalkKind = { isSafe: false, step: readPrev };

class ListWalk<T> implements Iterable<T>, Iterator<T> {
  private readonly head: ListHead;
  private readonly kind: WalkKind;
  private readonly toEntry: (node: ListHead) => T;
  private at: ListHead;
  private following: ListHead | null = null;

  constructor(head: ListHead, kind: WalkKind, toEntry: (node: ListHead) => T) {
    this.head = head;
    this.kind = kind;
    this.toEntry = toEntry;
    this.at = head;
  }

  [Symbol.iterator](): Iterator<T> {
    return this;
  }

  next(): IteratorResult<T> {
    const { step, isSafe } = this.kind;
    this.at = this.following ?? step(this.at);
    if (this.at === this.head) return { done: true, value: undefined };
    if (isSafe) this.following = step(this.at);
    return { done: false, value: this.toEntry(this.at) };
  }
}

const SAME = (node: ListHead): ListHead => node;

/** `list_for_each(node, head)`: reads a node's `next` after the loop's body; it must still be there. */
export function listForEach(head: ListHead): Iterable<ListHead> {
  return new ListWalk(head, FORWARD, SAME);
}

/** `list_for_each_safe(node, n, head)`: the body may take the node off and free it. */
export function listForEachSafe(head: ListHead): Iterable<ListHead> {
  return new ListWalk(head, FORWARD_SAFE, SAME);
}

/** `list_for_each_entry(entry, head, key)`: as {@link listForEach}, with the structs around. */
export function listForEachEntry<F extends Fields>(
  head: ListHead,
  type: StructType<F>,
  key: keyof F & string,
): Iterable<Instance<F>> {
  return new ListWalk(head, FORWARD, (node) => containerOf(node, type, key));
}

/** `list_for_each_entry_safe(entry, n, head, key)`. */
export function listForEachEntrySafe<F extends Fields>(
  head: ListHead,
  type: StructType<F>,
  key: keyof F & string,
): Iterable<Instance<F>> {
  return new ListWalk(head, FORWARD_SAFE, (node) => containerOf(node, type, key));
}

/** `list_for_each_entry_reverse(entry, head, key)`. */
export function listForEachEntryReverse<F extends Fields>(
  head: ListHead,
  type: StructType<F>,
  key: keyof F & string,
): Iterable<Instance<F>> {
  return new ListWalk(head, BACKWARD, (node) => containerOf(node, type, key));
}
