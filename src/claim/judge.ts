/**
 * Judges a claim: reads it, finds out what its words mean and in which scenarios they can be, and
 * searches each variant of those.
 */
import { assert } from '../base/assert.ts';
import {
  CLAIM_GLANCE_COUNT_MAX,
  CLAIM_NAME_COUNT_MAX,
  CLAIM_SCENARIO_COUNT_MAX,
  CLAIM_SURVEY_STEPS_MAX,
  CLAIM_UNNAMED_EXECUTION_COUNT_MAX,
  CLAIM_WIDE_COUNT,
} from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { AnyScenario } from '../check/scenario.ts';
import type { EventSort } from './event-log.ts';
import { touches, type ClaimStep, type Reading } from './meaning.ts';
import { obstacleOf, type Obstacle, type Seen } from './obstacle.ts';
import { parseClaim, type ParsedClaim } from './parse.ts';
import type { Shown } from './found.ts';
import { bestScore, candidatesFor, hasReading, hasSort, soughtIn } from './scope.ts';
import { ClaimSearch, type SearchOptions, type SearchResult, type Sought } from './search.ts';
import { Subject } from './subject.ts';
import type { WordIndex } from './word-index.ts';
import { saidOf, squeezed, type Verb, type Words } from './phrase.ts';
import { stepsOf, type Claim, type Known } from './steps.ts';

export type ClaimVerdict = 'reachable' | 'not-reachable' | 'ambiguous' | 'undecided';

/** What a step can mean, where it matters. */
export interface ReadingAnswer extends Reading {
  /** Whether the claim is reachable if that is meant. */
  readonly isReachable: boolean;
}

/** What was found out about a claim in one variant. */
export interface VariantAnswer {
  readonly subject: Subject;
  readonly verdict: ClaimVerdict;
  readonly result: SearchResult | null;
  /** An execution in the order of the claim, if there is one. */
  readonly shown: Shown | null;
  /** Why there is none, if it is known. */
  readonly obstacle: Obstacle | null;
  /** For each step its readings, and whether the claim is reachable with each. */
  readonly readings: readonly (readonly ReadingAnswer[])[];
}

/** A step that cannot be understood, or not in one scenario with the others. */
export interface Puzzle {
  readonly line: number;
  readonly text: string;
  /** What is said to be done with it, where a verb says that. */
  readonly verb: Verb | null;
  /** `everywhere`: so many scenarios have all the steps that one must be named. */
  readonly kind: 'unknown' | 'no-step' | 'elsewhere' | 'everywhere';
  /** Names that are spelt alike, for `unknown`. */
  readonly nearest: readonly string[];
  /** Scenarios in which it occurs; for `everywhere`, together with the others. */
  readonly scenarios: readonly string[];
}

export interface ClaimAnswer {
  readonly claim: Claim;
  readonly verdict: ClaimVerdict;
  readonly variants: readonly VariantAnswer[];
  /** What keeps the claim from being read at all; empty if it can be. */
  readonly puzzles: readonly Puzzle[];
}

/** Where to look, and how long. */
export interface JudgeOptions extends SearchOptions {
  /** The scenarios that are meant; null to find out. */
  readonly scenarios: readonly AnyScenario[] | null;
  /** All there are, to look for names in. */
  readonly catalogue: readonly AnyScenario[];
  /** Which of those have which words; null to run them all. */
  readonly index?: WordIndex | null;
  /** Only this variant. */
  readonly variant: string | null;
  /** The nearest of some names, for what is misspelt. */
  readonly nearest: (name: string, names: readonly string[]) => string | null;
  /** Called before each variant that is searched. */
  readonly onVariant?: (subject: Subject) => void;
  /** Makes scenarios give signs of life. */
  readonly watch?: (scenario: AnyScenario) => AnyScenario;
}

/** Before anything has run: then all may be a step. */
const NOTHING_KNOWN: Known = {
  fit: () => 0,
  isTouched: () => false,
  isInside: () => false,
};

