/** How fast programs are explored, against how fast they can be executed at all. */
import { contestants } from './contestant.ts';
import { measure } from './measure.ts';
import { measured, programNamed } from './programs.ts';
import { percent, rounded, table, type Cell, type Suite } from './suite.ts';

const TEXT = `## Exploring against bare re-execution

\`bare\` answers every operation of a program at once, task after task, in a loop of ten lines: the same
task functions on the same objects, which set-up builds anew each time. No engine, no order, no checks:
nobody who executes the program can be faster. \`engine\` takes the same steps through the engine, as a
program that uses the package would. The others explore: \`source\` is Source-DPOR, \`optimal\`
Optimal-DPOR, \`+detectors\` says that all detectors watch.

The rate counts executions a second of processor time, abandoned runs left out. An explorer repeats
only what has changed since the execution before, but each execution needs its objects anew. The ratio is
the median over the rounds, in brackets the least and the most of them.`;

export const exploring: Suite = {
  name: 'exploring',
  async run({ rounds, turnMs, match, progress }) {
    const all = await contestants();
    const rows: Cell[][] = [];
    for (const name of measured(match)) {
      progress(name);
      for (const row of measure(programNamed(name), all, { rounds, turnMs })) {
        rows.push([
          row.name === 'bare' ? name : '',
          row.name,
          rounded(row.rate),
          percent(row.ratio),
          `(${percent(row.ratioMin)} to ${percent(row.ratioMax)})`,
        ]);
      }
    }
    return `${TEXT}\n\n${table(['program', 'who', 'executions/s', 'of bare', 'range'], rows)}`;
  },
};
