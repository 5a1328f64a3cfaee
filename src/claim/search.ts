/**
 * Searches one variant of a scenario for a claim: executes one interleaving of each class, and compares
 * each with the claim. As `check` does, it starts over when plain accesses turn out to be raced for.
 */
import { allDetectors } from '../check/detector/index.ts';
import type { Execution } from '../check/exploration.ts';
import { boundPlanOf, makeExplorer } from '../check/make-explorer.ts';
import type { Program, Schedule } from '../check/program.ts';
import type { SamplingPlan } from '../check/sampler/sampling.ts';
import { programOf, type AnyScenario } from '../check/scenario.ts';
import { identityOf, withoutIdlePauses } from '../check/shorten.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Task } from '../kernel/task.ts';
import { EventLog, EventTable, type LogOptions } from './event-log.ts';
import { linearClocks, orderAsClaimed, placesWithoutPauses, runInOrder } from './linearise.ts';
import { Matcher, saysMore, type Atom, type Failure, type Match } from './match.ts';
import { fitsEnd, Meaning, type ClaimStep } from './meaning.ts';

/** What ended a search before it was complete. */
export interface SearchBound {
  readonly kind: 'executions' | 'time' | 'preemptions' | 'rounds' | 'choices' | 'interrupted';
  readonly limit: number;
}

export interface SearchOptions {
  readonly executionCountMax?: number;
  /** Asked after each execution: true ends the search. */
  readonly isOver?: (executions: number) => SearchBound | null;
  readonly resolvePlace?: (raw: string) => string | null;
}

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
}

export interface Witness {
  readonly schedule: Schedule;
  readonly task: string;
}

/** One variant, and what is known of its events. */
export class Subject {
  readonly scenario: AnyScenario;
  readonly variant: string;
  readonly table = new EventTable();
  readonly visibleMemory = new Set<string>();
  /** Whether the survey has seen all there is. */
  isSurveyed = false;
  surveyed = 0;
  private surveyedSteps = 0;
  readonly logOptions: LogOptions;

  constructor(scenario: AnyScenario, variant: string, logOptions: LogOptions) {
    this.scenario = scenario;
    this.variant = variant;
    this.logOptions = logOptions;
  }

  get visible(): ReadonlySet<string> | null {
    return this.visibleMemory.size === 0 ? null : this.visibleMemory;
  }

  program(log: EventLog): Program {
    const program = programOf(this.scenario, this.variant);
    return { ...program, start: (watches) => program.start(watches, log) };
  }

  /** Executes a few interleavings, only to learn which events there are: half of them at random. */
  glance(executionCountMax: number): void {
    const glance = (count: number, sampling: SamplingPlan | null): boolean => {
      const pass = new Pass(this, new EventLog(this.table, this.logOptions), {
        isGlance: true,
        sampling,
        executionCountMax: count,
        onExecution: () => null,
      });
      pass.run();
      return pass.isComplete;
    };
    const isAll = glance(Math.ceil(executionCountMax / 2), null);
    const left = Math.floor(executionCountMax / 2);
    if (!isAll && left > 0) glance(0, { ...SURVEY_SAMPLES, samples: left });
  }

  /** Executes some interleavings, to learn which events there are: about so many steps. */
  survey(stepCountMax: number): void {
    if (this.isSurveyed || stepCountMax <= this.surveyedSteps) return;
    this.surveyedSteps = stepCountMax;
    for (;;) {
      const pass = this.surveyPass(stepCountMax, {});
      this.surveyed = pass.executions;
      this.isSurveyed = pass.isComplete;
      if (!pass.hasMoreVisible) break;
    }
    // The first executions of a search are much alike; those drawn at random are not.
    if (!this.isSurveyed) this.surveyPass(stepCountMax, { sampling: SURVEY_SAMPLES });
  }

  private surveyPass(stepCountMax: number, more: Pick<PassOptions, 'sampling'>): Pass {
    let steps = 0;
    const pass = new Pass(this, new EventLog(this.table, this.logOptions), {
      ...more,
      executionCountMax: null,
      onExecution: ({ kernel }) => {
        steps += kernel.stepCount;
        return steps < stepCountMax ? null : { kind: 'executions', limit: 0 };
      },
    });
    pass.run();
    return pass;
  }

  /** The names of the tasks of the scenario. */
  get taskNames(): readonly string[] {
    return Object.keys(this.scenario.tasks);
  }
}

const SURVEY_SAMPLES: SamplingPlan = { method: 'random', samples: 10_000, seed: 1 };