/** Names that a message offers for what is misspelt. */
const NEAREST_COUNT_MAX = 3;

/**
 * Judges a claim.
 *
 * @throws UsageError MN601 if it cannot be read; what running a scenario throws.
 */
export function judgeClaim(source: string, options: JudgeOptions): ClaimAnswer {
  return new Judge(source, options).judge();
}

class Judge {
  private readonly source: string;
  private readonly options: JudgeOptions;
  private readonly surveyed = new Map<string, Subject>();
  private readonly names = new Set<string>();
  private readonly operations = new Set<string>();

  constructor(source: string, options: JudgeOptions) {
    this.source = source;
    this.options = options;
  }

  judge(): ClaimAnswer {
    const { scenarios, variant } = this.options;
    const parsed = parseClaim(this.source);
    const isNamed = scenarios !== null;
    const scope = isNamed
      ? this.survey(scenarios, CLAIM_SURVEY_STEPS_MAX)
      : this.surveyCandidates(parsed);
    const claim = stepsOf(parsed, this.words, {
      fit: (step) => bestScore(step, scope),
      isTouched: (name) => hasSort(scope, (sort) => touches(sort, name)),
      isInside: (step, outer) =>
        bestScore({ ...step, within: [...step.within, outer] }, scope) < Infinity,
    });
    const puzzles = this.puzzlesOf(claim, scope);
    if (puzzles.length > 0) return { claim, verdict: 'ambiguous', variants: [], puzzles };
    const sought = claim.steps.map((step) => soughtIn(scope, step));
    const having = isNamed ? scope : candidatesFor(sought, scope);
    const subjects = having.filter((one) => variant === null || one.variant === variant);
    if (subjects.length === 0) {
      const apart = this.apart(sought, scope);
      return { claim, verdict: 'ambiguous', variants: [], puzzles: apart };
    }
    const names = [...new Set(subjects.map(({ scenario }) => scenario.name))];
    if (!isNamed && names.length > CLAIM_SCENARIO_COUNT_MAX) {
      const { line, mention } = claim.steps[0] as ClaimStep;
      const everywhere = { line, text: saidOf(mention), verb: null, nearest: [], scenarios: names };
      const puzzle = { ...everywhere, kind: 'everywhere' } as const;
      return { claim, verdict: 'ambiguous', variants: [], puzzles: [puzzle] };
    }
    for (const subject of having) subject.survey(CLAIM_SURVEY_STEPS_MAX);
    const variants = subjects.map((subject) => this.search(claim, sought, subject, having));
    return { claim, verdict: overall(variants), variants, puzzles: [] };
  }

  private get words(): Words {
    const { index = null } = this.options;
    return {
      isName: (word) => this.names.has(word) || index?.has(word) === true,
      isOperation: (text) => this.operations.has(squeezed(text)),
    };
  }

  /** The scenarios in which the whole claim may be. */
  private surveyCandidates(parsed: ParsedClaim): Subject[] {
    const { catalogue, index = null } = this.options;
    if (index === null) return this.survey(catalogue, CLAIM_GLANCE_COUNT_MAX);
    const { steps } = stepsOf(parsed, this.words, NOTHING_KNOWN);
    const mentions = steps.flatMap(({ mention, within }) => [mention].concat(within));
    const found = index.candidates(mentions, catalogue);
    // A claim that may be anywhere is most likely answered by asking for a scenario.
    const isAnywhere = found.length > CLAIM_WIDE_COUNT;
    return this.survey(found, isAnywhere ? CLAIM_NAME_COUNT_MAX : CLAIM_GLANCE_COUNT_MAX);
  }

