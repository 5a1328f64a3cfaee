/**
 * docs/consumers.md: what each consumer of notifiers is and how much of it was explored, and each published bug with
 * what it takes to show it. By the catalogue, and by the pages of its scenarios, which are compared with runs.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Consumer } from '../../src/catalogue/consumer.ts';
import { CONSUMERS } from '../../src/catalogue/consumers.ts';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';
import { thousands } from '../../src/report/numbers.ts';
import { titleOf } from '../../src/report/titles.ts';
import { figuresOf } from './figures.ts';
import { table } from './scenario-table.ts';

const root = new URL('../../', import.meta.url);
const url = new URL('docs/consumers.md', root);
const BLOCK = /(<!-- table: (\S+) -->\n)([\s\S]*?)(<!-- end -->)/g;
const BUG = /^B-\d/;

/** The bugs that docs/names.md explains. */
const PUBLISHED = [
  ...readFileSync(new URL('docs/names.md', root), 'utf8').matchAll(/^\| (B-\w+) +\|/gm),
].map(([, name]) => name as string);

function scenariosOf({ scenarios }: Consumer): readonly AnyScenario[] {
  return scenarios as unknown as readonly AnyScenario[];
}

function bugsOf(consumer: Consumer): string[] {
  const models = scenariosOf(consumer).flatMap(({ models: all = [] }) => all);
  return [...new Set(models.filter((model) => BUG.test(model)))];
}

function consumersTable(): string {
  const head = [
    'consumer',
    'object',
    'key',
    'locks of its callbacks',
    'callbacks',
    'teardown',
    'versions',
    'bugs shown',
    'executions',
  ];
  const rows = CONSUMERS.map((consumer) => {
    const { name, object, key, locks, callbacks, teardown, versions } = consumer;
    const executions = scenariosOf(consumer)
      .flatMap(({ name: scenario, variants }) =>
        Object.keys(variants).map((variant) => figuresOf(scenario, variant)?.executions ?? 0),
      )
      .reduce((sum, count) => sum + count, 0);
    return [
      `[${name}](drivers/${name}.md)`,
      object,
      key,
      locks,
      callbacks.map((callback) => `\`${callback}\``).join(', '),
      teardown,
      versions.join(', '),
      bugsOf(consumer).join(', ') || 'none published',
      thousands(executions),
    ];
  });
  return table([head, ...rows]);
}

function bugRows({ name, models = [], variants }: AnyScenario, bug: string): string[][] {
  if (!models.includes(bug)) return [];
  return Object.entries(variants).flatMap(([variant, { expect: expected }]) => {
    if (expected?.verdict !== 'violation' || expected.kind === undefined) return [];
    const { kind, object = '', invariant } = expected;
    const figures = figuresOf(name, variant);
    const found = titleOf({ kind, object: object === 'NULL' ? '' : object });
    return [
      [
        bug,
        `[${name}](scenarios/${name}.md)`,
        `\`${variant}\``,
        invariant === undefined ? found : `${found} (${invariant})`,
        `${thousands(figures?.executions ?? 0)}${figures?.isBounded === true ? ', bounded' : ''}`,
        `${figures?.preemptions ?? ''}`,
        `${figures?.steps ?? ''}`,
      ],
    ];
  });
}

function rowsOf(bug: string): string[][] {
  return DRIVER_SCENARIOS.flatMap((scenario) => bugRows(scenario, bug));
}

function bugsTable(): string {
  const head = ['bug', 'scenario', 'variant', 'found', 'executions', 'preemptions', 'steps'];
  return table([head, ...PUBLISHED.flatMap((bug) => rowsOf(bug))]);
}

const TABLES: Readonly<Record<string, () => string>> = {
  consumers: consumersTable,
  bugs: bugsTable,
};

test('the tables of docs/consumers.md are those of the catalogue', () => {
  const text = readFileSync(url, 'utf8');
  const fresh = text.replaceAll(
    BLOCK,
    (_, head: string, name: string, __, tail: string) => `${head}\n${TABLES[name]?.()}\n\n${tail}`,
  );
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

function isShown(bug: string): boolean {
  return rowsOf(bug).length > 0;
}

/** B-40a, B-40b, … of B-40. */
function partsOf(bug: string): string[] {
  return PUBLISHED.filter(
    (other) => other.startsWith(bug) && /^[a-z]$/.test(other.slice(bug.length)),
  );
}

test('every bug that is explained is shown, itself or in its parts', () => {
  const missing = PUBLISHED.filter((bug) => !isShown(bug) && !partsOf(bug).some(isShown));
  expect(missing).toEqual([]);
});

test('there are fourteen consumers, each with a folder, a page and scenarios that are in the catalogue', () => {
  expect(CONSUMERS.map(({ name }) => name).toSorted()).toHaveLength(14);
  for (const consumer of CONSUMERS) {
    const { name } = consumer;
    expect(existsSync(new URL(`src/drivers/${name}/`, root)), name).toBe(true);
    expect(existsSync(new URL(`docs/drivers/${name}.md`, root)), name).toBe(true);
    expect(scenariosOf(consumer).length, name).toBeGreaterThan(0);
    expect(scenariosOf(consumer).filter((one) => !DRIVER_SCENARIOS.includes(one))).toEqual([]);
  }
});
