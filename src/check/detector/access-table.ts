/**
 * Who accessed which field last, and how: for each field, manner and task one entry with its
 * label. Fields that nobody accessed cost nothing; a new execution forgets all in one step.
 */
import { TASK_COUNT_MAX } from '../../base/limits.ts';

/** How a field is accessed. */
export const PLAIN_READ = 0;
export const PLAIN_WRITE = 1;
export const MARKED_READ = 2;
export const MARKED_WRITE = 3;
export const MANNERS = [PLAIN_READ, PLAIN_WRITE, MARKED_READ, MARKED_WRITE] as const;
export type Manner = (typeof MANNERS)[number];
const MANNER_COUNT = MANNERS.length;

const STRIDE = TASK_COUNT_MAX + 1;
const ROW = MANNER_COUNT * STRIDE;

export interface Entry {
  readonly label: number;
  readonly place: string;
}

export class AccessTable {
  /** Labels by {@link at}. */
  labels = new Int32Array(64 * ROW);
  /** Names of the functions, likewise; valid where the bit of the task is set in `masks`. */
  private readonly places: string[] = Array.from({ length: 64 * ROW }, () => '');
  /** By row and manner: one bit for each task with an entry. */
  private masks = new Int32Array(64 * MANNER_COUNT);
  private rows = new Int32Array(256);
  /** The execution in which a variable got its row. */
  private rowAges = new Int32Array(256);
  private rowCount = 0;
  private age = 1;

  /** Forgets everything. */
  clear(): void {
    this.age += 1;
    this.rowCount = 0;
  }

  /** The row of a variable, or -1 if it was not accessed. */
  find(variable: number): number {
    return this.rowAges[variable] === this.age ? (this.rows[variable] as number) : -1;
  }

  /** The row of a variable, made if need be. */
  rowOf(variable: number): number {
    return this.rowAges[variable] === this.age
      ? (this.rows[variable] as number)
      : this.open(variable);
  }

  /** Where the tables keep the entry of a row, manner and task. */
  at(row: number, manner: Manner, task: number): number {
    return row * ROW + manner * STRIDE + task;
  }

  mask(row: number, manner: Manner): number {
    return this.masks[row * MANNER_COUNT + manner] as number;
  }

  /** The function that made the entry. */
  place(row: number, manner: Manner, task: number): string {
    return this.places[this.at(row, manner, task)] as string;
  }

  note(row: number, manner: Manner, task: number, entry: Entry): void {
    const at = this.at(row, manner, task);
    this.labels[at] = entry.label;
    this.places[at] = entry.place;
    const mask = row * MANNER_COUNT + manner;
    this.masks[mask] = (this.masks[mask] as number) | (1 << task);
  }

  private open(variable: number): number {
    while (variable >= this.rows.length) {
      this.rows = doubled(this.rows);
      this.rowAges = doubled(this.rowAges);
    }
    const row = this.rowCount;
    this.rowCount += 1;
    if (row * ROW >= this.labels.length) {
      this.labels = doubled(this.labels);
      this.masks = doubled(this.masks);
      while (this.places.length < this.labels.length) this.places.push('');
    }
    this.labels.fill(0, row * ROW, row * ROW + ROW);
    this.masks.fill(0, row * MANNER_COUNT, row * MANNER_COUNT + MANNER_COUNT);
    this.rows[variable] = row;
    this.rowAges[variable] = this.age;
    return row;
  }
}

function doubled(table: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(table.length * 2);
  grown.set(table);
  return grown;
}
