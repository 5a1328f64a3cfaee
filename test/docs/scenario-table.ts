/** Tables in pages that say what checking a scenario says: its variants, or those that are named. */
import { expect } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import type { VariantResult } from '../../src/check/result.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';

/** `<!-- scenario: NAME -->`, or with the names of some variants after it. */
const BLOCK = /(<!-- scenario: (\S+)((?: [^\s>-]\S*)*) -->\n)([\s\S]*?)(<!-- end -->)/g;

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
  // What a WARN_ON says may have bars, which would end the cell.
  const found = foundText(result).replaceAll('|', String.raw`\|`);
  return [`\`${variant}\``, about, found, extent];
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
