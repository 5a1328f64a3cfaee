/** The answer to a claim, as text and as a JSON document. */
import { unreachable } from '../base/assert.ts';
import { allDetectors } from '../check/detector/index.ts';
import type { Schedule } from '../check/program.ts';
import { programOf } from '../check/scenario.ts';
import { identityOf } from '../check/shorten.ts';
import type { ClaimAnswer, ClaimVerdict, Puzzle, VariantAnswer } from '../claim/judge.ts';
import type { ClaimStep } from '../claim/meaning.ts';
import type { Ending, Shown } from '../claim/found.ts';
import { saidOf, type Verb } from '../claim/phrase.ts';
import type { SearchResult } from '../claim/search.ts';
import type { SearchBound } from '../claim/subject.ts';
import { diagram } from '../report/diagram.ts';
import { jsonStep } from '../report/json.ts';
import { plural } from '../report/numbers.ts';
import { PLAIN, type Style } from '../report/style.ts';
import { titleOf } from '../report/titles.ts';
import { wrap } from '../report/wrap.ts';
import { record } from '../trace/record.ts';
import type { Recording } from '../trace/recording.ts';
import { resolvePlace } from './place.ts';
import type { View } from './protocol.ts';
import { TERMINAL } from './terminal-style.ts';
import { tokenScenario, writeToken } from './token-name.ts';

/** Grows when a field changes its meaning or goes away, not when one is added. */
const SCHEMA_VERSION = 1;

/** As text, or as a JSON document. `file` is where the scenarios come from, null for the catalogue. */
export function presentClaim(
  answer: ClaimAnswer,
  file: string | null,
  view: View,
): { readonly text: string; readonly json: unknown } {
  if (view.isJson) return { text: '', json: jsonOf(answer, file) };
  return { text: new Presenter(answer, file, view).text(), json: null };
}

const WORDS: Readonly<Record<ClaimVerdict, string>> = {
  reachable: 'reachable',
  'not-reachable': 'not reachable',
  ambiguous: 'ambiguous',
  undecided: 'undecided',
};

/** A step of a claim as messages name it. */
function nameOf({ line, label, mention }: ClaimStep): string {
  return `line ${line}, ${label === null ? '' : `${label}: `}${saidOf(mention)}`;
}

function tokenOf(schedule: Schedule, { subject }: VariantAnswer, file: string | null): string {
  const { variant } = subject;
  const scenario = tokenScenario(subject.scenario.name, file);
  return writeToken(programOf(subject.scenario, variant), schedule, { scenario, variant });
}

function recordingOf({ subject, result }: VariantAnswer, { schedule }: Shown): Recording {
  const program = programOf(subject.scenario, subject.variant);
  // What the claim leads to; if that is nothing, the execution as such.
  const endings = new Set(result?.endings.map(({ finding }) => identityOf(finding)));
  return record(program, schedule, allDetectors(), {
    resolvePlace,
    isSought: (finding) => endings.has(identityOf(finding)),
  });
}

class Presenter {
  private readonly answer: ClaimAnswer;
  private readonly file: string | null;
  private readonly width: number;
  private readonly style: Style;
  private readonly lines: string[] = [];

  constructor(answer: ClaimAnswer, file: string | null, view: View) {
    this.answer = answer;
    this.file = file;
    this.width = view.columns;
    this.style = view.hasColor ? TERMINAL : PLAIN;
  }

  text(): string {
    const { verdict, variants, puzzles } = this.answer;
    if (variants.length === 0) {
      this.say(this.style.bold('ambiguous: the claim cannot be read as one interleaving'));
      for (const puzzle of puzzles) this.say(puzzleText(puzzle), 1);
      if (puzzles.some(({ kind }) => kind === 'elsewhere')) {
        this.say('No scenario has all of these. Claim one thing at a time, or name a scenario.');
      }
      return this.lines.join('\n');
    }
    const isMany = variants.length > VARIANTS_TOLD_MAX;
    const told = isMany ? variants.filter((one) => one.verdict !== 'not-reachable') : variants;
    for (const variant of isMany ? told.slice(0, VARIANTS_DRAWN_MAX) : told) this.variant(variant);
    if (variants.length > 1) {
      this.say(this.style.bold(`in all: ${WORDS[verdict]}`));
      const width = Math.max(0, ...told.map((one) => titleOfVariant(one).length));
      for (const one of told) {
        this.say(`  ${titleOfVariant(one).padEnd(width)}  ${WORDS[one.verdict]}`);
      }
      if (isMany) this.leftOut(variants.length - told.length);
    } else this.lines.pop();
    return this.lines.join('\n');
  }

