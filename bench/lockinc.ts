/**
 * The quick look: how fast lockinc-N is explored, against bare re-execution in the same run.
 *
 *     node bench/start.js lockinc 8 9
 *     node --cpu-prof bench/start.js lockinc 9 --only optimal      one contestant for some seconds
 */
import { now } from './clock.ts';
import type { AnyScenario } from '../src/check/scenario.ts';
import { contestants, type Contestant } from './contestant.ts';
import { measure, type Measured } from './measure.ts';
import { programNamed } from './programs.ts';

/** Executions at a time while a contestant is profiled. */
const PROFILE_COUNT = 20_000;

export interface QuickOptions {
  /** The program family, `lockinc`, and its numbers. */
  readonly family: string;
  readonly counts: readonly number[];
  /** Only the contestant of that name; for profiles. */
  readonly only: string | null;
  readonly seconds: number;
}

export async function quick({ family, counts, only, seconds }: QuickOptions): Promise<void> {
  const all = await contestants();
  const chosen = all.filter(({ name }) => only === null || name === only);
  if (chosen.length === 0) {
    throw new Error(`--only ${only}: there are ${all.map(({ name }) => name).join(', ')}`);
  }
  for (const count of counts) {
    const scenario = programNamed(`${family}-${count}`);
    if (only !== null) {
      profile(scenario, chosen[0] as Contestant, seconds);
      continue;
    }
    const turnMs = Math.max(100, (seconds * 1000) / (chosen.length * 5));
    const rows = measure(scenario, chosen, { rounds: 5, turnMs });
    process.stdout.write(`${scenario.name}\n${rows.map(rowText).join('\n')}\n`);
  }
}

function rowText(row: Measured): string {
  return [
    row.name.padEnd(20),
    `${Math.round(row.rate).toLocaleString('en')} exec/s`.padStart(20),
    `${(row.stepRate / 1e6).toFixed(2)} M steps/s`.padStart(18),
    `${(100 * row.ratio).toFixed(1)} % of bare`.padStart(18),
    `(${(100 * row.ratioMin).toFixed(1)} … ${(100 * row.ratioMax).toFixed(1)})`,
    row.work.blocked > 0 ? `${row.work.blocked} abandoned` : '',
  ].join(' ');
}

/** Nothing but the contestant, for as long as asked. */
function profile(scenario: AnyScenario, contestant: Contestant, seconds: number): void {
  const start = now();
  let executions = 0;
  let ms = 0;
  while (ms < seconds * 1000) {
    executions += contestant.run(scenario, PROFILE_COUNT).executions;
    ms = now() - start;
  }
  const rate = Math.round((executions * 1000) / ms).toLocaleString('en');
  process.stdout.write(
    `${scenario.name} ${contestant.name}: ${rate} exec/s, ${executions} in ${Math.round(ms)} ms\n`,
  );
}
