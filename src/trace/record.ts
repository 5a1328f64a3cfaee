/**
 * Repeats an execution from its schedule and records it.
 *
 * Only one execution in a million is recorded, so this is the place where stacks are taken.
 */
import type { Program, Schedule } from '../check/program.ts';
import { replay, type Replay } from '../check/replay.ts';
import type { Finding } from '../kernel/finding.ts';
import { setRunning } from '../kernel/running.ts';
import type { Watch } from '../kernel/watch.ts';
import { withLongStacks } from './code-place.ts';
import { Composer, type ResolvePlace } from './compose.ts';
import { Recorder } from './recorder.ts';
import type { Recording } from './recording.ts';

export interface RecordOptions {
  /** How to show `file:///…/gru.ts:41:7`; as it is if left out. */
  readonly resolvePlace?: ResolvePlace;
  /**
   * Which finding the recording is about; any, if left out. If the schedule does not lead to it, the
   * execution is recorded to its end.
   */
  readonly isSought?: (finding: Finding) => boolean;
  /** Whether to tell what each step changes in memory; no if left out. */
  readonly hasValues?: boolean;
  /** Steps of one execution; see UsageError MN205. */
  readonly stepCountMax?: number;
}

/**
 * Runs `program` as `schedule` says and records it. A schedule that does not fit, because the code has
 * changed since, is followed as far as it goes; the recording tells how far.
 *
 * @param detectors in the order in which they want to be watches.
 * @throws UsageError what the program throws, and MN205 if it does not end.
 */
export function record(
  program: Program,
  schedule: Schedule,
  detectors: readonly Watch[],
  options: RecordOptions = {},
): Recording {
  const { isSought = () => true, resolvePlace = (raw) => raw, stepCountMax } = options;
  const hasValues = options.hasValues === true;
  const limits = stepCountMax === undefined ? {} : { stepCountMax };
  const run = (toEnd: boolean): { run: Replay; recorder: Recorder } => {
    const recorder = new Recorder(hasValues);
    const watches = [recorder, ...detectors];
    const replayed = replay(program, schedule, {
      watches,
      learners: detectors,
      tracer: recorder,
      toEnd,
      ...limits,
    });
    return { run: replayed, recorder };
  };
  return withLongStacks(() => {
    let taken = run(false);
    const isFound = taken.run.kernel.findings.some((finding) => isSought(finding));
    if (!isFound && !taken.run.isOver) taken = run(true);
    // Operations are asked who blocks them, and may ask the running kernel.
    const before = setRunning(taken.run.kernel);
    try {
      taken.recorder.finish();
      return new Composer(taken.recorder, resolvePlace).compose(taken.run);
    } finally {
      setRunning(before);
    }
  });
}
