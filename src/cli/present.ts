/** From results to what is printed: repeats the executions that matter, and draws them. */
import { WORKER_MEBIBYTES_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { adaptSchedule, type Adapted } from '../check/adapt.ts';
import { allDetectors } from '../check/detector/index.ts';
import type { Schedule } from '../check/program.ts';
import type { VariantResult, Violation } from '../check/result.ts';
import { programOf, type AnyScenario, type Expectation } from '../check/scenario.ts';
import { preemptionsOf } from '../check/preemption.ts';
import { costOf, identityOf } from '../check/shorten.ts';
import { diagram } from '../report/diagram.ts';
import { jsonStep } from '../report/json.ts';
import type { ReportedVariant } from '../report/reporter.ts';
import { story } from '../report/story.ts';
import { PLAIN } from '../report/style.ts';
import { describeResult, type ShownViolation } from '../report/text.ts';
import { wrap } from '../report/wrap.ts';
import { record } from '../trace/record.ts';
import type { RecordedFinding, Recording } from '../trace/recording.ts';
import { EXIT_FINDING, EXIT_OK } from './exit-code.ts';
import { resolvePlace } from './place.ts';
import type { View } from './protocol.ts';
import { TERMINAL } from './terminal-style.ts';
import { tokenScenario, writeToken } from './token-name.ts';
import { VERSION } from './version.ts';

/** Where a scenario comes from. `file` is null for the catalogue. */
export interface Origin {
  readonly scenario: AnyScenario;
  readonly variant: string;
  readonly file: string | null;
}

interface Presented {
  readonly text: string;
  readonly json: unknown;
  /** What reporters are given; null if the view does not ask for it. */
  readonly report: ReportedVariant | null;
}

/** A result, as text, and for reporters. */
export function presentCheck(result: VariantResult, origin: Origin, view: View): Presented {
  const drawn = view.isBrief ? result.violations.slice(0, 1) : result.violations;
  const hasValues = view.report === 'values';
  const shown = drawn.map((violation) => show(violation, origin, hasValues));
  const { example } = result;
  const extra = example === undefined ? {} : { exampleToken: tokenOf(example, origin) };
  const report =
    view.report === undefined
      ? null
      : {
          ...reported(result, origin),
          shown,
          ...extra,
          ...(hasValues ? sampleOf(result, origin) : {}),
        };
  if (view.isJson) return { text: '', json: null, report };
  const style = view.hasColor ? TERMINAL : PLAIN;
  const lines = [describeResult(result, shown, { width: view.columns, style, ...extra })];
  if (drawn.length < result.violations.length) {
    const { name } = origin.scenario;
    lines.push(style.dim(`All pictures: npx mmulab check ${name} --variant ${origin.variant}`));
  }
  return { text: `${lines.join('\n')}\n`, json: null, report };
}

/** What is reported of a search that memory ended before it could tell anything. */
export function presentStub(origin: Origin): ReportedVariant {
  const limit = WORKER_MEBIBYTES_MAX;
  const { scenario, variant } = origin;
  const result: VariantResult = {
    ...nothingOf(scenario, variant),
    bound: { kind: 'memory', limit, isRequested: false },
  };
  return reported(result, origin);
}

/** A result that knows nothing yet. */
function nothingOf(scenario: AnyScenario, variant: string): VariantResult {
  return {
    scenario: scenario.name,
    variant,
    models: scenario.models ?? [],
    expected: scenario.variants[variant]?.expect ?? null,
    asExpected: false,
    verdict: 'bounded',
    complete: false,
    bound: null,
    goals: [],
    executions: 0,
    blocked: 0,
    steps: 0,
    violations: [],
    suspicions: [],
  };
}

function reported(result: VariantResult, { scenario, variant, file }: Origin): ReportedVariant {
  return {
    result,
    shown: [],
    about: scenario.about ?? null,
    variantAbout: scenario.variants[variant]?.about ?? null,
    file,
  };
}

const NOTHING: Schedule = { tasks: [], outcomes: [] };

/** An execution to look at where there is no violation: each task runs as long as it can. */
function sampleOf(result: VariantResult, origin: Origin): Pick<ReportedVariant, 'sample'> {
  if (result.violations.length > 0) return {};
  const { example = NOTHING } = result;
  const program = programOf(origin.scenario, origin.variant);
  const options = { resolvePlace, hasValues: true, isSought: () => false };
  try {
    const recording = record(program, example, allDetectors(), options);
    // What the search would have told of is not to be shown as an execution without violation.
    if (recording.findings.length > 0) return {};
    return { sample: { recording, token: tokenOf(scheduleOf(recording), origin) } };
  } catch (error) {
    // An execution that does not end, where the search was told to stop at so many steps.
    if (error instanceof UsageError) return {};
    throw error;
  }
}

function scheduleOf({ steps }: Recording): Schedule {
  return {
    tasks: steps.map((step) => step.task),
    outcomes: steps.map((step) => step.outcome),
  };
}

function show(violation: Violation, origin: Origin, hasValues: boolean): ShownViolation {
  const { schedule } = violation;
  const identity = identityOf(violation);
  const recording = record(programOf(origin.scenario, origin.variant), schedule, allDetectors(), {
    resolvePlace,
    hasValues,
    isSought: (finding) => identityOf(finding) === identity,
  });
  return { violation, recording, token: tokenOf(schedule, origin) };
}

function tokenOf(schedule: Schedule, { scenario, variant, file }: Origin): string {
  const name = tokenScenario(scenario.name, file);
  return writeToken(programOf(scenario, variant), schedule, { scenario: name, variant });
}

/** A schedule that somebody gives, and the version of mmulab that wrote it. */
export interface Given {
  readonly schedule: Schedule;
  readonly version: string;
}

/** A replayed execution, and what it was to be. */
interface Replayed extends Adapted {
  readonly recording: Recording;
  readonly version: string;
}

/** A replayed schedule: its picture and what it led to. */
export function presentReplay(
  given: Given,
  origin: Origin,
  view: View,
): Presented & { readonly exitCode: number } {
  const { scenario, variant } = origin;
  const program = programOf(scenario, variant);
  const hasValues = view.report === 'values';
  const adapted = adaptSchedule(program, given.schedule);
  const { schedule } = adapted;
  const recording = record(program, schedule, allDetectors(), { resolvePlace, hasValues });
  const replayed = { ...adapted, recording, version: given.version };
  const expected = scenario.variants[variant]?.expect ?? null;
  const exitCode = isAsExpected(recording, expected) ? EXIT_OK : EXIT_FINDING;
  const json = view.isJson ? replayJson(replayed, origin) : null;
  const text = view.isJson ? '' : replayText(replayed, origin, view);
  const report = view.report === undefined ? null : replayReport(recording, schedule, origin);
  return { text, json, report, exitCode };
}

/** One execution, as a search that was to end after one. */
function replayReport(recording: Recording, schedule: Schedule, origin: Origin): ReportedVariant {
  const { scenario, variant } = origin;
  const token = tokenOf(schedule, origin);
  const cost = {
    preemptions: preemptionsOf(programOf(scenario, variant), schedule),
    isFewest: false,
    switches: costOf(schedule).switches,
  };
  const violations = recording.findings.map(
    ({ kind, object, message, invariant, places }): Violation => ({
      kind,
      object,
      message,
      invariant,
      places,
      schedule,
      ...cost,
    }),
  );
  const nothing = nothingOf(scenario, variant);
  const { expected } = nothing;
  const result: VariantResult = {
    ...nothing,
    asExpected: isAsExpected(recording, expected),
    verdict: violations.length > 0 ? 'violation' : 'bounded',
    bound: { kind: 'executions', limit: 1, isRequested: true },
    goals: recording.goals.map((name) => ({ name, reached: true })),
    executions: 1,
    steps: recording.steps.length,
    violations,
  };
  const report = reported(result, origin);
  if (violations.length === 0) return { ...report, sample: { recording, token } };
  return { ...report, shown: violations.map((violation) => ({ violation, recording, token })) };
}

function isAsExpected({ findings }: Recording, expected: Expectation | null): boolean {
  if (expected?.verdict !== 'violation') return findings.length === 0;
  const { kind, object } = expected;
  return findings.some(
    (finding) =>
      (kind ?? finding.kind) === finding.kind && (object ?? finding.object) === finding.object,
  );
}

function replayText(replayed: Replayed, { scenario, variant }: Origin, view: View): string {
  const style = view.hasColor ? TERMINAL : PLAIN;
  const width = view.columns;
  const { recording } = replayed;
  const { findings } = recording;
  const last = findings.at(-1) ?? null;
  const lines = [style.bold(`${scenario.name} ${variant}, replayed`)];
  for (const text of changeTexts(replayed)) lines.push(...wrap(text, width, 2));
  lines.push('', diagram(recording, last, { width, style }), '');
  if (last === null) lines.push(style.green('no violation'));
  else lines.push(...story(recording, last, { width, style }), ...others(findings));
  return `${lines.join('\n')}\n`;
}

/** What is to be said of a token that does not fit. */
function changeTexts({ edits, stopped, version }: Replayed): string[] {
  const texts: string[] = [];
  if (version !== VERSION) {
    texts.push(
      `The token was written by mmulab ${version}, this is mmulab ${VERSION}: the same schedule may take ` +
        `another course. 'npx mmulab@${version} replay' repeats what was seen.`,
    );
  }
  for (const [at, { step, reason }] of edits.entries()) {
    const lead = at === 0 ? 'The code has changed: ' : '';
    texts.push(`${lead}at step ${step + 1} of the token ${reason}.`);
  }
  if (stopped !== null) {
    const lead = edits.length === 0 ? 'The code has changed: at' : 'At';
    texts.push(
      `${lead} step ${stopped.step + 1} the schedule could not be followed, because ` +
        `${stopped.reason}. From there on each task ran as long as it could.`,
    );
  }
  return texts;
}

function others(findings: readonly RecordedFinding[]): string[] {
  return findings.slice(0, -1).map((finding) => `also: ${finding.message}`);
}

function replayJson(replayed: Replayed, { scenario, variant }: Origin): unknown {
  const { recording, edits, stopped, version } = replayed;
  const first = edits[0] ?? stopped;
  return {
    schemaVersion: 1,
    scenario: scenario.name,
    variant,
    ...(version === VERSION ? {} : { tokenVersion: version }),
    divergence: first === null ? null : { step: first.step, reason: first.reason },
    edits,
    isFollowed: stopped === null,
    violations: recording.findings.map(({ kind, object, message, invariant }) => ({
      kind,
      object,
      message,
      ...(invariant === null ? {} : { invariant }),
    })),
    schedule: recording.steps.map((step) => jsonStep(step)),
  };
}
