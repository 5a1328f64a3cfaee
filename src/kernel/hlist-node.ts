/**
 * The objects of a hash list and the checked access of their links; hlist.ts says what is modelled.
 *
 * Variables: a head has one (`first`), a node two (`next`, `pprev`).
 */
import { LIST_POISON2, trapPoison, type LIST_POISON1, type Poison } from './list-poison.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { READ, WRITE, type Operation } from './operation.ts';
import { running } from './running.ts';

/** A place that holds the pointer to a node: a head's `first` or a node's `next`. */
export abstract class HlistLink extends KernelObject {
  /** The raw pointer. Model code goes through the functions below. */
  target: HlistNode | typeof LIST_POISON1 | null = null;
  /** The step at which what it points to was published, or -1. */
  targetRelease = -1;
  abstract readonly linkName: 'first' | 'next';
  private operations: Record<string, Operation<unknown>> | null = null;

  /** The operation `label` on this object, made on first use. */
  operation<T extends Operation<unknown>>(label: string, build: (at: this, label: string) => T): T {
    this.operations ??= {};
    const found = this.operations[label];
    if (found !== undefined) return found as T;
    const operation = build(this, label);
    this.operations[label] = operation;
    return operation;
  }
}

/** struct hlist_head. A field of a struct declares one: `hlistHead()`. */
export class HlistHead extends HlistLink {
  override readonly linkName = 'first';

  /** The raw pointer; for code that is no part of the model (detectors, tests, pictures). */
  get first(): HlistNode | null {
    return typeof this.target === 'symbol' ? null : this.target;
  }
}

/** struct hlist_node: an object's place in one list. A field of a struct declares one: `hlistNode()`. */
export class HlistNode extends HlistLink {
  override readonly linkName = 'next';
  /** The raw pointer to where the pointer to this node is kept; NULL when it is on no list. */
  pprev: HlistLink | typeof LIST_POISON2 | null = null;

  /** The raw pointer; for code that is no part of the model (detectors, tests, pictures). */
  get next(): HlistNode | null {
    return typeof this.target === 'symbol' ? null : this.target;
  }

  /** The variable of `pprev`. */
  get pprevVariable(): number {
    return this.variable + 1;
  }

  /** True while a link points to it; raw, as `first` and `next` are. */
  get isHashed(): boolean {
    return this.pprev !== null && this.pprev !== LIST_POISON2;
  }
}

/** A field of type struct hlist_head, an empty list. */
export function hlistHead(): FieldSpec<HlistHead> {
  return new FieldSpec(1, (at: Placement) => new HlistHead(at));
}

/** A field of type struct hlist_node, on no list. */
export function hlistNode(): FieldSpec<HlistNode> {
  return new FieldSpec(2, (at: Placement) => new HlistNode(at));
}

// ---- the links, checked --------------------------------------------------------------------------

/** A plain read of a link; following a poisoned one traps. */
export function readLink(link: HlistLink): HlistNode | null {
  running.plainAccess(link, link.linkName, link.variable, READ);
  const { target } = link;
  if (typeof target === 'symbol') trapPoison(target, link, 'use of next');
  return target;
}

/** A plain store of a link, with the step at which `target` was published. */
export function writeLink(link: HlistLink, target: HlistLink['target'], release: number): void {
  running.plainAccess(link, link.linkName, link.variable, WRITE);
  link.target = target;
  link.targetRelease = release;
}

/** A plain read of `pprev`. */
export function readPprev(node: HlistNode): HlistNode['pprev'] {
  running.plainAccess(node, 'pprev', node.pprevVariable, READ);
  return node.pprev;
}

/** A plain store of `pprev`. */
export function writePprev(node: HlistNode, pprev: HlistNode['pprev']): void {
  running.plainAccess(node, 'pprev', node.pprevVariable, WRITE);
  node.pprev = pprev;
}

/** A marked store of a link, by an operation. */
export function markLink(link: HlistLink, target: HlistNode | null, release: number): void {
  running.touch(link.memory, `${link.path}.${link.linkName}`);
  running.markedAccess(link, link.linkName, link.variable, WRITE);
  link.target = target;
  link.targetRelease = release;
}

/** A marked store of `pprev`, by an operation. */
export function markPprev(node: HlistNode, pprev: HlistNode['pprev']): void {
  running.touch(node.memory, `${node.path}.pprev`);
  running.markedAccess(node, 'pprev', node.pprevVariable, WRITE);
  node.pprev = pprev;
}

/** The link that points to `node`, which must be on a list: otherwise a wild pointer is used. */
export function linkTo(node: HlistNode): HlistLink {
  const pprev = readPprev(node);
  if (pprev === null) running.badPointer('NULL', `use of pprev of ${node.path}`);
  if (typeof pprev === 'symbol') trapPoison(pprev as Poison, node, 'use of pprev');
  return pprev as HlistLink;
}

/** Reports the adding of a node that is on a list; true if it must not be done. */
export function isRefusedAsHashed(node: HlistNode): boolean {
  if (!node.isHashed) return false;
  running.assertion('WARN_ON', `hlist corruption: ${node.path} is added while it is on a list`);
  return true;
}
