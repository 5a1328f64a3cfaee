/** From results to what is printed: repeats the executions that matter, and draws them. */
import { WORKER_MEBIBYTES_MAX } from '../base/limits.ts';
import { allDetectors } from '../check/detector/index.ts';
import type { Schedule } from '../check/program.ts';
import type { VariantResult, Violation } from '../check/result.ts';
import { programOf, type AnyScenario, type Expectation } from '../check/scenario.ts';
import { identityOf } from '../check/shorten.ts';
import { diagram } from '../report/diagram.ts';
import { jsonDocument, jsonStep } from '../report/json.ts';
import { story } from '../report/story.ts';
import { PLAIN } from '../report/style.ts';
import { describeResult, type ShownViolation } from '../report/text.ts';
import { record } from '../trace/record.ts';
import type { RecordedFinding, Recording } from '../trace/recording.ts';
import { encodeToken } from '../trace/token.ts';
import { EXIT_FINDING, EXIT_OK } from './exit-code.ts';
import { resolvePlace } from './place.ts';
import type { View } from './protocol.ts';
import { TERMINAL } from './terminal-style.ts';
import { tokenScenario } from './token-name.ts';
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
}

/** A result, as text or as a part of the JSON document. */
export function presentCheck(result: VariantResult, origin: Origin, view: View): Presented {
  const drawn = view.isBrief ? result.violations.slice(0, 1) : result.violations;
  const shown = drawn.map((violation) => show(violation, origin));
  const { example } = result;
  const extra = example === undefined ? {} : { exampleToken: tokenOf(example, origin) };
  if (view.isJson)
    return { text: '', json: jsonDocument([{ result, shown, ...extra }]).results[0] };
  const style = view.hasColor ? TERMINAL : PLAIN;
  const lines = [describeResult(result, shown, { width: view.columns, style, ...extra })];
  if (drawn.length < result.violations.length) {
    const { name } = origin.scenario;
    lines.push(style.dim(`All pictures: npx mmulab check ${name} --variant ${origin.variant}`));
  }
  return { text: `${lines.join('\n')}\n`, json: null };
}

/** The part of the JSON document for a search that memory ended before it could tell anything. */
export function presentStub({ scenario, variant }: Origin): object {
  const limit = WORKER_MEBIBYTES_MAX;
  const result: VariantResult = {
    scenario: scenario.name,
    variant,
    models: scenario.models ?? [],
    expected: scenario.variants[variant]?.expect ?? null,
    asExpected: false,
    verdict: 'bounded',
    complete: false,
    bound: { kind: 'memory', limit, isRequested: false },
    goals: [],
    executions: 0,
    blocked: 0,
    steps: 0,
    violations: [],
    suspicions: [],
  };
  return jsonDocument([{ result, shown: [] }]).results[0] as object;
}

function show(violation: Violation, origin: Origin): ShownViolation {
  const { schedule } = violation;
  const identity = identityOf(violation);
  const recording = record(programOf(origin.scenario, origin.variant), schedule, allDetectors(), {
    resolvePlace,
    isSought: (finding) => identityOf(finding) === identity,
  });
  return { violation, recording, token: tokenOf(schedule, origin) };
}

function tokenOf(schedule: Schedule, { scenario, variant, file }: Origin): string {
  const name = tokenScenario(scenario.name, file);
  return encodeToken({ version: VERSION, scenario: name, variant, schedule });
}

/** A replayed schedule: its picture and what it led to. */
export function presentReplay(
  schedule: Schedule,
  origin: Origin,
  view: View,
): Presented & { readonly exitCode: number } {
  const { scenario, variant } = origin;
  const program = programOf(scenario, variant);
  const recording = record(program, schedule, allDetectors(), { resolvePlace });
  const expected = scenario.variants[variant]?.expect ?? null;
  const exitCode = isAsExpected(recording, expected) ? EXIT_OK : EXIT_FINDING;
  const json = view.isJson ? replayJson(recording, origin) : null;
  return { text: view.isJson ? '' : replayText(recording, origin, view), json, exitCode };
}

function isAsExpected({ findings }: Recording, expected: Expectation | null): boolean {
  if (expected?.verdict !== 'violation') return findings.length === 0;
  const { kind, object } = expected;
  return findings.some(
    (finding) =>
      (kind ?? finding.kind) === finding.kind && (object ?? finding.object) === finding.object,
  );
}

function replayText(recording: Recording, { scenario, variant }: Origin, view: View): string {
  const style = view.hasColor ? TERMINAL : PLAIN;
  const width = view.columns;
  const { divergence, findings } = recording;
  const last = findings.at(-1) ?? null;
  const lines = [style.bold(`${scenario.name} ${variant}, replayed`)];
  if (divergence !== null) {
    lines.push(
      `The code has changed: at step ${divergence.step + 1} the schedule could not be followed, ` +
        `because ${divergence.reason}. From there on each task ran as long as it could.`,
    );
  }
  lines.push('', diagram(recording, last, { width, style }), '');
  if (last === null) lines.push(style.green('no violation'));
  else lines.push(...story(recording, last, { width, style }), ...others(findings));
  return `${lines.join('\n')}\n`;
}

function others(findings: readonly RecordedFinding[]): string[] {
  return findings.slice(0, -1).map((finding) => `also: ${finding.message}`);
}

function replayJson(recording: Recording, { scenario, variant }: Origin): unknown {
  return {
    schemaVersion: 1,
    scenario: scenario.name,
    variant,
    divergence: recording.divergence,
    violations: recording.findings.map(({ kind, object, message, invariant }) => ({
      kind,
      object,
      message,
      ...(invariant === null ? {} : { invariant }),
    })),
    schedule: recording.steps.map((step) => jsonStep(step)),
  };
}
