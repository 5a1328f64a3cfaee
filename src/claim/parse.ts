/**
 * Claims as people write them in mails and reviews: a table with a column for each CPU, lines that begin
 * with `CPU 0:`, numbered lines of prose, or one step in each line.
 *
 * This file only takes the text apart: which words stand where, in which column. What they mean is
 * found out in meaning.ts. Not understood: pictures with arrows between columns, and columns that are
 * told apart by anything but where they begin or by `|`.
 */
import { CLAIM_BYTES_MAX, CLAIM_COLUMN_COUNT_MAX, CLAIM_STEP_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { parsePicture } from './picture.ts';

/** `picture`: one that we have drawn. */
export type ClaimFormat = 'picture' | 'table' | 'lines' | 'prose' | 'steps';

/** What stands in one place of a claim. */
export interface ClaimCell {
  /** The line of the text, from 1. */
  readonly line: number;
  /** What has the same row is not ordered. */
  readonly row: number;
  /** The column, as written first; null if it does not say. */
  readonly label: string | null;
  readonly text: string;
}

export interface ParsedClaim {
  readonly format: ClaimFormat;
  readonly cells: readonly ClaimCell[];
  /** The columns, in the order of their appearance. */
  readonly labels: readonly string[];
}

/** Letters of one step. */
const CELL_LENGTH_MAX = 1000;

interface Line {
  readonly number: number;
  readonly text: string;
}

/**
 * Takes a claim apart.
 *
 * @throws UsageError MN601
 */
export function parseClaim(source: string): ParsedClaim {
  const lines = linesOf(source);
  const picture = parsePicture(lines);
  const parsed =
    picture === null
      ? (parseTable(lines) ?? parseLines(lines))
      : ({ format: 'picture', ...picture } as const);
  if (parsed.cells.length === 0) {
    throw refused(
      `it has no step. Expected a table with a column for each CPU, lines like 'CPU 0: kfree(p)', ` +
        'or numbered lines',
    );
  }
  if (parsed.cells.length > CLAIM_STEP_COUNT_MAX) {
    throw refused(
      `it has ${parsed.cells.length} steps, the limit is ${CLAIM_STEP_COUNT_MAX}. Leave out those ` +
        'whose order does not matter',
    );
  }
  if (parsed.labels.length > CLAIM_COLUMN_COUNT_MAX) {
    throw refused(`it has ${parsed.labels.length} columns, the limit is ${CLAIM_COLUMN_COUNT_MAX}`);
  }
  return parsed;
}

function refused(reason: string): UsageError {
  return new UsageError('MN601', `the claim cannot be read: ${reason}.`);
}

function tooLong({ line }: ClaimCell): UsageError {
  return refused(`its step in line ${line} is longer than ${CELL_LENGTH_MAX} letters`);
}

function linesOf(source: string): Line[] {
  if (source.length > CLAIM_BYTES_MAX) {
    throw refused(`it is ${source.length} letters long, the limit is ${CLAIM_BYTES_MAX}`);
  }
  // eslint-disable-next-line no-control-regex -- Control characters are what is looked for.
  const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u0080-\u009f\ufffd]/.exec(source);
  if (control !== null) {
    const code = (control[0].codePointAt(0) as number).toString(16).padStart(4, '0');
    throw refused(`it is no plain text: character ${control.index + 1} is U+${code.toUpperCase()}`);
  }
  return source
    .replace(/^\ufeff/, '')
    .split(/\r\n?|\n/)
    .map((text, at) => ({ number: at + 1, text: withoutTabs(withoutQuotes(text)).trimEnd() }));
}

/** What mails put before what they quote. */
function withoutQuotes(text: string): string {
  const quoted = /^(?:>[ ]?)+/.exec(text);
  return quoted === null ? text : text.slice(quoted[0].length);
}

function withoutTabs(text: string): string {
  let out = '';
  for (const letter of text) out += letter === '\t' ? ' '.repeat(8 - (out.length % 8)) : letter;
  return out;
}

