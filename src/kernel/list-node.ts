/**
 * struct list_head and the checked access of its links; list.ts says what is modelled.
 *
 * Variables: two, `next` and `prev`.
 */
import { trapPoison, type LIST_POISON1, type LIST_POISON2 } from './list-poison.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { READ, WRITE, type Operation } from './operation.ts';
import { running } from './running.ts';

/** A head, or a node: Linux has one type for both. */
export class ListHead extends KernelObject {
  /** The raw pointers. Model code goes through the functions of list.ts. */
  next: ListHead | typeof LIST_POISON1 | null = null;
  prev: ListHead | typeof LIST_POISON2 | null = null;
  /** The step at which what `next` points to was published, or -1. */
  nextRelease = -1;
  private operations: Record<string, Operation<unknown>> | null = null;

  /** The operation `label` on this object, made on first use. */
  operation<T extends Operation<unknown>>(
    label: string,
    build: (at: ListHead, label: string) => T,
  ): T {
    this.operations ??= {};
    const found = this.operations[label];
    if (found !== undefined) return found as T;
    const operation = build(this, label);
    this.operations[label] = operation;
    return operation;
  }

  /** The variable of `prev`. */
  get prevVariable(): number {
    return this.variable + 1;
  }

  /** Whether a list goes through it, its own empty one not counted; raw. */
  get isLinked(): boolean {
    const { prev } = this;
    return prev instanceof ListHead && prev !== this && prev.next === this;
  }
}

/** A field of type struct list_head that is a head: an empty list. */
export function listHead(): FieldSpec<ListHead> {
  return new FieldSpec(2, (at: Placement) => {
    const head = new ListHead(at);
    head.next = head;
    head.prev = head;
    return head;
  });
}

/** A field of type struct list_head that is a node: zeroed, on no list. */
export function listNode(): FieldSpec<ListHead> {
  return new FieldSpec(2, (at: Placement) => new ListHead(at));
}

function follow(target: ListHead['next'] | ListHead['prev'], at: ListHead, key: string): ListHead {
  if (target === null) running.badPointer('NULL', `use of ${key} of ${at.path}`);
  if (typeof target === 'symbol') trapPoison(target, at, `use of ${key}`);
  return target;
}

/** A plain read of `next`; following NULL or poison traps. */
export function readNext(at: ListHead): ListHead {
  running.plainAccess(at, 'next', at.variable, READ);
  return follow(at.next, at, 'next');
}

/** A plain read of `prev`; following NULL or poison traps. */
export function readPrev(at: ListHead): ListHead {
  running.plainAccess(at, 'prev', at.prevVariable, READ);
  return follow(at.prev, at, 'prev');
}

/** A plain store of `next`, with the step at which its target was published. */
export function writeNext(at: ListHead, next: ListHead['next'], release: number): void {
  running.plainAccess(at, 'next', at.variable, WRITE);
  at.next = next;
  at.nextRelease = release;
}

/** A plain store of `prev`. */
export function writePrev(at: ListHead, prev: ListHead['prev']): void {
  running.plainAccess(at, 'prev', at.prevVariable, WRITE);
  at.prev = prev;
}

/** A marked store of `next`, by an operation. */
export function markNext(at: ListHead, next: ListHead, release: number): void {
  running.touch(at.memory, `${at.path}.next`, 'written');
  running.markedAccess(at, 'next', at.variable, WRITE);
  at.next = next;
  at.nextRelease = release;
}

/** The next of `at`, marked as read by an operation; following NULL or poison traps. */
export function dereferenceNext(at: ListHead): ListHead {
  running.markedAccess(at, 'next', at.variable, READ);
  running.after(at.nextRelease);
  return follow(at.next, at, 'next');
}

/** Reports the adding of what is on a list; true if it must not be done. */
export function isRefusedAsLinked(node: ListHead): boolean {
  if (!node.isLinked) return false;
  running.assertion('WARN_ON', `list_add corruption: ${node.path} is on a list already`);
  return true;
}

/** Reports the deleting of what is on no list; true if it must not be done. */
export function isRefusedAsUnlinked(node: ListHead): boolean {
  running.touch(node.memory, node.path);
  // An empty list's head may be deleted from itself: list_del_init leaves a node like that.
  if (node.isLinked || node.next === node) return false;
  running.assertion('WARN_ON', `list_del corruption: ${node.path} is on no list`);
  return true;
}
