/**
 * An interval tree: which of many closed intervals overlap a given one, in order of their starts.
 *
 * An AVL tree ordered by `low`, in which each node knows the greatest `high` of its subtree. The nodes
 * are the caller's own objects, so putting in and taking out allocate nothing. All operations take
 * O(log n) steps; going through m overlapping intervals takes O(m + log n).
 *
 * Intervals with equal starts keep the order in which they were put in.
 */

/** What an object needs to be in a tree. Only the tree writes to the lower five. */
export interface TreeNode<N> {
  /** The ends, both inclusive; they must not change while the node is in a tree. */
  readonly low: number;
  readonly high: number;
  /** The greatest `high` of its subtree. */
  highMax: number;
  /** Of its subtree; 0 if it is in no tree. */
  height: number;
  left: N | null;
  right: N | null;
  parent: N | null;
}

/** A node that carries a value, for those who have no object of their own to put in. */
export class IntervalNode<T> implements TreeNode<IntervalNode<T>> {
  readonly low: number;
  readonly high: number;
  highMax: number;
  height = 0;
  left: IntervalNode<T> | null = null;
  right: IntervalNode<T> | null = null;
  parent: IntervalNode<T> | null = null;
  readonly value: T;

  constructor(low: number, high: number, value: T) {
    this.low = low;
    this.high = high;
    this.highMax = high;
    this.value = value;
  }
}

export class IntervalTree<N extends TreeNode<N>> {
  root: N | null = null;

  /** Called with each node that is looked at; for subclasses that check nodes. */
  protected visit(_node: N): void {
    // Nothing to check here.
  }

  /** Puts in a node that is in no tree. */
  insert(node: N): void {
    const { low, high } = node;
    let parent: N | null = null;
    let isLeft = false;
    for (let at = this.root; at !== null; at = isLeft ? at.left : at.right) {
      this.visit(at);
      if (at.highMax < high) at.highMax = high;
      parent = at;
      isLeft = low < at.low;
    }
    node.left = null;
    node.right = null;
    node.parent = parent;
    node.highMax = high;
    node.height = 1;
    if (parent === null) this.root = node;
    else if (isLeft) parent.left = node;
    else parent.right = node;
    this.growUpwards(parent);
  }

  /** Takes out a node that is in this tree. */
  remove(node: N): void {
    const { left, right, parent } = node;
    this.visit(node);
    if (left === null || right === null) {
      const child = left ?? right;
      this.replaceChild(parent, node, child);
      if (child !== null) child.parent = parent;
      this.mendUpwards(parent, null);
    } else {
      const heir = this.leftmost(right);
      let lowest: N = heir;
      if (heir !== right) {
        lowest = heir.parent as N;
        lowest.left = heir.right;
        if (heir.right !== null) heir.right.parent = lowest;
        heir.right = right;
        right.parent = heir;
      }
      heir.left = left;
      left.parent = heir;
      this.replaceChild(parent, node, heir);
      heir.parent = parent;
      // As if it had been here all the time; `mendUpwards` sees what that changes.
      heir.height = node.height;
      heir.highMax = node.highMax;
      this.mendUpwards(lowest, heir);
    }
    node.left = null;
    node.right = null;
    node.parent = null;
    node.height = 0;
  }

  /** The first node that overlaps [low, high], or null. */
  firstOverlap(low: number, high: number): N | null {
    const { root } = this;
    if (root === null) return null;
    return root.highMax < low ? this.nothingIn(root) : this.firstIn(root, low, high);
  }

  /** The node after `node` that overlaps [low, high], or null. */
  nextOverlap(node: N, low: number, high: number): N | null {
    let at = node;
    for (;;) {
      const { right } = at;
      // If one on the right reaches `low` and none there overlaps, all that follow start too late.
      if (right !== null && right.highMax >= low) return this.firstIn(right, low, high);
      let child: N;
      let above: N | null = at;
      do {
        child = above;
        above = child.parent;
        if (above === null) return null;
      } while (above.right === child);
      at = above;
      this.visit(at);
      if (at.low > high) return null;
      if (at.high >= low) return at;
    }
  }

  /** The node with the least start, or null. */
  first(): N | null {
    return this.root === null ? null : this.leftmost(this.root);
  }

