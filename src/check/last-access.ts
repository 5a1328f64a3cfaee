/**
 * For each variable, task and mode: the last step of that task which accessed the variable so.
 *
 * One last access for each task and mode, not one for each variable: a task's own read must not hide
 * another task's older one. Changes are logged, so that the table can be taken back to any depth
 * without being built again.
 */
import { TASK_COUNT_MAX } from '../base/limits.ts';
import {
  COMMUTE,
  conflicts,
  modeOf,
  READ,
  variableOf,
  WRITE,
  type Access,
} from '../kernel/operation.ts';

const STRIDE = TASK_COUNT_MAX + 1;
const MODES = [READ, WRITE, COMMUTE] as const;
const MODE_COUNT = MODES.length;
/**
 * In each row, after the entries of all tasks: which of them have one that no later write comes after, as a
 * mask. A write comes after all that accessed the variable before it.
 */
const TASKS = TASK_COUNT_MAX;

export class LastAccess {
  /** Step index + 1; 0 for never. */
  private table = new Int32Array(64 * MODE_COUNT * STRIDE);
  /** What was changed, and what stood there: pairs, of which `undoCount` numbers are valid. */
  private undo = new Int32Array(1024);
  private undoCount = 0;
  private readonly marks: number[] = [];

  /** Call before the accesses of step `depth` are recorded. */
  open(depth: number): void {
    this.marks[depth] = this.undoCount;
  }

  /** Forgets all accesses of steps `depth` and later. */
  rollBack(depth: number): void {
    const mark = this.marks[depth];
    if (mark === undefined) return;
    for (let at = this.undoCount - 2; at >= mark; at -= 2) {
      this.table[this.undo[at] as number] = this.undo[at + 1] as number;
    }
    this.undoCount = mark;
  }

  record(item: Access, task: number, step: number): void {
    const base = variableOf(item) * MODE_COUNT * STRIDE;
    this.reserve(base + MODE_COUNT * STRIDE);
    const mode = modeOf(item);
    const row = base + mode * STRIDE;
    this.set(row + task, step + 1);
    const tasks = this.table[row + TASKS] as number;
    if (mode !== WRITE) {
      if ((tasks & (1 << task)) === 0) this.set(row + TASKS, tasks | (1 << task));
      return;
    }
    if (tasks !== 1 << task) this.set(row + TASKS, 1 << task);
    const reads = base + READ * STRIDE + TASKS;
    if (this.table[reads] !== 0) this.set(reads, 0);
    const commutes = base + COMMUTE * STRIDE + TASKS;
    if (this.table[commutes] !== 0) this.set(commutes, 0);
  }

  private set(at: number, value: number): void {
    if (this.undoCount + 2 > this.undo.length) {
      const grown = new Int32Array(this.undo.length * 2);
      grown.set(this.undo);
      this.undo = grown;
    }
    this.undo[this.undoCount] = at;
    this.undo[this.undoCount + 1] = this.table[at] as number;
    this.undoCount += 2;
    this.table[at] = value;
  }

  /** The last step of `task` that conflicts with `item`, or -1. */
  lastConflict(item: Access, task: number): number {
    const base = variableOf(item) * MODE_COUNT * STRIDE + task;
    if (base >= this.table.length) return -1;
    const mode = modeOf(item);
    let last = 0;
    for (const other of MODES) {
      if (!conflicts(mode, other)) continue;
      const step = this.table[base + other * STRIDE] as number;
      if (step > last) last = step;
    }
    return last - 1;
  }

  /**
   * For each task the last step that conflicts with `item`, where that is later than what `latest` has for
   * the task, and no write of the variable comes after it.
   */
  raiseToConflicts(item: Access, latest: Int32Array): void {
    const base = variableOf(item) * MODE_COUNT * STRIDE;
    if (base >= this.table.length) return;
    const mode = modeOf(item);
    if (mode !== READ) this.raise(base + READ * STRIDE, latest);
    this.raise(base + WRITE * STRIDE, latest);
    if (mode !== COMMUTE) this.raise(base + COMMUTE * STRIDE, latest);
  }

  private raise(row: number, latest: Int32Array): void {
    const { table } = this;
    for (let open = table[row + TASKS] as number; open !== 0; open &= open - 1) {
      const task = 31 - Math.clz32(open & -open);
      const step = (table[row + task] as number) - 1;
      if (step > (latest[task] as number)) latest[task] = step;
    }
  }

  private reserve(at: number): void {
    if (at <= this.table.length) return;
    let length = this.table.length;
    while (length < at) length *= 2;
    const grown = new Int32Array(length);
    grown.set(this.table);
    this.table = grown;
  }
}
