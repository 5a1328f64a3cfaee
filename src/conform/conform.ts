/** Plays recordings against the mm and says how far they agree. */
import { addTally, ASPECTS, differingAspects, emptyTally } from './compare.ts';
import type { Difference, Tally } from './compare.ts';
import type { Observation, Recording } from './recording.ts';
import { Simulation } from './simulation.ts';

/** What came of one recording. */
export interface RecordingResult {
  readonly path: string;
  readonly group: string;
  readonly tally: Tally;
  /** Null if every call agrees. */
  readonly difference: Difference | null;
}

/** Plays a recording in a process of a machine of its own. */
export function playRecording(recording: Recording): RecordingResult {
  const { path, header, calls } = recording;
  const tally = { ...emptyTally(), files: 1, calls: calls.length };
  let difference: Difference | null = null;
  let simulation: Simulation | null = null;
  for (const call of calls) {
    let got: Observation;
    try {
      simulation ??= new Simulation(header);
      got = simulation.play(call.op);
    } catch (error) {
      // A machine that threw is of no use any more, and no later call can agree.
      const stoppedBy = error instanceof Error ? error.message : String(error);
      difference ??= { call, aspects: ASPECTS, got: { stoppedBy } };
      break;
    }
    const aspects = differingAspects(call, got);
    for (const aspect of ASPECTS) if (!aspects.includes(aspect)) tally[aspect] += 1;
    if (aspects.length === 0) tally.agree += 1;
    else difference ??= { call, aspects, got };
  }
  return { path, group: header.group, tally, difference };
}

/** The numbers of several recordings, by group and in total. */
export class Summary {
  /** In order of first appearance. */
  readonly groups = new Map<string, Tally>();
  readonly total = emptyTally();

  add({ group, tally }: RecordingResult): void {
    let sum = this.groups.get(group);
    if (sum === undefined) {
      sum = emptyTally();
      this.groups.set(group, sum);
    }
    addTally(sum, tally);
    addTally(this.total, tally);
  }
}