  /** The node after `node` in the order of starts, or null. */
  next(node: N): N | null {
    if (node.right !== null) return this.leftmost(node.right);
    let child = node;
    let above = node.parent;
    while (above !== null && above.right === child) {
      child = above;
      above = child.parent;
    }
    return above;
  }

  private nothingIn(root: N): null {
    this.visit(root);
    return null;
  }

  /** The first overlapping node below `top`, where some interval reaches `low`. */
  private firstIn(top: N, low: number, high: number): N | null {
    let at = top;
    for (;;) {
      this.visit(at);
      const { left } = at;
      if (left !== null && left.highMax >= low) {
        // The one that reaches `low` is the first hit, or starts too late, as then all others do.
        at = left;
        continue;
      }
      if (at.low > high) return null;
      if (at.high >= low) return at;
      const { right } = at;
      if (right === null || right.highMax < low) return null;
      at = right;
    }
  }

  private leftmost(top: N): N {
    let at = top;
    this.visit(at);
    for (let { left } = at; left !== null; left = at.left) {
      at = left;
      this.visit(at);
    }
    return at;
  }

  private replaceChild(parent: N | null, node: N, child: N | null): void {
    if (parent === null) this.root = child;
    else if (parent.left === node) parent.left = child;
    else parent.right = child;
  }

  /** Restores heights after an insertion below `from`. One rotation at most makes good for it. */
  private growUpwards(from: N | null): void {
    for (let at = from; at !== null; at = at.parent) {
      const left = at.left === null ? 0 : at.left.height;
      const right = at.right === null ? 0 : at.right.height;
      if (left - right > 1 || right - left > 1) {
        this.rebalance(at, left > right);
        return;
      }
      const height = (left > right ? left : right) + 1;
      if (at.height === height) return;
      at.height = height;
    }
  }

  /** Restores heights and maxima after a removal, from `from` up to `heir` and as far as needed. */
  private mendUpwards(from: N | null, heir: N | null): void {
    let isBelowHeir = heir !== null;
    for (let at = from; at !== null; at = at.parent) {
      this.visit(at);
      const { height, highMax } = at;
      if (at === heir) isBelowHeir = false;
      const left = at.left === null ? 0 : at.left.height;
      const right = at.right === null ? 0 : at.right.height;
      if (left - right > 1 || right - left > 1) at = this.rebalance(at, left > right);
      else update(at);
      if (!isBelowHeir && at.height === height && at.highMax === highMax) return;
    }
  }

  /** Makes the two sides below `at` differ by one at most; returns what is at the top then. */
  private rebalance(at: N, isLeftHigher: boolean): N {
    if (isLeftHigher) {
      const left = at.left as N;
      if (heightOf(left.left) < heightOf(left.right)) this.rotateLeft(left);
      return this.rotateRight(at);
    }
    const right = at.right as N;
    if (heightOf(right.right) < heightOf(right.left)) this.rotateRight(right);
    return this.rotateLeft(at);
  }

  private rotateLeft(at: N): N {
    const top = at.right as N;
    const inner = top.left;
    this.visit(top);
    at.right = inner;
    if (inner !== null) inner.parent = at;
    this.replaceChild(at.parent, at, top);
    top.parent = at.parent;
    top.left = at;
    at.parent = top;
    update(at);
    update(top);
    return top;
  }

  private rotateRight(at: N): N {
    const top = at.left as N;
    const inner = top.right;
    this.visit(top);
    at.left = inner;
    if (inner !== null) inner.parent = at;
    this.replaceChild(at.parent, at, top);
    top.parent = at.parent;
    top.right = at;
    at.parent = top;
    update(at);
    update(top);
    return top;
  }
}

function heightOf<N extends TreeNode<N>>(node: N | null): number {
  return node === null ? 0 : node.height;
}

/** Computes height and maximum of `node` from its children. */
function update<N extends TreeNode<N>>(node: N): void {
  const { left, right } = node;
  let height = 0;
  let max = node.high;
  if (left !== null) {
    ({ height } = left);
    if (left.highMax > max) max = left.highMax;
  }
  if (right !== null) {
    if (right.height > height) ({ height } = right);
    if (right.highMax > max) max = right.highMax;
  }
  node.height = height + 1;
  node.highMax = max;
}