  private leftOut(count: number): void {
    if (count === 0) return;
    this.say(`  not reachable in ${plural(count, 'other')}; --scenario NAME says why`);
  }

  private say(text: string, indent = 0): void {
    const pad = ' '.repeat(indent * 2);
    for (const line of wrap(text, this.width - pad.length, 2)) this.lines.push(pad + line);
  }

  private variant(answer: VariantAnswer): void {
    const { subject, verdict, shown, obstacle, result } = answer;
    const models = subject.scenario.models ?? [];
    const title = `${subject.scenario.name} ${subject.variant}`;
    const about = models.length === 0 ? '' : ` (${models.join(', ')})`;
    this.say(this.style.bold(`${title}${about}: ${WORDS[verdict]}`));
    if (verdict === 'ambiguous') this.readings(answer);
    if (shown !== null) this.shown(answer, shown);
    else if (obstacle !== null) this.obstacle(answer);
    if (result !== null) this.say(this.style.dim(extentText(result)));
    this.lines.push('');
  }

  private readings({ readings }: VariantAnswer): void {
    for (const [at, options] of readings.entries()) {
      if (options.every(({ isReachable }) => isReachable)) continue;
      this.say(`${nameOf(this.answer.claim.steps[at] as ClaimStep)} can mean`);
      for (const { text, isReachable } of options) {
        this.say(`${text}: ${isReachable ? 'reachable' : 'not reachable'}`, 1);
      }
    }
  }

  private shown(answer: VariantAnswer, shown: Shown): void {
    const recording = recordingOf(answer, shown);
    const { steps } = this.answer.claim;
    for (const [label, task] of shown.match.bound) {
      const name = recording.tasks[task]?.name ?? '';
      if (label !== name) this.say(`${label} is task ${name}`, 1);
    }
    for (const [at, step] of steps.entries()) {
      const { step: index, isStep } = shown.at[at] as Shown['at'][number];
      const when = isStep
        ? `step ${index + 1}`
        : index < 0
          ? 'at first'
          : `after step ${index + 1}`;
      const isOver = index >= recording.steps.length && !isStep;
      this.say(`${nameOf(step)} → ${isOver ? 'at the end' : when}`, 1);
    }
    const finding = recording.findings[0] ?? null;
    const { width, style } = this;
    this.lines.push('', diagram(recording, finding, { width, style }), '');
    for (const line of endingsText(answer.result as SearchResult)) this.say(line);
    this.lines.push(
      this.style.dim(`replay: npx mmulab replay ${tokenOf(shown.schedule, answer, this.file)}`),
    );
  }

  private obstacle(answer: VariantAnswer): void {
    const { obstacle } = answer;
    if (obstacle === null) return;
    const { steps } = this.answer.claim;
    const step = nameOf(steps[obstacle.step] as ClaimStep);
    const [first] = obstacle.reasons;
    if (first?.kind === 'never') {
      this.say(`${step}: ${first.text}`, 1);
      return;
    }
    if (obstacle.after === null) this.say(`${step} cannot come first:`, 1);
    else {
      const after = nameOf(steps[obstacle.after] as ClaimStep);
      this.say(`${step} cannot come after ${after}:`, 1);
    }
    for (const { text } of obstacle.reasons) this.say(text, 2);
    if (obstacle.schedule !== null) {
      const token = tokenOf(obstacle.schedule, answer, this.file);
      this.lines.push(this.style.dim(`  the nearest there is: npx mmulab replay ${token}`));
    }
  }
}

function titleOfVariant({ subject }: VariantAnswer): string {
  return `${subject.scenario.name} ${subject.variant}`;
}

const VERB_TEXTS: Readonly<Record<Verb, string>> = {
  read: 'reads',
  write: 'writes',
  free: 'frees',
  allocate: 'allocates',
  lock: 'locks',
  unlock: 'unlocks',
  unlink: 'unlinks',
};

function puzzleText({ line, text, verb, kind, nearest, scenarios }: Puzzle): string {
  switch (kind) {
    case 'no-step':
      return `line ${line}: '${text}' names no step. Name a function, an operation, or a place like gru.ts:41.`;
    case 'unknown': {
      const names = nearest.map((name) => `'${name}'`).join(', ');
      const missing = verb === null ? `is called '${text}'` : `${VERB_TEXTS[verb]} '${text}'`;
      const offer = names === '' ? '' : ` Is one of these meant: ${names}?`;
      return `line ${line}: nothing here ${missing}.${offer}`;
    }
    case 'elsewhere':
      return `line ${line}: '${text}' occurs in ${scenariosText(scenarios)}`;
    case 'everywhere':
      return `${scenarios.length} scenarios have all of its steps: ${scenariosText(scenarios)}. Name one with --scenario.`;
    default:
      return unreachable(kind);
  }
}

