/** How long the whole catalogue takes: each scenario once, in every variant, on one thread. */
import { CONSUMERS } from '../src/catalogue/consumers.ts';
import { SCENARIOS } from '../src/catalogue/index.ts';
import { checkVariant } from '../src/check/check-variant.ts';
import type { AnyScenario } from '../src/check/scenario.ts';
import { now } from './clock.ts';
import { count, seconds, table, type Cell, type Suite } from './suite.ts';

const TEXT = `## The whole catalogue

What \`mmulab check --all\` does, on one thread, with all detectors: minimising what is found is part of it. Each
scenario is checked once, so that what the machine does beside it shows; \`--workers 2\` shares long ones out.`;

interface Part {
  readonly name: string;
  readonly scenarios: readonly AnyScenario[];
}

/** The consumers, and what belongs to none of them. */
function parts(): Part[] {
  const own = CONSUMERS.map(({ name, scenarios }) => ({
    name,
    scenarios: scenarios as unknown as readonly AnyScenario[],
  }));
  const owned = new Set(own.flatMap(({ scenarios }) => scenarios));
  const rest = SCENARIOS.filter((scenario) => !owned.has(scenario));
  return [{ name: 'core, series and programs', scenarios: rest }, ...own];
}

interface Sum {
  variants: number;
  executions: number;
  ms: number;
  slowest: { readonly name: string; readonly ms: number };
}

function timeOf(scenarios: readonly AnyScenario[]): Sum {
  const sum: Sum = { variants: 0, executions: 0, ms: 0, slowest: { name: '', ms: 0 } };
  for (const scenario of scenarios) {
    const start = now();
    for (const variant of Object.keys(scenario.variants)) {
      sum.variants += 1;
      sum.executions += checkVariant(scenario, variant).executions;
    }
    const ms = now() - start;
    sum.ms += ms;
    if (ms > sum.slowest.ms) sum.slowest = { name: scenario.name, ms };
  }
  return sum;
}

function rowOf(name: string, scenarios: number, { variants, executions, ms, slowest }: Sum) {
  const slow = slowest.name === '' ? '' : `${slowest.name}, ${seconds(slowest.ms)}`;
  return [name, scenarios, variants, count(executions), seconds(ms), slow];
}

export const catalogue: Suite = {
  name: 'catalogue',
  run({ match, progress }) {
    const rows: Cell[][] = [];
    const all: Sum = { variants: 0, executions: 0, ms: 0, slowest: { name: '', ms: 0 } };
    let total = 0;
    for (const { name, scenarios } of parts()) {
      if (match !== null && !name.includes(match)) continue;
      progress(name);
      const sum = timeOf(scenarios);
      rows.push(rowOf(name, scenarios.length, sum));
      total += scenarios.length;
      all.variants += sum.variants;
      all.executions += sum.executions;
      all.ms += sum.ms;
    }
    rows.push(rowOf('together', total, all));
    const head = ['what', 'scenarios', 'variants', 'executions', 'time', 'the slowest'];
    return Promise.resolve(`${TEXT}\n\n${table(head, rows)}`);
  },
};
