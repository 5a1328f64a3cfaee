/**
 * Measuring: warmed up, in short rounds in which everybody has a turn, so that whatever else the machine
 * does disturbs all of them. What is compared are ratios within a round; their median is what is told.
 */
import { now } from './clock.ts';
import type { AnyScenario } from '../src/check/scenario.ts';
import type { Contestant, Work } from './contestant.ts';

export interface Measured {
  readonly name: string;
  /** Executions a second, abandoned ones not counted: the median over the rounds. */
  readonly rate: number;
  readonly stepRate: number;
  /** Against the first contestant, in the same round: the median, the least and the most. */
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
  /** What one turn did. */
  readonly work: Work;
}

export interface MeasureOptions {
  readonly rounds: number;
  /** About how long one turn takes. */
  readonly turnMs: number;
}

interface Turn {
  readonly rate: number;
  readonly stepRate: number;
}

function timed(run: () => Work): { readonly work: Work; readonly ms: number } {
  const start = now();
  const work = run();
  return { work, ms: now() - start };
}

/** How many executions fill a turn; warms up on the way. */
function turnCount(contestant: Contestant, scenario: AnyScenario, turnMs: number): number {
  let count = 100;
  for (let total = 0; ;) {
    const { work, ms } = timed(() => contestant.run(scenario, count));
    total += ms;
    // There may be no more to explore; then it is done again until all is warm.
    const isWhole = work.executions + work.blocked < count;
    if (total > turnMs && (isWhole || ms > turnMs / 4)) {
      return isWhole ? count : Math.max(1, Math.round((count * turnMs) / ms));
    }
    if (!isWhole && ms < turnMs / 2) count *= 2;
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Measures all contestants on one program; the first is what the others are compared with. */
export function measure(
  scenario: AnyScenario,
  contestants: readonly Contestant[],
  { rounds, turnMs }: MeasureOptions,
): readonly Measured[] {
  const counts = contestants.map((contestant) => turnCount(contestant, scenario, turnMs));
  const turns: Turn[][] = contestants.map(() => []);
  const works: Work[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, contestant] of contestants.entries()) {
      const { work, rate, stepRate } = turn(contestant, scenario, counts[at] ?? 1, turnMs);
      works[at] = work;
      turns[at]?.push({ rate, stepRate });
    }
  }
  return contestants.map(({ name }, at) => {
    const own = turns[at] ?? [];
    const ratios = own.map((taken, round) => taken.rate / (turns[0]?.[round]?.rate ?? NaN));
    return {
      name,
      rate: median(own.map((taken) => taken.rate)),
      stepRate: median(own.map((taken) => taken.stepRate)),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      work: works[at] ?? { executions: 0, blocked: 0, steps: 0 },
    };
  });
}

/** One turn: what there is to explore is explored again until the time is over. */
function turn(
  contestant: Contestant,
  scenario: AnyScenario,
  count: number,
  turnMs: number,
): Turn & { readonly work: Work } {
  let executions = 0;
  let steps = 0;
  let total = 0;
  for (;;) {
    const { work, ms } = timed(() => contestant.run(scenario, count));
    executions += work.executions;
    steps += work.steps;
    total += ms;
    if (total < turnMs * 0.7) continue;
    return { rate: (executions * 1000) / total, stepRate: (steps * 1000) / total, work };
  }
}
