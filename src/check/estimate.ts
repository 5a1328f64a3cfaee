/**
 * How many executions a search still has before it, as a band: nobody can know, but orders of magnitude
 * help.
 *
 * The search is a tree of which the present execution is the last branch reached. Every branch of a
 * node is taken to be as large as any other (the weighted-backtrack estimate: Kilby, Slaney, Thiébaux,
 * Walsh, AAAI 2006); so what is done is a known part of the whole, and the rest follows. It errs in two
 * ways. Branches are found only on the way, so early estimates are too low; and later branches of a node
 * tend to be smaller than the first, so late ones may be too high. Therefore the band reaches from a third to
 * two and a half times the estimate, and if the estimate of the whole has kept growing, or shrinking, with each
 * doubling of the work done, it reaches as far as that would lead if it went on.
 *
 * Works when it is asked and not at every step: what it needs is in the search anyway.
 */

/** How far a search has come, for a line that tells of it. Valid until the search goes on. */
export interface ExploreProgress {
  /** Executions that have ended. */
  readonly executions: number;
  /** Steps of the present one. */
  readonly depth: number;
  /** Executions that are left. Takes a moment: ask only if it is to be shown. */
  estimate(): Band;
}

/** Somewhere between the two, both included. */
export interface Band {
  readonly low: number;
  readonly high: number;
}

/** For each depth of the present execution, the branches of its node besides the one it took. */
export interface BranchCounts {
  /** Depths. */
  length: number;
  /** Branches that are done. */
  readonly done: number[];
  /** Branches that have yet to be taken, as far as is known. */
  readonly pending: number[];
}

const BELOW = 3;
const ABOVE = 2.5;
/** How much the estimate of the whole is taken to grow with each doubling until that is known. */
const GROWTH_DEFAULT = 2;
/** Moments are remembered if so much more has been done since the last one. */
const HISTORY_RATIO = 1.05;

interface Moment {
  readonly executions: number;
  /** What was taken to be the whole. */
  readonly total: number;
}

export class RemainingEstimate {
  /** In the order of time. */
  private readonly history: Moment[] = [];

  /** The executions left after `executions`, of which the last one has just ended. */
  remaining(executions: number, counts: BranchCounts): Band {
    if (executions === 0) return { low: 0, high: Infinity };
    let pending = 0;
    for (let at = 0; at < counts.length; at += 1) pending += counts.pending[at] as number;
    const total = executions / shareDone(counts);
    const drift = this.drift(executions, total);
    this.remember({ executions, total });
    if (pending === 0) return { low: 0, high: 0 };
    const left = Math.max(total - executions, pending);
    return {
      low: Math.round((left * Math.min(1, drift)) / BELOW),
      high: Math.round(left * Math.max(1, drift) * ABOVE),
    };
  }

  /** By what the estimate of the whole would have changed at the end, if it went on as it has. */
  private drift(executions: number, total: number): number {
    const before = this.history.findLast((moment) => moment.executions <= executions / 2);
    const growth =
      before === undefined
        ? GROWTH_DEFAULT
        : (total / before.total) ** (1 / Math.log2(executions / before.executions));
    return growth ** (1 + Math.log2(total / executions));
  }

  private remember(moment: Moment): void {
    const last = this.history.at(-1);
    if (last !== undefined && moment.executions < last.executions * HISTORY_RATIO) return;
    this.history.push(moment);
  }
}

/** Which part of the tree is done, from 0 to 1, if all branches of a node are of the same size. */
function shareDone({ length, done, pending }: BranchCounts): number {
  let share = 0;
  let weight = 1;
  for (let at = 0; at < length; at += 1) {
    const count = (done[at] as number) + 1 + (pending[at] as number);
    share += (weight * (done[at] as number)) / count;
    weight /= count;
  }
  return share + weight;
}

/** How many bits of a mask are set. */
export function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
