/**
 * Writing to the terminal: results to stdout, notes and progress to stderr.
 *
 * Nothing here ends the process: what was written must get out. A reader that has gone away (`| head`)
 * is no failure; what is still to be written is dropped.
 */
import { styleText } from 'node:util';

/** Colours are for terminals, unless the environment says otherwise (NO_COLOR, FORCE_COLOR). */
export function hasColor(stream: NodeJS.WritableStream): boolean {
  // styleText knows the rules; asking it is simpler than repeating them.
  return styleText('red', 'x', { stream }) !== 'x';
}

/** Installs the handling of readers that have gone away. Call once, first. */
export function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
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

/**
 * One line of stderr that is written over: how far a long search has come. Nothing at all where
 * stderr is no terminal, or in continuous integration.
 */
export class ProgressLine {
  private readonly isShown = process.stderr.isTTY && process.env['CI'] === undefined;
  private isDrawn = false;

  show(text: string): void {
    if (!this.isShown) return;
    process.stderr.write(
      `\r${text.slice(0, (process.stderr.columns || COLUMNS_DEFAULT) - 1)}\u001B[K`,
    );
    this.isDrawn = true;
  }

  /** Takes the line away. Call before anything else is written. */
  clear(): void {
    if (!this.isDrawn) return;
    process.stderr.write('\r\u001B[K');
    this.isDrawn = false;
  }
}
