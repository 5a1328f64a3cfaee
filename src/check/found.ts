/**
 * What a search has found: each violation once, by the easiest schedule so far that shows it, and at the end made
 * as easy to follow as can be. A schedule is kept only after it was tried: it shows the violation again.
 */
import { SHORTENING_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Execution } from './exploration.ts';
import { findLivelock } from './livelock.ts';
import { minimise, type Minimal, type MinimiseOptions } from './minimise.ts';
import type { Schedule } from './program.ts';
import { replay } from './replay.ts';
import type { Violation } from './result.ts';
import { repeatFinding, type Summary } from './search-parts.ts';
import {
  costOf,
  identityOf,
  isCheaper,
  repeatLocking,
  shorten,
  type Bench,
  type Counterexample,
} from './shorten.ts';
import { isCovered } from './verdict.ts';

interface Collected {
  readonly best: Counterexample;
  /** How often it was tried to make the schedule easier. */
  readonly attempts: number;
}

export class Found {
  private readonly bench: Bench;
  private readonly collected = new Map<string, Collected>();
  private minimal: readonly Minimal[] = [];

  /** @param bench where schedules are tried, while the program is being explored elsewhere. */
  constructor(bench: Bench) {
    this.bench = bench;
  }

  get size(): number {
    return this.collected.size;
  }

  /** Takes what came out in an execution. @throws UsageError MN204 if its schedule does not lead to it again */
  take(run: Execution): void {
    const known = new Set<string>();
    for (const finding of run.kernel.findings) {
      const identity = identityOf(finding);
      if (known.has(identity)) continue;
      known.add(identity);
      this.collect(identity, finding, run);
    }
  }

  private collect(identity: string, finding: Finding, run: Execution): void {
    const known = this.collected.get(identity);
    if (known === undefined) {
      const best = shorten(run, finding, this.bench);
      if (best === null) throw cannotBeRepeated(finding);
      this.collected.set(identity, { best, attempts: 1 });
      return;
    }
    if (known.attempts >= SHORTENING_COUNT_MAX) return;
    const better = shorten(run, finding, this.bench, known.best.cost);
    this.collected.set(identity, { best: better ?? known.best, attempts: known.attempts + 1 });
  }

  /** Takes what came out in a run that was then abandoned, and is said only once. */
  takeUnfinished(finding: Finding, schedule: Schedule): void {
    const identity = identityOf(finding);
    if (this.collected.has(identity)) return;
    const best = repeatLocking(schedule, finding, this.bench);
    if (best !== null) this.collected.set(identity, { best, attempts: 1 });
  }

  /** Whether a livelock begins as an execution does that did not come to its end; takes it, if so. */
  takeLivelock(endless: Schedule, onStep: (() => void) | undefined): boolean {
    const { program, watches } = this.bench;
    const schedule = findLivelock(program, endless, onStep);
    if (schedule === null) return false;
    const { findings } = replay(program, schedule, { watches }).kernel;
    const finding = findings.find(({ kind }) => kind === 'livelock');
    if (finding === undefined) return false;
    const best = { schedule, cost: costOf(schedule), finding };
    this.collected.set(identityOf(finding), { best, attempts: SHORTENING_COUNT_MAX });
    return true;
  }

  /** Takes what another search of the same variant has found, if it comes out here and is easier. */
  takeOver({ identity, attempts, schedule }: Summary['found'][number]): void {
    const known = this.collected.get(identity);
    if (known !== undefined && !isCheaper(costOf(schedule), known.best.cost)) return;
    const best = repeatFinding(this.bench, schedule, identity);
    if (best !== null) this.collected.set(identity, { best, attempts });
  }

  /** For other searches of the same variant. */
  summary(): Summary['found'] {
    return [...this.collected].map(([identity, { best, attempts }]) => ({
      identity,
      attempts,
      schedule: best.schedule,
    }));
  }

  /** Makes what was found as easy to follow as it can be. */
  minimise(options: MinimiseOptions): void {
    const all = [...this.collected.values()].map(({ best }) => best);
    const shown = all.filter(({ finding }) => !isCovered(finding, all));
    this.minimal = minimise(shown, this.bench, options);
  }

  /** What was made easy to follow, the easiest first. */
  violations(): Violation[] {
    const found = this.minimal.toSorted(
      ({ counterexample: { cost: a }, ...one }, { counterexample: { cost: b }, ...other }) =>
        one.preemptions - other.preemptions || a.switches - b.switches || a.steps - b.steps,
    );
    return found.map(({ counterexample: { finding, schedule, cost }, preemptions, isFewest }) => ({
      kind: finding.kind,
      object: finding.object,
      message: finding.message,
      invariant: finding.invariant,
      places: finding.places,
      schedule,
      preemptions,
      isFewest,
      switches: cost.switches,
    }));
  }
}

function cannotBeRepeated(finding: Finding): UsageError {
  return new UsageError(
    'MN204',
    `a violation was found (${finding.message}), but the same schedule did not lead to it again. ` +
      'Something keeps state between executions: a variable of the module that set-up does not ' +
      'make anew, the clock, or a random number.',
  );
}
