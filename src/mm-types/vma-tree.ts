/**
 * The VMAs of an mm, in order of address: `mm->mm_rb` and the vm_next list of v5.4, one maple tree since
 * v6.1.
 *
 * Modelled: finding by address, stepping to both sides, putting in, taking out, moving an end. Changed
 * under mmap_sem held for write, read under either side of it: the tree as a whole is checked for races,
 * every node on the way for life. Plain functions: no step of their own.
 * Simplified: an AVL tree (base/interval-tree.ts) that needs no RCU; a node carries the bounds under which
 * it was put in, so moving an end is taking out and putting in.
 *
 * Variables: the tree has one, a node one.
 */
import { IntervalTree, type TreeNode } from '../base/interval-tree.ts';
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { READ, WRITE } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';

class OrderedTree extends IntervalTree<VmaNode> {
  protected override visit(node: VmaNode): void {
    if (!node.memory.isLive) running.touch(node.memory, node.path);
  }

  /** The node with the greatest start, or null. */
  last(): VmaNode | null {
    let at = this.root;
    while (at !== null && at.right !== null) at = at.right;
    return at;
  }

  /** The node before `node`, or null. */
  previous(node: VmaNode): VmaNode | null {
    if (node.left !== null) {
      let at: VmaNode = node.left;
      while (at.right !== null) at = at.right;
      return at;
    }
    let child = node;
    let above = node.parent;
    while (above !== null && above.left === child) {
      child = above;
      above = child.parent;
    }
    return above;
  }

  /** The first node that ends above `address`, or null; nodes do not overlap. */
  endingAbove(address: number): VmaNode | null {
    let found: VmaNode | null = null;
    let at = this.root;
    while (at !== null) {
      this.visit(at);
      if (at.high >= address) {
        found = at;
        if (at.low <= address) break;
        at = at.left;
      } else {
        at = at.right;
      }
    }
    return found;
  }

  /** The last node that starts below `address`, or null. */
  startingBelow(address: number): VmaNode | null {
    let found: VmaNode | null = null;
    let at = this.root;
    while (at !== null) {
      this.visit(at);
      if (at.low < address) {
        found = at;
        at = at.right;
      } else {
        at = at.left;
      }
    }
    return found;
  }
}

/** The root in the mm. */
export class VmaTree extends KernelObject {
  /** Raw; model code goes through the functions below. */
  readonly tree = new OrderedTree();
}

/** A VMA's place in the tree. */
export class VmaNode extends KernelObject implements TreeNode<VmaNode> {
  low = 0;
  high = 0;
  highMax = 0;
  height = 0;
  left: VmaNode | null = null;
  right: VmaNode | null = null;
  parent: VmaNode | null = null;
  /** The tree it is in, or null. */
  root: VmaTree | null = null;
}

/** A field that roots the VMAs of an mm; empty. */
export function vmaTree(): FieldSpec<VmaTree> {
  return new FieldSpec(1, (at: Placement) => new VmaTree(at));
}

/** A VMA's node, in no tree. */
export function vmaNode(): FieldSpec<VmaNode> {
  return new FieldSpec(1, (at: Placement) => new VmaNode(at));
}

function note(root: VmaTree, mode: typeof READ | typeof WRITE): void {
  running.plainAccess(root, 'mmRb', root.variable, mode);
}

/** Puts in a node that is in no tree, for [start, end). */
export function vmaTreeInsert(root: VmaTree, node: VmaNode, start: number, end: number): void {
  note(root, WRITE);
  running.touch(node.memory, node.path);
  node.low = start;
  node.high = end - 1;
  root.tree.insert(node);
  node.root = root;
}

/** Takes a node out. */
export function vmaTreeRemove(root: VmaTree, node: VmaNode): void {
  note(root, WRITE);
  running.touch(node.memory, node.path);
  root.tree.remove(node);
  node.root = null;
}

/** The first node that ends above `address`, or null. */
export function vmaTreeFind(root: VmaTree, address: number): VmaNode | null {
  note(root, READ);
  return root.tree.endingAbove(address);
}

/** The last node that starts below `address`, or null. */
export function vmaTreeFindBelow(root: VmaTree, address: number): VmaNode | null {
  note(root, READ);
  return root.tree.startingBelow(address);
}

/** The first node of the tree, or null. */
export function vmaTreeFirst(root: VmaTree): VmaNode | null {
  note(root, READ);
  return root.tree.first();
}

/** The last node of the tree, or null. */
export function vmaTreeLast(root: VmaTree): VmaNode | null {
  note(root, READ);
  return root.tree.last();
}

/** The node after `node`, or null. */
export function vmaTreeNext(node: VmaNode): VmaNode | null {
  const root = node.root as VmaTree;
  note(root, READ);
  return root.tree.next(node);
}

/** The node before `node`, or null. */
export function vmaTreePrevious(node: VmaNode): VmaNode | null {
  const root = node.root as VmaTree;
  note(root, READ);
  return root.tree.previous(node);
}
