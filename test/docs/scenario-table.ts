/**
 * Tables in pages that say what checking a scenario says: of its variants, or those that are named. By the page of the
 * scenario, which is compared where all variants are checked (see scenario-page.ts).
 */
import { expect } from 'vitest';
import { assert } from '../../src/base/assert.ts';
import { findScenario } from '../../src/catalogue/index.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';
import { thousands } from '../../src/report/numbers.ts';
import { figuresOf } from './figures.ts';

/** `<!-- scenario: NAME -->`, or with the names of some variants after it. */
const BLOCK = /(<!-- scenario: (\S+)((?: [^\s>-]\S*)*) -->\n)([\s\S]*?)(<!-- end -->)/g;

function rowOf(scenario: AnyScenario, variant: string): string[] {
  const figures = figuresOf(scenario.name, variant);
  const what = `${scenario.name} ${variant}`;
  assert(figures !== null, `${what} has a page: npm run docs:scenarios writes it`);
  expect(figures.isAsExpected, what).toBe(true);
  const { executions, isBounded } = figures;
  const about = scenario.variants[variant]?.about ?? '';
  const extent = isBounded ? `${thousands(executions)}, bounded` : `all ${thousands(executions)}`;
  // What a WARN_ON says may have bars, which would end the cell.
  return [`\`${variant}\``, about, figures.found.replaceAll('|', String.raw`\|`), extent];
}

export function table(rows: readonly (readonly string[])[]): string {
  const widths =
    rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const [head = [], ...rest] = rows;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rest.map((row) => line(row))].join('\n');
}

function blockOf(name: string, chosen: readonly string[]): string {
  const scenario = findScenario(name);
  if (scenario === null) throw new Error(`no scenario ${name}`);
  const variants = chosen.length === 0 ? Object.keys(scenario.variants) : chosen;
  const rows = variants.map((variant) => rowOf(scenario, variant));
  const head = [`\`${name}\``, 'what it is', 'found', 'executions'];
  return `\n${table([head, ...rows])}\n\n`;
}

/** The page with its tables written anew. */
export function withFreshTables(text: string): string {
  expect(text).toMatch(BLOCK);
  return text.replaceAll(
    BLOCK,
    (_, head: string, name: string, variants: string, __, tail: string) =>
      head + blockOf(name, variants.split(' ').filter(Boolean)) + tail,
  );
}