  /**
   * All variants: what they do tells the names that a claim may use.
   *
   * @param countMax steps of those that are meant, executions of others.
   */
  private survey(scenarios: readonly AnyScenario[], countMax: number): Subject[] {
    const { watch = (one) => one, resolvePlace } = this.options;
    const hasPlaces = /\.\w+:\d/.test(this.source);
    const subjects: Subject[] = [];
    for (const scenario of scenarios) {
      for (const name of Object.keys(scenario.variants)) {
        const key = `${scenario.name} ${name}`;
        let subject = this.surveyed.get(key);
        if (subject === undefined) {
          subject = new Subject(watch(scenario), name, {
            hasAccesses: true,
            resolvePlace: hasPlaces ? (resolvePlace ?? ((raw) => raw)) : null,
          });
          this.surveyed.set(key, subject);
          const isWanted = this.options.scenarios === scenarios;
          if (!surveys(subject, countMax, isWanted)) continue;
          for (const { kind, name: called, text } of subject.table.sorts) {
            this.names.add(called);
            if (kind === 'operation' || kind === 'wait') this.operations.add(squeezed(text));
          }
        }
        subjects.push(subject);
      }
    }
    return subjects;
  }

  /** What in the claim nobody can make anything of. */
  private puzzlesOf({ format, steps, empty }: Claim, scope: readonly Subject[]): Puzzle[] {
    const puzzles: Puzzle[] = empty.map(({ line, text }) => ({
      line,
      text,
      verb: null,
      kind: 'no-step',
      nearest: [],
      scenarios: [],
    }));
    const unknown = steps.filter(
      (step) =>
        step.mention.kind !== 'finding' &&
        bestScore(step, scope) === Infinity &&
        // What we have drawn has been there, even if the survey has not come to it.
        !(format === 'picture' && scope.some(({ isSurveyed }) => !isSurveyed)),
    );
    if (unknown.length > 0) {
      const { catalogue, index = null } = this.options;
      const all = index === null ? this.survey(catalogue, CLAIM_NAME_COUNT_MAX) : [];
      for (const step of unknown) {
        // Known elsewhere: then it is no riddle, it just does not happen here.
        if (bestScore(step, all) < Infinity) continue;
        if ((index?.placesOf(step.mention)?.length ?? 0) > 0) continue;
        puzzles.push({
          line: step.line,
          text: saidOf(step.mention),
          verb: step.mention.verb,
          kind: 'unknown',
          nearest: this.nearestTo(step),
          scenarios: [],
        });
      }
    }
    return puzzles.toSorted((a, b) => a.line - b.line);
  }

  private nearestTo({ mention }: ClaimStep): string[] {
    const left = new Set([...this.names, ...(this.options.index?.words ?? [])]);
    // Well spelt: it is there, and something else is done with it.
    if (left.has(mention.name)) return [];
    const found: string[] = [];
    while (found.length < NEAREST_COUNT_MAX) {
      const name = this.options.nearest(mention.name, [...left]);
      if (name === null) break;
      left.delete(name);
      found.push(name);
    }
    return found;
  }

  /** No scenario has all the steps: which has which. */
  private apart(steps: readonly Sought[], scope: readonly Subject[]): Puzzle[] {
    return steps.map(({ step: { line, mention } }, at) => ({
      line,
      text: saidOf(mention),
      verb: mention.verb,
      kind: 'elsewhere',
      nearest: [],
      scenarios: this.options.index?.placesOf(mention) ?? [
        ...new Set(
          scope
            .filter((subject) => hasReading(steps[at] as Sought, subject))
            .map(({ scenario }) => scenario.name),
        ),
      ],
    }));
  }

