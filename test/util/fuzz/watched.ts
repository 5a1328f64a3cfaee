/** An explorer that says whether what its programs do could be foreseen. */
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { TraceOrder, type Step } from '../../../src/check/trace-order.ts';
import type { Task } from '../../../src/kernel/task.ts';

class WatchedOrder extends TraceOrder {
  /** True once a step was taken or waited for of which nobody knows what it would touch elsewhere. */
  hasVaried = false;

  override take(task: Task, outcome: number): Step {
    const step = super.take(task, outcome);
    this.hasVaried ||= step.varies || step.isPlain;
    return step;
  }

  override blockedStep(task: Task, step: Step): Step {
    const found = super.blockedStep(task, step);
    this.hasVaried ||= found.varies;
    return found;
  }
}

export class WatchedDpor extends OptimalDpor {
  declare protected readonly order: WatchedOrder;

  protected override makeOrder(pauses: boolean): TraceOrder {
    return new WatchedOrder(pauses);
  }

  get hasVaried(): boolean {
    return this.order.hasVaried;
  }
}
