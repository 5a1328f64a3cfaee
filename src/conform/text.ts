/** How the agreement with recordings is told. */
import { ASPECTS, type Aspect, type Tally } from './compare.ts';
import type { RecordingResult, Summary } from './conform.ts';
import type { Observation } from './recording.ts';

/** Of the JSON document. */
export const CONFORM_SCHEMA_VERSION = 1;

const COLUMNS = ['files', 'calls', 'agree', ...ASPECTS] as const;

/** A line for each group, and one for all. */
export function summaryText(summary: Summary): string {
  const tallies: (readonly [string, Tally])[] = [...summary.groups, ['total', summary.total]];
  const table: string[][] = [['group', ...COLUMNS]];
  for (const [name, tally] of tallies) {
    table.push([name, ...COLUMNS.map((column) => String(tally[column]))]);
  }
  const widths = table[0]!.map((_, at) => Math.max(...table.map((row) => row[at]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
        .join('  '),
    )
    .join('\n');
}

/** The document that `--json` prints. */
export function summaryJson(summary: Summary): string {
  const groups = Object.fromEntries(summary.groups);
  return JSON.stringify(
    { schemaVersion: CONFORM_SCHEMA_VERSION, groups, total: summary.total },
    null,
    2,
  );
}

/** The first difference of a recording: the call, what the kernel did, and what the simulation did. */
export function differenceText({ path, tally, difference }: RecordingResult): string {
  if (difference === null) return '';
  const { call, aspects, got } = difference;
  const others = tally.calls - tally.agree - 1;
  const rest = others === 0 ? '' : `, and ${others} of the ${tally.calls} calls besides`;
  const lines = [`${path}:${call.line}: '${call.text}' differs${rest}`];
  if ('stoppedBy' in got) {
    lines.push(`  expected  ${resultText(call)}`, `  got       ${got.stoppedBy}`);
    return lines.join('\n');
  }
  for (const aspect of aspects) lines.push(...aspectLines(aspect, call, got));
  const equal = ASPECTS.filter((aspect) => !aspects.includes(aspect));
  if (equal.length > 0)
    lines.push(`  (${equal.join(', ')} ${equal.length > 1 ? 'agree' : 'agrees'})`);
  return lines.join('\n');
}

function aspectLines(aspect: Aspect, expected: Observation, got: Observation): string[] {
  return [
    `  ${aspect}`,
    `    expected  ${aspectText(aspect, expected)}`,
    `    got       ${aspectText(aspect, got)}`,
  ];
}

function aspectText(aspect: Aspect, seen: Observation): string {
  if (aspect === 'result') return resultText(seen);
  return aspect === 'present' ? seen.present : rowsText(seen[aspect]);
}

function resultText({ ret, err }: Observation): string {
  return err === null ? String(ret) : `${ret} ${err}`;
}

function rowsText(rows: readonly (readonly (number | string)[])[]): string {
  return rows.length === 0 ? 'none' : rows.map((row) => `[${row.join(' ')}]`).join(' ');
}
