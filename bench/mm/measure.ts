/** Timing of things in short rounds in which each has a turn: warmed up, and the median told. */
import { now } from '../clock.ts';
import { median } from '../measure.ts';

/** What was measured, for tables and for JSON. */
export interface BenchResult {
  readonly name: string;
  /** How often a second: the median over the rounds. */
  readonly rate: number;
  /** The same as time for one, in nanoseconds. */
  readonly nanoseconds: number;
  /** The slowest and the fastest round, as rates. */
  readonly rateMin: number;
  readonly rateMax: number;
  /** How many times as long as the first of its contest it takes, in the same round: the median. */
  readonly times: number;
}

export interface RateOptions {
  readonly rounds?: number;
  /** About how long one round takes. */
  readonly roundMs?: number;
}

/** A contestant: does `count` of the thing. */
export interface Contestant {
  readonly name: string;
  run(count: number): void;
}

function timed(contestant: Contestant, count: number): number {
  const start = now();
  contestant.run(count);
  return now() - start;
}

/** Measures several in turns, so that whatever else the machine does slows all of them. */
export function rates(
  contestants: readonly Contestant[],
  { rounds = 9, roundMs = 60 }: RateOptions = {},
): readonly BenchResult[] {
  const counts = contestants.map((contestant) => {
    let count = 1;
    // Doubled until a round is long enough; that warms up, too.
    while (timed(contestant, count) < roundMs / 2) count *= 2;
    return count;
  });
  const measured = contestants.map((): number[] => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, contestant] of contestants.entries()) {
      const count = counts[at] as number;
      measured[at]?.push((count * 1000) / timed(contestant, count));
    }
  }
  return contestants.map(({ name }, at) => {
    const own = measured[at] as number[];
    const rate = median(own);
    return {
      name,
      rate,
      nanoseconds: 1e9 / rate,
      rateMin: Math.min(...own),
      rateMax: Math.max(...own),
      times: median(own.map((each, round) => (measured[0]?.[round] ?? NaN) / each)),
    };
  });
}

/** A line for each result. */
export function tableOf(title: string, results: readonly BenchResult[]): string {
  const width = Math.max(...results.map(({ name }) => name.length));
  const lines = results.map(
    ({ name, rate, nanoseconds }) =>
      `  ${name.padEnd(width)}  ${Math.round(rate).toLocaleString('en').padStart(12)} /s  ` +
      `${nanoseconds.toFixed(0).padStart(10)} ns`,
  );
  return [title, ...lines, ''].join('\n');
}
