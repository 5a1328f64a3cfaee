/**
 * The result as one JSON document, for programs. Keys always come in the order written here, so that
 * equal results are equal bytes.
 *
 * `schemaVersion` grows when a field changes its meaning or goes away, not when one is added.
 */
import type { BoundRound } from '../check/iterative-bound.ts';
import type { Bound, GoalResult, SamplingFigures, VariantResult } from '../check/result.ts';
import type { Expectation, Verdict } from '../check/scenario.ts';
import type { RecordedFrame, RecordedLocking, RecordedStep } from '../trace/recording.ts';
import type { Reporter } from './reporter.ts';
import { findingOf, type ShownViolation } from './text.ts';

export const SCHEMA_VERSION = 1;

export interface JsonDocument {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly results: readonly JsonResult[];
}

export interface JsonResult {
  readonly scenario: string;
  readonly variant: string;
  readonly models: readonly string[];
  /** Null if the variant states nothing. */
  readonly expected: Expectation | null;
  readonly asExpected: boolean;
  readonly interchangeable?: readonly (readonly string[])[];
  readonly verdict: Verdict;
  readonly complete: boolean;
  /** What ended the search; absent if nothing did. */
  readonly bound?: {
    readonly kind: Bound['kind'];
    readonly limit: number;
    readonly requested: boolean;
  };
  readonly goals: readonly GoalResult[];
  /** Executions that ended, deadlocked ones included. */
  readonly executions: number;
  /** Runs that the explorer abandoned. */
  readonly blocked: number;
  readonly steps: number;
  /** If the executions were drawn at random. */
  readonly sampling?: JsonSampling;
  /** Searches with at most so many preemptions; absent if there were none. */
  readonly rounds?: readonly JsonRound[];
  readonly violations: readonly JsonViolation[];
  /**
   * The token of an execution to look at, where no violation was found and not every goal was reached.
   */
  readonly example?: string;
}

export interface JsonSampling {
  readonly method: SamplingFigures['method'];
  /** How many were asked for. */
  readonly samples: number;
  readonly seed: number;
  /** Of the bugs that PCT looks for. */
  readonly depth?: number;
  /** Distinct traces that were seen. */
  readonly traces: number;
  /** One standard deviation of that, as a part of it; 0 if it is exact. */
  readonly tracesError: number;
  /** The probability that one more execution is a trace not seen before, as far as can be told. */
  readonly newNext: number;
  /** Executions that had not ended after `stepCountMax` steps. */
  readonly cut: number;
  readonly stepCountMax: number;
}

export interface JsonRound {
  readonly preemptions: number;
  readonly executions: number;
  readonly complete: boolean;
}

export interface JsonViolation {
  readonly kind: string;
  readonly object: string;
  readonly message: string;
  readonly invariant?: string;
  /** What the invariant says, and where that is stated. */
  readonly explanation?: string;
  /** Preemptions in the schedule, and whether no execution with fewer has the violation. */
  readonly preemptions: number;
  readonly fewestPreemptions: boolean;
  /** Changes from one task to another in the schedule. */
  readonly switches: number;
  readonly token: string;
  /** What lockdep says, in its findings only. */
  readonly locking?: JsonLocking;
  readonly schedule: readonly JsonStep[];
}

export interface JsonLocking {
  /** `possible circular locking dependency detected`. */
  readonly headline: string;
  /** The classes of the locks, in the order in which they are taken. */
  readonly chain: readonly string[];
  /** The table of CPUs, row by row; CPUs from 0. */
  readonly scenario: readonly { readonly cpu: number; readonly text: string }[];
  readonly stacks: readonly {
    /** `b is taken with a held`. */
    readonly title: string;
    readonly task: string;
    /** From 1; null if it was in an execution explored before, or in set-up. */
    readonly step: number | null;
    /** Innermost first. */
    readonly stack: readonly RecordedFrame[];
  }[];
}

export interface JsonStep {
  /** From 1, as pictures number them. */
  readonly step: number;
  readonly task: string;
  /** Null if the scenario names none. */
  readonly cpu: number | null;
  /** The innermost kernel function. */
  readonly function: string;
  readonly operation: string;
  /** Null for nothing. */
  readonly result: string | null;
  /** `file:line` of its `yield*`; null if unknown. */
  readonly place: string | null;
}

