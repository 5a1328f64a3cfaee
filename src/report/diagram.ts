/**
 * The picture of an execution, as commit messages of the kernel draw it: a column for each CPU, one
 * step a row, calls as indentation.
 *
 * Widths are shared out by need: a column takes what its longest row needs; if that is too much for
 * the page, the widest give way, and rows wrap inside their column. With too many columns to be read
 * side by side, the picture becomes a list with the CPU before each row.
 */
import type { RecordedFinding, Recording } from '../trace/recording.ts';
import { rowsOf, type Row } from './rows.ts';
import { PLAIN, type Style } from './style.ts';
import { taskTitle } from './titles.ts';
import { wrap } from './wrap.ts';

export interface DiagramOptions {
  /** Letters in a line; at least 60. */
  readonly width?: number;
  readonly style?: Style;
  /** Whether places in the code stand at the right edge where there is room; yes if left out. */
  readonly hasPlaces?: boolean;
}

export const DIAGRAM_WIDTH_DEFAULT = 100;
export const DIAGRAM_WIDTH_MIN = 60;

const COLUMN_COUNT_MAX = 4;
/** A column that is narrower is not worth having. */
const COLUMN_WIDTH_MIN = 24;
/** Places are left out rather than that the columns get less. */
const WIDTH_BESIDE_PLACES_MIN = 76;
/** Letters between the deepest beginning of a row and the next column. */
const TEXT_WIDTH_MIN = 14;
const GAP = 3;
/** Step numbers, to the left of the columns. */
const MARGIN = 5;
/** Letters for each call, and on a narrow page. */
const INDENT = 2;
const INDENT_NARROW = 1;
const NARROW = 80;
const MARK = '<-- ';

interface Column {
  readonly task: number;
  readonly title: string;
  readonly start: number;
  readonly width: number;
}

/** Draws a recording, with what went wrong marked if `finding` is one of its findings. */
export function diagram(
  recording: Recording,
  finding: RecordedFinding | null,
  options: DiagramOptions = {},
): string {
  const rows = rowsOf(recording, finding);
  return new Picture(recording, rows, options).draw().join('\n');
}

class Picture {
  private readonly recording: Recording;
  private readonly rows: readonly Row[];
  private readonly style: Style;
  /** Letters for the columns and their gaps. */
  private readonly width: number;
  private readonly placeWidth: number;
  private readonly indent: number;
  /** Tasks that do something, those with a CPU first. */
  private readonly tasks: readonly number[];

  constructor(recording: Recording, rows: readonly Row[], options: DiagramOptions) {
    this.recording = recording;
    this.rows = rows;
    this.style = options.style ?? PLAIN;
    const total = Math.max(options.width ?? DIAGRAM_WIDTH_DEFAULT, DIAGRAM_WIDTH_MIN);
    this.indent = total < NARROW ? INDENT_NARROW : INDENT;
    const places = rows.map((row) => shortPlace(row.place).length);
    const widest = Math.max(0, ...places);
    const hasRoom = total - MARGIN - widest - 2 >= WIDTH_BESIDE_PLACES_MIN;
    this.placeWidth = options.hasPlaces !== false && hasRoom ? widest : 0;
    this.width = total - MARGIN - (this.placeWidth === 0 ? 0 : this.placeWidth + 2);
    const present = new Set(rows.map((row) => row.task));
    const order = (task: number): number => recording.tasks[task]?.cpu ?? Infinity;
    this.tasks = [...present].toSorted((a, b) =>
      order(a) === order(b) ? a - b : order(a) - order(b),
    );
  }

  draw(): string[] {
    const count = this.tasks.length;
    const needed = count * COLUMN_WIDTH_MIN + (count - 1) * GAP;
    if (count > COLUMN_COUNT_MAX || needed > this.width) return this.list();
    return this.columns();
  }

  // ---- side by side -------------------------------------------------------------------------

  private columns(): string[] {
    const columns = this.layOut();
    const lines = this.header(columns);
    for (const row of this.rows) {
      const column = columns.find((item) => item.task === row.task) as Column;
      const room = this.width - column.start;
      for (const part of this.split(row, room))
        lines.push(...this.row(part, column.start, room, ''));
    }
    return lines;
  }

