/** `mmulab list`: what the catalogue holds. */
import { SCENARIOS } from '../../catalogue/index.ts';
import { goalName, type AnyScenario, type Expectation } from '../../check/scenario.ts';
import type { Invocation } from '../commands.ts';
import { EXIT_OK } from '../exit-code.ts';
import { writeResult } from '../output.ts';

const SCHEMA_VERSION = 1;

export async function list({ options }: Invocation): Promise<number> {
  writeResult(options['json'] === true ? jsonText() : SCENARIOS.map(textOf).join('\n'));
  return EXIT_OK;
}

function textOf(scenario: AnyScenario): string {
  const names = Object.keys(scenario.variants);
  const width = Math.max(...names.map((name) => name.length));
  const models = scenario.models ?? [];
  const lines = [`${scenario.name}${models.length === 0 ? '' : `  (${models.join(', ')})`}`];
  if (scenario.about !== undefined) lines.push(`  ${scenario.about}`);
  for (const [name, { expect, about }] of Object.entries(scenario.variants)) {
    const what = [expectationText(expect), about].filter((text) => text !== undefined).join('; ');
    lines.push(`    ${name.padEnd(width)}  ${what}`);
  }
  return `${lines.join('\n')}\n`;
}

function expectationText(expect: Expectation | undefined): string {
  if (expect === undefined) return 'nothing expected';
  const { verdict, kind, object, invariant } = expect;
  if (verdict !== 'violation') return verdict;
  const parts = [kind, object === undefined ? undefined : `of ${object}`, invariant];
  return parts.filter((part) => part !== undefined).join(' ');
}

function jsonText(): string {
  const scenarios = SCENARIOS.map((scenario) => ({
    name: scenario.name,
    about: scenario.about ?? null,
    models: scenario.models ?? [],
    goals: (scenario.goals ?? []).map((goal) => goalName(goal)),
    variants: Object.entries(scenario.variants).map(([name, { expect, about }]) => ({
      name,
      about: about ?? null,
      expected: expect ?? null,
    })),
  }));
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, scenarios }, null, 2);
}
