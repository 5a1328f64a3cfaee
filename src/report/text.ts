/** The result of checking one variant, for people. */
import { assert, unreachable } from '../base/assert.ts';
import type { BoundRound } from '../check/iterative-bound.ts';
import type { Bound, VariantResult, Violation } from '../check/result.ts';
import type { Expectation } from '../check/scenario.ts';
import { identityOf } from '../check/shorten.ts';
import type { RecordedFinding, Recording } from '../trace/recording.ts';
import { diagram, DIAGRAM_WIDTH_DEFAULT } from './diagram.ts';
import { plural, thousands } from './numbers.ts';
import { describeSampling } from './sampling.ts';
import type { Reporter } from './reporter.ts';
import { story } from './story.ts';
import { PLAIN, type Style } from './style.ts';
import { titleOf } from './titles.ts';
import { wrap } from './wrap.ts';

/** A violation, recorded by repeating its schedule, and the token that repeats it. */
export interface ShownViolation {
  readonly violation: Violation;
  readonly recording: Recording;
  readonly token: string;
}

export interface TextOptions {
  readonly width?: number;
  readonly style?: Style;
  /** Whether pictures show places in the code where there is room; yes if left out. */
  readonly hasPlaces?: boolean;
  /** The token of the result's example, if it has one. */
  readonly exampleToken?: string;
}

/** What every verdict must say, and what it rests on. */
const ABSTRACTION =
  'Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.';

/**
 * Describes a result. `shown` has an entry for each violation that is to be drawn, in the order of
 * the result.
 */
export function describeResult(
  result: VariantResult,
  shown: readonly ShownViolation[],
  options: TextOptions = {},
): string {
  const style = options.style ?? PLAIN;
  const width = options.width ?? DIAGRAM_WIDTH_DEFAULT;
  const models = result.models.length === 0 ? '' : style.dim(` (${result.models.join(', ')})`);
  const lines = [`${style.bold(`${result.scenario} ${result.variant}`)}${models}`];
  lines.push(...verdict(result, style, width));
  for (const [at, item] of shown.entries()) {
    const number = shown.length === 1 ? '' : `${at + 1} of ${shown.length}: `;
    lines.push('', ...describeViolation(item, { ...options, number }));
  }
  lines.push('', ...summary(result, style, width));
  if (options.exampleToken !== undefined) {
    lines.push('', `an execution to look at: npx mmulab replay ${options.exampleToken}`);
  }
  return lines.join('\n');
}

/** One violation: its picture, its story, and the line that replays it. */
export function describeViolation(
  { violation, recording, token }: ShownViolation,
  options: TextOptions & { readonly number?: string } = {},
): string[] {
  const style = options.style ?? PLAIN;
  const width = options.width ?? DIAGRAM_WIDTH_DEFAULT;
  const finding = findingOf(recording, violation);
  const number = options.number ?? '';
  const where = violation.places[0] === '' ? '' : ` in ${violation.places[0]}`;
  const title = number === '' ? [] : [style.bold(`${number}${titleOf(violation)}${where}`), ''];
  return [
    ...title,
    diagram(recording, finding, options),
    '',
    ...story(recording, finding, { width, style }),
    '',
    effortText(violation),
    `replay: npx mmulab replay ${token}`,
  ];
}

/** What it takes: `needs 2 preemptions; shown with 3 changes between tasks`. */
function effortText({ preemptions, isFewest, switches }: Violation): string {
  const count = preemptions === 0 ? 'no preemption' : plural(preemptions, 'preemption');
  const changes = switches === 0 ? 'no change' : plural(switches, 'change');
  return isFewest
    ? `needs ${count}; shown with ${changes} between tasks`
    : `shown with ${count} and ${changes} between tasks; whether fewer would do was not searched to the end`;
}

/** The finding of the recording that is the violation. */
export function findingOf(recording: Recording, violation: Violation): RecordedFinding {
  const identity = identityOf(violation);
  const found = recording.findings.find((finding) => identityOf(finding) === identity);
  assert(found !== undefined, `the recording shows: ${violation.message}`);
  return found;
}

// ---- the verdict -----------------------------------------------------------------------------

function verdict(result: VariantResult, style: Style, width: number): string[] {
  const text = verdictText(result);
  const isGood = result.asExpected && result.verdict !== 'bounded';
  const shown = wrap(text, width, 2).map((line) => {
    if (result.verdict === 'violation') return style.red(line);
    return isGood ? style.green(line) : style.bold(line);
  });
  return [...shown, ...expectation(result, style)];
}

/** The verdict in one sentence. */
export function verdictText(result: VariantResult): string {
  const count = plural(result.executions, 'execution');
  const never = result.goals.filter((goal) => !goal.reached).map((goal) => `'${goal.name}'`);
  switch (result.verdict) {
    case 'violation': {
      const counts = new Map<string, number>();
      for (const item of result.violations) {
        counts.set(titleOf(item), (counts.get(titleOf(item)) ?? 0) + 1);
      }
      const titles = [...counts].map(([title, n]) =>
        n === 1 ? title : `${title} (in ${n} places)`,
      );
      const { length } = result.violations;
      return `${length === 1 ? 'violation' : `${length} violations`}: ${titles.join('; ')}`;
    }
    case 'clean':
      return `no violation in ${count}, ${extentText(result)} — complete`;
    case 'bounded':
      return `bounded: no violation in ${count}, but ${boundText(result.bound)}`;
    case 'vacuous':
      return (
        `vacuous: no violation in ${count}, but none of them reached ${never.join(' or ')}, ` +
        'so nothing was shown'
      );
    default:
      return unreachable(result.verdict);
  }
}

