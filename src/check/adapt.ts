/**
 * Following a schedule in code that was edited since.
 *
 * Tasks are found by their names, so one that was inserted changes nothing. Where a task is about to do
 * another step than its mark says, a few edits are tried: steps that came in, steps that are gone, one that
 * was replaced. The one with which the schedule can be followed farthest is taken and told. What cannot be
 * mended so, a task that is blocked above all, ends the following.
 *
 * Simplified: an outcome (a fault, a choice) of a step that came in is its first; an edit of more steps
 * than {@link EDIT_LENGTH_MAX} in one place is not seen through.
 */
import type { Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Program, Schedule } from './program.ts';
import { obstacleOf, type Divergence } from './replay.ts';
import { stepMark, taskMark } from './step-marks.ts';

/** Steps that one edit may have brought in or taken away. */
const EDIT_LENGTH_MAX = 4;
/** Edits that are seen through. */
const EDIT_COUNT_MAX = 16;
/** Longer schedules are only followed to the first step that differs. */
const EDITED_STEPS_MAX = 10_000;

export interface Adapted {
  /** What can be followed in this code, by its own indexes; without marks. */
  readonly schedule: Schedule;
  /** The edits that were seen through, the first one first. Its steps are those of the given schedule. */
  readonly edits: readonly Divergence[];
  /** Why it could not be followed to its end, or null; as above. */
  readonly stopped: Divergence | null;
}

type Edit =
  | { readonly kind: 'more'; readonly step: number; readonly count: number }
  | { readonly kind: 'fewer'; readonly step: number; readonly steps: readonly number[] }
  | { readonly kind: 'other'; readonly step: number };

/** Finds what there is in `program` of a schedule that another version of it was run along. */
export function adaptSchedule(program: Program, given: Schedule): Adapted {
  const earlier = given.earlier?.map((one) => adaptSchedule(program, one).schedule);
  let best = new Course(program, given, []).run();
  for (;;) {
    const { edits, stop } = best;
    if (stop === null || !stop.isEdit || edits.length >= EDIT_COUNT_MAX) break;
    if (given.tasks.length > EDITED_STEPS_MAX) break;
    const tried = editsAt(given, stop.step)
      .map((edit) => new Course(program, given, [...edits, edit]).run())
      .filter((course) => hasGoneOn(course, stop.step, given));
    // The first of equals: the smallest edit.
    const [farthest] = tried.toSorted((a, b) => endOf(b, given) - endOf(a, given));
    if (farthest === undefined) break;
    best = farthest;
  }
  return {
    schedule: {
      tasks: best.tasks,
      outcomes: best.outcomes,
      ...(earlier === undefined ? {} : { earlier }),
    },
    edits: best.told,
    stopped: best.stop,
  };
}

function editsAt({ tasks }: Schedule, step: number): Edit[] {
  const edits: Edit[] = [];
  const gone: number[] = [];
  for (let at = step; at < tasks.length && gone.length < EDIT_LENGTH_MAX; at += 1) {
    if (tasks[at] === tasks[step]) gone.push(at);
  }
  for (let count = 1; count <= EDIT_LENGTH_MAX; count += 1) {
    edits.push({ kind: 'more', step, count });
    if (gone.length >= count) edits.push({ kind: 'fewer', step, steps: gone.slice(0, count) });
    if (count === 1) edits.push({ kind: 'other', step });
  }
  return edits;
}

function endOf({ stop }: Course, { tasks }: Schedule): number {
  return stop?.step ?? tasks.length;
}

/** Whether there is reason to believe in the last edit: a step of the same task was taken as it should be. */
function hasGoneOn(course: Course, step: number, given: Schedule): boolean {
  const edit = course.edits.at(-1) as Edit;
  const last = edit.kind === 'fewer' ? (edit.steps.at(-1) as number) : step;
  const from = edit.kind === 'more' ? last : last + 1;
  const next = given.tasks.indexOf(given.tasks[step] as number, from);
  if (next >= 0) return endOf(course, given) > next;
  return edit.kind === 'fewer' && course.hasEnded(step);
}

/** One run along a schedule, with edits. */
class Course {
  readonly edits: readonly Edit[];
  readonly tasks: number[] = [];
  readonly outcomes: number[] = [];
  readonly told: Divergence[] = [];
  /** Where it could not go on; `isEdit` if the code is another there. */
  stop: (Divergence & { readonly isEdit: boolean }) | null = null;
  private readonly kernel: Kernel;
  private readonly given: Schedule;
  private readonly gone: ReadonlySet<number>;

