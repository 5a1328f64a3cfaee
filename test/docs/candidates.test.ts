/**
 * docs/candidates.md says of each candidate what checking its scenario says. `UPDATE_DOCS=1` writes it anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DRIVER_SCENARIOS, findScenario } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import type { VariantResult } from '../../src/check/result.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';

const path = new URL('../../docs/candidates.md', import.meta.url);
const text = readFileSync(path, 'utf8');
const BLOCK = /(<!-- scenario: (\S+) -->\n)([\s\S]*?)(<!-- end -->)/g;

function foundText({ violations, verdict }: VariantResult): string {
  if (violations.length === 0) return verdict;
  const found = violations.map(
    ({ kind, object, invariant }) =>
      `${kind} of \`${object}\`${invariant === null ? '' : `, ${invariant}`}`,
  );
  return [...new Set(found)].toSorted().join('; ');
}

function rowOf(scenario: AnyScenario, variant: string): string[] {
  const result = checkVariant(scenario, variant);
  expect(result.asExpected, `${scenario.name} ${variant}`).toBe(true);
  const about = scenario.variants[variant]?.about ?? '';
  const extent = result.complete ? `all ${result.executions}` : `${result.executions}, bounded`;
  return [`\`${variant}\``, about, foundText(result), extent];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths =
    rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const [head = [], ...rest] = rows;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rest.map((row) => line(row))].join('\n');
}

function blockOf(name: string): string {
  const scenario = findScenario(name);
  if (scenario === null) throw new Error(`no scenario ${name}`);
  const rows = Object.keys(scenario.variants).map((variant) => rowOf(scenario, variant));
  const head = [`\`${name}\``, 'what it is', 'found', 'executions'];
  return `\n${table([head, ...rows])}\n\n`;
}

test('what the page says of each candidate is what the checker says', () => {
  const fresh = text.replaceAll(
    BLOCK,
    (_, head: string, name: string, __, tail: string) => head + blockOf(name) + tail,
  );
  expect(text).toMatch(BLOCK);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, fresh);
  else expect(text).toBe(fresh);
});

test('every scenario that stands for a candidate is on the page, under its name', () => {
  for (const { name, models = [] } of DRIVER_SCENARIOS) {
    const candidates = models.filter((model) => model.startsWith('A-'));
    if (candidates.length === 0) continue;
    expect(text).toContain(`<!-- scenario: ${name} -->`);
    for (const candidate of candidates) expect(text).toContain(`## ${candidate}: `);
  }
});
