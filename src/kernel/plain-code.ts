/**
 * The code between two operations, as a step of its own.
 *
 * It is one only where somebody asked for a pause (see `PAUSE`): otherwise it belongs to the step of
 * the operation before it. Modelled then: that other tasks come between an operation and the plain code
 * behind it. Simplified: all the plain code up to the next operation is one step.
 */
import { Operation } from './operation.ts';
import type { Task } from './task.ts';

class PlainCode extends Operation<unknown> {
  override footprint(): void {
    // What it touches is known when it has run: `kernel.plainAccesses`.
  }

  /** Hands the task the result of the operation it paused after. */
  perform(task: Task): unknown {
    return task.argument;
  }

  describe(): string {
    return 'goes on';
  }
}

export const PLAIN_CODE = new PlainCode(null);
