/**
 * Searching a variant in parts: what is kept of a part, and what is made of several.
 *
 * Executions are counted by the explorer, each once. What is found is not: that somebody found it twice, or
 * again after it was saved, makes no difference. So what one knows can be told to others at any time, and
 * is told whole: schedules of what was found, and schedules from which detectors can learn again what
 * they remember of other executions.
 */
import { UsageError } from '../base/usage-error.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Detector } from './detector/detector.ts';
import type { ExploreResult } from './exploration.ts';
import type { SavedBounds } from './iterative-bound.ts';
import type { Program, Schedule } from './program.ts';
import { replay } from './replay.ts';
import type { Suspicion } from './result.ts';
import type { Shard } from './shared-tree.ts';
import { costOf, identityOf, type Bench, type Counterexample } from './shorten.ts';
import type { SavedRound, Team } from './team.ts';

/** What a search has found and learnt. */
export interface Summary {
  readonly goals: readonly string[];
  readonly found: readonly {
    readonly identity: string;
    readonly attempts: number;
    readonly schedule: Schedule;
  }[];
  readonly suspicions: readonly Suspicion[];
  /** Memory with accesses that nothing orders. */
  readonly unordered: readonly string[];
  /** What to run so that detectors know again what they knew. */
  readonly learned: readonly Schedule[];
  readonly givenUp: number | null;
  readonly hasCut: boolean;
  readonly example: { readonly goals: number; readonly schedule: Schedule } | null;
}

/** How far the search of a variant has come. */
export interface SavedVariant {
  /** Memory whose plain accesses were steps. */
  readonly visibleMemory: readonly string[];
  /** A search with a bound on preemptions, or one of everything. */
  readonly round: SavedRound | SavedBounds;
  readonly summary: Summary;
  readonly result: ExploreResult;
}

/** A team that explores a variant, and tells what it finds. */
export interface SearchTeam extends Team {
  /** Called before a search begins, or begins again because more memory has become visible. */
  beginRound(visibleMemory: readonly string[]): void;
  /** What its members have found since this was called last. */
  takeSummaries(): readonly Summary[];
}

/** How to search in parts. */
export interface Parts {
  readonly team?: SearchTeam;
  /** What to go on with; begins anew if left out. */
  readonly resume?: SavedVariant | null;
  /** Explores one part of several that know nothing of each other. */
  readonly shard?: Shard | null;
  /** Puts together what others have explored: all parts, in their order. */
  readonly merged?: readonly SavedVariant[];
  /** Asked after each execution: true to be called `atRest` soon. */
  readonly isRestWanted?: () => boolean;
  /** Called between executions; `save` tells how far the search is. `isLast`: it goes no further. */
  readonly atRest?: (save: () => SavedVariant, isLast: boolean) => void;
}

/** What a search has done that was not begun. */
export const NOTHING: ExploreResult = { executions: 0, blocked: 0, steps: 0, isComplete: false };

/** The figures of several parts together. */
export function addUp(parts: readonly ExploreResult[]): ExploreResult {
  const total = { executions: 0, blocked: 0, steps: 0, isComplete: true };
  for (const { executions, blocked, steps, isComplete } of parts) {
    total.executions += executions;
    total.blocked += blocked;
    total.steps += steps;
    total.isComplete &&= isComplete;
  }
  return total;
}

/** @throws UsageError MN303 if it was a search of everything */
export function boundsOf({ round }: SavedVariant): SavedBounds {
  if ('bound' in round) return round;
  throw new UsageError(
    'MN303',
    'the search cannot be resumed: it was one of everything, and now there is a bound on preemptions. ' +
      'Begin anew, without --resume.',
  );
}

/** @throws UsageError MN303 if it was a search with a bound */
export function roundOf({ round }: SavedVariant): SavedRound {
  if (!('bound' in round)) return round;
  throw new UsageError(
    'MN303',
    `the search cannot be resumed: it was one with ${round.bound} preemptions, and now there is no such ` +
      'bound. Begin anew, without --resume.',
  );
}

/** Whether all of this memory was visible. */
export function sees({ visibleMemory }: SavedVariant, names: ReadonlySet<string>): boolean {
  return visibleMemory.length === names.size;
}

/** Repeats what somebody found; null if it does not come out here. */
export function repeatFinding(
  bench: Bench,
  schedule: Schedule,
  identity: string,
): Counterexample | null {
  const { kernel, diverged } = replay(bench.program, schedule, { watches: bench.watches });
  if (diverged !== null) return null;
  const finding = kernel.findings.find((one: Finding) => identityOf(one) === identity);
  return finding === undefined ? null : { schedule, cost: costOf(schedule), finding };
}

/** Runs schedules so that the detectors remember what there is to be seen in them. */
export function relearn(
  program: Program,
  detectors: readonly Detector[],
  schedules: readonly Schedule[],
): void {
  for (const schedule of schedules) {
    for (const detector of detectors) {
      if (detector.scheduleSoFar !== undefined) detector.scheduleSoFar = () => schedule;
    }
    replay(program, schedule, { watches: detectors, learners: [] });
  }
}
