/** What a suite of benchmarks is: it measures something and tells it as Markdown. */

export interface BenchOptions {
  /** Rounds in which everybody has a turn; the median counts. */
  readonly rounds: number;
  /** About how long one turn takes, in milliseconds. */
  readonly turnMs: number;
  /** Only programs whose names contain this; null for all. */
  readonly match: string | null;
  /** Told what is being measured. */
  readonly progress: (text: string) => void;
}

export interface Suite {
  /** How the command line calls it. */
  readonly name: string;
  /** A section, with its heading of the second level. */
  run(options: BenchOptions): Promise<string>;
}

export type Cell = string | number;

/** A Markdown table; columns after the first are right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, at) => Math.max(...texts.map((row) => (row[at] ?? '').length), 3));
  const line = (row: readonly string[]): string =>
    `| ${row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join(' | ')} |`;
  const rule = `| ${widths
    .map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
    .join(' | ')} |`;
  const [first = [], ...others] = texts;
  return [line(first), rule, ...others.map(line)].join('\n');
}

/** `412,345`: three significant digits are more than a noisy machine can promise. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

export function rounded(value: number): string {
  if (value === 0) return '0';
  const digits = 10 ** (Math.floor(Math.log10(value)) - 2);
  return count(Math.round(value / digits) * digits);
}

export function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}
