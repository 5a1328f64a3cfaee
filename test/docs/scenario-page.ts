/**
 * Pages of docs/scenarios: what a scenario is, its source, and for each variant what the checker says, with a
 * picture and the line that replays it.
 *
 * The pages are compared where the variants are checked anyway (test/catalogue/expectations.ts), since
 * checking them all takes minutes. A scenario that is new has no page until somebody makes it; continuous
 * integration wants all of them. Places in the code are left out, so that a page changes only with what the
 * scenario does. `UPDATE_DOCS=1` writes them anew.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Schedule } from '../../src/check/program.ts';
import type { VariantResult, Violation } from '../../src/check/result.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { diagram } from '../../src/report/diagram.ts';
import { plural } from '../../src/report/numbers.ts';
import { findingOf, verdictText } from '../../src/report/text.ts';
import { titleOf } from '../../src/report/titles.ts';
import { wrap } from '../../src/report/wrap.ts';
import { record } from '../../src/trace/record.ts';
import type { RecordedFinding, Recording } from '../../src/trace/recording.ts';
import { writeToken } from '../../src/cli/token-name.ts';

const root = new URL('../../', import.meta.url);
export const PAGES = new URL('docs/scenarios/', root);
const WIDTH = 96;
export const MADE = '<!-- Made by `npm run docs:scenarios`; change the scenario instead. -->';

// ---- source --------------------------------------------------------------------------------------

interface Definition {
  /** `src/catalogue/core/get-put.ts` */
  readonly file: string;
  readonly text: string;
}

function sourcesIn(folder: string): string[] {
  const entries = readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' });
  return entries.filter((name) => name.endsWith('.ts')).map((name) => folder + name);
}

const sources = sourcesIn('src/catalogue/').map((file) => ({
  file,
  lines: readFileSync(new URL(file, root), 'utf8').split('\n'),
}));

/** The statement of a file that holds line `at`, with the comment before it. */
function statementAt(lines: readonly string[], at: number): string {
  let start = at;
  while (start > 0 && !/^(?:export )?(?:const|function)\b/.test(lines[start] ?? '')) start -= 1;
  const isOneLine = start === at && lines[at]?.endsWith(';') === true;
  const length = isOneLine ? 0 : lines.slice(at).findIndex((line) => /^[)\]}]/.test(line));
  const end = length < 0 ? at : at + length;
  while (/^(?:\/\*\*| \*)/.test(lines[start - 1] ?? '')) start -= 1;
  return lines.slice(start, end + 1).join('\n');
}