function expectation(result: VariantResult, style: Style): string[] {
  const { expected, asExpected } = result;
  if (expected === null) return [];
  if (asExpected) return [style.dim('as expected')];
  if (
    result.bound?.isRequested === true &&
    result.verdict === 'bounded' &&
    expected.verdict !== 'violation'
  ) {
    const why =
      result.sampling === undefined ? 'the search did not get that far' : 'no sample can show it';
    return [style.dim(`expected is ${expectedText(expected)}; ${why}`)];
  }
  return [style.bold(style.red(`NOT as expected, which is ${expectedText(expected)}`))];
}

function expectedText(expected: Expectation): string {
  const { verdict: expectedVerdict, kind, object, invariant } = expected;
  if (kind === undefined) return expectedVerdict;
  const breach = invariant === undefined ? '' : `, breaking ${invariant}`;
  return `${expectedVerdict}: ${titleOf({ kind, object: object ?? '' })}${breach}`;
}

/** Searches with a bound may execute a class more than once. */
function extentText({ rounds, interchangeable = [] }: VariantResult): string {
  const which = rounds === undefined ? 'one' : 'one or more';
  const upTo = interchangeable.map((group) => `, up to exchanging ${group.join(', ')}`).join('');
  return `${which} for each class of equivalent interleavings${upTo}`;
}

/** `by preemptions allowed: 0: 2 executions, 1: 14, 2: 31 (not all)`. */
function roundsText(rounds: readonly BoundRound[]): string {
  const parts = rounds.map(({ preemptions, executions, isComplete }, at) => {
    const count = at === 0 ? plural(executions, 'execution') : thousands(executions);
    return `${preemptions}: ${count}${isComplete ? '' : ' (not all)'}`;
  });
  return `by preemptions allowed: ${parts.join(', ')}`;
}

function boundText(bound: Bound | null): string {
  if (bound === null) return 'the search did not end';
  const asked = bound.isRequested ? ', as asked' : '';
  switch (bound.kind) {
    case 'executions':
      return `the search ended after ${plural(bound.limit, 'execution')}${asked}`;
    case 'time':
      return `the search ended after ${plural(bound.limit, 'second')}${asked}`;
    case 'memory':
      return `the search ended at ${thousands(bound.limit)} MiB of memory${asked}`;
    case 'steps':
      return `the search ended at an execution of ${plural(bound.limit, 'step')}${asked}`;
    case 'rounds':
      return `a loop was given up after ${plural(bound.limit, 'round')}`;
    case 'first-violation':
      return `the search ended at the first violation${asked}`;
    case 'preemptions':
      return bound.limit === 0
        ? `executions with a preemption were left out${asked}`
        : `executions with more than ${plural(bound.limit, 'preemption')} were left out${asked}`;
    case 'samples':
      return `the executions were drawn at random${asked}`;
    case 'shard':
      return `of ${plural(bound.limit, 'part')} of the search not all were explored${asked}`;
    case 'interrupted':
      return 'the search was interrupted';
    default:
      return unreachable(bound.kind);
  }
}

// ---- the figures -----------------------------------------------------------------------------

function summary(result: VariantResult, style: Style, width: number): string[] {
  const lines: string[] = [];
  if (result.verdict === 'violation') {
    const extent = result.complete
      ? `${extentText(result)} — complete`
      : `bounded: ${boundText(result.bound)}`;
    lines.push(`${plural(result.executions, 'execution')}, ${extent}`);
  }
  if (result.rounds !== undefined) lines.push(roundsText(result.rounds));
  if (result.sampling !== undefined) lines.push(...describeSampling(result.sampling, result));
  const repeated =
    result.blocked === 0
      ? 'no run abandoned'
      : `${plural(result.blocked, 'run')} abandoned, since others cover ${result.blocked === 1 ? 'it' : 'them'}`;
  const steps = `${plural(result.steps, 'step')} taken`;
  lines.push(result.sampling === undefined ? `${steps}, ${repeated}` : steps);
  if (result.goals.length > 0) lines.push(...goals(result));
  for (const suspicion of result.suspicions) {
    lines.push(`possible, but not seen to happen: ${suspicion.message}`);
  }
  return [...lines, ABSTRACTION]
    .flatMap((line) => wrap(line, width, 2))
    .map((line) => style.dim(line));
}

function goals(result: VariantResult): string[] {
  const names = (reached: boolean): string =>
    result.goals
      .filter((goal) => goal.reached === reached)
      .map((goal) => `'${goal.name}'`)
      .join(', ');
  const [yes, no] = [names(true), names(false)];
  return [yes === '' ? '' : `reached: ${yes}`, no === '' ? '' : `never reached: ${no}`].filter(
    (line) => line !== '',
  );
}

/** As the terminal shows it, without colours; source lines need more room where there is a driver of one's own. */
const WIDTH_OF_FILES = 120;

export const textReporter: Reporter = {
  name: 'text',
  about: 'pictures and stories for people, as the terminal shows them',
  write({ variants, failures }) {
    const results = variants.map(({ result, shown, file, exampleToken }) => {
      const width = file === null ? DIAGRAM_WIDTH_DEFAULT : WIDTH_OF_FILES;
      const extra = exampleToken === undefined ? {} : { exampleToken };
      return `${describeResult(result, shown, { width, ...extra })}\n`;
    });
    const errors = failures.map(
      ({ code, message, place }) => `${place ?? 'mmulab'}: ${message} (${code})\n`,
    );
    return [[...results, ...errors].join('\n')];
  },
};
