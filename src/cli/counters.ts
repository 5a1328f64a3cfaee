/**
 * What the exploring worker and the thread that watches over it share: signs of life, how far the
 * search has come, and the wish to stop. Plain writes suffice: nothing is decided by an exact value.
 */
const BEAT = 0;
const EXECUTIONS = 1;
const DEPTH = 2;
const STOP = 3;
const SIZE = 4;

export class Counters {
  readonly buffer: SharedArrayBuffer;
  private readonly cells: Int32Array;

  constructor(buffer = new SharedArrayBuffer(SIZE * Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.cells = new Int32Array(buffer);
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

  /** Asks the worker to stop at the end of the present execution, with what it has. */
  askToStop(): void {
    Atomics.store(this.cells, STOP, 1);
  }

  get isAskedToStop(): boolean {
    return Atomics.load(this.cells, STOP) !== 0;
  }
}
