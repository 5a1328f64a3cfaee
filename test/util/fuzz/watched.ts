/** An explorer that says whether it was always known what a step would touch, and whether it planned well. */
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { TraceOrder, type Step } from '../../../src/check/trace-order.ts';
import type { OptimalNode } from '../../../src/check/optimal-node.ts';
import type { Task } from '../../../src/kernel/task.ts';

/**
 * Notes whether a step was taken or waited for of which nobody knows what it would touch elsewhere, or
 * how it would turn out if others came first.
 */
export class WatchedOrder extends TraceOrder {
  hasVaried = false;

  override take(task: Task, outcome: number): Step {
    const arity = task.pending?.arity(task) ?? 1;
    const step = super.take(task, outcome);
    const isRacingChoice = arity > 1 && step.footprint.length > 0;
    this.hasVaried ||= step.varies || step.isPlain || isRacingChoice;
    return step;
  }

  override blockedStep(task: Task, step: Step): Step {
    const found = super.blockedStep(task, step);
    this.hasVaried ||= found.varies;
    return found;
  }
}

export class WatchedDpor extends OptimalDpor {
  impossibleCount = 0;

  protected override makeOrder(pauses: boolean): TraceOrder {
    return new WatchedOrder(pauses);
  }

  protected override planOther(node: OptimalNode): boolean {
    this.impossibleCount += 1;
    return super.planOther(node);
  }

  get hasVaried(): boolean {
    return !(this.order instanceof WatchedOrder) || this.order.hasVaried;
  }
}
