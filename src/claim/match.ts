/**
 * Whether an execution shows a claim: events for all of its steps that can be put into the order of
 * the claim without turning round anything in the order of the trace.
 *
 * Let D be the events that lie in the past of those chosen so far. A further event fits if it is not in D.
 * Of the events of one task that fit, the earliest has the smallest past; so to choose it is never
 * wrong, and only which task a step belongs to has to be tried. Sections are the exception: a lock that is taken
 * and let go of in one column is meant to be held in between, so each beginning is tried with its own end.
 */
import type { Finding } from '../kernel/finding.ts';
import type { Task } from '../kernel/task.ts';
import type { EventLog, TaskEvents } from './event-log.ts';
import { isOutcome, type Outcome } from './outcome.ts';
import { sectionEdge, type SectionEdge } from './section-edge.ts';

/** One step of a claim, ready to be compared with events. */
export interface Atom {
  /** Steps of one row are not ordered with each other, unless they are of one task. */
  readonly row: number;
  /** Its column; null if the claim does not say whose step it is. */
  readonly label: string | null;
  /** For each sort of event the reading of the step that it fits, or -1. */
  readonly readings: readonly number[];
  /** What the operation must have returned; null for anything. */
  readonly outcome: Outcome | null;
  /** Whether it is said of the end of an execution. */
  readonly fitsEnd: ((finding: Finding) => boolean) | null;
}

/** An execution with the order of its trace. */
export interface Trace {
  readonly log: EventLog;
  /** For each step, the step + 1 up to which it comes after each task. */
  readonly clockOf: (step: number) => ArrayLike<number>;
}

/** An event: a position in the events of a task. `task` -1: the end of the execution. */
export interface Chosen {
  readonly task: number;
  readonly at: number;
}

/** Where a claim cannot be followed any further. */
export interface Failure {
  /** The step that cannot come next: its index. */
  readonly atom: number;
  /**
   * `order`: there is such an event, but it comes before one that was chosen of another task; `own-order`:
   * of the same task.
   */
  readonly kind: 'order' | 'own-order' | 'absent';
  /** The event of an `order`. */
  readonly event: Chosen | null;
  readonly chosen: readonly Chosen[];
  readonly bound: ReadonlyMap<string, number>;
}

export interface Match {
  readonly chosen: readonly Chosen[];
  /** Which task each column is, by its index. */
  readonly bound: ReadonlyMap<string, number>;
}

export interface MatchOptions {
  /** Columns that name a task: its name. */
  readonly fixed: ReadonlyMap<string, string>;
  /** The reading that some step must have: `[step, reading]`. */
  readonly only?: readonly [number, number];
}

/** Choices that are tried in one execution. */
const CHOICE_COUNT_MAX = 10_000;

export class Matcher {
  /** The failure that came latest in the claim; null if the last comparison succeeded at once. */
  failure: Failure | null = null;
  /** True if some comparison was given up. */
  wasCut = false;
  private readonly atoms: readonly Atom[];
  private readonly options: MatchOptions;
  private readonly chosen: Chosen[] = [];
  private readonly bound = new Map<string, number>();
  private choices = 0;
  private trace!: Trace;

  constructor(atoms: readonly Atom[], options: MatchOptions) {
    this.atoms = atoms;
    this.options = options;
  }

  /** Compares; null if the execution does not show the claim, and then `failure` says why. */
  match(trace: Trace): Match | null {
    this.trace = trace;
    this.failure = null;
    this.chosen.length = 0;
    this.bound.clear();
    this.choices = 0;
    const none = trace.log.tasks.map(() => 0);
    if (!this.from(0, none, none, new Set())) return null;
    return { chosen: [...this.chosen], bound: new Map(this.bound) };
  }

