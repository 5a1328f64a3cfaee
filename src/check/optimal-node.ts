/** A depth of the optimal search: what is to be explored from there, and what sleeps. */
import { scratchListOf } from '../base/scratch-list.ts';
import { Branch } from './wakeup-tree.ts';

/** A depth of the search. */
export class OptimalNode {
  /** What is yet to be explored; the first is being explored. */
  tree: Branch[] = [];
  /** Branches that were explored. */
  doneCount = 0;
  /** What sleeps here. */
  readonly sleep: Branch[] = scratchListOf();
  /** For the branch that is taken first where nothing was planned: they are the most. */
  readonly ownTree: Branch[] = scratchListOf();
  readonly ownBranch = new Branch(-1, 0);
}

export function isAsleep(node: OptimalNode, task: number, outcome: number): boolean {
  for (const sleeper of node.sleep) {
    if (sleeper.task === task && sleeper.outcome === outcome) return true;
  }
  return false;
}
