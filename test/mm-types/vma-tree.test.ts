import { expect, test } from 'vitest';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct } from '../../src/kernel/struct.ts';
import {
  vmaNode,
  vmaTree,
  vmaTreeFind,
  vmaTreeFindBelow,
  vmaTreeFirst,
  vmaTreeInsert,
  vmaTreeLast,
  vmaTreeNext,
  vmaTreePrevious,
  vmaTreeRemove,
  type VmaNode,
} from '../../src/mm-types/vma-tree.ts';

const Root = struct('root', { tree: vmaTree() });
const Item = struct('item', { node: vmaNode() });

function show(node: VmaNode | null): string | null {
  return node === null ? null : `${node.low}-${node.high}`;
}

test('the tree of VMAs finds what a sorted list finds, through insertions and removals', () => {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  const { tree } = allocateStatic(kernel, Root);
  const inside: VmaNode[] = [];
  let seed = 11;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  for (let round = 0; round < 2000; round += 1) {
    const start = random(400) * 10;
    const end = start + 1 + random(10);
    const found = inside.findIndex(({ low }) => Math.floor(low / 10) === start / 10);
    if (found >= 0) {
      vmaTreeRemove(tree, inside.splice(found, 1)[0]!);
    } else {
      const { node } = allocateStatic(kernel, Item);
      vmaTreeInsert(tree, node, start, end);
      inside.push(node);
      inside.sort((a, b) => a.low - b.low);
    }
    const address = random(4100);
    const above = inside.find(({ high }) => high >= address) ?? null;
    const below = inside.findLast(({ low }) => low < address) ?? null;
    expect(show(vmaTreeFind(tree, address))).toBe(show(above));
    expect(show(vmaTreeFindBelow(tree, address))).toBe(show(below));
    expect(show(vmaTreeFirst(tree))).toBe(show(inside[0] ?? null));
    expect(show(vmaTreeLast(tree))).toBe(show(inside.at(-1) ?? null));
    if (above === null) continue;
    const at = inside.indexOf(above);
    expect(show(vmaTreeNext(above))).toBe(show(inside[at + 1] ?? null));
    expect(show(vmaTreePrevious(above))).toBe(show(inside[at - 1] ?? null));
  }
  setRunning(before);
});