  private layOut(): Column[] {
    const room = this.width - (this.tasks.length - 1) * GAP;
    const joined = this.needs(true);
    const isEnough = joined.reduce((sum, need) => sum + need, 0) <= room;
    const widths = isEnough ? joined : this.squeeze(room);
    let start = 0;
    return this.tasks.map((task, at) => {
      const column = { task, title: this.title(task), start, width: widths[at] as number };
      start += column.width + GAP;
      return column;
    });
  }

  /** Widths where there is no room for all: the last column, whose rows must wrap, is given most. */
  private squeeze(room: number): number[] {
    const needs = this.needs(false);
    const widths = shareOut(needs, room);
    const last = widths.length - 1;
    for (let at = 0; at < last; at += 1) {
      const missing = (needs[last] as number) - (widths[last] as number);
      const spare = (widths[at] as number) - this.widthMin(this.tasks[at] as number);
      const given = Math.max(0, Math.min(missing, spare));
      widths[at] = (widths[at] as number) - given;
      widths[last] = (widths[last] as number) + given;
    }
    return widths;
  }

  /** Its rows begin well before the next column does. */
  private widthMin(task: number): number {
    const depths = this.rows.filter((row) => row.task === task).map((row) => row.depth);
    return Math.max(COLUMN_WIDTH_MIN, Math.max(0, ...depths) * this.indent + TEXT_WIDTH_MIN);
  }

  /**
   * Letters that the longest row of each task takes, with calls beside their only operation or above.
   * Marks may run into the columns to the right, which are empty in that row; the last column has none.
   */
  private needs(isJoined: boolean): number[] {
    const last = this.tasks.at(-1);
    const needs = new Map(this.tasks.map((task) => [task, this.title(task).length]));
    for (const row of this.rows) {
      const parts = isJoined ? [joinedRow(row)] : splitRow(row);
      for (const part of parts) {
        const mark =
          row.task === last && part.mark !== null ? part.mark.length + MARK.length + 1 : 0;
        const need = part.depth * this.indent + fullText(part, true).length + mark;
        needs.set(row.task, Math.max(needs.get(row.task) ?? 0, need));
      }
    }
    return [...needs.values()];
  }

  private header(columns: readonly Column[]): string[] {
    const titles = columns.map((column) => wrap(column.title, column.width, 0));
    const height = Math.max(...titles.map((title) => title.length));
    const lines: string[] = [];
    for (let at = 0; at < height; at += 1) {
      const cells = columns.map((column, index) => ({ column, text: titles[index]?.[at] ?? '' }));
      lines.push(this.style.bold(headerLine(cells)));
    }
    const dashes = columns.map((column, index) => ({
      column,
      text: '-'.repeat(Math.max(...(titles[index] as string[]).map((line) => line.length))),
    }));
    lines.push(this.style.dim(headerLine(dashes)));
    return lines;
  }

  // ---- one below the other ------------------------------------------------------------------

  private list(): string[] {
    const widest = Math.max(...this.tasks.map((task) => this.title(task).length));
    const width = Math.min(widest, Math.floor(this.width / 3));
    return this.rows.flatMap((row) => {
      const title = this.title(row.task);
      const cut = title.length <= width ? title.padEnd(width) : `${title.slice(0, width - 1)}…`;
      const room = this.width - width - 2;
      return this.split(row, room).flatMap((part) => this.row(part, 0, room, `${cut}  `));
    });
  }

  // ---- rows ---------------------------------------------------------------------------------

  /** The row with its callers before it, or below each other where there is no room. */
  private split(row: Row, width: number): Row[] {
    const joined = joinedRow(row);
    const isEnough = joined.depth * this.indent + fullText(joined, true).length <= width;
    return isEnough ? [joined] : splitRow(row);
  }

