/** The benchmarks of the mm in direct mode, as a suite of the report. */
import { rounded, table, type Cell, type Suite } from '../suite.ts';
import { run as direct } from './direct.ts';
import { run as intervalTree } from './interval-tree.ts';
import { run as invalidate } from './invalidate.ts';
import type { BenchResult, RateOptions } from './measure.ts';

export interface MmBench {
  /** How the command line calls it. */
  readonly name: string;
  readonly title: string;
  /** What is said of it in the report. */
  readonly text: string;
  /** Whether the first of each contest is what the others are compared with. */
  readonly isContest: boolean;
  run(options: RateOptions): readonly BenchResult[] | Promise<readonly BenchResult[]>;
}

export const MM_BENCHES: readonly MmBench[] = [
  {
    name: 'direct',
    title: 'Faults and mappings',
    text: `A fault includes its part of emptying the area again; a pair of map and unmap counts as one. Areas have
1024 pages, mappings four.`,
    isContest: false,
    run: direct,
  },
  {
    name: 'invalidate',
    title: 'Invalidations',
    text: `A start and an end that one notifier is told of, which looks up in an interval tree which of the ranges
that are registered with it are hit. × is how many times as long as the first line it takes.`,
    isContest: true,
    run: invalidate,
  },
  {
    name: 'interval-tree',
    title: 'Interval trees',
    text: `The tree under all this beside those of npm, with the same intervals. × is how many times as long as
mmulab's the other takes, in the same round.`,
    isContest: true,
    run: intervalTree,
  },
];

function tableOf(results: readonly BenchResult[], isContest: boolean): string {
  const head = ['what', 'a second', 'ns', 'slowest', 'fastest'];
  const rows = results.map((result): Cell[] => [
    result.name,
    rounded(result.rate),
    rounded(result.nanoseconds),
    rounded(result.rateMin),
    rounded(result.rateMax),
    ...(isContest ? [`${result.times.toFixed(result.times < 10 ? 1 : 0)} ×`] : []),
  ]);
  return table(isContest ? [...head, '×'] : head, rows);
}

const TEXT = `## The mm in direct mode

What a program pays that embeds the simulated mm ([direct-mode.md](direct-mode.md)): one call after the
other, nothing explored, no detectors. The rate is the median over the rounds, beside it the slowest and
the fastest of them.`;

export const mm: Suite = {
  name: 'mm',
  async run({ rounds, turnMs, match, progress }) {
    const sections = [TEXT];
    for (const bench of MM_BENCHES) {
      const { name, title, text, isContest } = bench;
      if (match !== null && !name.includes(match)) continue;
      progress(name);
      const results = await bench.run({ rounds, roundMs: turnMs });
      sections.push(`### ${title}\n\n${text}`, tableOf(results, isContest));
    }
    return sections.join('\n\n');
  },
};
