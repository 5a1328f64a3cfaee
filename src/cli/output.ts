/**
 * Writing to the terminal: results to stdout, notes and progress to stderr.
 *
 * Nothing here ends the process, for what was written must get out; unless it cannot, because the disk is
 * full, say. A reader that has gone away (`| head`) is no failure; what is still to be written is dropped.
 */
import { styleText } from 'node:util';
import { EXIT_OUTPUT } from './exit-code.ts';

/** Colours are for terminals, unless the environment says otherwise (NO_COLOR, FORCE_COLOR). */
export function hasColor(stream: NodeJS.WritableStream): boolean {
  // styleText knows the rules; asking it is simpler than repeating them.
  return styleText('red', 'x', { stream }) !== 'x';
}

/** Installs the handling of what cannot be written. Call once, first. */
export function handleFailedWrites(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    writeNote(`mmulab: the result cannot be written: ${reasonOf(error)}`);
    process.exit(EXIT_OUTPUT);
  });
  // Nothing is left to tell it to; the exit code still says what the result was.
  process.stderr.on('error', () => {});
}

/** `no space left on device (ENOSPC)`, from `ENOSPC: no space left on device, write`. */
function reasonOf({ code = '', message }: NodeJS.ErrnoException): string {
  const words = message.replace(/^[A-Z0-9]+: /, '').replace(/, \w+$/, '');
  return `${words} (${code})`;
}

/** Where there is no terminal: the same for everybody, for equal bytes everywhere. */
const COLUMNS_DEFAULT = 100;
/** So that a picture of somebody's own code has room for its source lines. */
const COLUMNS_DEFAULT_OF_FILES = 120;

/** Columns of the terminal that results go to. */
export function columns(isFile = false): number {
  // Some terminals do not know how wide they are, and say 0.
  if (process.stdout.isTTY && process.stdout.columns > 0) return process.stdout.columns;
  return isFile ? COLUMNS_DEFAULT_OF_FILES : COLUMNS_DEFAULT;
}

export function writeResult(text: string): void {
  if (process.stdout.writable) process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function writeNote(text: string): void {
  if (process.stderr.writable) process.stderr.write(`${text}\n`);
}

/** Calls of `show` of which one is written where lines cannot be written over. */
const LINE_RATIO = 4;

/**
 * One line of stderr that is written over: how far a long search has come. Nothing at all where
 * stderr is no terminal, or in continuous integration, unless somebody asked for it: then now and then
 * a line of its own.
 */
export class ProgressLine {
  private readonly kind: 'over' | 'lines' | 'none';
  private isDrawn = false;
  private calls = 0;

  constructor(isAskedFor = false) {
    const isTerminal = process.stderr.isTTY;
    if (isTerminal && (isAskedFor || process.env['CI'] === undefined)) this.kind = 'over';
    else this.kind = isAskedFor ? 'lines' : 'none';
  }

  /** False if nothing would be shown anyway. */
  get isShown(): boolean {
    return this.kind !== 'none';
  }

  show(text: string): void {
    if (this.kind === 'over') {
      const width = (process.stderr.columns || COLUMNS_DEFAULT) - 1;
      process.stderr.write(`\r${text.slice(0, width)}\u001B[K`);
      this.isDrawn = true;
    }
    if (this.kind === 'lines') {
      this.calls += 1;
      if (this.calls % LINE_RATIO === 0) writeNote(text);
    }
  }

  /** Takes the line away. Call before anything else is written. */
  clear(): void {
    if (!this.isDrawn) return;
    process.stderr.write('\r\u001B[K');
    this.isDrawn = false;
  }
}