const RULE = /^[\s\-=_|+:─━┄·]*$/;
const COMMENT = /^\s*(?:#|\/\/)/;
/** What says that something is left out, or stands beside the steps. */
const FILLER = /^(?:\.{2,}|…|\[[^\]]*\]|\([^()]*\)|<[^<>]*>|-+|\*+|\||`{3}\w*|returns?(?: \S+)?)$/;

// ---- tables ---------------------------------------------------------------------------------------

/** `CPU0`, `cpu #1 (open)`, `Thread A`, `T2`. */
const LABEL =
  /^(?:(?:cpu|core|thread|task|process)\s?[#-]?\s?\w{1,3}|[tp]\d{1,2})(?:\s*\([^()]*\))?:?$/i;

interface Column {
  readonly label: string;
  readonly start: number;
}

interface Segment {
  readonly start: number;
  readonly text: string;
}

function parseTable(lines: readonly Line[]): ParsedClaim | null {
  const at = lines.findIndex((line, index) => headerOf(line.text, lines[index + 1]?.text) !== null);
  const header = lines[at];
  if (header === undefined) return null;
  const columns = headerOf(header.text, lines[at + 1]?.text) as Column[];
  const table = new Table(columns, header.text.includes('|'));
  for (const line of lines.slice(at + 1)) if (!table.add(line)) break;
  return { format: 'table', cells: table.cells, labels: columns.map((column) => column.label) };
}

function headerOf(text: string, below: string | undefined): Column[] | null {
  const parts = segmentsOf(text, text.includes('|'));
  if (parts.length < 2) return null;
  const isRuled = below !== undefined && /-{3,}/.test(below) && RULE.test(below);
  const isHeader =
    parts.every((part) => LABEL.test(part.text)) ||
    (isRuled && parts.every((part) => /^[\w#() -]{1,40}$/.test(part.text)));
  if (!isHeader) return null;
  const labels = parts.map((part) => part.text.replace(/:$/, ''));
  if (new Set(labels).size < labels.length) return null;
  return parts.map(({ start }, at) => ({ label: labels[at] as string, start }));
}

/** The parts of a line between gaps, or between bars. */
function segmentsOf(text: string, hasBars: boolean): Segment[] {
  const pattern = hasBars ? /[^|]+/g : /\S+(?: \S+)*/g;
  return [...text.matchAll(pattern)].flatMap((match) => {
    const trimmed = match[0].trim();
    if (trimmed === '') return [];
    return [{ start: match.index + match[0].indexOf(trimmed), text: trimmed }];
  });
}

class Table {
  readonly cells: ClaimCell[] = [];
  private readonly columns: readonly Column[];
  private readonly hasBars: boolean;
  private isAfterGap = false;
  private row = 0;

  constructor(columns: readonly Column[], hasBars: boolean) {
    this.columns = columns;
    this.hasBars = hasBars;
  }

  /** Adds a line; false if the table has ended before it. */
  add({ number, text: given }: Line): boolean {
    if (given.trim() === '') {
      this.isAfterGap = this.cells.length > 0;
      return true;
    }
    if (RULE.test(given) || COMMENT.test(given)) return true;
    const outcry = /^\s*\*\*\*\s*(.+?)\s*\*\*\*\s*$/.exec(given);
    if (outcry !== null) {
      this.row += 1;
      this.cells.push({ line: number, row: this.row, label: null, text: outcry[1] as string });
      return true;
    }
    const first = this.columns[0] as Column;
    // Numbers of steps stand to the left of the columns.
    const text = given.replace(/^ *\d{1,4}[.)]? (?= )/, (found) =>
      found.trimEnd().length < first.start + 1 ? ' '.repeat(found.length) : found,
    );
    const start = text.length - text.trimStart().length;
    if (this.isAfterGap && (start + 1 < first.start || (this.hasBars && !text.includes('|')))) {
      return false;
    }
    this.isAfterGap = false;
    this.row += 1;
    for (const [column, cell] of this.split(text)) this.cell(number, column, cell);
    return true;
  }

  private split(text: string): Map<Column, string> {
    const cells = new Map<Column, string>();
    if (this.hasBars) {
      const isOuter = text.trimStart().startsWith('|');
      const parts = text.split('|').slice(isOuter ? 1 : 0);
      for (const [at, column] of this.columns.entries()) {
        const part = parts[at]?.trim() ?? '';
        if (part !== '') cells.set(column, part);
      }
      return cells;
    }
    const segments = segmentsOf(text, false);
    for (const [at, segment] of segments.entries()) {
      // A place at the right edge says where the row is in the code.
      if (at > 0 && /^[\w./-]+\.\w+:\d+(?::\d+)?$/.test(segment.text)) continue;
      const column = this.columns.findLast(({ start }) => start <= segment.start + 1);
      const key = column ?? (this.columns[0] as Column);
      const before = cells.get(key);
      cells.set(key, before === undefined ? segment.text : `${before} ${segment.text}`);
    }
    return cells;
  }

  private cell(line: number, { label }: Column, text: string): void {
    if (FILLER.test(text)) return;
    const last = this.cells.findLastIndex((cell) => cell.label === label);
    const before = this.cells[last];
    if (before !== undefined && (isOpen(before.text) || goesOn(before.text, text))) {
      if (before.text.length > CELL_LENGTH_MAX) throw tooLong(before);
      const glue = before.text.endsWith('(') ? '' : ' ';
      this.cells[last] = { ...before, text: before.text + glue + text };
      return;
    }
    this.cells.push({ line, row: this.row, label, text });
  }
}

/** Whether a text is what a narrow column has left over of the one above it. */
function goesOn(before: string, text: string): boolean {
  return /^(?:→|->|=>|<--)/.test(text) || (/: [a-z ]+$/.test(before) && /^[a-z ]+$/.test(text));
}

/** Whether a bracket is open at the end: then the next line goes on. */
function isOpen(text: string): boolean {
  return text.split('(').length > text.split(')').length;
}

// ---- lines ----------------------------------------------------------------------------------------

/** `1.`, `(2)`, `3)`, `Step 4:`, `-`. */
const NUMBER = /^\s*(?:\(?\d{1,3}[.):]\)?|step\s+\d{1,3}[.:)]?|[-*•])\s+/i;
/** `CPU 0:`, `[T1]`, `On CPU1,`, `Thread A`; or the name of a task, with a colon. */
const SPEAKER =
  /^\s*(?:(?:on|in|then|and|meanwhile|,)[\s,]+)*\[?((?:(?:cpu|core|thread|task)\s?[#-]?\s?(?:\d{1,2}|[A-Z])|[TP]\d{1,2})\b(?:\s*\([\w :-]*\))?)\]?(?:[:,>]|\s+-+>?|(?='s\s)|(?=\s)|$)\s*/i;
const NAMED_SPEAKER = /^\s*\[?([A-Za-z][\w -]{0,30}?)\]?:\s+(?=\S)/;
/** Somewhere in a sentence. */
const MENTIONED_SPEAKER = /\b((?:cpu|core|thread|task)\s?#?\d{1,2}|T\d{1,2})\b/i;
const NO_SPEAKER =
  /^(?:bug|warning|warn|info|note|error|then|so|result|step|panic|oops|fixes|cc)$/i;

function parseLines(lines: readonly Line[]): ParsedClaim {
  const told = new Set(lines.filter(({ text }) => NUMBER.test(text) || speakerOf(text) !== null));
  const cells: ClaimCell[] = [];
  let isNew = true;
  for (const line of lines) {
    const { text } = line;
    if (COMMENT.test(text)) continue;
    if (text.trim() === '' || RULE.test(text)) {
      isNew = true;
      continue;
    }
    if (told.size === 0 || told.has(line)) cells.push(cellOf(line, cells.length));
    else if (!isNew && cells.length > 0) {
      const last = cells.pop() as ClaimCell;
      if (last.text.length > CELL_LENGTH_MAX) throw tooLong(last);
      cells.push({ ...last, text: `${last.text} ${text.trim()}` });
    } else continue;
    isNew = false;
  }
  const kept = cells.filter(({ text }) => text !== '' && !FILLER.test(text));
  return { format: formatOf(kept, told), cells: unified(kept), labels: labelsOf(unified(kept)) };
}

function formatOf(cells: readonly ClaimCell[], told: ReadonlySet<Line>): ClaimFormat {
  if ([...told].some(({ text }) => NUMBER.test(text))) return 'prose';
  return cells.some(({ label }) => label !== null) ? 'lines' : 'steps';
}

function cellOf({ number, text }: Line, row: number): ClaimCell {
  const bare = text.replace(NUMBER, '');
  const speaker = speakerOf(bare);
  if (speaker === null) {
    const label = MENTIONED_SPEAKER.exec(bare)?.[1] ?? null;
    return { line: number, row, label, text: bare.trim() };
  }
  return { line: number, row, label: speaker.label, text: speaker.rest };
}

function speakerOf(text: string): { readonly label: string; readonly rest: string } | null {
  const bare = text.replace(NUMBER, '');
  const match = SPEAKER.exec(bare) ?? NAMED_SPEAKER.exec(bare);
  const label = match?.[1]?.trim() ?? '';
  if (match === null || NO_SPEAKER.test(label)) return null;
  return { label, rest: bare.slice(match[0].length).trim() };
}

/** `CPU 0` and `cpu0` are one column; it is called as it was called first. */
function unified(cells: readonly ClaimCell[]): ClaimCell[] {
  const first = new Map<string, string>();
  return cells.map((cell) => {
    if (cell.label === null) return cell;
    // `CPU0 (open)` once is enough.
    const key = cell.label
      .toLowerCase()
      .replace(/\([^()]*\)/, '')
      .replaceAll(/[\s#-]/g, '');
    const label = first.get(key) ?? cell.label;
    first.set(key, label);
    return { ...cell, label };
  });
}

function labelsOf(cells: readonly ClaimCell[]): string[] {
  return [...new Set(cells.flatMap(({ label }) => (label === null ? [] : [label])))];
}
