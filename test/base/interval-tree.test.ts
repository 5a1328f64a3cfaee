import { array, assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { IntervalNode, IntervalTree } from '../../src/base/interval-tree.ts';

type Node = IntervalNode<number>;

/** Asserts order, balance, maxima and parents below `node`; returns the height. */
function checkBelow(node: Node | null, parent: Node | null): number {
  if (node === null) return 0;
  const left = checkBelow(node.left, node);
  const right = checkBelow(node.right, node);
  const highs = [node.high, node.left?.highMax ?? 0, node.right?.highMax ?? 0];
  expect(node.parent === parent).toBe(true);
  expect(Math.abs(left - right)).toBeLessThanOrEqual(1);
  expect(node.highMax).toBe(Math.max(...highs));
  expect(node.height).toBe(Math.max(left, right) + 1);
  return node.height;
}

function overlapsOf(tree: IntervalTree<Node>, low: number, high: number): number[] {
  const found: number[] = [];
  let at = tree.firstOverlap(low, high);
  for (; at !== null; at = tree.nextOverlap(at, low, high)) found.push(at.value);
  return found;
}

function allOf(tree: IntervalTree<Node>): number[] {
  const found: number[] = [];
  for (let at = tree.first(); at !== null; at = tree.next(at)) found.push(at.value);
  return found;
}

const interval = record({
  low: integer({ min: 0, max: 40 }),
  length: oneof(integer({ min: 0, max: 6 }), integer({ min: 0, max: 60 })),
});

test('the tree finds what a scan of an array finds, in the same order', () => {
  const change = record({
    kind: constantFrom('insert', 'insert', 'remove'),
    interval,
    victim: integer({ min: 0, max: 1000 }),
    query: interval,
  });
  assert(
    property(array(change, { maxLength: 120, size: 'max' }), (changes) => {
      const tree = new IntervalTree<Node>();
      let list: Node[] = [];
      for (const [index, { kind, interval: at, victim, query }] of changes.entries()) {
        if (kind === 'insert' || list.length === 0) {
          const node = new IntervalNode(at.low, at.low + at.length, index);
          tree.insert(node);
          // A stable sort keeps the order of insertion among equal starts.
          list.push(node);
          list.sort((a, b) => a.low - b.low);
        } else {
          const node = list[victim % list.length] as Node;
          tree.remove(node);
          list = list.filter((other) => other !== node);
          expect(node.height).toBe(0);
        }
        const high = query.low + query.length;
        const expected = list.filter((node) => node.low <= high && node.high >= query.low);
        expect(overlapsOf(tree, query.low, high)).toEqual(expected.map((node) => node.value));
      }
      expect(allOf(tree)).toEqual(list.map((node) => node.value));
      checkBelow(tree.root, null);
    }),
    { seed: 1, numRuns: 200 },
  );
});

test('a thousand intervals put in in order are found in 10 to 15 levels', () => {
  const tree = new IntervalTree<Node>();
  const nodes = Array.from({ length: 1000 }, (_, at) => new IntervalNode(at * 2, at * 2 + 1, at));
  for (const node of nodes) tree.insert(node);
  expect(checkBelow(tree.root, null)).toBe(10);
  expect(overlapsOf(tree, 501, 504)).toEqual([250, 251, 252]);
  for (const node of nodes.filter((_, at) => at % 10 !== 0)) tree.remove(node);
  expect(checkBelow(tree.root, null)).toBeLessThanOrEqual(10);
  expect(allOf(tree)).toHaveLength(100);
});

test('addresses of 48 bits are kept exactly', () => {
  const tree = new IntervalTree<Node>();
  const top = 2 ** 48 - 1;
  tree.insert(new IntervalNode(top - 1, top, 1));
  tree.insert(new IntervalNode(0, 0, 0));
  expect(overlapsOf(tree, top, top)).toEqual([1]);
  expect(overlapsOf(tree, 1, top - 2)).toEqual([]);
  expect(overlapsOf(tree, 0, top)).toEqual([0, 1]);
});
