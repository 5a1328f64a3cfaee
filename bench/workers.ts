/**
 * What workers are worth: the built command explores a program with one worker and with several.
 *
 *     npm run build && node bench/start.js workers program/lockinc-9 2
 *
 * Two things are measured, in turns. The whole command: each thread starts, loads its code and has it compiled, which
 * takes the same time however much there is to explore. And exploring alone, by threads that have explored the
 * program once before. On a machine that others use the clock says little; so the processor time of
 * each thread of the commands is told as well (Linux): a search takes as long as its busiest thread, if
 * each has a core of its own.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type * as Catalogue from '../src/catalogue/index.ts';
import type * as Check from '../src/check/check-variant.ts';
import type { Parts } from '../src/check/search-parts.ts';
import type * as Telling from '../src/cli/counters.ts';
import type * as Threads from '../src/cli/thread-team.ts';
import { count, seconds, table, type Suite } from './suite.ts';

const DIST = new URL('../dist/', import.meta.url);
const SAMPLE_MS = 50;
const TICKS_PER_SECOND = 100;
/** Threads that took less are those of the runtime. */
const THREAD_MS_MIN = 300;
const SCENARIO_DEFAULT = 'program/lockinc-9';

interface Totals {
  readonly executions: number;
  readonly steps: number;
}

interface Run extends Totals {
  readonly ms: number;
  /** Processor time in ms, the most first; empty where nobody can know. */
  readonly threads: readonly number[];
}

/** The whole command. */
function command(scenario: string, size: number): Promise<Run> {
  const start = performance.now();
  const main = new URL('cli/main.js', DIST).pathname;
  const args = [main, 'check', scenario, '--workers', String(size), '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ticks = new Map<string, number>();
  const sampler = setInterval(() => sample(child.pid ?? 0, ticks), SAMPLE_MS);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return new Promise((resolve) => {
    child.on('close', () => {
      clearInterval(sampler);
      const { results } = JSON.parse(output) as { readonly results: readonly [Totals] };
      const [{ executions, steps }] = results;
      const threads = [...ticks.values()]
        .map((used) => (used / TICKS_PER_SECOND) * 1000)
        .filter((ms) => ms >= THREAD_MS_MIN)
        .toSorted((a, b) => b - a);
      resolve({ ms: performance.now() - start, threads, executions, steps });
    });
  });
}

/** Notes the processor time of each thread so far. */
function sample(pid: number, ticks: Map<string, number>): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks.set(thread, Number(fields[11]) + Number(fields[12]));
    }
  } catch {
    // It has ended, or this is no Linux.
  }
}

/** Explores again and again, in this thread alone and with `size - 1` others beside it. */
class Explorers {
  private readonly name: string;
  private readonly variant: string;
  private readonly check: (parts: Parts | null) => Totals;
  private readonly team: Threads.ThreadTeam;

  constructor(name: string, size: number, built: Built) {
    const { ThreadTeam, Counters, findScenario: find, checkVariant } = built;
    const scenario = find(name);
    if (scenario === null) throw new Error(`the catalogue has no scenario '${name}'`);
    const variant = Object.keys(scenario.variants)[0] ?? '';
    this.name = name;
    this.variant = variant;
    this.check = (parts) => checkVariant(scenario, variant, parts === null ? {} : { parts });
    this.team = new ThreadTeam(size - 1, new Counters());
  }

  run(isTogether: boolean): Run {
    const order = {
      target: { kind: 'scenario', name: this.name } as const,
      scenario: this.name,
      variant: this.variant,
      stepCountMax: null,
      doesBail: false,
    };
    const start = performance.now();
    const { executions, steps } = this.check(
      isTogether ? { team: this.team.forVariant(order) } : null,
    );
    return { ms: performance.now() - start, threads: [], executions, steps };
  }

  end(): void {
    this.team.end();
  }
}

type Built = typeof Threads & typeof Telling & typeof Catalogue & typeof Check;

/** Threads run what was built: so does who leads them. */
async function loadBuilt(): Promise<Built> {
  const files = [
    'cli/thread-team.js',
    'cli/counters.js',
    'catalogue/index.js',
    'check/check-variant.js',
  ];
  const modules = await Promise.all(
    files.map((file) => import(new URL(file, DIST).href) as Promise<object>),
  );
  return Object.assign({}, ...modules) as Built;
}