interface PassOptions {
  /** Draws executions instead; null for one of each class. */
  readonly sampling?: SamplingPlan | null;
  /** Leaves the detectors out: then nothing is found, nor learnt of memory that is raced for. */
  readonly isGlance?: boolean;
  readonly executionCountMax: number | null;
  readonly onExecution: (run: Execution) => SearchBound | null;
}

/** One exploration of a subject. */
class Pass {
  executions = 0;
  isComplete = false;
  hasMoreVisible = false;
  bound: SearchBound | null = null;
  private readonly subject: Subject;
  private readonly log: EventLog;
  private readonly options: PassOptions;

  constructor(subject: Subject, log: EventLog, options: PassOptions) {
    this.subject = subject;
    this.log = log;
    this.options = options;
  }

  run(): void {
    const { subject, log } = this;
    const { executionCountMax, sampling = null } = this.options;
    const { scenario, variant, visible } = subject;
    const detectors = this.options.isGlance === true ? [] : allDetectors();
    const made = makeExplorer(
      subject.program(log),
      {
        watches: [log, ...detectors],
        ...(visible === null ? {} : { visibleMemory: visible }),
        ...(executionCountMax === null || sampling !== null ? {} : { executionCountMax }),
        onExecution: (run) => this.onExecution(run),
      },
      sampling ?? boundPlanOf(boundsOf(scenario, variant), () => false),
    );
    for (const detector of detectors) {
      if (detector.scheduleSoFar !== undefined) {
        detector.scheduleSoFar = () => made.explorer.schedule;
      }
    }
    const result = made.explorer.run();
    const reached = made.boundReached();
    if (!result.isComplete && this.bound === null) {
      this.bound =
        reached === null
          ? { kind: 'executions', limit: executionCountMax ?? 0 }
          : { kind: 'preemptions', limit: reached };
    }
    this.isComplete = result.isComplete && this.bound === null;
    const known = subject.visibleMemory.size;
    for (const { unorderedMemory } of detectors) {
      for (const name of unorderedMemory ?? []) subject.visibleMemory.add(name);
    }
    this.hasMoreVisible = subject.visibleMemory.size > known;
  }

  private onExecution(run: Execution): boolean {
    this.executions += 1;
    this.log.close(run.kernel);
    const { cut } = run.kernel;
    if (cut !== null) this.bound ??= { kind: 'rounds', limit: cut.limit };
    const bound = this.options.onExecution(run);
    if (bound !== null) this.bound = bound;
    return bound !== null;
  }
}

function boundsOf(scenario: AnyScenario, variant: string): { preemptions?: number } {
  const preemptions = scenario.variants[variant]?.preemptions ?? scenario.preemptions;
  return preemptions === undefined ? {} : { preemptions };
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
      result: step.mention.role === 'within' ? null : step.mention.result,
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
    const { matches, quiet, shown, nearest, reached, witnesses } = found;
    return {
      matches,
      quiet,
      shown,
      nearest,
      reached,
      witnesses,
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

/** Attempts to find a claimed execution with fewer changes between tasks. */
const SHOWN_COUNT_MAX = 200;

/** What has been found so far. */
class Found {
  matches = 0;
  quiet = 0;
  shown: Shown | null = null;
  nearest: Nearest | null = null;
  readonly reached: boolean[][];
  readonly witnesses: (Witness | null)[];
  readonly endings = new Map<string, Ending>();
  private offers = 0;

  constructor(meanings: readonly Meaning[]) {
    this.reached = meanings.map(({ readings }) => readings.map(() => false));
    this.witnesses = meanings.map(() => null);
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

  noteWitnesses({ tasks }: EventLog, atoms: readonly Atom[], run: Execution): void {
    for (const [index, witness] of this.witnesses.entries()) {
      if (witness !== null) continue;
      const { readings } = atoms[index] as Atom;
      const has = tasks.find(({ ids }) => ids.some((id) => (readings[id] ?? -1) >= 0));
      if (has !== undefined) {
        this.witnesses[index] = { schedule: run.schedule, task: has.task.name };
      }
    }
  }
}

/** What leads to a finding is what a claim is about; then, what is easier to follow. */
function isBetter(one: Shown, other: Shown): boolean {
  const has = ({ findings }: Shown): number => (findings.length > 0 ? 0 : 1);
  if (has(one) !== has(other)) return has(one) < has(other);
  if (one.switches !== other.switches) return one.switches < other.switches;
  return one.schedule.tasks.length < other.schedule.tasks.length;
}
