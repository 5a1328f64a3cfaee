/**
 * Livelock: tasks that go on for ever and get nowhere. Nobody is blocked, all of them are given their
 * turns, and yet the same round of steps comes again and again.
 *
 * An execution that does not end need not be one: if a task asks in a loop for what another task would do,
 * had it its turn, the loop should wait; but it is no livelock. So when a search has come to an execution
 * without an end, others are tried that begin as it does and then give each task its turn, some steps at a
 * time (see {@link SHARES}). One that ends says nothing. One that does not is a livelock if it comes to
 * repeat a round: the same tasks at the same places of the code, with the same results, or with numbers that
 * grow by the same amount from round to round (a sequence count, say); if it takes several tasks; and if it
 * is fair, that is, every task that could go on somewhere in the round does take a step in it.
 *
 * What it can tell: that the round was repeated up to {@link STEP_COUNT_MAX_DEFAULT} steps. A task's own
 * variables cannot be compared, so a loop that ends by itself after more rounds than that looks the same.
 * What it cannot: livelocks that need another rhythm than those that are tried, or certain choices in each
 * round; and one task that goes round alone, which is an endless loop. Then the execution remains what it
 * was, one that does not end.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import type { Report } from '../kernel/finding.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import type { Operation } from '../kernel/operation.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer } from '../kernel/watch.ts';
import type { Program, Schedule } from './program.ts';

/** How often a round must be seen in a schedule that is to show it. */
export const ROUND_COUNT = 3;

/** Steps in a row that tasks get, in the order of their numbers, again and again. */
const SHARES: readonly (readonly number[])[] = [
  [1],
  [2],
  [3],
  [4],
  [1, 2],
  [2, 1],
  [1, 3],
  [3, 1],
  [2, 3],
  [3, 2],
];
/** Beginnings of the endless execution after which turns are given. */
const BEGINNING_COUNT_MAX = 40;
/** Steps that are tried in all, the verification of what was found left out. */
const STEPS_MAX = 60_000;
/** Steps in turns after which a round must have been repeated often enough. */
const TURNS_STEP_COUNT = 600;

const nothing = (): void => undefined;

/** A step as far as it can be compared with another: what was done where, and all numbers of it. */
interface Shape {
  /** Equal for steps that differ at most in numbers. */
  readonly id: number;
  readonly numbers: readonly number[];
  /** Bit mask of the tasks that could have gone on instead, this one included. */
  readonly enabled: number;
  readonly operation: string;
  /** The kernel function that it was taken in. */
  readonly place: string;
}

/** One execution, of which the shape of each step is kept. */
class Course {
  readonly kernel: Kernel;
  readonly tasks: number[] = [];
  readonly outcomes: number[] = [];
  readonly shapes: Shape[] = [];
  private readonly onStep: () => void;
  private readonly ids = new Map<string, number>();
  /** Of the last step, as the tracer has seen it. */
  private text = '';
  private operation = '';

  constructor(program: Program, onStep: () => void = nothing) {
    this.onStep = onStep;
    const tracer: Tracer = {
      onMade: nothing,
      onCall: nothing,
      onReturn: nothing,
      onNote: nothing,
      onStep: (task, _operation, description) => {
        const functions = task.frames.map(({ callee }) => callee.name).join(' > ');
        this.text = `t${task.index} ${functions}: ${description}`;
        this.operation = description;
      },
      onResult: (_task, result) => {
        this.text += ` = ${textOf(result)}`;
      },
    };
    this.kernel = program.start([], tracer);
    // A loop that ends after more rounds than are explored is no livelock.
    this.kernel.givesUp = false;
  }

  get length(): number {
    return this.tasks.length;
  }

