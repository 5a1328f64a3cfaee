/** How a simulated call is compared with the recorded one, and how what agrees is counted. */
import type { Observation, RecordedCall } from './recording.ts';

/** The parts of an observation that are compared, each apart. */
export const ASPECTS = ['result', 'inv', 'vmas', 'present'] as const;
export type Aspect = (typeof ASPECTS)[number];

/** Numbers of calls, and of calls that agree: altogether and in each aspect. */
export interface Tally {
  files: number;
  calls: number;
  agree: number;
  result: number;
  inv: number;
  vmas: number;
  present: number;
}

export function emptyTally(): Tally {
  return { files: 0, calls: 0, agree: 0, result: 0, inv: 0, vmas: 0, present: 0 };
}

/** Adds `more` to `sum`. */
export function addTally(sum: Tally, more: Tally): void {
  sum.files += more.files;
  sum.calls += more.calls;
  sum.agree += more.agree;
  for (const aspect of ASPECTS) sum[aspect] += more[aspect];
}

/** Whether every call agrees. */
export function agreesFully({ calls, agree }: Tally): boolean {
  return calls === agree;
}

/** The first call of a recording that does not agree. */
export interface Difference {
  readonly call: RecordedCall;
  readonly aspects: readonly Aspect[];
  /** What the simulation did; or what stopped it, and then every later call differs, too. */
  readonly got: Observation | { readonly stoppedBy: string };
}

/** The aspects in which two observations differ. */
export function differingAspects(expected: Observation, got: Observation): Aspect[] {
  return ASPECTS.filter((aspect) => !agreesIn(aspect, expected, got));
}

function agreesIn(aspect: Aspect, expected: Observation, got: Observation): boolean {
  if (aspect === 'result') return expected.ret === got.ret && expected.err === got.err;
  if (aspect === 'present') return expected.present === got.present;
  return areEqual(expected[aspect], got[aspect]);
}

type Rows = readonly (readonly (number | string)[])[];

function areEqual(a: Rows, b: Rows): boolean {
  if (a.length !== b.length) return false;
  for (const [at, row] of a.entries()) {
    const other = b[at] as readonly (number | string)[];
    for (const [column, value] of row.entries()) if (value !== other[column]) return false;
  }
  return true;
}
