/**
 * What is left of a search, as plain data: to be written to a file, sent to another thread, and gone on
 * with by whoever reads it (partial-dpor.ts).
 *
 * A search is where it is because of its path, the last execution or the beginning of the next one, and
 * of what every depth of that has yet to explore and has asleep. Clocks, footprints and races follow from
 * the path, so they are not kept. Tasks are named by how they came to be, for others may have met them in
 * another order.
 */
import type { OptimalNode } from './optimal-node.ts';
import type { Schedule } from './program.ts';
import { Branch } from './wakeup-tree.ts';

/** A task: its index if it is there from the beginning; then the how-manieth child, and so on. */
export type SavedTask = readonly number[];

/** The footprint is null where nobody knows it; the flags are RACING, PLANNED and SHORTENED. */
export type SavedBranch = readonly [
  task: SavedTask,
  outcome: number,
  footprint: readonly number[] | null,
  flags: number,
  children: readonly SavedBranch[],
];

export interface SavedNode {
  /** The first branch is being explored; the others are yet to be. */
  readonly tree: readonly SavedBranch[];
  readonly sleep: readonly SavedBranch[];
  readonly doneCount: number;
}

export interface SavedSearch {
  /** The steps to be repeated; outcomes may have PAUSE added. */
  readonly path: Schedule;
  /** Depths above it are explored by others. */
  readonly floor: number;
  /** One for each step of the path; and one more if what comes next is a branch that was planned. */
  readonly nodes: readonly SavedNode[];
  /** True if the path is an execution that is over; false if it is the beginning of the next one. */
  readonly isRun: boolean;
  /** True if nothing is left. */
  readonly isOver: boolean;
  readonly isExact: boolean;
  readonly executions: number;
  readonly blocked: number;
  readonly steps: number;
  readonly plannedLimit: number;
  readonly plannedLeft: number;
  readonly plannedCountMax: number;
}

/** The whole of a search, before its first step. */
export const WHOLE: SavedSearch = {
  path: { tasks: [], outcomes: [] },
  floor: 0,
  nodes: [],
  isRun: false,
  isOver: false,
  isExact: true,
  executions: 0,
  blocked: 0,
  steps: 0,
  plannedLimit: 0,
  plannedLeft: 0,
  plannedCountMax: 0,
};

/** Who gives tasks their names in one search. */
export interface Naming {
  pathOf(name: number): readonly number[];
  nameOfPath(path: readonly number[]): number;
}

const RACING = 1;
const PLANNED = 2;
const SHORTENED = 4;

export function saveBranch(branch: Branch, names: Naming): SavedBranch {
  const { isRacing, isPlanned, isShortened } = branch;
  return [
    names.pathOf(branch.task),
    branch.outcome,
    branch.isGuess ? null : [...branch.footprint],
    (isRacing ? RACING : 0) + (isPlanned ? PLANNED : 0) + (isShortened ? SHORTENED : 0),
    saveBranches(branch.children, names),
  ];
}

export function saveBranches(branches: readonly Branch[], names: Naming): SavedBranch[] {
  return branches.map((branch) => saveBranch(branch, names));
}

export function loadBranch(saved: SavedBranch, names: Naming): Branch {
  const [task, outcome, footprint, flags, children] = saved;
  const branch = new Branch(names.nameOfPath(task), outcome);
  branch.footprint = footprint ?? [];
  branch.isGuess = footprint === null;
  branch.isRacing = (flags & RACING) !== 0;
  branch.isPlanned = (flags & PLANNED) !== 0;
  branch.isShortened = (flags & SHORTENED) !== 0;
  if (children.length > 0) branch.children = loadBranches(children, names);
  return branch;
}

export function loadBranches(saved: readonly SavedBranch[], names: Naming): Branch[] {
  return saved.map((branch) => loadBranch(branch, names));
}

export function saveNode(node: OptimalNode, names: Naming): SavedNode {
  return {
    tree: saveBranches(node.tree, names),
    sleep: saveBranches(node.sleep, names),
    doneCount: node.doneCount,
  };
}
