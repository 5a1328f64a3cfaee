/**
 * When invalidate_range was last called for which addresses, and has returned: what I8b is judged by where a
 * driver keeps its translations by that callback. Who judges asks {@link lastToldRange}.
 */
import { perKernel } from '../../kernel/kernel.ts';
import { running } from '../../kernel/running.ts';
import type { StructObject } from '../../kernel/struct.ts';
import type { Rule } from './ledger.ts';
import type { CallbackRun } from './record.ts';

interface Told {
  readonly notifier: StructObject;
  /** Bytes [start, end). */
  readonly start: number;
  readonly end: number;
  /** The step after which it was called. */
  readonly step: number;
}

const ranges = perKernel<Told[]>(() => []);

export class RangesTold implements Rule {
  onCallbackReturn({ op, record, args, startStep }: CallbackRun): void {
    if (op !== 'invalidateRange') return;
    const [, , start, end] = args as readonly [unknown, unknown, number, number];
    ranges(running).push({ notifier: record.notifier, start, end, step: startStep });
  }
}

/**
 * The step at which the last invalidate_range of `notifier` that covers the byte `address`, and has returned, was
 * called; -1 if there was none.
 */
export function lastToldRange(notifier: StructObject, address: number): number {
  let last = -1;
  for (const told of ranges(running)) {
    if (told.notifier !== notifier || address < told.start || address >= told.end) continue;
    last = Math.max(last, told.step);
  }
  return last;
}