  /**
   * @param past for each task how many of its events are in the past of those chosen.
   * @param pastOfRow the same when the present row began.
   * @param used the tasks of the present row.
   */
  private from(
    index: number,
    past: readonly number[],
    pastOfRow: readonly number[],
    used: ReadonlySet<number>,
  ): boolean {
    const atom = this.atoms[index];
    if (atom === undefined) return true;
    const isNewRow = index === 0 || (this.atoms[index - 1] as Atom).row !== atom.row;
    const rowPast = isNewRow ? past : pastOfRow;
    const rowUsed = isNewRow ? new Set<number>() : used;
    if (this.isAtEnd(atom) && index === this.atoms.length - 1) {
      this.chosen.push({ task: -1, at: -1 });
      return true;
    }
    for (const { task } of this.candidates(atom.label)) {
      const from = (rowUsed.has(task.index) ? past : rowPast)[task.index] ?? 0;
      const isBinding = atom.label !== null && !this.bound.has(atom.label);
      let at = this.next(index, task.index, from);
      if (at < 0) this.note(index, task.index, from);
      while (at >= 0) {
        if (this.choices >= CHOICE_COUNT_MAX) {
          this.wasCut = true;
          return false;
        }
        this.choices += 1;
        if (isBinding) this.bound.set(atom.label as string, task.index);
        this.chosen.push({ task: task.index, at });
        const now = this.join(past, task.index, at);
        if (this.from(index + 1, now, rowPast, new Set([...rowUsed, task.index]))) return true;
        this.chosen.pop();
        if (isBinding) this.bound.delete(atom.label as string);
        // The earliest is as good as any other, but for the beginning of a section of which the end is claimed, too.
        const isTried = !this.opensClaimed(index, task.index, at);
        at = isTried ? -1 : this.next(index, task.index, at + 1);
      }
    }
    if (this.failure === null) this.note(index, -1, 0);
    return false;
  }

  /** Whether the event begins a section, and a later step of the claim may be its end. */
  private opensClaimed(index: number, task: number, at: number): boolean {
    const section = this.sectionOf(task, at);
    if (section === null || !section.isBegin) return false;
    const { sorts } = this.trace.log.table;
    return this.atoms.slice(index + 1).some(({ readings }) =>
      readings.some((reading, id) => {
        if (reading < 0) return false;
        const end = sectionEdge(sorts[id]);
        return end !== null && !end.isBegin && end.object === section.object;
      }),
    );
  }

  private sectionOf(task: number, at: number): SectionEdge | null {
    const { log } = this.trace;
    return sectionEdge(log.table.sorts[(log.tasks[task] as TaskEvents).ids[at] as number]);
  }

  /**
   * Whether the event ends another section than the one that was chosen to begin: "lock, unlock" in one
   * column are of one section.
   */
  private endsAnother(task: number, at: number): boolean {
    const edge = this.sectionOf(task, at);
    if (edge === null || edge.isBegin) return false;
    const begin = this.chosen.findLast((one) => {
      const other = one.task === task ? this.sectionOf(task, one.at) : null;
      return other !== null && other.object === edge.object;
    });
    if (begin === undefined || this.sectionOf(task, begin.at)?.isBegin !== true) return false;
    for (let between = begin.at + 1; between < at; between += 1) {
      if (this.sectionOf(task, between)?.object === edge.object) return true;
    }
    return false;
  }

  private isAtEnd({ fitsEnd }: Atom): boolean {
    if (fitsEnd === null) return false;
    return this.trace.log.endFindings.some((finding) => fitsEnd(finding));
  }

  /** The tasks whose step it may be. */
  private candidates(label: string | null): readonly TaskEvents[] {
    const { tasks } = this.trace.log;
    if (label === null) return tasks;
    const index = this.bound.get(label);
    if (index !== undefined) {
      const { task } = tasks[index] as TaskEvents;
      return tasks.filter((one) => one.task === task || isBeside(one.task, task));
    }
    const name = this.options.fixed.get(label);
    if (name !== undefined) return tasks.filter((one) => one.task.name === name);
    const taken = new Set(this.bound.values());
    const named = new Set(this.options.fixed.values());
    return tasks.filter((one) => !taken.has(one.task.index) && !named.has(one.task.name));
  }

