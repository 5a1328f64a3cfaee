/** A depth of the explorer's search. */
import { conflicts, modeOf, variableOf, type Access } from '../kernel/operation.ts';

/** The step taken at one depth, and what else is to be tried instead. */
export interface Node {
  task: number;
  outcome: number;
  arity: number;
  /** Bit masks over tasks. */
  enabled: number;
  backtrack: number;
  done: number;
  sleep: number;
  footprint: Access[];
  /** The steps that it comes after without a conflict. */
  after: number[];
  /** For each of those the step that began what it ended, or -1; see `kernel.after`. */
  since: number[];
  /** PAUSE if the plain code behind the operation is a step of its own, otherwise 0. */
  pause: number;
  /** For each sleeping task what its step touched when it was taken, however it turned out. */
  slept: (readonly Access[])[];
}

/** A node of which nothing is known but whose step it is. */
export function nodeOf(task: number): Node {
  return {
    task,
    outcome: 0,
    arity: 1,
    enabled: 0,
    backtrack: 0,
    done: 0,
    sleep: 0,
    footprint: [],
    after: [],
    since: [],
    pause: 0,
    slept: [],
  };
}

/** True if the two footprints have conflicting accesses. */
export function doConflict(a: readonly Access[], b: readonly Access[]): boolean {
  for (const one of a) {
    for (const other of b) {
      if (variableOf(one) === variableOf(other) && conflicts(modeOf(one), modeOf(other))) {
        return true;
      }
    }
  }
  return false;
}
