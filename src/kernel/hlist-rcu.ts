/**
 * The RCU forms and the lockless tests of a hash list: operations. hlist.ts says what is modelled.
 */
import {
  isRefusedAsHashed,
  linkTo,
  markLink,
  markPprev,
  readLink,
  readPprev,
  writeLink,
  type HlistHead,
  type HlistLink,
  type HlistNode,
} from './hlist-node.ts';
import { LIST_POISON2, trapPoison } from './list-poison.ts';
import { access, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

class HlistDereference extends Operation<HlistNode | null> {
  readonly link: HlistLink;

  constructor(link: HlistLink) {
    super(link.memory);
    this.link = link;
  }

  footprint(out: Access[]): void {
    out.push(access(this.link.variable, READ));
  }

  perform(): HlistNode | null {
    const { link } = this;
    running.markedAccess(link, link.linkName, link.variable, READ);
    running.after(link.targetRelease);
    const { target } = link;
    if (typeof target === 'symbol') trapPoison(target, link, 'use of next');
    return target;
  }

  describe(): string {
    return `rcu_dereference(${this.link.path}.${this.link.linkName})`;
  }
}

class HlistEmptyLockless extends Operation<boolean> {
  readonly head: HlistHead;

  constructor(head: HlistHead) {
    super(head.memory);
    this.head = head;
  }

  footprint(out: Access[]): void {
    out.push(access(this.head.variable, READ));
  }

  perform(): boolean {
    running.markedAccess(this.head, 'first', this.head.variable, READ);
    return this.head.target === null;
  }

  describe(): string {
    return `hlist_empty(&${this.head.path})`;
  }
}

abstract class HlistNodeOperation<R> extends Operation<R> {
  readonly node: HlistNode;
  readonly label: string;

  constructor(node: HlistNode, label: string) {
    super(node.memory);
    this.node = node;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.node.path})`;
  }
}

class HlistUnhashedLockless extends HlistNodeOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.node.pprevVariable, READ));
  }

  perform(): boolean {
    running.markedAccess(this.node, 'pprev', this.node.pprevVariable, READ);
    return this.node.pprev === null;
  }
}

/** The head is the argument. */
class HlistAddHeadRcu extends HlistNodeOperation<void> {
  override readonly footprintVaries = true;
  footprint(out: Access[], task: Task): void {
    const { node } = this;
    const head = task.argument as HlistHead;
    const { first } = head;
    out.push(access(head.variable, WRITE));
    // A node that is added again too early may still have a reader standing on it.
    out.push(access(node.variable, WRITE), access(node.pprevVariable, WRITE));
    if (first !== null) out.push(access(first.pprevVariable, WRITE));
  }

  perform(task: Task): void {
    const { node } = this;
    const head = task.argument as HlistHead;
    if (isRefusedAsHashed(node)) return;
    const first = readLink(head);
    writeLink(node, first, head.targetRelease);
    markPprev(node, head);
    markLink(head, node, running.now);
    if (first !== null) markPprev(first, node);
  }

  override describe(task: Task): string {
    return `${this.label}(&${this.node.path}, &${(task.argument as HlistHead).path})`;
  }
}

/** hlist_del_rcu and hlist_del_init_rcu, which differ in what they leave in `pprev`. */
class HlistDelRcu extends HlistNodeOperation<void> {
  override readonly footprintVaries = true;
  private readonly isInit: boolean;

  constructor(node: HlistNode, label: string, isInit: boolean) {
    super(node, label);
    this.isInit = isInit;
  }

  footprint(out: Access[]): void {
    const { node } = this;
    const { pprev, next } = node;
    if (pprev === null || typeof pprev === 'symbol') {
      out.push(access(node.pprevVariable, READ));
      return;
    }
    out.push(access(pprev.variable, WRITE));
    out.push(access(node.variable, READ), access(node.pprevVariable, WRITE));
    if (next !== null) out.push(access(next.pprevVariable, WRITE));
  }

  perform(): void {
    const { node } = this;
    if (this.isInit && readPprev(node) === null) return;
    const link = linkTo(node);
    const next = readLink(node);
    markLink(link, next, node.targetRelease);
    if (next !== null) markPprev(next, link);
    markPprev(node, this.isInit ? null : LIST_POISON2);
  }
}

function dereference(link: HlistLink): Operation<HlistNode | null> {
  return link.operation('rcu_dereference', (at) => new HlistDereference(at));
}

/** `rcu_dereference(hlist_first_rcu(head))`, in a read section. Pairs with hlist_add_head_rcu. */
export function hlistFirstRcu(head: HlistHead): Operation<HlistNode | null> {
  return made(dereference(head));
}

/** `rcu_dereference(hlist_next_rcu(node))`, in a read section; `node` may have been unlinked. */
export function hlistNextRcu(node: HlistNode): Operation<HlistNode | null> {
  return made(dereference(node));
}

/** `hlist_add_head_rcu(node, head)`, under the list's lock: publishes what `node` is part of. */
export function hlistAddHeadRcu(node: HlistNode, head: HlistHead): Operation<void> {
  return made(
    node.operation('hlist_add_head_rcu', (at, label) => new HlistAddHeadRcu(at, label)),
    head,
  );
}

/**
 * `hlist_del_rcu(node)`, under the list's lock. `next` stays, for readers; `pprev` is poisoned. What
 * it is part of may be freed or added again only after a grace period.
 */
export function hlistDelRcu(node: HlistNode): Operation<void> {
  return made(node.operation('hlist_del_rcu', (at, label) => new HlistDelRcu(at, label, false)));
}

/**
 * `hlist_del_init_rcu(node)`, under the list's lock: as {@link hlistDelRcu}, but leaves the node
 * unhashed, and has no effect on one that is.
 */
export function hlistDelInitRcu(node: HlistNode): Operation<void> {
  return made(
    node.operation('hlist_del_init_rcu', (at, label) => new HlistDelRcu(at, label, true)),
  );
}

/** `hlist_unhashed_lockless(node)`: true if it is on no list; it may be put on one at any time. */
export function hlistUnhashedLockless(node: HlistNode): Operation<boolean> {
  return made(
    node.operation('hlist_unhashed_lockless', (at, label) => new HlistUnhashedLockless(at, label)),
  );
}

/**
 * `hlist_unhashed(node)` without the lock, in code older than the lockless form: it races on purpose,
 * which is no finding, and others see when it happens. Put the source beside it.
 */
export function hlistUnhashedRace(node: HlistNode): Operation<boolean> {
  return made(
    node.operation('hlist_unhashed', (at, label) => new HlistUnhashedLockless(at, label)),
  );
}

/** `hlist_empty(head)` without the list's lock (it is a READ_ONCE). Acquires nothing. */
export function hlistEmptyLockless(head: HlistHead): Operation<boolean> {
  return made(head.operation('hlist_empty', (at) => new HlistEmptyLockless(at as HlistHead)));
}