interface Pair {
  readonly one: Run;
  readonly many: Run;
}

function timesAsFast({ one, many }: Pair): number {
  return one.ms / many.ms;
}

function median(pairs: readonly Pair[]): Pair {
  const sorted = pairs.toSorted((a, b) => timesAsFast(a) - timesAsFast(b));
  return sorted[Math.floor(sorted.length / 2)] as Pair;
}

/** Throws if two searches of one program did not come to the same. */
function agree(pairs: readonly Pair[]): Totals {
  const all = pairs.flatMap(({ one, many }) => [one, many]);
  const [first, ...others] = all.map(({ executions, steps }) => ({ executions, steps }));
  if (first === undefined) throw new Error('nothing was run');
  const other = others.find((totals) => JSON.stringify(totals) !== JSON.stringify(first));
  if (other === undefined) return first;
  throw new Error(
    `${JSON.stringify(first)} with some workers, ${JSON.stringify(other)} with others`,
  );
}

interface Measured {
  readonly commands: readonly Pair[];
  readonly exploring: readonly Pair[];
}

async function measure(
  scenario: string,
  size: number,
  rounds: number,
  progress: (text: string) => void,
): Promise<Measured> {
  const commands: Pair[] = [];
  for (let at = 0; at < rounds; at += 1) {
    progress(`${scenario}, command ${at + 1} of ${rounds}`);
    commands.push({ one: await command(scenario, 1), many: await command(scenario, size) });
  }
  const explorers = new Explorers(scenario, size, await loadBuilt());
  const exploring: Pair[] = [];
  // The first time it is compiled.
  for (let at = -1; at < rounds; at += 1) {
    progress(`${scenario}, exploring ${at + 1} of ${rounds}`);
    const pair = { one: explorers.run(false), many: explorers.run(true) };
    if (at >= 0) exploring.push(pair);
  }
  explorers.end();
  return { commands, exploring };
}

function rowOf(what: string, pairs: readonly Pair[]): string[] {
  const { one, many } = median(pairs);
  const ratios = pairs.map((pair) => timesAsFast(pair)).toSorted((a, b) => a - b);
  const busiest = (one.threads[0] ?? 0) / (many.threads[0] ?? Infinity);
  return [
    what,
    seconds(one.ms),
    seconds(many.ms),
    `${timesAsFast({ one, many }).toFixed(2)} ×`,
    `${(ratios[0] ?? 0).toFixed(2)} × to ${(ratios.at(-1) ?? 0).toFixed(2)} ×`,
    busiest === 0 ? '' : `${busiest.toFixed(2)} ×`,
  ];
}

function report(scenario: string, size: number, { commands, exploring }: Measured): string {
  const { executions, steps } = agree([...commands, ...exploring]);
  const head = [
    'what',
    '1 worker',
    `${size} workers`,
    'as fast',
    'of all rounds',
    'busiest thread',
  ];
  return (
    `\`${scenario}\`: ${count(executions)} executions and ${count(steps)} steps, the same each time.\n\n` +
    table(head, [rowOf('the whole command', commands), rowOf('exploring alone', exploring)])
  );
}

function tell(text: string): void {
  process.stderr.write(`bench: workers: ${text}\n`);
}

/** The quick look: any scenario, any number of workers. */
export async function workers(scenario: string, size: number, rounds: number): Promise<void> {
  const measured = await measure(scenario, size, rounds, tell);
  process.stdout.write(`${report(scenario, size, measured)}\n`);
}

const TEXT = `## Workers

\`mmulab check --workers 2\` beside \`--workers 1\`, by the clock, in turns; the median of the ratios counts. The whole command
starts two threads, each of which loads its code and has it compiled: that takes a good half of a second of processor time
more, however much there is to explore. Exploring alone is by threads that have done so before. The last
column compares the processor time of the busiest thread, which is what a machine comes to on which nobody else runs.`;

export const workersSuite: Suite = {
  name: 'workers',
  async run({ rounds, match, progress }) {
    if (match !== null && !SCENARIO_DEFAULT.includes(match)) return TEXT;
    const measured = await measure(SCENARIO_DEFAULT, 2, rounds, progress);
    return `${TEXT}\n\n${report(SCENARIO_DEFAULT, 2, measured)}`;
  },
};
