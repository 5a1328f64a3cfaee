/**
 * struct hlist_head and struct hlist_node: a list with a head of one pointer.
 *
 * Modelled: the links themselves. A node knows where the pointer to it is kept (`pprev`: the head or
 * another node), a deleted node is poisoned or made unhashed, and a node unlinked by an RCU form
 * keeps its `next`, so that readers who stand on it find their way on.
 *
 * The plain forms are plain functions for lists that a lock protects: no step of their own, but every
 * node they touch is checked for life, and for races as a plain field is. The RCU forms and the
 * lockless tests are operations: one step, seen by others.
 *
 *   CPU0 (holds the list's lock)            CPU1 (in a read section)
 *   hlist_add_head_rcu(n, head)
 *     n->next = first                       n = rcu_dereference(head->first)
 *     head->first = n     (releases)  --->    sees n as CPU0 had filled it in
 *   hlist_del_init_rcu(n)
 *     *n->pprev = n->next                   n = rcu_dereference(n->next)
 *     n->pprev = NULL                         still leads back into the list
 *
 * What was published with a pointer travels with the pointer: unlinking a node stores the pointer to
 * the next one, and with it the step at which that one was published.
 *
 * Stricter than Linux: adding a node that is on a list is WARN_ON and does nothing; Linux would ruin
 * both lists without a word.
 * Not modelled: hlist_nulls, hlist_bl, hlist_fake.
 */
import {
  isRefusedAsHashed,
  linkTo,
  readLink,
  readPprev,
  writeLink,
  writePprev,
  type HlistHead,
  type HlistNode,
} from './hlist-node.ts';
import { LIST_POISON1, LIST_POISON2 } from './list-poison.ts';
import { containerOf, type Fields, type Instance, type StructType } from './struct.ts';

export { HlistHead, hlistHead, HlistLink, HlistNode, hlistNode } from './hlist-node.ts';
export * from './hlist-rcu.ts';

// ---- plain forms: the caller holds the list's lock -------------------------------------------------

/** `hlist_add_head(node, head)`. Publishes nothing: not for lists that RCU readers walk. */
export function hlistAddHead(node: HlistNode, head: HlistHead): void {
  if (isRefusedAsHashed(node)) return;
  const first = readLink(head);
  writeLink(node, first, head.targetRelease);
  if (first !== null) writePprev(first, node);
  writeLink(head, node, -1);
  writePprev(node, head);
}

function unlink(node: HlistNode): void {
  const link = linkTo(node);
  const next = readLink(node);
  writeLink(link, next, node.targetRelease);
  if (next !== null) writePprev(next, link);
}

/** `hlist_del(node)`: takes it off its list and poisons it. It must be on one. */
export function hlistDel(node: HlistNode): void {
  unlink(node);
  writeLink(node, LIST_POISON1, -1);
  writePprev(node, LIST_POISON2);
}

/** `hlist_del_init(node)`: takes it off its list, if it is on one, and makes it unhashed. */
export function hlistDelInit(node: HlistNode): void {
  if (readPprev(node) === null) return;
  unlink(node);
  writeLink(node, null, -1);
  writePprev(node, null);
}

/** `hlist_unhashed(node)`: true if it is on no list. Deleting for good does not make it so. */
export function hlistUnhashed(node: HlistNode): boolean {
  return readPprev(node) === null;
}

/** `hlist_empty(head)`, under the list's lock; otherwise see {@link hlistEmptyLockless}. */
export function hlistEmpty(head: HlistHead): boolean {
  return readLink(head) === null;
}

/** `head->first`. */
export function hlistFirst(head: HlistHead): HlistNode | null {
  return readLink(head);
}

/** `node->next`. */
export function hlistNext(node: HlistNode): HlistNode | null {
  return readLink(node);
}

/** Walks a list; `isSafe` reads the next link before the present node is handed out. */
class HlistWalk<T> implements Iterable<T>, Iterator<T> {
  private readonly head: HlistHead;
  private readonly isSafe: boolean;
  private readonly toEntry: (node: HlistNode) => T;
  private at: HlistNode | null = null;
  private following: HlistNode | null = null;
  private hasStarted = false;

  constructor(head: HlistHead, isSafe: boolean, toEntry: (node: HlistNode) => T) {
    this.head = head;
    this.isSafe = isSafe;
    this.toEntry = toEntry;
  }

  [Symbol.iterator](): Iterator<T> {
    return this;
  }

  next(): IteratorResult<T> {
    if (!this.hasStarted) {
      this.hasStarted = true;
      this.at = readLink(this.head);
    } else if (this.isSafe) {
      this.at = this.following;
    } else {
      this.at = this.at === null ? null : readLink(this.at);
    }
    if (this.at === null) return { done: true, value: undefined };
    if (this.isSafe) this.following = readLink(this.at);
    return { done: false, value: this.toEntry(this.at) };
  }
}

const SAME = (node: HlistNode): HlistNode => node;

/** `hlist_for_each(node, head)`: reads a node's `next` after the loop's body; it must still be there. */
export function hlistForEach(head: HlistHead): Iterable<HlistNode> {
  return new HlistWalk(head, false, SAME);
}

/** `hlist_for_each_safe(node, n, head)`: the body may take the node off and free it. */
export function hlistForEachSafe(head: HlistHead): Iterable<HlistNode> {
  return new HlistWalk(head, true, SAME);
}

/** `hlist_for_each_entry(entry, head, key)`: as {@link hlistForEach}, with the structs around. */
export function hlistForEachEntry<F extends Fields>(
  head: HlistHead,
  type: StructType<F>,
  key: keyof F & string,
): Iterable<Instance<F>> {
  return new HlistWalk(head, false, (node) => containerOf(node, type, key));
}

/** `hlist_for_each_entry_safe(entry, n, head, key)`. */
export function hlistForEachEntrySafe<F extends Fields>(
  head: HlistHead,
  type: StructType<F>,
  key: keyof F & string,
): Iterable<Instance<F>> {
  return new HlistWalk(head, true, (node) => containerOf(node, type, key));
}