  /** False if the task cannot take such a step. */
  take(index: number, outcome: number): boolean {
    const { kernel } = this;
    const task = kernel.tasks[index];
    if (task === undefined || !kernel.isEnabled(task)) return false;
    const operation = task.pending as Operation<unknown>;
    if ((outcome & ~PAUSE) >= operation.arity(task)) return false;
    let enabled = 0;
    for (const other of kernel.tasks) if (kernel.isEnabled(other)) enabled |= 1 << other.index;
    const place = task.functionName;
    kernel.step(task, outcome);
    const numbers: number[] = [];
    const words = this.text.replaceAll(/(?<!\w)-?\d+(?:\.\d+)?(?!\w)/g, (digits) => {
      numbers.push(Number(digits));
      return '#';
    });
    const id = this.ids.get(words) ?? this.ids.size;
    this.ids.set(words, id);
    this.onStep();
    this.tasks.push(index);
    this.outcomes.push(outcome);
    this.shapes.push({ id, numbers, enabled, operation: this.operation, place: place });
    return true;
  }

  follow({ tasks, outcomes }: Schedule, length: number): boolean {
    return tasks.slice(0, length).every((task, at) => this.take(task, outcomes[at] ?? 0));
  }

  get canGoOn(): boolean {
    return this.kernel.tasks.some((task) => this.kernel.isEnabled(task));
  }

  /** Whether step `at` is the step one round before it again; whatever its numbers, if they may be. */
  repeats(at: number, period: number, mayDiffer = false): boolean {
    const [now, once, twice] = [0, period, 2 * period].map((back) => this.shapes[at - back]);
    if (now === undefined || once === undefined || now.id !== once.id) return false;
    if (this.outcomes[at] !== this.outcomes[at - period]) return false;
    if (mayDiffer || twice === undefined) return true;
    return now.numbers.every((value, which) => {
      const [before, first] = [once.numbers[which] as number, twice.numbers[which] as number];
      return value - before === before - first;
    });
  }

  /** The length of the shortest round that the last steps repeat often enough, or 0. */
  period(): number {
    const { length } = this;
    for (let period = 1; period * ROUND_COUNT <= length; period += 1) {
      const start = length - (ROUND_COUNT - 1) * period;
      let at = length - 1;
      // How numbers grow is seen in the last round: it needs two before.
      while (at >= start && this.repeats(at, period, at < length - period)) at -= 1;
      const isRepeated = at < start;
      if (isRepeated && this.hasParties(period) && this.isFair(period)) return period;
    }
    return 0;
  }

  /** Whether every task that could go on somewhere in the last round did go on in it. */
  private isFair(period: number): boolean {
    const start = this.length - period;
    let taken = 0;
    for (let at = start; at < this.length; at += 1) taken |= 1 << (this.tasks[at] as number);
    for (const { enabled } of this.shapes.slice(start)) if ((enabled & ~taken) !== 0) return false;
    return true;
  }

  /** Whether it takes several tasks to go round: one alone is an endless loop, or counts. */
  private hasParties(period: number): boolean {
    const round = this.tasks.slice(this.length - period);
    return round.some((task) => task !== round[0]);
  }

  /** Goes on with the round as long as an execution may last; false if it is left, or ends. */
  goRound(period: number): boolean {
    while (this.length < STEP_COUNT_MAX_DEFAULT) {
      const at = this.length;
      const isTaken = this.take(this.tasks[at - period] as number, this.outcomes[at - period] ?? 0);
      if (!isTaken || !this.repeats(at, period)) return false;
    }
    return true;
  }

  /** The steps up to `length` and no others. */
  scheduleUpTo(length: number): Schedule {
    return { tasks: this.tasks.slice(0, length), outcomes: this.outcomes.slice(0, length) };
  }
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return 'path' in value ? String(value.path) : 'an object';
}

function running<T>(course: Course, work: () => T): T {
  const before = setRunning(course.kernel);
  try {
    return work();
  } finally {
    setRunning(before);
  }
}

/**
 * Looks for a livelock that begins as an execution without an end does.
 *
 * @param schedule of that execution, at least its beginning.
 * @returns a schedule that leads to it and then takes the round {@link ROUND_COUNT} times; null if none was
 *   found.
 */
export function findLivelock(
  program: Program,
  schedule: Schedule,
  onStep: () => void = nothing,
): Schedule | null {
  let left = STEPS_MAX;
  for (const { length, shares } of attempts(schedule.tasks.length)) {
    const course = new Course(program, onStep);
    const found = running(course, () =>
      course.follow(schedule, length) ? inTurns(course, shares) : null,
    );
    if (found !== null && livelockAt(program, found) !== null) return found;
    left -= course.length;
    if (left < 0) return null;
  }
  return null;
}

