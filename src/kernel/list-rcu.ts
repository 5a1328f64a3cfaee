/**
 * The RCU forms of struct list_head, and its lockless test: operations. list.ts says what is modelled.
 *
 * Readers follow `next` only. What was published with a pointer travels with the pointer: unlinking a
 * node stores the pointer to the next one, and with it the step at which that one was published.
 */
import {
  dereferenceNext,
  isRefusedAsLinked,
  isRefusedAsUnlinked,
  ListHead,
  markNext,
  readNext,
  readPrev,
  writeNext,
  writePrev,
} from './list-node.ts';
import { LIST_POISON2 } from './list-poison.ts';
import { access, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

abstract class ListOperation<R> extends Operation<R> {
  readonly at: ListHead;
  readonly label: string;

  constructor(at: ListHead, label: string) {
    super(at.memory);
    this.at = at;
    this.label = label;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.at.variable, READ));
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.at.path})`;
  }
}

/** The head, at which a walk ends, is the argument. */
class ListDereference extends ListOperation<ListHead | null> {
  perform(task: Task): ListHead | null {
    const next = dereferenceNext(this.at);
    return next === task.argument ? null : next;
  }

  override describe(): string {
    return `rcu_dereference(${this.at.path}.next)`;
  }
}

class ListEmptyLockless extends ListOperation<boolean> {
  perform(): boolean {
    running.markedAccess(this.at, 'next', this.at.variable, READ);
    return this.at.next === this.at;
  }
}

/** list_add_rcu and list_add_tail_rcu; the head is the argument. */
class ListAddRcu extends ListOperation<void> {
  override readonly footprintVaries = true;
  private readonly isTail: boolean;

  constructor(node: ListHead, label: string, isTail: boolean) {
    super(node, label);
    this.isTail = isTail;
  }

  override footprint(out: Access[], task: Task): void {
    const head = task.argument as ListHead;
    const near = this.isTail ? head.prev : head.next;
    const { prev } = this.at;
    // Whether it is on a list already is seen there.
    if (prev instanceof ListHead) out.push(access(prev.variable, READ));
    out.push(access(this.at.variable, WRITE), access(this.at.prevVariable, WRITE));
    out.push(access(this.isTail ? head.prevVariable : head.variable, WRITE));
    if (!(near instanceof ListHead)) return;
    out.push(access(this.isTail ? near.variable : near.prevVariable, WRITE));
  }

  perform(task: Task): void {
    const node = this.at;
    const head = task.argument as ListHead;
    if (isRefusedAsLinked(node)) return;
    const prev = this.isTail ? readPrev(head) : head;
    const next = this.isTail ? head : readNext(head);
    writeNext(node, next, prev.nextRelease);
    writePrev(node, prev);
    markNext(prev, node, running.now);
    writePrev(next, node);
  }

  override describe(task: Task): string {
    return `${this.label}(&${this.at.path}, &${(task.argument as ListHead).path})`;
  }
}

class ListDelRcu extends ListOperation<void> {
  override readonly footprintVaries = true;
  override footprint(out: Access[]): void {
    const { at } = this;
    const { prev, next } = at;
    out.push(access(at.variable, READ));
    if (!(prev instanceof ListHead) || !(next instanceof ListHead)) {
      out.push(access(at.prevVariable, READ));
      if (prev instanceof ListHead) out.push(access(prev.variable, READ));
      return;
    }
    out.push(access(at.prevVariable, WRITE));
    out.push(access(prev.variable, WRITE), access(next.prevVariable, WRITE));
  }

  perform(): void {
    const { at } = this;
    if (isRefusedAsUnlinked(at)) return;
    const next = readNext(at);
    const prev = readPrev(at);
    writePrev(next, prev);
    markNext(prev, next, at.nextRelease);
    writePrev(at, LIST_POISON2);
  }
}

/** The first node as `rcu_dereference` reads it, or NULL; in a read section. Pairs with listAddRcu. */
export function listFirstRcu(head: ListHead): Operation<ListHead | null> {
  return listNextRcu(head, head);
}

/** The node after `node` on the list of `head`, or NULL; in a read section. */
export function listNextRcu(node: ListHead, head: ListHead): Operation<ListHead | null> {
  return made(
    node.operation('rcu_dereference', (at, label) => new ListDereference(at, label)),
    head,
  );
}

/** `list_add_rcu(node, head)`, under the list's lock: puts it first and publishes it. */
export function listAddRcu(node: ListHead, head: ListHead): Operation<void> {
  return made(
    node.operation('list_add_rcu', (at, label) => new ListAddRcu(at, label, false)),
    head,
  );
}

/** `list_add_tail_rcu(node, head)`, under the list's lock: puts it last and publishes it. */
export function listAddTailRcu(node: ListHead, head: ListHead): Operation<void> {
  return made(
    node.operation('list_add_tail_rcu', (at, label) => new ListAddRcu(at, label, true)),
    head,
  );
}

/**
 * `list_del_rcu(node)`, under the list's lock. `next` stays, for readers; `prev` is poisoned. What it
 * is part of may be freed or added again only after a grace period.
 */
export function listDelRcu(node: ListHead): Operation<void> {
  return made(node.operation('list_del_rcu', (at, label) => new ListDelRcu(at, label)));
}

/** `list_empty(head)` without the list's lock (it is a READ_ONCE). Acquires nothing. */
export function listEmptyLockless(head: ListHead): Operation<boolean> {
  return made(head.operation('list_empty', (at, label) => new ListEmptyLockless(at, label)));
}
