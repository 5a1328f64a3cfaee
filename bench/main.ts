/**
 * The benchmarks' command line.
 *
 *     npm run bench                                 every suite, as Markdown
 *     npm run bench -- exploring --match lockinc    one suite, some programs
 *     npm run bench -- --write                      into docs/benchmarks.md
 *     npm run bench -- catalogue --write            only that section
 *     node bench/start.js lockinc [N …] [--only NAME] [--seconds S]     the quick look, see lockinc.ts
 *     node bench/start.js workers [SCENARIO] [N]    what workers are worth, see workers.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { facts } from './facts.ts';
import { quick } from './lockinc.ts';
import { SUITES } from './suites.ts';
import { workers } from './workers.ts';

const REPORT = new URL('../docs/benchmarks.md', import.meta.url);

const HEAD = `# Benchmarks

Written by \`npm run bench -- --write\`. What counts are the ratios: each compares things measured in the
same run, in turns, after warming up. Times are of the processor, not of the clock on the wall. Rates
depend on the machine.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '5' },
    turn: { type: 'string', default: '400' },
    match: { type: 'string' },
    date: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

async function report(names: readonly string[]): Promise<void> {
  const chosen = SUITES.filter(({ name }) => names.length === 0 || names.includes(name));
  if (chosen.length < names.length) {
    const known = SUITES.map(({ name }) => name).join(', ');
    throw new Error(`there are the suites ${known}, and the quick look 'lockinc'`);
  }
  const sections: string[] = [];
  for (const suite of chosen) {
    sections.push(
      await suite.run({
        rounds: Number(values.rounds),
        turnMs: Number(values.turn),
        match: values.match ?? null,
        progress: (text) => process.stderr.write(`bench: ${suite.name}: ${text}\n`),
      }),
    );
  }
  const measured = `${facts(values.date ?? null)}.`;
  const isWhole = chosen.length === SUITES.length;
  const parts =
    values.write && !isWhole ? replaced(sections, measured) : [HEAD, measured, ...sections];
  const text = `${parts.join('\n\n')}\n`;
  if (values.write) writeFileSync(REPORT, text);
  else process.stdout.write(text);
}

function headingOf(section: string): string {
  return section.slice(0, section.indexOf('\n'));
}

/** The report as it is, with these sections in the place of those of the same heading, or at the end. */
function replaced(sections: readonly string[], measured: string): string[] {
  const [head = '', ...present] = readFileSync(REPORT, 'utf8')
    .trim()
    .split(/\n\n(?=## )/);
  const added = new Map(
    sections.map((section) => [headingOf(section), `${section}\n\n${measured}`]),
  );
  const kept = present.map((section) => {
    const heading = headingOf(section);
    const now = added.get(heading) ?? section;
    added.delete(heading);
    return now;
  });
  return [head, ...kept, ...added.values()];
}

const [first, ...others] = positionals;
const numbers = others.map(Number);
if (first === 'workers' && !values.write) {
  await workers(others[0] ?? 'program/lockinc-9', Number(others[1] ?? 2), Number(values.rounds));
} else if (first !== undefined && !SUITES.some(({ name }) => name === first)) {
  await quick({
    family: first,
    counts: numbers.length === 0 ? [8, 9] : numbers,
    only: values.only ?? null,
    seconds: Number(values.seconds),
  });
} else {
  await report(positionals);
}
