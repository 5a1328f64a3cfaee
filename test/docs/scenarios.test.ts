/**
 * The catalogue as a document: the list of all scenarios, the acceptance programs with their sources, and the table
 * of bugs in the README. What a scenario's own page says is compared where it is checked, in
 * test/catalogue/expectations.ts. `UPDATE_DOCS=1` writes them anew.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DRIVER_SCENARIOS, PROGRAMS, type ProgramFamily } from '../../src/catalogue/index.ts';
import type { AnyScenario, Variant } from '../../src/check/scenario.ts';
import { thousands } from '../../src/report/numbers.ts';
import { titleOf } from '../../src/report/titles.ts';
import { definitionOf, MADE, PAGES } from './scenario-page.ts';

const root = new URL('../../', import.meta.url);

function compare(path: URL, fresh: string): void {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, fresh);
  else expect(readFileSync(path, 'utf8')).toBe(fresh);
}

/** What is expected to be found, without the names of what is found besides. */
function foundIn({ expect: expected }: Variant): string {
  if (expected === undefined) return '';
  const { verdict, kind, object = '' } = expected;
  // What is dereferenced is the kind's name already.
  return kind === undefined ? verdict : titleOf({ kind, object: object === 'NULL' ? '' : object });
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** A link to the page, once it is made. */
function linkTo(name: string, folder: string): string {
  return existsSync(new URL(`${name}.md`, PAGES)) ? `[${name}](${folder}${name}.md)` : name;
}

/** Of more variants the list says only how many there are: every pair of operations, say. */
const LISTED_VARIANTS_MAX = 8;

function rowOf({ name, models = [], about = '', variants }: AnyScenario): string {
  const found = Object.entries(variants).map(
    ([variant, definition]) => `\`${cell(variant)}\`: ${cell(foundIn(definition))}`,
  );
  const list = found.length > LISTED_VARIANTS_MAX ? `${found.length}` : found.join('<br>');
  return `| ${linkTo(name, '')} | ${models.join(', ')} | ${cell(about)} | ${list} |`;
}

test('the list has every scenario, what it stands for, and what each variant is expected to do', () => {
  const text = [
    '# Scenarios',
    '',
    MADE,
    '',
    'What mmulab ships to be checked: races of the notifier core and of its drivers, as they were and as they',
    'were mended. A page for each has its source, what the checker finds in each variant, a picture, and the',
    'line that replays it. [Names](../names.md) says what B-5, K1 and A-13 stand for.',
    '',
    '| scenario | stands for | what happens | variants |',
    '| --- | --- | --- | --- |',
    ...DRIVER_SCENARIOS.map((scenario) => rowOf(scenario)),
    '',
    '[Acceptance programs](programs.md): small programs whose number of interleavings is known.',
    '',
  ].join('\n');
  compare(new URL('README.md', PAGES), text);
});

function familyText({ name, about, counts, traces }: ProgramFamily): string {
  const entries = Object.entries(traces).map(([count, value]) =>
    counts === null ? thousands(value) : `${count}: ${thousands(value)}`,
  );
  const file = `src/catalogue/${name}.ts`;
  const source = readFileSync(new URL(file, root), 'utf8').trimEnd();
  const example = counts === null ? name : `${name}-${Object.keys(traces)[0] ?? counts.min}`;
  return [
    `## ${name}`,
    '',
    `${about}${about.endsWith('.') ? '' : '.'}`,
    '',
    counts === null ? '' : `For every number from ${counts.min} to ${counts.max}.`,
    `Traces, each of which is executed once: ${entries.join(', ')}.`,
    '',
    '```sh',
    `npx mmulab check ${example}`,
    '```',
    '',
    `[${file}](../../${file}):`,
    '',
    '```ts',
    source,
    '```',
    '',
  ]
    .filter((line, at, lines) => line !== '' || lines[at - 1] !== '')
    .join('\n');
}

test('the acceptance programs are on a page, with their sources and how many traces they have', () => {
  const text = [
    '# Acceptance programs',
    '',
    MADE,
    '',
    'Small programs without a kernel to speak of, whose number of traces (classes of equivalent interleavings)',
    'is known: what the explorer executes is counted against it (test/catalogue/programs.test.ts).',
    '',
    ...PROGRAMS.map((family) => familyText(family)),
  ].join('\n');
  compare(new URL('programs.md', PAGES), text);
});

test('every scenario has a page, and every page a scenario', (context) => {
  const names = new Set(DRIVER_SCENARIOS.map(({ name }) => `${name}.md`));
  const pages = readdirSync(PAGES).filter((name) => !['README.md', 'programs.md'].includes(name));
  if (process.env['UPDATE_DOCS'] === '1') {
    for (const page of pages) if (!names.has(page)) rmSync(new URL(page, PAGES));
    return;
  }
  expect(pages.filter((page) => !names.has(page))).toEqual([]);
  const missing = [...names].filter((name) => !pages.includes(name));
  const isDemanded = process.env['CI'] !== undefined;
  if (missing.length > 0 && !isDemanded) {
    context.skip(`${missing.length} pages are missing: npm run docs:scenarios makes them`);
  }
  expect(missing).toEqual([]);
});

test('a definition is found by the name of its scenario, from its comment to its end', () => {
  const { file, text } = definitionOf('get-put');
  expect(file).toBe('src/catalogue/core/get-put.ts');
  expect(text).toMatch(/^export const getPut = [\s\S]*name: 'get-put'[\s\S]*\n\}\);$/);
  expect(() => definitionOf('nothing')).toThrow(/no file of the catalogue/);
});

// ---- the README ----------------------------------------------------------------------------------

const BLOCK = /(<!-- bugs -->\n)([\s\S]*?)(<!-- end -->)/;
/** Bugs that were published, by the names of the facts. */
const PUBLISHED = /^[BK]-?\d/;

function bugTable(): string {
  const rows = DRIVER_SCENARIOS.flatMap(({ name, models = [], variants }) => {
    const bugs = models.filter((model) => PUBLISHED.test(model));
    const found = Object.entries(variants).filter(([, one]) => one.expect?.verdict === 'violation');
    if (bugs.length === 0 || found.length === 0) return [];
    const [variant, definition] = found[0] as [string, Variant];
    return [[bugs.join(', '), linkTo(name, 'docs/scenarios/'), variant, foundIn(definition)]];
  });
  const all = [['bug', 'scenario', 'version', 'what is found'], ...rows];
  const widths = [0, 1, 2, 3].map((at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return ['', line(all[0] as string[]), rule, ...all.slice(1).map((row) => line(row)), '', ''].join(
    '\n',
  );
}

test("the README's table of bugs leads to the pages of the scenarios that show them", () => {
  const path = new URL('README.md', root);
  const text = readFileSync(path, 'utf8');
  expect(text).toMatch(BLOCK);
  compare(
    path,
    text.replace(BLOCK, (_, head: string, __, tail: string) => head + bugTable() + tail),
  );
});
