/** The interval tree beside those of npm: filling, searching and emptying, in the same run. */
import { createRequire } from 'node:module';
import { IntervalNode, IntervalTree } from '../../src/base/interval-tree.ts';
import { randomOf } from './random.ts';
import { rates, type BenchResult, type Contestant, type RateOptions } from './measure.ts';

/** What all trees can do. */
interface Tree {
  insert(low: number, high: number, value: number): void;
  remove(low: number, high: number, value: number): void;
  /** The number of intervals that overlap [low, high]. */
  count(low: number, high: number): number;
}
interface Kind {
  readonly name: string;
  make(): Tree;
}

interface Flatten {
  insert(key: [number, number], value: number): unknown;
  remove(key: [number, number], value: number): unknown;
  search(key: [number, number]): unknown[];
}
interface NodeTree {
  insert(low: number, high: number, value: number): unknown;
  remove(low: number, high: number, value: number): unknown;
  search(low: number, high: number): unknown[];
}
interface OneD {
  insert(interval: readonly number[]): unknown;
  remove(interval: readonly number[]): unknown;
  queryInterval(low: number, high: number, visit: () => void): unknown;
}

function ours(): Tree {
  const tree = new IntervalTree<IntervalNode<number>>();
  const nodes = new Map<number, IntervalNode<number>>();
  return {
    insert(low, high, value) {
      const node = new IntervalNode(low, high, value);
      nodes.set(value, node);
      tree.insert(node);
    },
    remove(_low, _high, value) {
      tree.remove(nodes.get(value) as IntervalNode<number>);
      nodes.delete(value);
    },
    count(low, high) {
      let found = 0;
      let node = tree.firstOverlap(low, high);
      for (; node !== null; node = tree.nextOverlap(node, low, high)) found += 1;
      return found;
    },
  };
}

/** The packages are installed apart: `npm ci` in this folder. */
async function kinds(): Promise<readonly Kind[]> {
  const require = createRequire(import.meta.url);
  const load = (name: string): unknown => require(name);
  const own: Kind = { name: 'mmulab', make: ours };
  try {
    const flatten = load('@flatten-js/interval-tree') as { default: new () => Flatten };
    const node = load('node-interval-tree') as { default: new () => NodeTree };
    const oneD = load('interval-tree-1d') as (intervals: number[][]) => OneD;
    return [own, flattenKind(flatten.default), nodeKind(node.default), oneDKind(oneD)];
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error;
    process.stderr.write('The others are missing: run npm ci in bench/mm first.\n');
    return [own];
  }
}

function flattenKind(Tree: new () => Flatten): Kind {
  const make = (): Tree => {
    const tree = new Tree();
    return {
      insert: (low, high, value) => void tree.insert([low, high], value),
      remove: (low, high, value) => void tree.remove([low, high], value),
      count: (low, high) => tree.search([low, high]).length,
    };
  };
  return { name: '@flatten-js/interval-tree', make };
}

function nodeKind(Tree: new () => NodeTree): Kind {
  const make = (): Tree => {
    const tree = new Tree();
    return {
      insert: (low, high, value) => void tree.insert(low, high, value),
      remove: (low, high, value) => void tree.remove(low, high, value),
      count: (low, high) => tree.search(low, high).length,
    };
  };
  return { name: 'node-interval-tree', make };
}

function oneDKind(create: (intervals: number[][]) => OneD): Kind {
  const make = (): Tree => {
    const tree = create([]);
    return {
      insert: (low, high, value) => void tree.insert([low, high, value]),
      remove: (low, high, value) => void tree.remove([low, high, value]),
      count(low, high) {
        let found = 0;
        tree.queryInterval(low, high, () => {
          found += 1;
        });
        return found;
      },
    };
  };
  return { name: 'interval-tree-1d', make };
}

interface Item {
  readonly low: number;
  readonly high: number;
}

/** Short intervals all over a range, so that a search hits about two of them. */
function items(count: number): readonly Item[] {
  const random = randomOf(count);
  return Array.from({ length: count }, () => {
    const low = Math.floor(random() * count * 16);
    return { low, high: low + Math.floor(random() * 32) };
  });
}

function filled(kind: Kind, all: readonly Item[]): Tree {
  const tree = kind.make();
  for (const [value, { low, high }] of all.entries()) tree.insert(low, high, value);
  return tree;
}

function searching(kind: Kind, all: readonly Item[], expected: number): Contestant {
  const tree = filled(kind, all);
  const probes = all.slice(0, 1000);
  const found = (): number => probes.reduce((sum, { low }) => sum + tree.count(low, low + 16), 0);
  if (found() !== expected) throw new Error(`${kind.name} finds ${found()}, not ${expected}`);
  let at = 0;
  return {
    name: `${kind.name}: search among ${all.length.toLocaleString('en')}`,
    run(count) {
      for (let done = 0; done < count; done += 1) {
        at = (at + 1) % probes.length;
        const { low } = probes[at] as Item;
        tree.count(low, low + 16);
      }
    },
  };
}

function changing(kind: Kind, all: readonly Item[]): Contestant {
  const tree = filled(kind, all);
  let at = 0;
  return {
    name: `${kind.name}: take out and put in among ${all.length.toLocaleString('en')}`,
    run(count) {
      for (let done = 0; done < count; done += 1) {
        at = (at + 7919) % all.length;
        const { low, high } = all[at] as Item;
        tree.remove(low, high, at);
        tree.insert(low, high, at);
      }
    },
  };
}

export async function run(options: RateOptions): Promise<readonly BenchResult[]> {
  const all = await kinds();
  const results: BenchResult[] = [];
  for (const count of [1000, 100_000]) {
    const own = items(count);
    const reference = filled(all[0] as Kind, own);
    const expected = own
      .slice(0, 1000)
      .reduce((sum, { low }) => sum + reference.count(low, low + 16), 0);
    results.push(
      ...rates(
        all.map((kind) => searching(kind, own, expected)),
        options,
      ),
    );
    // Rebuilding interval-tree-1d grows with what is in it.
    const changed = all.filter(({ name }) => name !== 'interval-tree-1d' || count <= 1000);
    results.push(
      ...rates(
        changed.map((kind) => changing(kind, own)),
        options,
      ),
    );
  }
  return results;
}
