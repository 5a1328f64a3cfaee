/** Judging what was found: which violations say the same, and whether a variant did what it should. */
import type { Finding } from '../kernel/finding.ts';
import type { GoalResult, Violation } from './result.ts';
import type { Expectation, Variant, Verdict } from './scenario.ts';
import type { Counterexample } from './shorten.ts';

/**
 * Whether another violation tells the same and more: a possible deadlock that does happen, or one of
 * locks that are a cycle without the others. Which of them was found first does not matter.
 */
export function isCovered({ kind, locking }: Finding, all: readonly Counterexample[]): boolean {
  if (locking === null) return false;
  const { chain, resources } = locking;
  return all.some(({ finding: other }) => {
    if (other.kind === 'deadlock') return isSubset(other.object.split(', '), resources);
    if (kind !== 'lock-order' || other.kind !== kind || other.locking === null) return false;
    const smaller = other.locking.chain;
    return smaller.length > 1 && smaller.length < chain.length && isSubset(smaller, chain);
  });
}

function isSubset(some: readonly string[], all: readonly string[]): boolean {
  return some.every((item) => all.includes(item));
}

export function verdictOf(
  violations: readonly Violation[],
  complete: boolean,
  goals: readonly GoalResult[],
): Verdict {
  if (violations.length > 0) return 'violation';
  if (!complete) return 'bounded';
  return goals.every((goal) => goal.reached) ? 'clean' : 'vacuous';
}

export function isAsExpected(
  variant: Variant,
  verdict: Verdict,
  violations: readonly Violation[],
): boolean {
  const { expect } = variant;
  // Without expectations a goal that was never reached still means that nothing was shown.
  if (expect === undefined) return verdict === 'clean' || verdict === 'bounded';
  if (verdict !== expect.verdict) return false;
  if (verdict !== 'violation') return true;
  const isExpected = (violation: Violation): boolean => fits(expect, violation);
  return (
    violations.some(isExpected) &&
    violations.every((violation) => isExpected(violation) || isKnown(variant, violation))
  );
}

function fits(expect: Expectation, violation: Violation): boolean {
  return (
    (expect.kind ?? violation.kind) === violation.kind &&
    (expect.object ?? violation.object) === violation.object &&
    (expect.invariant ?? violation.invariant) === violation.invariant
  );
}

function isKnown(variant: Variant, violation: Violation): boolean {
  return (variant.alsoKnown ?? []).some(
    (known) =>
      typeof known !== 'string' &&
      known.kind === violation.kind &&
      (known.object ?? violation.object) === violation.object,
  );
}
