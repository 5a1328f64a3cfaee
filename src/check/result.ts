/** What checking a variant of a scenario yields, before anybody draws it. */
import type { FindingKind } from '../kernel/finding.ts';
import type { Schedule } from './program.ts';
import type { Expectation, Verdict } from './scenario.ts';

export interface Violation {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly invariant: string | null;
  /** Where it was noticed and where its cause was, as `function` names. */
  readonly places: readonly [string, string];
  /** The shortest schedule found that ends in it; replaying it yields this violation. */
  readonly schedule: Schedule;
}

/** Something that may be a violation and has not been seen to happen. Does not change the verdict. */
export interface Suspicion {
  readonly kind: FindingKind;
  readonly object: string;
  readonly message: string;
  readonly places: readonly [string, string];
}

export interface GoalResult {
  readonly name: string;
  readonly reached: boolean;
}

/** A bound that ended the search. `isRequested` tells a bound that was asked for from a limit. */
export interface Bound {
  readonly kind: 'executions' | 'time' | 'memory' | 'steps' | 'first-violation';
  readonly limit: number;
  readonly isRequested: boolean;
}

export interface VariantResult {
  readonly scenario: string;
  readonly variant: string;
  readonly models: readonly string[];
  readonly expected: Expectation | null;
  readonly asExpected: boolean;
  readonly verdict: Verdict;
  readonly complete: boolean;
  readonly bound: Bound | null;
  readonly goals: readonly GoalResult[];
  readonly executions: number;
  readonly blocked: number;
  readonly steps: number;
  readonly violations: readonly Violation[];
  readonly suspicions: readonly Suspicion[];
}
