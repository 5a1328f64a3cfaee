/**
 * One variant of a scenario as claims are compared with it: runs interleavings of it, and keeps what is known
 * of their events.
 */
import { allDetectors } from '../check/detector/index.ts';
import type { Execution } from '../check/exploration.ts';
import { boundPlanOf, makeExplorer } from '../check/make-explorer.ts';
import type { Program } from '../check/program.ts';
import type { SamplingPlan } from '../check/sampler/sampling.ts';
import { programOf, type AnyScenario } from '../check/scenario.ts';
import { EventLog, EventTable, type LogOptions } from './event-log.ts';

/** What ended a search before it was complete. */
export interface SearchBound {
  readonly kind: 'executions' | 'time' | 'preemptions' | 'rounds' | 'choices' | 'interrupted';
  readonly limit: number;
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
export class Pass {
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
