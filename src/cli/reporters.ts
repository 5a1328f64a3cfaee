/**
 * Where reports go: `--reporter name[=file]`, as often as there are reports to write.
 *
 * Standard output gets one report. Without another for it that is the text, as results come; unless the
 * text has a file of its own. Annotations of GitHub may stand beside the text, being lines as well.
 * Files are tried before the search begins, for a night's search must not end at a folder that is missing.
 */
import { accessSync, appendFileSync, constants, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { summary } from '../report/github.ts';
import type { Reporter, ReportInput } from '../report/reporter.ts';
import type { ReporterName } from '../report/reporter-name.ts';
import { findReporter } from '../report/reporters.ts';
import { EXIT_OK, EXIT_OUTPUT } from './exit-code.ts';
import { writeNote, writeResult } from './output.ts';
import type { View } from './protocol.ts';
import type { ReportTarget } from './report-target.ts';
import { VERSION } from './version.ts';

/** What to write, and what standard output gets meanwhile. */
export class Reports {
  private readonly targets: readonly ReportTarget[];
  /** Whether text is to be printed as results come. */
  readonly hasText: boolean;

  constructor(targets: readonly ReportTarget[], isJson: boolean) {
    const all = isJson ? [...targets, { name: 'json', file: null } as const] : targets;
    this.targets = all.filter(({ name, file }) => name !== 'text' || file !== null);
    const isTextAsked = all.length !== this.targets.length;
    const hasTextFile = this.targets.some(({ name }) => name === 'text');
    this.hasText = isTextAsked || (!hasTextFile && this.printed.length === 0);
  }

  /** What the results must come with. */
  get wish(): Pick<View, 'report'> {
    if (this.targets.length === 0) return {};
    const needsValues = this.targets.some(({ name }) => !PLAIN.has(name));
    return { report: needsValues ? 'values' : 'plain' };
  }

  /** Those that take standard output for themselves. */
  private get printed(): readonly ReportTarget[] {
    return this.targets.filter(({ name, file }) => file === null && name !== 'github');
  }

  /** What is wrong with the command line, or null. */
  problem(): string | null {
    const names = [...this.printed.map(({ name }) => name), ...(this.hasText ? ['text'] : [])];
    if (names.length > 1) {
      return (
        `${names.join(' and ')} would both go to standard output: give all but one a file, ` +
        `like --reporter ${names[0]}=FILE`
      );
    }
    const isBeside = this.targets.some(({ name, file }) => file === null && name === 'github');
    if (isBeside && names.length === 1 && names[0] !== 'text') {
      return `github and ${names[0]} would both go to standard output: give ${names[0]} a file`;
    }
    const files = this.targets.flatMap(({ file }) => (file === null ? [] : [file]));
    const twice = files.find((file, at) => files.indexOf(file) !== at);
    if (twice !== undefined) return `two reports would go to '${twice}'`;
    return files.map((file) => problemWithFile(file)).find((problem) => problem !== null) ?? null;
  }

  /** Writes all reports. Returns the exit code: what could not be written is told. */
  write(input: Omit<ReportInput, 'version'>): number {
    const codes = this.targets.map((target) => writeReport(target, { version: VERSION, ...input }));
    return codes.find((code) => code !== EXIT_OK) ?? EXIT_OK;
  }
}

/** What shows neither what memory holds nor executions without violation. */
const PLAIN: ReadonlySet<ReporterName> = new Set<ReporterName>(['text', 'json', 'junit', 'github']);

function problemWithFile(file: string): string | null {
  const folder = dirname(file);
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true) {
      return `'${file}' is a folder: a report needs a file`;
    }
    accessSync(folder, constants.W_OK);
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such folder' : `it cannot be written (${code})`;
    return `the report '${file}' cannot go to '${folder}': ${reason}`;
  }
}

function writeReport({ name, file }: ReportTarget, input: ReportInput): number {
  const reporter = findReporter(name);
  const documents = reporter.write(input);
  try {
    if (name === 'github') appendSummary(input);
    if (file === null) print(reporter, documents);
    else for (const [at, text] of filesOf(file, documents)) writeFileSync(at, text);
    return EXIT_OK;
  } catch (error) {
    writeNote(`mmulab: the ${name} report cannot be written: ${(error as Error).message}`);
    return EXIT_OUTPUT;
  }
}

function print({ name }: Reporter, documents: readonly string[]): void {
  const [first, ...others] = documents;
  if (first !== undefined) writeResult(first);
  if (others.length === 0) return;
  writeNote(
    `mmulab: ${name} has one execution in a document; ${others.length} more were left out: ` +
      `--reporter ${name}=FILE writes them all, to files with numbers`,
  );
}

/** `trace.itf.json`, `trace-2.itf.json`, … ; a report that has nothing to tell leaves an empty file. */
function filesOf(file: string, documents: readonly string[]): (readonly [string, string])[] {
  if (documents.length <= 1) return [[file, documents[0] ?? '']];
  const name = basename(file);
  const dot = name.indexOf('.', 1);
  const [stem, suffix] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
  return documents.map((text, at) => [
    at === 0 ? file : join(dirname(file), `${stem}-${at + 1}${suffix}`),
    text,
  ]);
}

/** Where GitHub collects what it shows below a job. */
function appendSummary(input: ReportInput): void {
  const file = process.env['GITHUB_STEP_SUMMARY'];
  if (file !== undefined && file !== '') appendFileSync(file, summary(input));
}
