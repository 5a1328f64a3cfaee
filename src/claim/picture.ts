/**
 * Pictures as `check` and `replay` print them, pasted back: a column for each task with its name above a line
 * of dashes, or, where there are too many, the name before each row; and a number before each step.
 *
 * Only rows with a number are steps, and what is marked as wrong. The others say where in the code that is:
 * a call stands before its first step, which says nothing of when it was made.
 */
import type { ClaimCell } from './parse.ts';

export interface PictureLine {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

/** What a picture says. */
export interface Picture {
  readonly cells: readonly ClaimCell[];
  readonly labels: readonly string[];
}

/** Letters left of the columns: the number of the step, and a gap. */
const MARGIN = 5;
/** Letters by which the rest of a row that was broken begins later than it. */
const HANGING = 4;
/** Lines above the dashes that may belong to a name. */
const TITLE_LINES_MAX = 6;
const PLACE = /\s{2,}[\w./@-]+\.\w+:\d+(?::\d+)?$/;

interface Row {
  readonly line: number;
  readonly step: number | null;
  /** Null if it is not known; empty for that of the row above. */
  readonly label: string | null;
  readonly begin: number;
  text: string;
}

/** Reads a picture; null if the text is none. */
export function parsePicture(lines: readonly PictureLine[]): Picture | null {
  const rows = rowsBelowDashes(lines) ?? rowsOfList(lines);
  if (rows === null) return null;
  const steps = rows.flatMap(({ step }) => (step === null ? [] : [step]));
  // Ours are numbered without gaps, which those that somebody has made rarely are.
  if (steps.some((step, at) => step !== at + 1)) return null;
  const cells = rows
    .map(({ line, label, step, text }, row) => ({ line, row, label, text: saidIn(text, step) }))
    .filter(({ text }) => text !== '');
  const labels = [...new Set(cells.flatMap(({ label }) => (label === null ? [] : [label])))];
  // What goes wrong before the first step has one column; without numbers, more are somebody's table.
  return steps.length === 0 && labels.length !== 1 ? null : { cells, labels };
}

/** What of a row is claimed. */
function saidIn(text: string, step: number | null): string {
  const mark = /(?:^|\s)(?:<-- |\*\*\* ).*$/.exec(text)?.[0].trim() ?? '';
  return step === null ? mark.replace(/^\*\*\* /, '<-- ') : text;
}

function rowsBelowDashes(lines: readonly PictureLine[]): Row[] | null {
  for (const [at, { text }] of lines.entries()) {
    if (!/^ {5,}-+(?: +-+)*$/.test(text)) continue;
    const starts = [...text.matchAll(/-+/g)].map(({ index }) => index);
    const labels = titlesAbove(lines.slice(Math.max(0, at - TITLE_LINES_MAX), at), starts);
    const columns = starts.map((start, index) => ({ start, label: labels[index] as string }));
    const margin = starts[0] as number;
    const place = (begin: number): string =>
      columns.findLast(({ start }) => start <= begin)?.label ?? (labels[0] as string);
    const rows = rowsOf(lines.slice(at + 1), margin, (body) => {
      const begin = body.length - body.trimStart().length + margin;
      return { label: place(begin), begin, text: body.trim() };
    });
    if (rows.length > 0) return rows;
  }
  return null;
}

/** The names of columns, which may have been broken into lines. */
function titlesAbove(lines: readonly PictureLine[], starts: readonly number[]): string[] {
  const last = lines.findLastIndex(({ text }) => !text.startsWith(' '.repeat(MARGIN)));
  const titles = starts.map((start, at) =>
    lines
      .slice(last + 1)
      .map(({ text }) => text.slice(start, starts[at + 1]).trim())
      .join(' ')
      .trim(),
  );
  // Two workers may run the same function.
  return titles.map((title, at) =>
    titles.filter((one) => one === title).length === 1 ? title : `${title} (#${at + 1})`,
  );
}

function rowsOfList(lines: readonly PictureLine[]): Row[] | null {
  const first = lines.findIndex(({ text }) => /^ {2}1 {2}\S/.test(text));
  if (first < 0) return null;
  let from = first;
  while (from > 0 && /^ {5}\S.* {2,}\S/.test(lines[from - 1]?.text ?? '')) from -= 1;
  const body = lines.slice(from);
  const end = body.findIndex(({ text }) => text.trim() === '');
  const part = end < 0 ? body : body.slice(0, end);
  // The names are as wide as the widest: all rows begin behind it.
  const names = part.flatMap(({ text }) => /^.{5}(\S+(?: \S+)*) {2,}\S/.exec(text)?.[1] ?? []);
  const width = Math.max(0, ...names.map((name) => name.length));
  return rowsOf(part, MARGIN, (text) => {
    const title = text.slice(0, width).trim();
    // Of a name that was cut, or that several workers may have, it is not known whose it is.
    const label = /…$|^kworker: /.test(title) ? null : title;
    const rest = text.slice(width);
    const begin = MARGIN + width + (rest.length - rest.trimStart().length);
    return { label, begin, text: rest.trim() };
  });
}

/** @param take what stands right of the margin: an empty label is that of the row before. */
function rowsOf(
  lines: readonly PictureLine[],
  margin: number,
  take: (body: string) => Pick<Row, 'label' | 'begin' | 'text'>,
): Row[] {
  const rows: Row[] = [];
  for (const { number, text: full } of lines) {
    if (full.trim() === '') break;
    const text = full.replace(PLACE, '');
    const field = text.slice(0, margin);
    const step = /^ *(\d{1,5}) *$/.exec(field)?.[1];
    if (step === undefined && field.trim() !== '') break;
    const taken = take(text.slice(margin));
    const last = rows.at(-1);
    const isRest = last !== undefined && step === undefined && isRestOf(last, taken);
    if (isRest) last.text += ` ${taken.text}`;
    else rows.push({ ...taken, line: number, step: step === undefined ? null : Number(step) });
  }
  return rows;
}

/** Whether a row is what was left of the one above it when that was broken. */
function isRestOf(
  last: Row,
  { label, begin, text }: Pick<Row, 'label' | 'begin' | 'text'>,
): boolean {
  if (label === '') return true;
  if (begin === last.begin + HANGING && isOpen(last.text)) return true;
  return label === last.label && (begin === last.begin + HANGING || text.startsWith('<-- '));
}

function isOpen(text: string): boolean {
  return /[(,.:_]$/.test(text) || text.split('(').length > text.split(')').length;
}