  private row(row: Row, start: number, width: number, prefix: string): string[] {
    const indent = Math.min(row.depth * this.indent, Math.floor(width / 2));
    const room = width - indent;
    const full = fullText(row, true);
    const text = full.length <= room ? full : fullText(row, false);
    const lines = wrap(text, room);
    const mark = row.mark === null ? '' : MARK + row.mark;
    const last = lines.at(-1) as string;
    const edge = this.width - prefix.length - start - indent;
    const isBeside = mark !== '' && last.length + 1 + mark.length <= edge;
    const out = lines.map((line, at) => ({
      text: line,
      mark: isBeside && at === lines.length - 1 ? mark : '',
    }));
    if (mark !== '' && !isBeside) {
      for (const line of wrap(mark, Math.min(edge, Math.max(room, mark.length)))) {
        out.push({ text: '', mark: line });
      }
    }
    return out.map((line, at) => {
      const number = at === 0 && row.step !== null ? String(row.step) : '';
      const blank = ' '.repeat(start + indent);
      const lead = at === 0 ? prefix : ' '.repeat(prefix.length);
      const place = at === 0 && this.placeWidth > 0 ? shortPlace(row.place) : '';
      return this.line({ number, lead, blank, text: line.text, mark: line.mark, place }, row);
    });
  }

  private line(
    parts: Readonly<Record<'number' | 'lead' | 'blank' | 'text' | 'mark' | 'place', string>>,
    row: Row,
  ): string {
    const { style } = this;
    const left = style.dim(parts.number.padStart(MARGIN - 2)) + '  ' + style.dim(parts.lead);
    const text = row.isWrong
      ? style.bold(parts.text)
      : row.kind === 'note'
        ? style.dim(parts.text)
        : parts.text;
    const space = parts.text === '' || parts.mark === '' ? '' : ' ';
    const mark = row.isWrong ? style.red(parts.mark) : style.dim(parts.mark);
    let line = left + parts.blank + text + space + mark;
    if (parts.place !== '') {
      const used =
        parts.lead.length +
        parts.blank.length +
        parts.text.length +
        space.length +
        parts.mark.length;
      line += ' '.repeat(Math.max(2, this.width - used + 2)) + style.dim(parts.place);
    }
    return line.trimEnd();
  }

  private title(task: number): string {
    const found = this.recording.tasks[task];
    return found === undefined ? `task ${task}` : taskTitle(found);
  }
}

/** A row with its callers before the operation. */
function joinedRow(row: Row): Row {
  if (row.callers.length === 0) return row;
  const prefix = row.callers.map((caller) => `${caller.brief}: `).join('');
  return { ...row, callers: [], text: prefix + row.text, brief: prefix + row.brief };
}

/** A row with its callers in rows of their own. */
function splitRow(row: Row): Row[] {
  const calls = row.callers.map((caller, at): Row => {
    const call = { kind: 'call', step: null, callers: [], depth: row.depth + at } as const;
    return Object.assign({}, row, caller, call, { result: null, mark: null, isWrong: false });
  });
  return [...calls, { ...row, callers: [], depth: row.depth + calls.length }];
}

function fullText(row: Row, isLong: boolean): string {
  const text = isLong ? row.text : row.brief;
  return row.result === null ? text : `${text} → ${row.result}`;
}

function headerLine(cells: readonly { readonly column: Column; readonly text: string }[]): string {
  let line = ' '.repeat(MARGIN);
  for (const { column, text } of cells) line = line.padEnd(MARGIN + column.start) + text;
  return line.trimEnd();
}

/** `src/drivers/gru.ts:41` → `gru.ts:41`. */
function shortPlace(place: string | null): string {
  return place === null ? '' : place.slice(place.lastIndexOf('/') + 1);
}

/**
 * Shares `room` out among columns that need so much each. Who needs little gets it; the others share
 * what is left alike. What nobody needs is not given.
 */
export function shareOut(needs: readonly number[], room: number): number[] {
  const widths = needs.map(() => 0);
  let left = room;
  let open = needs.map((_, at) => at);
  while (open.length > 0) {
    const share = Math.floor(left / open.length);
    const modest = open.filter((at) => (needs[at] as number) <= share);
    if (modest.length === 0) {
      for (const at of open) widths[at] = share;
      break;
    }
    for (const at of modest) {
      widths[at] = needs[at] as number;
      left -= needs[at] as number;
    }
    open = open.filter((at) => !modest.includes(at));
  }
  return widths;
}
