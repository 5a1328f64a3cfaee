/** `mmulab list`: what the catalogue holds. */
import type { Consumer } from '../../catalogue/consumer.ts';
import { CONSUMERS } from '../../catalogue/consumers.ts';
import {
  DRIVER_SCENARIOS,
  PROGRAMS,
  SCENARIOS,
  type ProgramFamily,
} from '../../catalogue/index.ts';
import { goalName, type AnyScenario, type Expectation } from '../../check/scenario.ts';
import type { Invocation } from '../commands.ts';
import { EXIT_OK } from '../exit-code.ts';
import { writeResult } from '../output.ts';

const SCHEMA_VERSION = 1;

export async function list({ options }: Invocation): Promise<number> {
  const texts = [...DRIVER_SCENARIOS.map(textOf), programsText()];
  writeResult(options['json'] === true ? jsonText() : texts.join('\n'));
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

/** The acceptance programs, a line for all sizes of each. */
function programsText(): string {
  const names = PROGRAMS.map((family) => sizesText(family));
  const width = Math.max(...names.map((name) => name.length));
  const lines = PROGRAMS.map((family, at) => `  ${names[at]?.padEnd(width)}  ${family.about}`);
  return ['acceptance programs, with the numbers of traces they must have', ...lines, ''].join(
    '\n',
  );
}

function sizesText({ name, counts }: ProgramFamily): string {
  return counts === null ? name : `${name}-N, N from ${counts.min} to ${counts.max}`;
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
  const families = PROGRAMS.filter(({ counts }) => counts !== null).map(
    ({ name, counts, about }) => ({ name, about, min: counts?.min, max: counts?.max }),
  );
  const consumers = CONSUMERS.map((consumer) => consumerOf(consumer));
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, scenarios, consumers, families }, null, 2);
}

/** A consumer, its scenarios by name, each with the names of its variants. */
function consumerOf({ scenarios, ...rest }: Consumer) {
  const named = scenarios.map(({ name, variants }) => ({ name, variants: Object.keys(variants) }));
  return { ...rest, scenarios: named };
}