/** Of more variants only those are told of in which the claim may be, and some of them drawn. */
const VARIANTS_TOLD_MAX = 12;
const VARIANTS_DRAWN_MAX = 3;

/** Names beyond these are counted. */
const SCENARIOS_SHOWN_MAX = 4;

function scenariosText(names: readonly string[]): string {
  if (names.length === 0) return 'no scenario';
  const shown = names.slice(0, SCENARIOS_SHOWN_MAX).join(', ');
  const left = names.length - SCENARIOS_SHOWN_MAX;
  return left > 0 ? `${shown} and ${left} more` : shown;
}

function endingsText({ matches, quiet, endings }: SearchResult): string[] {
  const many = `${plural(matches, 'execution')} ${matches === 1 ? 'goes' : 'go'} as claimed`;
  if (endings.length === 0)
    return [`${many}; nothing is found in ${matches === 1 ? 'it' : 'them'}`];
  const rest = quiet === 0 ? '' : `; in ${quiet} nothing is found`;
  return [`${many}${rest}:`, ...endings.map((ending) => `  ${endingText(ending)}`)];
}

function endingText({ finding, count }: Ending): string {
  return `in ${count}: ${titleOf(finding)}: ${finding.message}`;
}

function extentText({ executions, isComplete, bound }: SearchResult): string {
  const many = plural(executions, 'execution');
  if (isComplete) return `${many}, one for each class of equivalent interleavings — complete`;
  return `${many}; ${bound === null ? 'not complete' : boundText(bound)}`;
}

function boundText({ kind, limit }: SearchBound): string {
  switch (kind) {
    case 'executions':
      return 'the search ended there';
    case 'time':
      return `the search ended after ${limit} s`;
    case 'preemptions':
      return `executions with more than ${plural(limit, 'preemption')} were left out`;
    case 'rounds':
      return `a loop was given up after ${plural(limit, 'round')}`;
    case 'choices':
      return 'the claim has too many columns or steps to compare with all of them';
    case 'interrupted':
      return 'the search was interrupted';
    default:
      return unreachable(kind);
  }
}

// ---- JSON -----------------------------------------------------------------------------------------

function jsonOf(answer: ClaimAnswer, file: string | null): object {
  const { claim, verdict, variants, puzzles } = answer;
  return {
    schemaVersion: SCHEMA_VERSION,
    verdict,
    claim: {
      format: claim.format,
      columns: claim.labels,
      steps: claim.steps.map(({ line, label, mention }) => ({
        line,
        column: label,
        text: saidOf(mention),
      })),
    },
    ...(puzzles.length === 0 ? {} : { puzzles }),
    answers: variants.map((variant) => jsonVariant(variant, file)),
  };
}

function jsonVariant(answer: VariantAnswer, file: string | null): object {
  const { subject, verdict, result, shown, obstacle, readings } = answer;
  return {
    scenario: subject.scenario.name,
    variant: subject.variant,
    models: subject.scenario.models ?? [],
    verdict,
    complete: result === null ? subject.isSurveyed : result.isComplete,
    executions: result === null ? subject.surveyed : result.executions,
    ...(result === null || result.bound === null ? {} : { bound: result.bound }),
    ...(shown === null ? {} : { reachable: jsonShown(answer, shown, file) }),
    ...(obstacle === null
      ? {}
      : {
          obstacle: {
            step: obstacle.step,
            after: obstacle.after,
            reasons: obstacle.reasons,
            ...(obstacle.schedule === null
              ? {}
              : { token: tokenOf(obstacle.schedule, answer, file) }),
          },
        }),
    readings: readings.map((options) =>
      options.map(({ text, isReachable }) => ({ text, reachable: isReachable })),
    ),
  };
}

function jsonShown(answer: VariantAnswer, shown: Shown, file: string | null): object {
  const { matches, quiet, endings } = answer.result as SearchResult;
  const recording = recordingOf(answer, shown);
  return {
    matches,
    quiet,
    endings: endings.map(({ finding, count }) => ({
      kind: finding.kind,
      object: finding.object,
      message: finding.message,
      invariant: finding.invariant,
      executions: count,
    })),
    columns: Object.fromEntries(
      [...shown.match.bound].map(([label, task]) => [label, recording.tasks[task]?.name ?? null]),
    ),
    steps: shown.at.map(({ step, isStep }) => ({ step: step + 1, isStep })),
    token: tokenOf(shown.schedule, answer, file),
    schedule: recording.steps.map((step) => jsonStep(step)),
  };
}
