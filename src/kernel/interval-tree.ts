/**
 * struct interval_tree_node and its root: closed intervals [start, last], found by overlap.
 *
 * Modelled: insertion, removal, and going through the intervals that overlap a range in the order of
 * their starts. The tree needs a lock. Plain functions: no step of their own, but every node on the
 * way is checked for life, and the tree as a whole for races.
 * Stricter than Linux: inserting what is in a tree, removing what is in none, going on from what is in
 * none, and changing the ends of what is in one are WARN_ON and have no effect.
 * Simplified: base/interval-tree.ts is balanced by heights where Linux has red and black.
 *
 * Variables: the root has one, a node two (`start`, `last`).
 */
import { IntervalTree, type TreeNode } from '../base/interval-tree.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { READ, WRITE } from './operation.ts';
import { running } from './running.ts';

class CheckedTree extends IntervalTree<IntervalTreeNode> {
  protected override visit(node: IntervalTreeNode): void {
    if (!node.memory.isLive) running.touch(node.memory, node.path);
  }
}

/** The root of an interval tree. A field of a struct declares one: {@link intervalTreeRoot}. */
export class IntervalTreeRoot extends KernelObject {
  /** Raw; model code goes through the functions below. */
  readonly tree = new CheckedTree();
}

/** An object's interval and place in one tree. A field of a struct declares one: {@link intervalTreeNode}. */
export class IntervalTreeNode extends KernelObject implements TreeNode<IntervalTreeNode> {
  /** Raw ends, for the tree; model code has `start` and `last`. */
  low = 0;
  high = 0;
  highMax = 0;
  height = 0;
  left: IntervalTreeNode | null = null;
  right: IntervalTreeNode | null = null;
  parent: IntervalTreeNode | null = null;
  /** The tree it is in, or null. */
  root: IntervalTreeRoot | null = null;

  /** The first value of the interval. */
  get start(): number {
    running.plainAccess(this, 'start', this.variable, READ);
    return this.low;
  }

  set start(value: number) {
    running.plainAccess(this, 'start', this.variable, WRITE);
    if (this.mayChange()) this.low = value;
  }

  /** The last value of the interval, inclusive. */
  get last(): number {
    running.plainAccess(this, 'last', this.variable + 1, READ);
    return this.high;
  }

  set last(value: number) {
    running.plainAccess(this, 'last', this.variable + 1, WRITE);
    if (this.mayChange()) this.high = value;
  }

  private mayChange(): boolean {
    if (this.root !== null) {
      running.assertion('WARN_ON', `${this.path} is changed while it is in an interval tree`);
    }
    return this.root === null;
  }
}

/** A field of type struct rb_root_cached that roots an interval tree; empty. */
export function intervalTreeRoot(): FieldSpec<IntervalTreeRoot> {
  return new FieldSpec(1, (at: Placement) => new IntervalTreeRoot(at));
}

/** A field of type struct interval_tree_node, in no tree. */
export function intervalTreeNode(): FieldSpec<IntervalTreeNode> {
  return new FieldSpec(2, (at: Placement) => new IntervalTreeNode(at));
}

function noteAccess(root: IntervalTreeRoot, mode: typeof READ | typeof WRITE): void {
  running.plainAccess(root, 'rbNode', root.variable, mode);
}

/** `interval_tree_insert(node, root)`, under the tree's lock. */
export function intervalTreeInsert(node: IntervalTreeNode, root: IntervalTreeRoot): void {
  noteAccess(root, WRITE);
  running.touch(node.memory, node.path);
  if (node.root !== null) {
    running.assertion('WARN_ON', `interval_tree_insert: ${node.path} is in a tree already`);
    return;
  }
  root.tree.insert(node);
  node.root = root;
}

/** `interval_tree_remove(node, root)`, under the tree's lock. */
export function intervalTreeRemove(node: IntervalTreeNode, root: IntervalTreeRoot): void {
  noteAccess(root, WRITE);
  running.touch(node.memory, node.path);
  if (node.root !== root) {
    running.assertion('WARN_ON', `interval_tree_remove: ${node.path} is not in this tree`);
    return;
  }
  root.tree.remove(node);
  node.root = null;
}

/** Whether no interval is in the tree: `RB_EMPTY_ROOT(&root->rb_root)`. Under its lock. */
export function intervalTreeEmpty(root: IntervalTreeRoot): boolean {
  noteAccess(root, READ);
  return root.tree.root === null;
}

/** `interval_tree_iter_first(root, start, last)`: the first that overlaps [start, last], or NULL. */
export function intervalTreeIterFirst(
  root: IntervalTreeRoot,
  start: number,
  last: number,
): IntervalTreeNode | null {
  noteAccess(root, READ);
  return root.tree.firstOverlap(start, last);
}

/** `interval_tree_iter_next(node, start, last)`: the next that overlaps [start, last], or NULL. */
export function intervalTreeIterNext(
  node: IntervalTreeNode,
  start: number,
  last: number,
): IntervalTreeNode | null {
  running.touch(node.memory, node.path);
  const { root } = node;
  if (root === null) {
    running.assertion('WARN_ON', `interval_tree_iter_next: ${node.path} is in no tree`);
    return null;
  }
  noteAccess(root, READ);
  return root.tree.nextOverlap(node, start, last);
}

/**
 * All that overlap [start, last], in the order of their starts. Goes on from a node after the loop's
 * body: the body must not take it out.
 */
export function intervalTreeForEach(
  root: IntervalTreeRoot,
  start: number,
  last: number,
): Iterable<IntervalTreeNode> {
  return new OverlapWalk(root, start, last);
}

class OverlapWalk implements Iterable<IntervalTreeNode>, Iterator<IntervalTreeNode> {
  private readonly root: IntervalTreeRoot;
  private readonly start: number;
  private readonly last: number;
  private at: IntervalTreeNode | null = null;

  constructor(root: IntervalTreeRoot, start: number, last: number) {
    this.root = root;
    this.start = start;
    this.last = last;
  }

  [Symbol.iterator](): Iterator<IntervalTreeNode> {
    return this;
  }

  next(): IteratorResult<IntervalTreeNode> {
    this.at =
      this.at === null
        ? intervalTreeIterFirst(this.root, this.start, this.last)
        : intervalTreeIterNext(this.at, this.start, this.last);
    return this.at === null ? { done: true, value: undefined } : { done: false, value: this.at };
  }
}
