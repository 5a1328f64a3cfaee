/**
 * Repeats an execution from its schedule and records it.
 *
 * Only one execution in a million is recorded, so this is the place where stacks are taken.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Program, Schedule } from '../check/program.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Watch } from '../kernel/watch.ts';
import { withLongStacks } from './code-place.ts';
import { Composer, type ResolvePlace } from './compose.ts';
import { Recorder } from './recorder.ts';
import type { Recording } from './recording.ts';

export interface RecordOptions {
  /** How to show `file:///…/gru.ts:41:7`; as it is if left out. */
  readonly resolvePlace?: ResolvePlace;
  /**
   * Which finding the recording is to end with; any, if left out. If it has not come when the schedule
   * ends, the execution goes on to its end, each task as long as it can.
   */
  readonly isLast?: (finding: Finding) => boolean;
  readonly stepCountMax?: number;
}

/**
 * Runs `program` as `schedule` says and records it. A schedule that does not fit, because the code has
 * changed since, is followed as far as it goes; see `divergence`.
 *
 * @throws UsageError what the program throws, and MN205 if it does not end.
 */
export function record(
  program: Program,
  schedule: Schedule,
  detectors: readonly Watch[],
  options: RecordOptions = {},
): Recording {
  return withLongStacks(() => new Run(program, schedule, options).record(detectors));
}

class Run {
  private readonly program: Program;
  private readonly schedule: Schedule;
  private readonly options: RecordOptions;
  private readonly recorder = new Recorder();
  private kernel!: Kernel;
  private divergence: Recording['divergence'] = null;
  private foundCount = 0;

  constructor(program: Program, schedule: Schedule, options: RecordOptions) {
    this.program = program;
    this.schedule = schedule;
    this.options = options;
  }

  record(detectors: readonly Watch[]): Recording {
    this.kernel = this.program.start([this.recorder, ...detectors], this.recorder);
    const before = setRunning(this.kernel);
    try {
      this.follow();
      const isStuck = !this.hasFound() && this.goOn();
      if (isStuck) this.end();
      const resolvePlace = this.options.resolvePlace ?? ((raw: string) => raw);
      const composer = new Composer(this.recorder, resolvePlace);
      return composer.compose(this.kernel, isStuck, this.divergence);
    } finally {
      setRunning(before);
    }
  }

  private end(): void {
    this.kernel.finish();
    this.program.finish(this.kernel);
    this.kernel.end();
  }

  /** Takes the steps of the schedule, as far as they can be taken. */
  private follow(): void {
    const { tasks, outcomes } = this.schedule;
    for (const [at, index] of tasks.entries()) {
      const outcome = outcomes[at] ?? 0;
      const obstacle = this.obstacle(this.kernel.tasks[index], index, outcome);
      if (obstacle !== null) {
        this.divergence = { step: at, message: obstacle };
        return;
      }
      this.step(this.kernel.tasks[index] as Task, outcome);
    }
  }

  /** Why the schedule cannot be followed, or null if it can. */
  private obstacle(task: Task | undefined, index: number, outcome: number): string | null {
    if (task === undefined) return `there is no task ${index}`;
    const operation = task.pending;
    if (operation === null) return `task '${task.name}' has ended`;
    const text = operation.describe(task);
    if (!this.kernel.isEnabled(task)) return `task '${task.name}' cannot go on at ${text}`;
    if (outcome < operation.arity(task)) return null;
    return `${text} of task '${task.name}' has no outcome ${outcome}`;
  }

  /** Goes on to the end. False if the finding came first. */
  private goOn(): boolean {
    const { kernel } = this;
    let last: Task | undefined = undefined;
    for (;;) {
      const canGoOn: Task | undefined =
        last !== undefined && kernel.isEnabled(last)
          ? last
          : kernel.tasks.find((task) => kernel.isEnabled(task));
      if (canGoOn === undefined) return true;
      this.step(canGoOn, 0);
      last = canGoOn;
      if (this.hasFound()) return false;
    }
  }

  private step(task: Task, outcome: number): void {
    const limit = this.options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
    if (this.kernel.stepCount >= limit) {
      throw new UsageError(
        'MN205',
        `the recorded execution did not end within ${limit} steps: task '${task.name}' is in ` +
          task.functionName,
      );
    }
    this.recorder.nextOutcome = outcome;
    this.kernel.step(task, outcome);
  }

  /** Whether the last of the findings has come. */
  private hasFound(): boolean {
    const { findings } = this.kernel;
    const fresh = findings.slice(this.foundCount);
    this.foundCount = findings.length;
    return fresh.some((finding) => this.options.isLast?.(finding) ?? true);
  }
}
