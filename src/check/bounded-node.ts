/** A depth of the search with a bound on preemptions; see bounded-dpor.ts. */
import type { Kernel } from '../kernel/kernel.ts';
import type { Access, PastHold } from '../kernel/operation.ts';
import type { Task } from '../kernel/task.ts';
import { NO_TURN, preemptionsBy, turnAfter, type Turn } from './preemption.ts';
import { CLOCK_LENGTH, followsAny, type StepClocks } from './step-clocks.ts';

/** The step taken at one depth, and what else is to be tried instead. */
export interface BoundedNode {
  task: number;
  outcome: number;
  arity: number;
  /** Bit masks over tasks. */
  enabled: number;
  /** Those whose step stays within the bound. */
  allowed: number;
  backtrack: number;
  done: number;
  /** Whose turn it is before the step, and after it. */
  turn: Turn;
  turnAfter: Turn;
  /** Preemptions before the step, and with it. */
  preemptions: number;
  preemptionsAfter: number;
  /** The step at which the task came in last, and the step that it took before that, or -1. */
  turnStart: number;
  turnBefore: number;
  footprint: Access[];
  after: number[];
  since: number[];
  pause: number;
}

/** What a step, taken or pending, comes after by a conflict or a release. */
export interface Claim {
  readonly task: Task;
  readonly footprint: readonly Access[];
  /** Releases, and for each the acquisition that it belongs to, or -1. */
  readonly after: readonly number[];
  readonly since: readonly number[];
  /** All times in which it would have had to wait. */
  readonly past: readonly PastHold[];
  /** What its task knew before it: a clock. */
  readonly row: Int32Array;
  /** True if it is not taken: what let it go on in the end may not be known. */
  readonly isBlocked: boolean;
}

/** The node after `before`, of which no step is taken yet. Some step is always within the bound. */
export function boundedNodeAfter(
  before: BoundedNode | undefined,
  {
    at,
    enabled,
    kernel,
  }: { readonly at: number; readonly enabled: number; readonly kernel: Kernel },
  preemptionCountMax: number,
): BoundedNode {
  const turn = before?.turnAfter ?? NO_TURN;
  const preemptions = before?.preemptionsAfter ?? 0;
  const [allowed, task] = allowedTasks(kernel, turn, preemptionCountMax - preemptions);
  return {
    task,
    outcome: 0,
    arity: -1,
    enabled,
    allowed,
    backtrack: 1 << task,
    done: 0,
    turn,
    turnAfter: turn,
    preemptions,
    preemptionsAfter: preemptions,
    turnStart: at,
    turnBefore: -1,
    footprint: [],
    after: [],
    since: [],
    pause: 0,
  };
}

/** Fills in what depends on whose step is taken at the node. */
export function beginBoundedNode(
  node: BoundedNode,
  at: number,
  before: BoundedNode | undefined,
  kernel: Kernel,
): void {
  const task = kernel.tasks[node.task] as Task;
  if (node.arity < 0) node.arity = task.pending?.arity(task) ?? 1;
  node.preemptionsAfter = node.preemptions + preemptionsBy(task, node.turn, kernel);
  node.turnAfter = turnAfter(task, node.turn, kernel);
  const isGoingOn = before?.task === node.task;
  node.turnStart = isGoingOn ? before.turnStart : at;
  node.turnBefore = isGoingOn ? before.turnBefore : task.lastStep;
}

/** Which tasks may step if so many preemptions are left, as a bit mask, and which is to be the first. */
function allowedTasks(kernel: Kernel, turn: Turn, left: number): [number, number] {
  let allowed = 0;
  let first = -1;
  let least = Infinity;
  for (const task of kernel.tasks) {
    if (!kernel.isEnabled(task)) continue;
    const count = preemptionsBy(task, turn, kernel);
    if (count <= left) allowed |= 1 << task.index;
    // Going on comes first: it never costs more than anything else would.
    const isGoingOn = turn.at(-1) === task.index;
    if (isGoingOn || count < least || (count === least && turn.includes(task.index))) {
      first = task.index;
      least = isGoingOn ? -1 : count;
    }
  }
  return [allowed, first];
}

/** Goes to the next step to be tried at the node; false if there is none. */
export function advance(node: BoundedNode): boolean {
  if (node.outcome + 1 < node.arity) {
    node.outcome += 1;
    return true;
  }
  node.done |= 1 << node.task;
  const open = node.backtrack & ~node.done;
  if (open === 0) return false;
  node.task = 31 - Math.clz32(open & -open);
  node.outcome = 0;
  node.arity = -1;
  return true;
}

/**
 * The tasks that can begin, out of the steps of `nodes`, those that `past` knows; `task` itself if there
 * are none. The steps have the numbers `from` and up.
 */
export function initialsOf(
  nodes: readonly BoundedNode[],
  task: Task,
  past: Int32Array,
  { from, clocks }: { readonly from: number; readonly clocks: StepClocks },
): number {
  const first = new Int32Array(CLOCK_LENGTH).fill(-1);
  let isEmpty = true;
  for (const [at, { task: other }] of nodes.entries()) {
    if ((past[other] as number) <= from + at || (first[other] as number) >= 0) continue;
    first[other] = from + at;
    isEmpty = false;
  }
  if (isEmpty) return 1 << task.index;
  let mask = 0;
  for (const { task: other } of nodes) {
    const step = first[other] as number;
    if (step >= 0 && !followsAny(clocks.row(step), other, first)) mask |= 1 << other;
  }
  return mask;
}
