/**
 * Puts an execution into the order of a claim: another execution of the same trace, in which the events
 * that were found come one after the other as the claim has them. It is run, not only computed.
 */
import type { Program, Schedule } from '../check/program.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Watch } from '../kernel/watch.ts';
import type { EventLog, TaskEvents } from './event-log.ts';
import type { Atom, Chosen, Trace } from './match.ts';

/**
 * Steps of the explored execution in another order: for each event of the claim in turn what has to be
 * before it, and no more; then the rest.
 */
export function orderAsClaimed(
  trace: Trace,
  atoms: readonly Atom[],
  chosen: readonly Chosen[],
): number[] {
  const sorter = new Sorter(trace, edgesOf(trace.log, atoms, chosen));
  for (const { task, at } of chosen) {
    const step = trace.log.tasks[task]?.steps[at] ?? -1;
    if (step >= 0) sorter.goTo(step);
  }
  sorter.goToEnd();
  return sorter.order;
}

class Sorter {
  readonly order: number[] = [];
  private readonly trace: Trace;
  private readonly edges: ReadonlyMap<number, readonly number[]>;
  private readonly isDone: boolean[];
  /** For each step the one of its task before it, or -1. */
  private readonly own: readonly number[];
  private present = -1;

  constructor(trace: Trace, edges: ReadonlyMap<number, readonly number[]>) {
    const { taskOfStep } = trace.log;
    this.trace = trace;
    this.edges = edges;
    this.isDone = taskOfStep.map(() => false);
    this.own = taskOfStep.map((task, step) =>
      step === 0 ? -1 : taskOfStep.lastIndexOf(task, step - 1),
    );
  }

  /** Takes all that has to be before `step`, and it. */
  goTo(step: number): void {
    const wanted = new Set<number>();
    const open = [step];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (this.isDone[next] === true || wanted.has(next)) continue;
      wanted.add(next);
      open.push(...this.before(next));
    }
    this.take([...wanted].toSorted((a, b) => a - b));
  }

  goToEnd(): void {
    this.take(this.isDone.flatMap((isDone, step) => (isDone ? [] : [step])));
  }

  /** Takes the steps, with as few changes between tasks as come by themselves. */
  private take(steps: readonly number[]): void {
    let left = steps;
    while (left.length > 0) {
      const ready = left.filter((step) => this.before(step).every((one) => this.isDone[one]));
      const { taskOfStep } = this.trace.log;
      const next = ready.find((step) => taskOfStep[step] === this.present) ?? ready[0];
      if (next === undefined) return;
      this.isDone[next] = true;
      this.present = taskOfStep[next] as number;
      this.order.push(next);
      left = left.filter((step) => step !== next);
    }
  }

  /** The steps that have to be before a step, those before them left out. */
  private before(step: number): number[] {
    const found = [...(this.edges.get(step) ?? [])];
    const clock = this.trace.clockOf(step);
    for (let task = 0; task < this.trace.log.tasks.length; task += 1) {
      const last = (clock[task] ?? 0) - 1;
      if (last >= 0 && last !== step) found.push(last);
    }
    const own = this.own[step] as number;
    if (own >= 0) found.push(own);
    return found;
  }
}

/** For each step those that the claim wants before it. */
function edgesOf(
  log: EventLog,
  atoms: readonly Atom[],
  chosen: readonly Chosen[],
): Map<number, number[]> {
  const edges = new Map<number, number[]>();
  for (const [later, event] of chosen.entries()) {
    const step = event.task < 0 ? null : firstStepAfter(log, event);
    if (step === null) continue;
    for (let earlier = 0; earlier < later; earlier += 1) {
      if (atoms[earlier]?.row === atoms[later]?.row) continue;
      const one = chosen[earlier] as Chosen;
      const last = log.tasks[one.task]?.steps[one.at] ?? -1;
      if (last < 0 || last === step) continue;
      edges.set(step, [...(edges.get(step) ?? []), last]);
    }
  }
  return edges;
}

/** The step that the event is, or the one of its task before which it must have been. */
function firstStepAfter(log: EventLog, { task, at }: Chosen): number | null {
  const { steps, isPinned } = log.tasks[task] as TaskEvents;
  for (let next = at; next < steps.length; next += 1) {
    if (isPinned[next] === true) return steps[next] as number;
  }
  return null;
}

/** What of an order could be run. */
export interface Run {
  readonly kernel: Kernel;
  readonly schedule: Schedule;
  readonly isWhole: boolean;
}

/**
 * Runs the steps of `schedule` in another order. Tasks that are started on the way may be started in
 * another order, too: they are known by who started them, and as how-manieth.
 */
export function runInOrder(
  program: Program,
  { tasks, outcomes }: Schedule,
  options: {
    readonly order: readonly number[];
    /** The tasks of the explored execution. */
    readonly former: readonly Task[];
    readonly watches: readonly Watch[];
    readonly visibleMemory: ReadonlySet<string> | null;
  },
): Run {
  const { order, former, watches, visibleMemory } = options;
  const names = former.map((task) => identityOf(task, former));
  const kernel = program.start(watches, null);
  kernel.visibleMemory = visibleMemory;
  const before = setRunning(kernel);
  const taken: { tasks: number[]; outcomes: number[] } = { tasks: [], outcomes: [] };
  try {
    for (const step of order) {
      const name = names[tasks[step] as number] as string;
      const task = kernel.tasks.find((one) => identityOf(one, kernel.tasks) === name);
      if (task === undefined || !kernel.isEnabled(task)) {
        return { kernel, schedule: taken, isWhole: false };
      }
      const outcome = outcomes[step] ?? 0;
      taken.tasks.push(task.index);
      taken.outcomes.push(outcome);
      kernel.step(task, outcome);
    }
    kernel.finish();
    program.finish(kernel);
    kernel.end();
  } finally {
    setRunning(before);
  }
  return { kernel, schedule: taken, isWhole: order.length === tasks.length };
}

/** `2`, or `2.0` for the first task that task 2 started. */
function identityOf(task: Task, all: readonly Task[]): string {
  const { parent } = task;
  if (parent === null) return String(task.index);
  const siblings = all.filter((one) => one.parent === parent);
  return `${identityOf(parent, all)}.${siblings.indexOf(task)}`;
}

/** The order of an execution as it was run, as if every step came after all before it. */
export function linearClocks(log: EventLog): (step: number) => ArrayLike<number> {
  return (step) => {
    const clock = log.tasks.map(() => 0);
    for (let at = 0; at <= step; at += 1) clock[log.taskOfStep[at] as number] = at + 1;
    return clock;
  };
}

/**
 * Where the steps of a schedule are once operations are joined with the plain code behind them, as
 * {@link withoutIdlePauses} does.
 */
export function placesWithoutPauses({ tasks, outcomes }: Schedule): number[] {
  const places: number[] = [];
  let count = 0;
  for (const [at, task] of tasks.entries()) {
    const before = outcomes[at - 1] ?? 0;
    const isJoined = at > 0 && tasks[at - 1] === task && (before & PAUSE) !== 0;
    if (!isJoined) count += 1;
    places.push(count - 1);
  }
  return places;
}
