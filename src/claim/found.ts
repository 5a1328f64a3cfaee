/** What a search for a claim has found so far: the execution to show, or the one that comes nearest. */
import type { Execution } from '../check/exploration.ts';
import type { Schedule } from '../check/program.ts';
import { identityOf } from '../check/shorten.ts';
import type { Finding } from '../kernel/finding.ts';
import type { EventLog, TaskEvents } from './event-log.ts';
import {
  hasOutcome,
  outcomeAt,
  readingAt,
  saysMore,
  type Atom,
  type Failure,
  type Match,
} from './match.ts';
import type { Meaning } from './meaning.ts';

/** An execution that shows a claim, put into its order. */
export interface Shown {
  readonly schedule: Schedule;
  readonly match: Match;
  /** For each step of the claim the step of the schedule that it is, or after which it comes. */
  readonly at: readonly { readonly step: number; readonly isStep: boolean }[];
  readonly findings: readonly Finding[];
  readonly switches: number;
}

/** The execution that comes nearest to a claim that cannot be. */
export interface Nearest {
  readonly failure: Failure;
  readonly schedule: Schedule;
}

/** What a finding at the end of executions that show the claim is, and in how many of them it is. */
export interface Ending {
  readonly finding: Finding;
  count: number;
}

export interface Witness {
  readonly schedule: Schedule;
  readonly task: string;
}

/** Attempts to find a claimed execution with fewer changes between tasks. */
const SHOWN_COUNT_MAX = 200;

/** What has been found so far. */
export class Found {
  matches = 0;
  quiet = 0;
  shown: Shown | null = null;
  nearest: Nearest | null = null;
  readonly reached: boolean[][];
  readonly witnesses: (Witness | null)[];
  /** What the steps give where that is not what is claimed; not filled up where it is, elsewhere. */
  readonly otherOutcomes: readonly Set<string>[];
  /** Whether some execution ends in what a step says, after whatever steps. */
  readonly ends: boolean[];
  readonly endings = new Map<string, Ending>();
  private offers = 0;

  constructor(meanings: readonly Meaning[]) {
    this.reached = meanings.map(({ readings }) => readings.map(() => false));
    this.witnesses = meanings.map(() => null);
    this.ends = meanings.map(() => false);
    this.otherOutcomes = meanings.map(() => new Set());
  }

  noteMatch(findings: readonly Finding[]): void {
    this.matches += 1;
    if (findings.length === 0) this.quiet += 1;
    const known = new Set<string>();
    for (const finding of findings) {
      const identity = identityOf(finding);
      if (known.has(identity)) continue;
      known.add(identity);
      const ending = this.endings.get(identity);
      if (ending === undefined) this.endings.set(identity, { finding, count: 1 });
      else ending.count += 1;
    }
  }

  /** Whether an execution with these findings may be better to show than the one there is. */
  wants(findings: readonly Finding[]): boolean {
    if (this.shown === null) return true;
    const isWorse = this.shown.findings.length > 0 && findings.length === 0;
    return !isWorse && this.offers < SHOWN_COUNT_MAX;
  }

  offer(shown: Shown): void {
    this.offers += 1;
    if (this.shown === null || isBetter(shown, this.shown)) this.shown = shown;
  }

  noteFailure(failure: Failure, run: Execution): void {
    const before = this.nearest?.failure;
    if (before !== undefined && !saysMore(failure, before)) return;
    this.nearest = { failure, schedule: run.schedule };
  }

  noteWitnesses(log: EventLog, atoms: readonly Atom[], run: Execution): void {
    for (const [index, witness] of this.witnesses.entries()) {
      if (witness !== null) continue;
      const atom = atoms[index] as Atom;
      const { fitsEnd } = atom;
      if (fitsEnd !== null && run.kernel.findings.some(fitsEnd)) this.ends[index] = true;
      const others = this.otherOutcomes[index] as Set<string>;
      const has = log.tasks.find((events) => hasEvent(atom, log, events, others));
      if (has !== undefined) {
        this.witnesses[index] = { schedule: run.schedule, task: has.task.name };
      }
    }
  }
}

/** Whether one of the events is a step of the claim; what those give that are but for that goes to `others`. */
function hasEvent(atom: Atom, log: EventLog, events: TaskEvents, others: Set<string>): boolean {
  return events.ids.some((_, at) => {
    if (readingAt(atom, events, at) < 0) return false;
    const shown = outcomeAt(log, events, at);
    if (hasOutcome(atom, shown)) return true;
    others.add(shown as string);
    return false;
  });
}

/** What leads to a finding is what a claim is about; then, what is easier to follow. */
function isBetter(one: Shown, other: Shown): boolean {
  const has = ({ findings }: Shown): number => (findings.length > 0 ? 0 : 1);
  if (has(one) !== has(other)) return has(one) < has(other);
  if (one.switches !== other.switches) return one.switches < other.switches;
  return one.schedule.tasks.length < other.schedule.tasks.length;
}