/** What defines a scenario; and the function that makes it, where that is in the same file. */
export function definitionOf(name: string): Definition {
  // A scenario that a function makes is named as its argument.
  for (const isIt of [
    (line: string) => line.trim() === `name: '${name}',`,
    (line: string) => line.includes(`('${name}',`),
  ]) {
    for (const { file, lines } of sources) {
      const at = lines.findIndex((line) => isIt(line));
      if (at < 0) continue;
      const text = statementAt(lines, at);
      const maker = /= (\w+)\('/.exec(text)?.[1];
      const made = lines.findIndex((line) => line.startsWith(`function ${maker}(`));
      return { file, text: made < 0 ? text : `${statementAt(lines, made)}\n\n${text}` };
    }
  }
  throw new Error(`no file of the catalogue says: name: '${name}',`);
}

// ---- one variant ---------------------------------------------------------------------------------

function tokenOf(scenario: AnyScenario, variant: string, schedule: Schedule): string {
  return writeToken(programOf(scenario, variant), schedule, { scenario: scenario.name, variant });
}

function picture(recording: Recording, finding: RecordedFinding | null): string[] {
  const drawn = diagram(recording, finding, { width: WIDTH, hasPlaces: false });
  const said =
    finding === null
      ? []
      : ['', ...wrap(finding.message, WIDTH, 2), ...wrap(finding.explanation ?? '', WIDTH, 2)];
  return ['```text', ...[...drawn.split('\n'), ...said].map((line) => line.trimEnd()), '```'];
}

function recordOf(scenario: AnyScenario, variant: string, violation: Violation): Recording {
  const identity = identityOf(violation);
  return record(programOf(scenario, variant), violation.schedule, allDetectors(), {
    resolvePlace: () => null,
    isSought: (finding) => identityOf(finding) === identity,
  });
}

function violationText(scenario: AnyScenario, result: VariantResult): string[] {
  const [first, ...others] = result.violations;
  if (first === undefined) return [];
  const recording = recordOf(scenario, result.variant, first);
  const rest = others.map(
    (violation) =>
      `- ${titleOf(violation)}, in \`${violation.places[0]}\`: \`npx mmulab replay ${tokenOf(scenario, result.variant, violation.schedule)}\``,
  );
  return [
    ...picture(recording, findingOf(recording, first)),
    '',
    `Needs ${first.preemptions === 0 ? 'no preemption' : plural(first.preemptions, 'preemption')}. Replay:`,
    '',
    '```sh',
    `npx mmulab replay ${tokenOf(scenario, result.variant, first.schedule)}`,
    '```',
    ...(rest.length === 0 ? [] : ['', 'Found as well:', '', ...rest]),
  ];
}

/** An execution without violation, of a scenario that has no other to show. */
function sampleText(scenario: AnyScenario, variant: string): string[] {
  const nothing = { tasks: [], outcomes: [] };
  const recording = record(programOf(scenario, variant), nothing, allDetectors(), {
    resolvePlace: () => null,
    isSought: () => false,
  });
  const schedule = {
    tasks: recording.steps.map((step) => step.task),
    outcomes: recording.steps.map((step) => step.outcome),
  };
  return [
    'One of its executions, in which each task runs as long as it can:',
    '',
    ...picture(recording, null),
    '',
    '```sh',
    `npx mmulab replay ${tokenOf(scenario, variant, schedule)}`,
    '```',
  ];
}

function capital(text: string): string {
  return (text[0] ?? '').toUpperCase() + text.slice(1);
}

/** The section of a variant. */
function section(scenario: AnyScenario, result: VariantResult, hasSample: boolean): string {
  const { variant } = result;
  const about = scenario.variants[variant]?.about;
  const figures = `${plural(result.executions, 'execution')}, ${plural(result.steps, 'step')}`;
  const verdict = verdictText(result);
  const breaks = [...new Set(result.violations.flatMap(({ invariant }) => invariant ?? []))];
  const breach = breaks.length === 0 ? '' : ` (breaks ${breaks.join(', ')})`;
  const judged = result.expected === null ? '' : ', as expected';
  return [
    `## ${variant}`,
    '',
    ...(about === undefined ? [] : [`${capital(about)}.`, '']),
    `**${capital(verdict)}**${breach}${judged}. ${figures}${result.complete ? '' : ', bounded'}.`,
    '',
    ...(result.violations.length > 0 ? [...violationText(scenario, result), ''] : []),
    ...(hasSample ? [...sampleText(scenario, variant), ''] : []),
  ].join('\n');
}

// ---- the page ------------------------------------------------------------------------------------

/** A page in the making: variants are added as they are checked. */
export class ScenarioPage {
  private readonly scenario: AnyScenario;
  private readonly results = new Map<string, VariantResult>();

  constructor(scenario: AnyScenario) {
    this.scenario = scenario;
  }

  add(result: VariantResult): void {
    this.results.set(result.variant, result);
  }

  /** False if only some of the variants were checked, as when one is asked for by its name. */
  get isWhole(): boolean {
    return Object.keys(this.scenario.variants).every((variant) => this.results.has(variant));
  }

  get path(): string {
    return fileURLToPath(new URL(`${this.scenario.name}.md`, PAGES));
  }

  text(): string {
    const { name, about, models = [], tasks, goals = [] } = this.scenario;
    const { file, text } = definitionOf(name);
    const results = [...this.results.values()];
    const isClean = results.every((result) => result.violations.length === 0);
    const names = goals.map((goal) => (typeof goal === 'string' ? goal : goal.name));
    const reached = names.length === 0 ? '' : ` Must be reached: ${names.join('; ')}.`;
    return [
      `# ${name}`,
      '',
      MADE,
      '',
      ...(about === undefined ? [] : [`${capital(about)}.`, '']),
      ...(models.length === 0
        ? []
        : [`Stands for ${models.join(', ')}; see [names](../names.md).`, '']),
      `Tasks: ${Object.keys(tasks)
        .map((task) => `\`${task}\``)
        .join(', ')}.${reached}`,
      '',
      '```sh',
      `npx mmulab check ${name}`,
      '```',
      '',
      ...results.map((result, at) =>
        section(this.scenario, result, isClean && at === results.length - 1),
      ),
      '## Source',
      '',
      `[${file}](../../${file}):`,
      '',
      '```ts',
      text,
      '```',
      '',
    ].join('\n');
  }

  write(): void {
    mkdirSync(PAGES, { recursive: true });
    writeFileSync(this.path, this.text());
  }

  get isWritten(): boolean {
    return existsSync(this.path);
  }

  /** What the page says now; empty if there is none. */
  written(): string {
    return this.isWritten ? readFileSync(this.path, 'utf8') : '';
  }
}
