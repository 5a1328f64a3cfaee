/**
 * What the exploring worker and the thread that watches over it share: signs of life, how far the
 * search has come, and the wish to stop. Plain writes suffice: nothing is decided by an exact value.
 */
import type { Band } from '../check/estimate.ts';

const BEAT = 0;
const EXECUTIONS = 1;
const DEPTH = 2;
const STOP = 3;
/** 1 if somebody wants to show what remains. */
const WISH = 4;
/** 1 if there is something to show. */
const ANSWER = 5;
const SIZE = 6;
const LOW = 0;
const HIGH = 1;
const REMAINING_SIZE = 2;
/** Where the numbers begin that need not be whole. */
const REMAINING_START = SIZE * Int32Array.BYTES_PER_ELEMENT;

export class Counters {
  readonly buffer: SharedArrayBuffer;
  private readonly cells: Int32Array;
  private readonly remaining: Float64Array;

  constructor(
    buffer = new SharedArrayBuffer(
      REMAINING_START + REMAINING_SIZE * Float64Array.BYTES_PER_ELEMENT,
    ),
  ) {
    this.buffer = buffer;
    this.cells = new Int32Array(buffer, 0, SIZE);
    this.remaining = new Float64Array(buffer, REMAINING_START, REMAINING_SIZE);
  }

  /** A sign of life; also counts the steps taken. Wraps. */
  beat(): void {
    this.cells[BEAT] = (this.cells[BEAT] as number) + 1;
  }

  /** How far the present search has come. */
  noteProgress(executions: number, depth: number): void {
    this.cells[EXECUTIONS] = executions;
    this.cells[DEPTH] = depth;
  }

  get beats(): number {
    return Atomics.load(this.cells, BEAT);
  }

  get executions(): number {
    return Atomics.load(this.cells, EXECUTIONS);
  }

  get depth(): number {
    return Atomics.load(this.cells, DEPTH);
  }

  /** Asks the worker to tell what remains, for the next time that it is to be shown. */
  askWhatRemains(): void {
    Atomics.store(this.cells, WISH, 1);
  }

  get isAskedWhatRemains(): boolean {
    return this.cells[WISH] !== 0;
  }

  /** Tells what remains, since somebody asked; null if it is not known any more. */
  noteRemaining(band: Band | null): void {
    this.cells[WISH] = 0;
    Atomics.store(this.cells, ANSWER, 0);
    if (band === null) return;
    this.remaining[LOW] = band.low;
    this.remaining[HIGH] = band.high;
    Atomics.store(this.cells, ANSWER, 1);
  }

  /** What was told last; null if nothing was. */
  get remainingTold(): Band | null {
    if (Atomics.load(this.cells, ANSWER) === 0) return null;
    return { low: this.remaining[LOW] as number, high: this.remaining[HIGH] as number };
  }

  /** Asks the worker to stop at the end of the present execution, with what it has. */
  askToStop(): void {
    Atomics.store(this.cells, STOP, 1);
  }

  get isAskedToStop(): boolean {
    return Atomics.load(this.cells, STOP) !== 0;
  }
}
