/** What is said of a search that drew executions at random: how much of all it has seen. */
import type { SamplingFigures, VariantResult } from '../check/result.ts';
import { percent, plural, rounded, thousands } from './numbers.ts';

/**
 * How many different traces were seen, by which means, and what may be missing. A number that is
 * estimated has twice its standard deviation beside it: it is nearer to the truth than that 19 times in
 * 20.
 */
export function describeSampling(
  sampling: SamplingFigures,
  { executions }: Pick<VariantResult, 'executions'>,
): string[] {
  const { traces, tracesError, isExact, newNext, cut, stepCountMax, seed } = sampling;
  const count = isExact
    ? plural(traces, 'distinct trace')
    : `about ${thousands(rounded(traces, 3))} ± ${Math.ceil(200 * tracesError - 0.5)}% distinct traces`;
  const lines = [
    `${count} in ${plural(executions, 'execution')}, drawn by ${methodText(sampling)} with seed ${seed}`,
    newNext === 0
      ? 'each of them came more than once, so those not seen should be rare'
      : `one more execution would be a trace not seen before with a probability of about ${percent(newNext)}`,
  ];
  if (cut > 0) {
    lines.push(`${plural(cut, 'execution')} cut after ${plural(stepCountMax, 'step')}`);
  }
  return lines;
}

function methodText({ method, depth }: SamplingFigures): string {
  switch (method) {
    case 'random':
      return 'a random walk';
    case 'pct':
      return `PCT for bugs of depth ${depth}`;
    case 'pos':
      return 'POS';
    case 'weighted':
      return 'a weighted walk';
    default:
      return method satisfies never;
  }
}