  /** The first event of the task that fits, from position `from` on; -1 if there is none. */
  private next(index: number, task: number, from: number): number {
    const { ids } = this.trace.log.tasks[task] as TaskEvents;
    for (let at = from; at < ids.length; at += 1) if (this.fits(index, task, at)) return at;
    return -1;
  }

  private fits(index: number, task: number, at: number): boolean {
    const atom = this.atoms[index] as Atom;
    const { log } = this.trace;
    const events = log.tasks[task] as TaskEvents;
    const reading = readingAt(atom, events, at);
    if (reading < 0) return false;
    const { only } = this.options;
    if (only !== undefined && only[0] === index && only[1] !== reading) return false;
    return !this.endsAnother(task, at) && hasOutcome(atom, outcomeAt(log, events, at));
  }

  /** `past` with the event and all that comes before it. */
  private join(past: readonly number[], task: number, at: number): number[] {
    const { log, clockOf } = this.trace;
    const joined = [...past];
    joined[task] = Math.max(joined[task] as number, at + 1);
    const step = (log.tasks[task] as TaskEvents).steps[at] as number;
    if (step < 0) return joined;
    const clock = clockOf(step);
    for (let other = 0; other < joined.length; other += 1) {
      const last = (clock[other] ?? 0) - 1;
      if (other === task || last < 0) continue;
      const reach = (log.reachOfStep[last] as number) + 1;
      if (reach > (joined[other] as number)) joined[other] = reach;
    }
    return joined;
  }

  /** Keeps the failure if it comes later than the one known, or says more. */
  private note(index: number, task: number, from: number): void {
    const { failure } = this;
    let at = -1;
    if (task >= 0) {
      for (let before = from - 1; before >= 0 && at < 0; before -= 1) {
        const isChosen = this.chosen.some((one) => one.task === task && one.at === before);
        if (!isChosen && this.fits(index, task, before)) at = before;
      }
    }
    const isOwn = this.chosen.some((one) => one.task === task && one.at > at);
    const kind = at < 0 ? 'absent' : isOwn ? 'own-order' : 'order';
    if (failure !== null && !saysMore({ atom: index, kind }, failure)) return;
    const event = at < 0 ? null : { task, at };
    this.failure = {
      atom: index,
      kind,
      event,
      chosen: [...this.chosen],
      bound: new Map(this.bound),
    };
  }
}

/** The reading of a step of a claim that an event is, or -1. */
export function readingAt({ readings }: Atom, { ids }: TaskEvents, at: number): number {
  return readings[ids[at] as number] ?? -1;
}

/** What an operation gave, as pictures show it; null for events that give nothing. */
export function outcomeAt(log: EventLog, events: TaskEvents, at: number): string | null {
  if (events.isPinned[at] !== true) return null;
  return log.resultOf(events.steps[at] as number)?.text ?? null;
}

export function hasOutcome({ outcome }: Atom, shown: string | null): boolean {
  return outcome === null || shown === null || isOutcome(outcome, shown);
}

const WEIGHT = { order: 2, 'own-order': 1, absent: 0 } as const;

/** Whether a failure comes later than another, or explains more. */
export function saysMore(
  one: Pick<Failure, 'atom' | 'kind'>,
  other: Pick<Failure, 'atom' | 'kind'>,
): boolean {
  if (one.atom !== other.atom) return one.atom > other.atom;
  return WEIGHT[one.kind] > WEIGHT[other.kind];
}

/** Whether `one` runs on the CPU of thread `task` without being one: then it is drawn in its column. */
function isBeside(one: Task, task: Task): boolean {
  return one.cpu === task.cpu && one.kind !== 'thread' && one.kind !== 'work';
}
