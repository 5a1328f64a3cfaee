/**
 * docs/detectors.md: which detector shows which bug, and which scenarios have a bound, by what the catalogue expects.
 * That the checker agrees with it is another test's affair.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { BoundedDpor } from '../../src/check/bounded-dpor.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { FINDING_KINDS } from '../../src/kernel/finding.ts';
import { INVARIANTS } from '../../src/mmu-notifier/detector/invariant.ts';
import { thousands } from '../../src/report/numbers.ts';
import { figuresOf } from './figures.ts';
import { table } from './scenario-table.ts';

const url = new URL('../../docs/detectors.md', import.meta.url);
const BLOCK = /(<!-- table: (\S+) -->\n)([\s\S]*?)(<!-- end -->)/g;
const BUG = /^[BK]-?\d/;

interface Shown {
  readonly bugs: Set<string>;
  readonly scenarios: Set<string>;
}

/** What each kind of finding, and each invariant, is expected to show. */
function shownBy(): Map<string, Shown> {
  const names = [
    ...FINDING_KINDS.filter((kind) => kind !== 'invariant'),
    ...Object.keys(INVARIANTS),
  ];
  const found = new Map(
    names.map((name) => [name, { bugs: new Set<string>(), scenarios: new Set<string>() }]),
  );
  for (const { name, models = [], variants } of DRIVER_SCENARIOS) {
    for (const { expect: wanted } of Object.values(variants)) {
      if (wanted?.verdict !== 'violation') continue;
      for (const detector of [wanted.kind, wanted.invariant]) {
        const shown = found.get(detector ?? '');
        if (shown === undefined) continue;
        shown.scenarios.add(name);
        for (const model of models) if (BUG.test(model)) shown.bugs.add(model);
      }
    }
  }
  return found;
}

function detectors(): string {
  const rows = [...shownBy()].map(([name, { bugs, scenarios }]) => [
    `\`${name}\``,
    [...bugs].join(', ') || 'none published',
    [...scenarios].map((one) => `\`${one}\``).join(', ') || 'none; it has tests of its own',
  ]);
  return table([['detector', 'bugs', 'scenarios'], ...rows]);
}

/** Executions that are looked at for who takes part. */
const LOOKED_AT = 200;

interface Bounded {
  readonly scenario: AnyScenario;
  readonly variant: string;
  readonly bound: number;
}

/** The most tasks that took steps in one of the first executions: the scenario's, works, daemons, callbacks. */
function countTasks({ scenario, variant, bound }: Bounded): number {
  let most = 0;
  new BoundedDpor(programOf(scenario, variant), bound, {
    executionCountMax: LOOKED_AT,
    onExecution({ schedule }) {
      most = Math.max(most, new Set(schedule.tasks).size);
      return false;
    },
  }).run();
  return most;
}

function boundedOf(scenario: AnyScenario): Bounded[] {
  return Object.entries(scenario.variants).flatMap(([variant, { preemptions }]) => {
    const bound = preemptions ?? scenario.preemptions;
    return bound === undefined ? [] : [{ scenario, variant, bound }];
  });
}

function boundRow(one: Bounded): string[] {
  const { scenario, variant, bound } = one;
  const own = Object.keys(scenario.tasks).length;
  const count = countTasks(one);
  // What the page promises.
  expect(bound, `${scenario.name} ${variant}`).toBeGreaterThanOrEqual(count === 2 ? 3 : 2);
  const executions = figuresOf(scenario.name, variant)?.executions ?? 0;
  const others = count > own ? ` + ${count - own}` : '';
  return [
    `\`${scenario.name}\``,
    `\`${variant}\``,
    `${own}${others}`,
    `${bound}`,
    thousands(executions),
  ];
}

function bounds(): string {
  const rows = DRIVER_SCENARIOS.flatMap((scenario) => boundedOf(scenario)).map((one) =>
    boundRow(one),
  );
  const twos = DRIVER_SCENARIOS.filter(({ tasks }) => Object.keys(tasks).length === 2);
  const all = twos.flatMap(({ variants }) => Object.keys(variants)).length;
  const bounded = twos.flatMap((scenario) => boundedOf(scenario)).length;
  const share = `Of ${thousands(all)} variants with two tasks, ${thousands(all - bounded)} are explored to the end.`;
  return `${share}\n\n${table([['scenario', 'variant', 'tasks', 'preemptions', 'executions'], ...rows])}`;
}

const TABLES: Readonly<Record<string, () => string>> = { detectors, bounds };

test('the tables of docs/detectors.md are those of the catalogue', () => {
  const text = readFileSync(url, 'utf8');
  const fresh = text.replaceAll(
    BLOCK,
    (_, head: string, name: string, __, tail: string) => `${head}\n${TABLES[name]?.()}\n\n${tail}`,
  );
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

test('at least three quarters of what has two tasks is explored to the end', () => {
  const twos = DRIVER_SCENARIOS.filter(({ tasks }) => Object.keys(tasks).length === 2);
  const all = twos.flatMap(({ variants }) => Object.keys(variants)).length;
  const bounded = twos.flatMap((scenario) => boundedOf(scenario)).length;
  expect(bounded / all).toBeLessThanOrEqual(0.25);
});
