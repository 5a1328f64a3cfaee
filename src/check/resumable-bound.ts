/**
 * A search with a bound on preemptions that can be saved between two executions, and gone on with elsewhere.
 *
 * It is where it is because of its path, the steps that the next execution begins with, and of who was and is yet to
 * be tried at each of them. Clocks and turns follow from the path, which is taken again; what its races
 * ask for has been planned already, so taking it again plans nothing new.
 */
import { UsageError } from '../base/usage-error.ts';
import { PAUSE } from '../kernel/kernel.ts';
import { running, setRunning } from '../kernel/running.ts';
import { BoundedDpor, type BoundedResult } from './bounded-dpor.ts';
import type { BoundedNode } from './bounded-node.ts';
import type { ExploreOptions } from './exploration.ts';
import type { Program, Schedule } from './program.ts';
import { enabledTasks } from './search-node.ts';

/** What is left of it, as plain data. */
export interface SavedBound {
  /** The steps that the next execution begins with. Outcomes may have PAUSE added, but not the last one. */
  readonly path: Schedule;
  /** For each of these steps the tasks that are to be tried there, and those that were: bit masks. */
  readonly nodes: readonly (readonly [backtrack: number, done: number])[];
  /** True if nothing is left. */
  readonly isOver: boolean;
  /** True if the bound left something out so far. */
  readonly wasCut: boolean;
  readonly executions: number;
  readonly steps: number;
}

export class ResumableBound extends BoundedDpor {
  /** What is to be gone on with; null once it is. */
  private saved: SavedBound | null;

  constructor(
    program: Program,
    preemptionCountMax: number,
    options: ExploreOptions,
    saved: SavedBound | null,
  ) {
    super(program, preemptionCountMax, options);
    this.saved = saved;
    if (saved === null) return;
    this.isOver = saved.isOver;
    this.executions = saved.executions;
    this.steps = saved.steps;
    this.wasCut = saved.wasCut;
  }

  /** @throws UsageError MN303 if the program does not go where the saved search went. */
  override run(): BoundedResult {
    const { saved } = this;
    this.saved = null;
    if (saved !== null && saved.nodes.length > 0) this.goTo(saved);
    return super.run();
  }

  /** Call between executions. */
  save(): SavedBound {
    if (this.saved !== null) return this.saved;
    const { isOver, wasCut, executions, steps, depth, hasChosen } = this;
    const nodes = this.nodes.slice(0, isOver || !hasChosen ? 0 : depth + 1);
    return {
      path: {
        tasks: nodes.map((node) => node.task),
        outcomes: nodes.map(({ outcome, pause }, at) => (at < depth ? outcome | pause : outcome)),
      },
      nodes: nodes.map(({ backtrack, done }) => [backtrack, done]),
      isOver,
      wasCut,
      executions,
      steps,
    };
  }

  private goTo({ path, nodes, steps, wasCut }: SavedBound): void {
    const before = running;
    try {
      this.retrace(path, nodes);
    } finally {
      setRunning(before);
    }
    // They were counted when they were taken first.
    this.steps = steps;
    this.wasCut = wasCut;
  }

  private retrace({ tasks, outcomes }: Schedule, masks: SavedBound['nodes']): void {
    const kernel = this.start();
    this.depth = tasks.length - 1;
    this.hasChosen = true;
    for (const [at, index] of tasks.entries()) {
      const enabled = enabledTasks(kernel);
      const outcome = (outcomes[at] as number) & ~PAUSE;
      const arity = kernel.tasks[index]?.pending?.arity(kernel.tasks[index]) ?? 1;
      if ((enabled & (1 << index)) === 0 || outcome >= arity) throw wentElsewhere(at);
      const node: BoundedNode = this.newNode(at, enabled);
      const [backtrack, done] = masks[at] as SavedBound['nodes'][number];
      node.task = index;
      node.outcome = outcome;
      node.backtrack = backtrack;
      node.done = done;
      if (at === this.depth) return;
      this.begin(node, at);
      this.takeStep(node, at);
      if ((node.outcome | node.pause) !== outcomes[at]) throw wentElsewhere(at);
    }
  }
}

function wentElsewhere(at: number): UsageError {
  return new UsageError(
    'MN303',
    `the search cannot be resumed: its step ${at + 1} was taken by a task that cannot take it now. ` +
      'The scenario has changed since; begin anew, without --resume.',
  );
}
