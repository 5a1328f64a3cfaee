/** The line that tells how far a search has come. */
import type { Band } from '../check/estimate.ts';
import { plural, roughly, thousands } from '../report/numbers.ts';

export interface ProgressFigures {
  /** The scenario and its variant. */
  readonly name: string;
  readonly executions: number;
  /** Since the search began. */
  readonly seconds: number;
  /** Steps of the last execution. */
  readonly depth: number;
  /** Executions that are left; null, or up to infinity, if nobody knows. */
  readonly remaining: Band | null;
}

/** `gru-open (v5.3): 12,345 executions, some 2,000 to 9,000 more, 4,100 a second, 57 steps deep`. */
export function progressText(figures: ProgressFigures): string {
  const { name, executions, seconds, depth, remaining } = figures;
  const rate = seconds > 0 ? `, ${roughly(executions / seconds)} a second` : '';
  // What a narrow terminal cuts off is what matters least.
  return (
    `${name}: ${plural(executions, 'execution')}${remainingText(remaining)}${rate}, ` +
    `${plural(depth, 'step')} deep`
  );
}

function remainingText(remaining: Band | null): string {
  const { low, high } = remaining ?? { low: 0, high: Infinity };
  if (high === Infinity) return '';
  if (low === high) return `, ${thousands(low)} more`;
  const [from, to] = [roughly(low), roughly(high)];
  return from === to ? `, some ${from} more` : `, some ${from} to ${to} more`;
}