/** A result and its violations, all of them recorded. */
export interface CheckedVariant {
  readonly result: VariantResult;
  readonly shown: readonly ShownViolation[];
  /** The token of the result's example, if it has one. */
  readonly exampleToken?: string;
}

/** The document for some results, in their order. */
export function jsonDocument(checked: readonly CheckedVariant[]): JsonDocument {
  return { schemaVersion: SCHEMA_VERSION, results: checked.map((item) => jsonResult(item)) };
}

export const jsonReporter: Reporter = {
  name: 'json',
  about: 'one JSON document for programs; docs/report.schema.json describes it',
  write({ variants, failures, coverage }) {
    // Errors are named only where there are some: they go to stderr as well.
    const errors = failures.length === 0 ? {} : { errors: failures };
    const counted = coverage === undefined ? {} : { coverage };
    const document = { ...jsonDocument(variants), ...counted, ...errors };
    return [`${JSON.stringify(document, null, 2)}\n`];
  },
};

/** As {@link jsonDocument}, as text that ends in a newline. */
export function jsonText(checked: readonly CheckedVariant[]): string {
  return `${JSON.stringify(jsonDocument(checked), null, 2)}\n`;
}

function jsonResult({ result, shown, exampleToken }: CheckedVariant): JsonResult {
  const { bound, sampling } = result;
  return {
    scenario: result.scenario,
    variant: result.variant,
    models: result.models,
    expected: result.expected === null ? null : jsonExpectation(result.expected),
    asExpected: result.asExpected,
    ...(result.interchangeable === undefined ? {} : { interchangeable: result.interchangeable }),
    verdict: result.verdict,
    complete: result.complete,
    ...(bound === null
      ? {}
      : { bound: { kind: bound.kind, limit: bound.limit, requested: bound.isRequested } }),
    goals: result.goals.map(({ name, reached }) => ({ name, reached })),
    executions: result.executions,
    blocked: result.blocked,
    steps: result.steps,
    ...(sampling === undefined ? {} : { sampling: jsonSampling(sampling) }),
    ...(result.rounds === undefined ? {} : { rounds: result.rounds.map(jsonRound) }),
    violations: shown.map((item) => jsonViolation(item)),
    ...(exampleToken === undefined ? {} : { example: exampleToken }),
  };
}

function jsonSampling(figures: SamplingFigures): JsonSampling {
  const { method, samples, seed, depth, traces, tracesError, newNext, cut, stepCountMax } = figures;
  return {
    method,
    samples,
    seed,
    ...(depth === null ? {} : { depth }),
    traces,
    tracesError,
    newNext,
    cut,
    stepCountMax,
  };
}

function jsonRound({ preemptions, executions, isComplete }: BoundRound): JsonRound {
  return { preemptions, executions, complete: isComplete };
}

function jsonExpectation({ verdict, kind, object, invariant }: Expectation): Expectation {
  return {
    verdict,
    ...(kind === undefined ? {} : { kind }),
    ...(object === undefined ? {} : { object }),
    ...(invariant === undefined ? {} : { invariant }),
  };
}

function jsonViolation({ violation, recording, token }: ShownViolation): JsonViolation {
  const { explanation, locking } = findingOf(recording, violation);
  return {
    kind: violation.kind,
    object: violation.object,
    message: violation.message,
    ...(violation.invariant === null ? {} : { invariant: violation.invariant }),
    ...(explanation === undefined ? {} : { explanation }),
    preemptions: violation.preemptions,
    fewestPreemptions: violation.isFewest,
    switches: violation.switches,
    token,
    ...jsonLocking(locking),
    schedule: recording.steps.map((step) => jsonStep(step)),
  };
}

function jsonLocking(locking: RecordedLocking | null): { locking?: JsonLocking } {
  if (locking === null) return {};
  const { headline, chain, scenario, stacks } = locking;
  return {
    locking: {
      headline,
      chain,
      scenario: scenario.map(({ cpu, text }) => ({ cpu, text })),
      stacks: stacks.map(({ title, taskName, step, stack }) => ({
        title,
        task: taskName,
        step: step === null ? null : step + 1,
        stack: stack.toReversed(),
      })),
    },
  };
}

/** One step of a schedule. */
export function jsonStep(step: RecordedStep): JsonStep {
  return {
    step: step.index + 1,
    task: step.taskName,
    cpu: step.cpu,
    function: step.function,
    operation: step.operation,
    result: step.result,
    place: step.place,
  };
}
