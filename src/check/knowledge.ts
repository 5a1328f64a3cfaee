/**
 * What a search knows besides how far it is: what was found, which goals were reached, what detectors remember, and
 * the same of others who search the same variant. It only grows, and that something is told twice makes no
 * difference: see search-parts.ts.
 */
import { allDetectors } from './detector/index.ts';
import type { Execution } from './exploration.ts';
import { Found } from './found.ts';
import type { Program, Schedule } from './program.ts';
import type { Suspicion } from './result.ts';
import { relearn, type Summary } from './search-parts.ts';
import { identityOf } from './shorten.ts';

export class Knowledge {
  readonly goals = new Set<string>();
  readonly found: Found;
  detectors = allDetectors();
  /** Rounds after which some loop was given up; null if none was. */
  givenUp: number | null = null;
  /** The execution that reached most goals, and how many. */
  example: Summary['example'] = null;
  /** Whether a sample was cut: what is true of one will be of others. */
  private hasCut = false;
  private readonly onStep: (() => void) | undefined;
  /** What others have told. */
  private readonly foreign = {
    unordered: new Set<string>(),
    suspicions: new Map<string, Suspicion>(),
    /** As JSON, so that each is there once. */
    learned: new Set<string>(),
  };

  /**
   * @param bench the program once more, for what is tried while it is being explored.
   * @param onStep a sign of life.
   */
  constructor(bench: Program, onStep: (() => void) | undefined) {
    this.onStep = onStep;
    this.found = new Found({
      program: bench,
      watches: allDetectors(),
      earlierOf: (finding) =>
        this.detectors.flatMap((detector) => detector.earlierOf?.(finding) ?? []),
    });
  }

  /** Takes what there is to be seen in an execution. */
  notice(run: Execution): void {
    const { kernel } = run;
    for (const goal of kernel.goals) this.goals.add(goal);
    if (kernel.goals.size > (this.example?.goals ?? -1)) {
      this.example = { goals: kernel.goals.size, schedule: run.schedule };
    }
    if (kernel.cut !== null && this.givenUp === null) {
      this.givenUp = kernel.cut.limit;
      this.found.takeLivelock(run.schedule, this.onStep);
    }
    if (run.isCut === true && !this.hasCut) {
      this.hasCut = true;
      this.found.takeLivelock(run.schedule, this.onStep);
    }
    this.found.take(run);
  }

  /** What was found in runs that were then abandoned, and is said only once. */
  noticeUnfinished(): void {
    for (const { finding, schedule } of this.detectors.flatMap((one) => one.unfinished ?? [])) {
      this.found.takeUnfinished(finding, schedule);
    }
  }

  /** Memory with accesses that nothing orders. */
  unordered(): Set<string> {
    const own = this.detectors.flatMap((detector) => [...(detector.unorderedMemory ?? [])]);
    return new Set([...own, ...this.foreign.unordered]);
  }

  suspicions(): Suspicion[] {
    const all = new Map(this.foreign.suspicions);
    for (const one of this.detectors.flatMap((detector) => detector.suspicions ?? [])) {
      all.set(identityOf(one), one);
    }
    return [...all.values()];
  }

  /** Tells detectors who knows the steps of the present execution. */
  setSchedule(scheduleSoFar: () => Schedule): void {
    for (const detector of this.detectors) {
      if (detector.scheduleSoFar !== undefined) detector.scheduleSoFar = scheduleSoFar;
    }
  }

  /** More memory is visible now: what was seen of the order of steps does not hold any more. */
  forgetOrders(): void {
    this.detectors = allDetectors();
    this.foreign.learned.clear();
  }

  // ---- others -------------------------------------------------------------------------------

  /** As plain data. */
  summary(): Summary {
    const own = this.detectors.flatMap((detector) => detector.learned ?? []);
    const learned = [...this.foreign.learned, ...own.map((schedule) => JSON.stringify(schedule))];
    return {
      goals: [...this.goals],
      found: this.found.summary(),
      suspicions: this.suspicions(),
      unordered: [...this.unordered()],
      learned: learned.map((text) => JSON.parse(text) as Schedule),
      givenUp: this.givenUp,
      hasCut: this.hasCut,
      example: this.example,
    };
  }

  /** Takes over what another search of the same variant knows. */
  absorb(summary: Summary): void {
    const { foreign } = this;
    for (const goal of summary.goals) this.goals.add(goal);
    for (const name of summary.unordered) foreign.unordered.add(name);
    for (const one of summary.suspicions) foreign.suspicions.set(identityOf(one), one);
    for (const schedule of summary.learned) foreign.learned.add(JSON.stringify(schedule));
    this.givenUp ??= summary.givenUp;
    this.hasCut ||= summary.hasCut;
    if ((summary.example?.goals ?? -1) > (this.example?.goals ?? -1)) {
      this.example = summary.example;
    }
    for (const one of summary.found) this.found.takeOver(one);
  }

  /** Runs what others have learnt of locks, so that what they and we saw is seen together. */
  learnFromOthers(program: Program): void {
    const schedules = [...this.foreign.learned].map((text) => JSON.parse(text) as Schedule);
    relearn(program, this.detectors, schedules);
  }
}