  constructor(program: Program, given: Schedule, edits: readonly Edit[]) {
    this.given = given;
    this.edits = edits;
    this.gone = new Set(edits.flatMap((edit) => (edit.kind === 'fewer' ? edit.steps : [])));
    this.kernel = program.start([], null);
  }

  run(): this {
    const before = setRunning(this.kernel);
    try {
      for (const step of this.given.tasks.keys()) if (!this.follow(step)) break;
    } finally {
      setRunning(before);
    }
    return this;
  }

  /** Whether the task of a step of the given schedule has no more to do. */
  hasEnded(step: number): boolean {
    const index = this.indexOf(this.given.tasks[step] as number);
    return index !== null && this.kernel.tasks[index]?.pending === null;
  }

  /** False if that is the end. */
  private follow(step: number): boolean {
    const { given, gone, edits } = this;
    const index = this.indexOf(given.tasks[step] as number);
    const edit = edits.find((one) => one.step === step);
    if (edit?.kind === 'fewer') this.tellGone(step, edit.steps.length, index);
    if (gone.has(step)) return true;
    if (edit?.kind === 'more' && !this.takeMore(step, edit.count, index)) return false;
    const outcome = given.outcomes[step] ?? 0;
    if (index === null) return this.halt(step, this.absence(), false);
    const task = this.kernel.tasks[index];
    const mark = given.marks?.steps[step];
    if (edit?.kind === 'other') {
      this.told.push({ step, reason: `${this.comesTo(index)}, where another step was` });
    } else if (task?.pending && mark !== undefined && stepMark(task) !== mark) {
      const obstacle = this.kernel.isEnabled(task) ? null : obstacleOf(this.kernel, index, outcome);
      const reason = obstacle ?? this.comesTo(index);
      return this.halt(step, `${reason}, which is not the step that was there`, true);
    }
    return this.take(step, index, outcome);
  }

  private take(step: number, index: number, outcome: number): boolean {
    const { kernel } = this;
    const reason = obstacleOf(kernel, index, outcome);
    // A task that has ended may have had more steps.
    const task = kernel.tasks[index];
    if (reason !== null) return this.halt(step, reason, task !== undefined && !task.pending);
    this.tasks.push(index);
    this.outcomes.push(outcome);
    kernel.step(task as Task, outcome);
    return true;
  }

  private takeMore(step: number, count: number, index: number | null): boolean {
    if (index === null) return this.halt(step, this.absence(), false);
    const what: string[] = [];
    for (let left = count; left > 0; left -= 1) {
      const task = this.kernel.tasks[index];
      what.push(task?.pending?.describe(task) ?? '');
      if (!this.take(step, index, 0)) return false;
    }
    const name = this.nameOf(index);
    this.told.push({ step, reason: `task '${name}' has ${what.join(', ')} in addition` });
    return true;
  }

  private tellGone(step: number, count: number, index: number | null): void {
    const what = count === 1 ? 'a step is gone' : `${count} steps are gone`;
    const then = index === null ? '' : `: ${this.comesTo(index)}`;
    this.told.push({ step, reason: `${what}${then}` });
  }

  private halt(step: number, reason: string, isEdit: boolean): false {
    this.stop ??= { step, reason, isEdit: isEdit && this.given.marks !== undefined };
    return false;
  }

  private comesTo(index: number): string {
    const task = this.kernel.tasks[index];
    const { pending = null } = task ?? {};
    const name = this.nameOf(index);
    if (pending === null || task === undefined) return `task '${name}' has ended`;
    return `task '${name}' comes to ${pending.describe(task)}`;
  }

  private nameOf(index: number): string {
    return this.kernel.tasks[index]?.name ?? String(index);
  }

  private absence(): string {
    const names = this.kernel.tasks.map(({ name }) => `'${name}'`).join(', ');
    return `a task should go on that is none of ${names}`;
  }

  /** The index that a task of the given schedule has in this code, by its mark; null if there is none. */
  private indexOf(task: number): number | null {
    const { marks } = this.given;
    const mark = marks?.tasks[task];
    if (marks === undefined || mark === undefined) return task;
    // Tasks of one name, such as workers, are told apart by their order.
    let namesakes = marks.tasks.slice(0, task).filter((one) => one === mark).length;
    for (const { index, name } of this.kernel.tasks) {
      if (taskMark(name) !== mark) continue;
      if (namesakes === 0) return index;
      namesakes -= 1;
    }
    return null;
  }
}