/** What is tried: first short beginnings and simple turns. */
function attempts(
  length: number,
): { readonly length: number; readonly shares: readonly number[] }[] {
  const beginnings = Math.min(length, BEGINNING_COUNT_MAX);
  const all: { length: number; shares: readonly number[]; rank: number }[] = [];
  for (let at = 0; at <= beginnings; at += 1) {
    for (const [which, shares] of SHARES.entries()) {
      all.push({ length: at, shares, rank: at + 3 * which });
    }
  }
  return all.toSorted((a, b) => a.rank - b.rank);
}

function inTurns(course: Course, shares: readonly number[]): Schedule | null {
  const end = course.length + TURNS_STEP_COUNT;
  let before = course.length;
  while (course.length < end && course.canGoOn) {
    before = course.length;
    for (const task of course.kernel.tasks) {
      const share = shares[task.index % shares.length] as number;
      for (let count = 0; count < share; count += 1) {
        if (!course.take(task.index, 0)) break;
      }
    }
    if (course.length === before) return null;
  }
  if (course.length < end) return null;
  return shortest(course);
}

/** From the first time the round is taken, as often as it takes to see it. */
function shortest(course: Course): Schedule | null {
  const period = course.period();
  if (period === 0) return null;
  let first = course.length - 1;
  while (first >= 2 * period && course.repeats(first, period)) first -= 1;
  const start = Math.max(0, first + 1 - 2 * period);
  return course.scheduleUpTo(Math.min(course.length, start + ROUND_COUNT * period));
}

/**
 * Whether a schedule ends in a round that would go on for ever: what there is to say about it, or null.
 * The schedule must be one that can be followed.
 *
 * @param enabled the tasks that can go on after it, as far as the caller knows: bit mask.
 */
export function livelockAt(program: Program, schedule: Schedule, enabled = 0): Report | null {
  if (!endsInRounds(schedule, enabled)) return null;
  const course = new Course(program);
  return running(course, () => {
    if (!course.follow(schedule, schedule.tasks.length)) return null;
    const period = course.period();
    if (period === 0) return null;
    const report = reportOf(course, period);
    return course.goRound(period) ? report : null;
  });
}

/** Whether the last steps may be a round: as often as needed, and with all that can go on in it. */
function endsInRounds({ tasks, outcomes }: Schedule, enabled: number): boolean {
  for (let period = 1; period * ROUND_COUNT <= tasks.length; period += 1) {
    let at = tasks.length - 1;
    const start = tasks.length - (ROUND_COUNT - 1) * period;
    while (
      at >= start &&
      tasks[at] === tasks[at - period] &&
      outcomes[at] === outcomes[at - period]
    ) {
      at -= 1;
    }
    if (at >= start) continue;
    let taken = 0;
    for (const task of tasks.slice(tasks.length - period)) taken |= 1 << task;
    if ((enabled & ~taken) === 0) return true;
  }
  return false;
}

function reportOf(course: Course, period: number): Report {
  const { kernel } = course;
  const start = course.length - period;
  const indexes = [...new Set(course.tasks.slice(start))].toSorted((a, b) => a - b);
  const names = indexes.map((index) => (kernel.tasks[index] as Task).name);
  const round = course.shapes.slice(start);
  const objects = round.map(({ operation }) => /\(&?([^,()]+)/.exec(operation)?.[1] ?? '');
  const places = new Set(round.map(({ place }) => place));
  const who = `${names.slice(0, -1).join(', ')} and ${names.at(-1)} go on for ever and get nowhere`;
  const [first, ...others] = [...places].toSorted();
  return {
    kind: 'livelock',
    object: [...new Set(objects.filter((object) => object !== ''))].toSorted().join(', '),
    message: `${who}: the last ${period} steps come again and again, though each has its turn`,
    place: first ?? '',
    otherPlace: others.join(', '),
    isGlobal: true,
  };
}
