/** What scenarios have of the steps of a claim: which of them can be meant, and how well each step fits. */
import type { EventSort } from './event-log.ts';
import { isOnSameField, scoreLimit, scoreOf, type ClaimStep } from './meaning.ts';
import type { Sought } from './search.ts';
import type { Subject } from './subject.ts';

/** A step, and how badly an event may fit it when it fits so well in one of them. */
export function soughtIn(scope: readonly Subject[], step: ClaimStep): Sought {
  const isElsewhere = hasSort(scope, (sort) => isOnSameField(step, sort));
  return { step, scoreMax: scoreLimit(bestScore(step, scope), isElsewhere) };
}

export function hasSort(scope: readonly Subject[], is: (sort: EventSort) => boolean): boolean {
  return scope.some(({ table }) => table.sorts.some(is));
}

/** Whether the step can be something that is there. */
export function hasReading({ step, scoreMax }: Sought, { table }: Subject): boolean {
  return (
    step.mention.kind === 'finding' ||
    table.sorts.some((sort: EventSort) => fitsWithin(scoreOf(step, sort), scoreMax))
  );
}

/** What fits nowhere has no limit. */
function fitsWithin(score: number, scoreMax: number): boolean {
  return score < Infinity && score <= scoreMax;
}

/** How well the event fits that fits best, of all that any of them has. */
export function bestScore(step: ClaimStep, subjects: readonly Subject[]): number {
  let best = Infinity;
  for (const { table } of subjects) {
    for (const sort of table.sorts) best = Math.min(best, scoreOf(step, sort));
  }
  return best;
}

/** The variants of all scenarios of which some variant has every step. */
export function candidatesFor(steps: readonly Sought[], scope: readonly Subject[]): Subject[] {
  const fitting = scope.filter((subject) => steps.every((step) => hasReading(step, subject)));
  const names = new Set(fitting.map(({ scenario }) => scenario.name));
  return scope.filter(({ scenario }) => names.has(scenario.name));
}
