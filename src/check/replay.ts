/**
 * Replay: runs a program along a schedule, as far as the schedule can be followed.
 *
 * A schedule may come from another version of the code. The first step that cannot be taken as
 * written ends the following of it and is explained.
 */
import { STEP_COUNT_MAX_DEFAULT } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Report } from '../kernel/finding.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer, Watch } from '../kernel/watch.ts';
import { livelockAt } from './livelock.ts';
import type { Program, Schedule } from './program.ts';

export interface ReplayOptions {
  readonly watches?: readonly Watch[];
  /** Those of them that watch what is to be run before, as well; all, if left out. */
  readonly learners?: readonly Watch[];
  readonly tracer?: Tracer | null;
  /**
   * True: after the schedule, whether used up or left, goes on to the end of the execution, with the
   * same task as long as it can go on and then the first that can.
   */
  readonly toEnd?: boolean;
  /** Steps of the whole execution; see {@link UsageError} MN205. */
  readonly stepCountMax?: number;
  /** Called after each step, for a sign of life. */
  readonly onStep?: () => void;
}

export interface Divergence {
  /** The step of the schedule that could not be taken. */
  readonly step: number;
  /** One sentence that says why. */
  readonly reason: string;
}

export interface Replay {
  readonly kernel: Kernel;
  /** The steps taken. */
  readonly schedule: Schedule;
  /** Why the schedule could not be followed to its end, or null. */
  readonly diverged: Divergence | null;
  /** Whether the execution came to its end, so that what is only seen then was looked for. */
  readonly isOver: boolean;
}

/**
 * Runs `program` along `schedule`. An execution that is over with the schedule is finished as an
 * explored one is: deadlocks and leaks are looked for. Otherwise it is left where it is, unless
 * `toEnd` is set.
 */
export function replay(program: Program, schedule: Schedule, options: ReplayOptions = {}): Replay {
  const { watches = [], learners = watches } = options;
  for (const watch of learners) watch.onForget?.();
  for (const before of schedule.earlier ?? []) {
    replay(program, { ...before, earlier: [] }, { watches: learners, learners: [] });
  }
  const kernel = program.start(options.watches ?? [], options.tracer ?? null);
  const run = new Run(kernel, options);
  // Operations are asked whether they are enabled between steps, too.
  const before = setRunning(kernel);
  try {
    const diverged = run.follow(schedule);
    const livelock = diverged === null ? run.livelockIn(program) : null;
    if (livelock !== null) kernel.report(livelock);
    else if (options.toEnd === true) run.goOn();
    const isOver = enabledTasks(kernel).length === 0;
    if (isOver) {
      kernel.finish();
      program.finish(kernel);
      kernel.end();
    }
    return { kernel, schedule: { tasks: run.tasks, outcomes: run.outcomes }, diverged, isOver };
  } finally {
    setRunning(before);
  }
}

class Run {
  readonly tasks: number[] = [];
  readonly outcomes: number[] = [];
  private readonly kernel: Kernel;
  private readonly options: ReplayOptions;

  constructor(kernel: Kernel, options: ReplayOptions) {
    this.kernel = kernel;
    this.options = options;
  }

  follow(schedule: Schedule): Divergence | null {
    for (const [step, index] of schedule.tasks.entries()) {
      const outcome = schedule.outcomes[step] ?? 0;
      const reason = obstacleOf(this.kernel, index, outcome);
      if (reason !== null) return { step, reason };
      this.take(this.kernel.tasks[index] as Task, outcome);
    }
    return null;
  }

  /** What there is to say if the steps so far end in a round that would go on for ever. */
  livelockIn(program: Program): Report | null {
    let enabled = 0;
    for (const { index } of enabledTasks(this.kernel)) enabled |= 1 << index;
    if (enabled === 0) return null;
    return livelockAt(program, { tasks: this.tasks, outcomes: this.outcomes }, enabled);
  }

  goOn(): void {
    const stepCountMax = this.options.stepCountMax ?? STEP_COUNT_MAX_DEFAULT;
    for (;;) {
      const enabled = enabledTasks(this.kernel);
      const before = this.tasks.at(-1);
      const task = enabled.find((one) => one.index === before) ?? enabled[0];
      if (task === undefined) return;
      if (this.kernel.stepCount >= stepCountMax) {
        throw new UsageError(
          'MN205',
          `the replayed execution did not end within ${stepCountMax} steps; task '${task.name}' is ` +
            `in ${task.functionName}`,
        );
      }
      this.take(task, 0);
    }
  }

  private take(task: Task, outcome: number): void {
    this.tasks.push(task.index);
    this.outcomes.push(outcome);
    this.kernel.step(task, outcome);
    this.options.onStep?.();
  }
}

/**
 * Why the task with this index cannot take a step that turns out so, or null if it can. `kernel` is the
 * running one.
 */
export function obstacleOf(kernel: Kernel, index: number, outcome: number): string | null {
  const task = kernel.tasks[index];
  if (task === undefined) {
    return `task ${index} should go on, but only ${kernel.tasks.length} tasks have started`;
  }
  const { pending } = task;
  if (pending === null) return `task '${task.name}' should go on, but it has ended`;
  if (!kernel.isEnabled(task)) {
    return `task '${task.name}' should go on, but it is blocked at ${pending.describe(task)}`;
  }
  const arity = pending.arity(task);
  const way = outcome & ~PAUSE;
  if (way < arity) return null;
  return (
    `${pending.describe(task)} in task '${task.name}' should turn out in way ${way + 1}, ` +
    `but it has only ${arity}`
  );
}

function enabledTasks(kernel: Kernel): readonly Task[] {
  return kernel.tasks.filter((task) => kernel.isEnabled(task));
}
