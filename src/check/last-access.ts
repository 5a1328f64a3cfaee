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

export class LastAccess {
  /** Step index + 1; 0 for never. */
  private table = new Int32Array(64 * MODE_COUNT * STRIDE);
  private readonly undoAt: number[] = [];
  private readonly undoValue: number[] = [];
  private readonly marks: number[] = [];

  /** Call before the accesses of step `depth` are recorded. */
  open(depth: number): void {
    this.marks[depth] = this.undoAt.length;
  }

  /** Forgets all accesses of steps `depth` and later. */
  rollBack(depth: number): void {
    const mark = this.marks[depth];
    if (mark === undefined) return;
    for (let at = this.undoAt.length - 1; at >= mark; at -= 1) {
      this.table[this.undoAt[at] as number] = this.undoValue[at] as number;
    }
    this.undoAt.length = mark;
    this.undoValue.length = mark;
  }

  record(item: Access, task: number, step: number): void {
    const at = (variableOf(item) * MODE_COUNT + modeOf(item)) * STRIDE + task;
    this.reserve(at);
    this.undoAt.push(at);
    this.undoValue.push(this.table[at] as number);
    this.table[at] = step + 1;
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
   * For each of the first `taskCount` tasks the last step that conflicts with `item`, where that is later
   * than what `latest` has for the task.
   */
  raiseToConflicts(item: Access, latest: Int32Array, taskCount: number): void {
    const { table } = this;
    const base = variableOf(item) * MODE_COUNT * STRIDE;
    if (base >= table.length) return;
    const mode = modeOf(item);
    for (let other = 0; other < MODE_COUNT; other += 1) {
      if (!conflicts(mode, other)) continue;
      const start = base + other * STRIDE;
      for (let task = 0; task < taskCount; task += 1) {
        const step = (table[start + task] as number) - 1;
        if (step > (latest[task] as number)) latest[task] = step;
      }
    }
  }

  private reserve(at: number): void {
    if (at < this.table.length) return;
    let length = this.table.length;
    while (length <= at) length *= 2;
    const grown = new Int32Array(length);
    grown.set(this.table);
    this.table = grown;
  }
}