  private search(
    { steps, labels }: Claim,
    sought: readonly Sought[],
    subject: Subject,
    scope: readonly Subject[],
  ): VariantAnswer {
    this.options.onVariant?.(subject);
    const fixed = fixedColumns(labels, subject);
    const isNamed = this.options.scenarios !== null;
    const search = new ClaimSearch(subject, sought, fixed, {
      ...(isNamed ? {} : { executionCountMax: CLAIM_UNNAMED_EXECUTION_COUNT_MAX }),
      ...this.options,
    });
    const never = search.meanings.findIndex(
      ({ step, readings }) => step.mention.kind !== 'finding' && readings.length === 0,
    );
    if (never >= 0 && subject.isSurveyed) return neverAnswer(subject, sought, never, scope);
    const result = search.run();
    assert(
      result.shown !== null || result.matches === 0,
      'an execution that shows a claim can be run in its order',
    );
    const readings = search.meanings.map((meaning, step) =>
      meaning.readings.map((reading, at) => ({
        ...reading,
        isReachable: result.reached[step]?.[at] === true,
      })),
    );
    const verdict = verdictOf(result, readings);
    const { nearest } = result;
    const obstacle =
      verdict === 'not-reachable' && nearest !== null
        ? obstacleOf(subject, nearest, seenOf(result, steps, nearest.failure.atom))
        : null;
    return { subject, verdict, result, shown: result.shown, obstacle, readings };
  }
}

/** What is known of a step that cannot come where it stands. */
function seenOf(result: SearchResult, steps: readonly ClaimStep[], step: number): Seen {
  return {
    label: steps[step]?.label ?? null,
    witness: result.witnesses[step] ?? null,
    otherOutcomes: [...(result.otherOutcomes[step] ?? [])],
    isEnd: result.ends[step] === true,
  };
}

/** Surveys; false if it cannot be run, which is an error only where it was asked for. */
function surveys(subject: Subject, countMax: number, isWanted: boolean): boolean {
  try {
    if (isWanted) subject.survey(countMax);
    else subject.glance(countMax);
    return true;
  } catch (error) {
    if (isWanted || !(error instanceof UsageError)) throw error;
    return false;
  }
}

function neverAnswer(
  subject: Subject,
  steps: readonly Sought[],
  step: number,
  scope: readonly Subject[],
): VariantAnswer {
  const { text } = (steps[step] as Sought).step.mention;
  const others = scope.filter(
    (one) => one.scenario.name === subject.scenario.name && hasReading(steps[step] as Sought, one),
  );
  const who = others.map(({ variant }) => variant).join(', ');
  const where = who === '' ? '' : `; ${who} ${others.length === 1 ? 'does' : 'do'}`;
  const reason = {
    kind: 'never',
    object: null,
    holder: null,
    text: `no execution of ${subject.scenario.name} ${subject.variant} does ${text}${where}`,
  } as const;
  return {
    subject,
    verdict: 'not-reachable',
    result: null,
    shown: null,
    obstacle: { step, after: null, reasons: [reason], schedule: null },
    readings: steps.map(() => []),
  };
}

function verdictOf(
  { shown, isComplete }: SearchResult,
  readings: readonly (readonly ReadingAnswer[])[],
): ClaimVerdict {
  if (shown === null) return isComplete ? 'not-reachable' : 'undecided';
  const isAmbiguous = readings.some((step) => step.some(({ isReachable }) => !isReachable));
  // What was not reached within a bound may be reached beyond it.
  return isAmbiguous && isComplete ? 'ambiguous' : 'reachable';
}

function overall(variants: readonly VariantAnswer[]): ClaimVerdict {
  const order: readonly ClaimVerdict[] = ['reachable', 'ambiguous', 'undecided', 'not-reachable'];
  const verdicts = new Set(variants.map(({ verdict }) => verdict));
  return order.find((verdict) => verdicts.has(verdict)) ?? 'undecided';
}

/** Columns whose heading names a task: `CPU0 (open)`, or just `open`. */
function fixedColumns(labels: readonly string[], subject: Subject): Map<string, string> {
  const tasks = new Set([
    ...subject.taskNames,
    ...subject.table.sorts.map((sort: EventSort) => sort.task),
  ]);
  const fixed = new Map<string, string>();
  for (const label of labels) {
    const inner = /\(([^()]*)\)$/.exec(label)?.[1]?.trim() ?? label;
    const name = [...tasks].find((task) => task.toLowerCase() === inner.toLowerCase());
    if (name !== undefined) fixed.set(label, name);
  }
  return fixed;
}
