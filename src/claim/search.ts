/**
 * Searches one variant of a scenario for a claim: executes one interleaving of each class, and compares
 * each with the claim. As `check` does, it starts over when plain accesses turn out to be raced for.
 */
import { allDetectors } from '../check/detector/index.ts';
import type { Execution } from '../check/exploration.ts';
import { withoutIdlePauses } from '../check/shorten.ts';
import type { Task } from '../kernel/task.ts';
import { EventLog } from './event-log.ts';
import { Found, type Ending, type Nearest, type Shown, type Witness } from './found.ts';
import { linearClocks, orderAsClaimed, placesWithoutPauses, runInOrder } from './linearise.ts';
import { Matcher, type Atom, type Failure, type Match } from './match.ts';
import { fitsEnd, Meaning, type ClaimStep } from './meaning.ts';
import { Pass, type SearchBound, type Subject } from './subject.ts';

export interface SearchOptions {
  readonly executionCountMax?: number;
  /** Asked after each execution: true ends the search. */
  readonly isOver?: (executions: number) => SearchBound | null;
  readonly resolvePlace?: (raw: string) => string | null;
}

export interface SearchResult {
  readonly executions: number;
  readonly isComplete: boolean;
  readonly bound: SearchBound | null;
  /** Executions that show the claim. */
  readonly matches: number;
  /** Those of them in which nothing is found. */
  readonly quiet: number;
  readonly endings: readonly Ending[];
  readonly shown: Shown | null;
  readonly nearest: Nearest | null;
  /** For each step, for each of its readings, whether some execution shows the claim with it. */
  readonly reached: readonly (readonly boolean[])[];
  /** For each step an execution that has it, in whatever order, and the task that does it. */
  readonly witnesses: readonly (Witness | null)[];
  /** For each step what it gives where that is not what is claimed. */
  readonly otherOutcomes: readonly ReadonlySet<string>[];
  /** For each step whether some execution ends in what it says, after whatever steps. */
  readonly ends: readonly boolean[];
}

/** A step of a claim, and how badly an event may fit it. */
export interface Sought {
  readonly step: ClaimStep;
  readonly scoreMax: number;
}

/** The comparison of a claim with all executions of a subject. */
export class ClaimSearch {
  readonly meanings: readonly Meaning[];
  private readonly subject: Subject;
  private readonly options: SearchOptions;
  private readonly fixed: ReadonlyMap<string, string>;
  private atoms: readonly Atom[] = [];
  private log!: EventLog;
  private isStale = false;

  constructor(
    subject: Subject,
    steps: readonly Sought[],
    fixed: ReadonlyMap<string, string>,
    options: SearchOptions,
  ) {
    this.subject = subject;
    this.options = options;
    this.fixed = fixed;
    this.meanings = steps.map(({ step, scoreMax }) => new Meaning(step, subject.table, scoreMax));
    for (const meaning of this.meanings) meaning.update();
  }

  run(): SearchResult {
    for (;;) {
      const comparison = this.compare();
      if (comparison !== null) return comparison;
    }
  }

  /** Null if it turned out that it has to begin anew. */
  private compare(): SearchResult | null {
    const { subject, options } = this;
    this.isStale = false;
    this.atoms = this.meanings.map(({ step, readingOf }) => ({
      row: step.row,
      label: step.label,
      readings: readingOf,
      outcome: step.mention.role === 'within' ? null : step.mention.outcome,
      fitsEnd: fitsEnd(step),
    }));
    this.log = new EventLog(subject.table, subject.logOptions);
    const found = new Found(this.meanings);
    const matcher = new Matcher(this.atoms, { fixed: this.fixed });
    let executions = 0;
    const pass = new Pass(subject, this.log, {
      executionCountMax: options.executionCountMax ?? null,
      onExecution: (run) => {
        executions += 1;
        this.look(run, matcher, found);
        // A bound nobody will see: the search begins anew.
        if (this.isStale) return { kind: 'rounds', limit: 0 };
        return options.isOver?.(executions) ?? null;
      },
    });
    pass.run();
    if (this.isStale || (pass.hasMoreVisible && pass.isComplete)) return null;
    const bound = matcher.wasCut ? ({ kind: 'choices', limit: 0 } as const) : pass.bound;
    const { matches, quiet, shown, nearest, reached, witnesses, otherOutcomes, ends } = found;
    return {
      matches,
      quiet,
      shown,
      nearest,
      reached,
      witnesses,
      otherOutcomes,
      ends,
      endings: [...found.endings.values()],
      executions,
      isComplete: pass.isComplete && bound === null,
      bound,
    };
  }

  private look(run: Execution, matcher: Matcher, found: Found): void {
    for (const meaning of this.meanings) if (meaning.update()) this.isStale = true;
    if (this.isStale) return;
    const { clockOf, kernel } = run;
    const trace = { log: this.log, clockOf };
    found.noteWitnesses(this.log, this.atoms, run);
    const match = matcher.match(trace);
    if (match === null) {
      found.noteFailure(matcher.failure as Failure, run);
      return;
    }
    found.noteMatch(kernel.findings);
    for (const [step, readings] of found.reached.entries()) {
      const { length } = (this.meanings[step] as Meaning).readings;
      for (let reading = 0; reading < length; reading += 1) {
        if (readings[reading] === true) continue;
        const only = { fixed: this.fixed, only: [step, reading] as const };
        readings[reading] = new Matcher(this.atoms, only).match(trace) !== null;
      }
    }
    if (!found.wants(kernel.findings)) return;
    const shown = this.show(run, match);
    if (shown !== null) found.offer(shown);
  }

  /** Puts an execution into the order of the claim, and makes sure that it shows it then. */
  private show(run: Execution, match: Match): Shown | null {
    const { subject, atoms } = this;
    const order = orderAsClaimed({ log: this.log, clockOf: run.clockOf }, atoms, match.chosen);
    const log = new EventLog(subject.table, subject.logOptions);
    const { kernel, schedule, isWhole } = runInOrder(subject.program(log), run.schedule, {
      order,
      former: run.kernel.tasks as readonly Task[],
      watches: [log, ...allDetectors()],
      visibleMemory: subject.visible,
    });
    if (!isWhole) return null;
    log.close(kernel);
    const again = new Matcher(atoms, { fixed: this.fixed }).match({
      log,
      clockOf: linearClocks(log),
    });
    if (again === null) return null;
    const places = placesWithoutPauses(schedule);
    const at = again.chosen.map(({ task, at: position }) => {
      const events = log.tasks[task];
      const step = events?.steps[position] ?? kernel.stepCount;
      const sort = subject.table.sorts[events?.ids[position] ?? -1];
      const isStep = sort?.kind === 'operation' || sort?.kind === 'begin';
      return { step: places[step] ?? step, isStep: isStep && events?.isPinned[position] === true };
    });
    const switches = schedule.tasks.filter((task, step) => task !== schedule.tasks[step - 1]);
    return {
      schedule: withoutIdlePauses(schedule),
      match: again,
      at,
      findings: kernel.findings,
      switches: switches.length,
    };
  }
}
