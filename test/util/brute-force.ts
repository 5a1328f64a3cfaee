/**
 * All interleavings of a program, one by one, without any reduction: what the explorer is measured
 * against.
 *
 * Each interleaving is mapped to its trace: per task the steps with their outcomes, and for each
 * step how many steps of every other task come before it in the order that is given by the order
 * within tasks, spawning, conflicts and `kernel.after`. Two interleavings have the same key exactly
 * when one becomes the other by swapping neighbours that do not depend on each other.
 *
 * It also checks the declarations themselves, which no explorer can do:
 * - interleavings of one trace must not differ in anything a task or a detector sees;
 * - swapping two independent neighbours must give an interleaving again;
 * - two neighbours ordered by `after` alone must not be possible the other way round.
 * Each breach is a line in `faults`.
 */
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { isErr, ptrErr } from '../../src/kernel/err-ptr.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { conflicts, modeOf, variableOf, type Access } from '../../src/kernel/operation.ts';
import { setRunning } from '../../src/kernel/running.ts';
import type { Task } from '../../src/kernel/task.ts';
import type { Tracer, Watch } from '../../src/kernel/watch.ts';

export interface BruteForceOptions {
  /** What watches the interleavings; their findings count as behaviour. */
  readonly watches?: () => readonly Watch[];
  /** More interleavings than this are an error. */
  readonly interleavingCountMax?: number;
  /** Leave out the checks of the declarations, which take time. */
  readonly skipsChecks?: boolean;
}

export interface BruteForce {
  readonly interleavings: number;
  readonly traces: ReadonlySet<string>;
  /** One interleaving of each trace. */
  readonly scheduleOf: ReadonlyMap<string, Schedule>;
  /** What was seen in each trace: results, blocked tasks, findings. */
  readonly behaviourOf: ReadonlyMap<string, string>;
  /** Where the declared dependences are wrong. */
  readonly faults: readonly string[];
}

interface Event {
  readonly task: number;
  /** The task's name that is the same in all interleavings of a trace, see `stableName`. */
  readonly name: string;
  /** Its position among the steps of its task. */
  readonly index: number;
  readonly outcome: number;
  readonly footprint: readonly Access[];
  readonly after: readonly number[];
  readonly spawnedAt: number;
}

const nothing = (): void => undefined;

/** One execution under way, step by step, with everything that makes its trace. */
class Run {
  readonly kernel: Kernel;
  readonly events: Event[] = [];
  private readonly program: Program;
  private readonly seen: string[][] = [];
  /** For each task the operation that it waits to take, and what that touched when it was reached. */
  private readonly reached: { after: number; text: string }[] = [];
  /** Operations whose footprint changed while they were pending, though they say it does not. */
  readonly unsteady = new Set<string>();

  constructor(program: Program, watches: readonly Watch[]) {
    this.program = program;
    this.kernel = program.start(watches, this.tracer());
    setRunning(this.kernel);
  }

  private tracer(): Tracer {
    return {
      onMade: nothing,
      onCall: nothing,
      onReturn: nothing,
      onNote: nothing,
      onStep: (task, _operation, description) => this.linesOf(task).push(description),
      onResult: (task, result) => this.linesOf(task).push(`  = ${show(result)}`),
    };
  }

  private linesOf(task: Task): string[] {
    return (this.seen[task.index] ??= []);
  }

  private checkSteadiness(task: Task): void {
    const operation = task.pending;
    if (operation === null || operation.footprintVaries) return;
    const footprint: Access[] = [];
    this.kernel.footprint(task, footprint);
    const text = footprint.join(' ');
    const known = this.reached[task.index];
    if (known?.after !== task.lastStep) {
      this.reached[task.index] = { after: task.lastStep, text };
    } else if (known.text !== text) {
      this.unsteady.add(`${operation.constructor.name} (${operation.describe(task)})`);
    }
  }

  /** The choices there are now: every enabled task with every outcome of its step. */
  choices(): [number, number][] {
    const list: [number, number][] = [];
    for (const task of this.kernel.tasks) {
      this.checkSteadiness(task);
      if (!this.kernel.isEnabled(task)) continue;
      const arity = task.pending?.arity(task) ?? 1;
      for (let outcome = 0; outcome < arity; outcome += 1) list.push([task.index, outcome]);
    }
    return list;
  }

  take(index: number, outcome: number): void {
    const { kernel } = this;
    const task = kernel.tasks[index];
    if (task === undefined || !kernel.isEnabled(task)) {
      throw new Error(`step ${kernel.stepCount}: task ${index} is not enabled`);
    }
    const footprint: Access[] = [];
    kernel.footprint(task, footprint);
    kernel.step(task, outcome);
    footprint.push(...kernel.plainAccesses);
    this.events.push({
      task: index,
      name: stableName(task, kernel),
      index: this.events.filter((event) => event.task === index).length,
      outcome,
      footprint,
      after: kernel.afterSteps.slice(),
      spawnedAt: task.spawnedAt,
    });
  }

  /** Ends the execution and says what was seen in it. */
  finish(): string {
    const { kernel } = this;
    const blocked = kernel.tasks
      .filter((task) => !task.isDone)
      .map(
        (task) => `${stableName(task, kernel)} blocked at ${task.pending?.describe(task) ?? '?'}`,
      )
      .toSorted();
    kernel.finish();
    this.program.finish(kernel);
    kernel.end();
    const findings = kernel.findings.map((found) => `${found.kind} ${found.object}`).toSorted();
    const lines = kernel.tasks
      .map(
        (task) => `task ${stableName(task, kernel)}: ${(this.seen[task.index] ?? []).join('; ')}`,
      )
      .toSorted();
    return [...lines, ...blocked, ...findings, ...[...kernel.goals].toSorted()].join('\n');
  }

  /** The interleaving as one name for each step, the same whatever indexes the tasks have. */
  get stepNames(): string[] {
    return this.events.map((event) => `${event.name}.${event.outcome}`);
  }

  get schedule(): Schedule {
    return {
      tasks: this.events.map((event) => event.task),
      outcomes: this.events.map((event) => event.outcome),
    };
  }
}

/**
 * The index of a task that is there from the beginning; for one that another task starts, who that
 * was and the how-manieth it is of that one. Its own index depends on the interleaving.
 */
function stableName(task: Task, kernel: Kernel): string {
  const { parent } = task;
  if (parent === null) return String(task.index);
  const siblings = kernel.tasks.filter((other) => other.parent === parent);
  return `${stableName(parent, kernel)}/${siblings.indexOf(task)}`;
}

function show(value: unknown): string {
  // Using an ERR_PTR traps: turning it into text would end the task that is being watched.
  if (isErr(value)) return `ERR_PTR(${ptrErr(value)})`;
  if (typeof value === 'object' && value !== null && 'path' in value && 'address' in value) {
    return `${String(value.path)}@${String(value.address)}`;
  }
  return String(value);
}

/** True if the two footprints have conflicting accesses. */
function doConflict(a: readonly Access[], b: readonly Access[]): boolean {
  return a.some((one) =>
    b.some((two) => variableOf(one) === variableOf(two) && conflicts(modeOf(one), modeOf(two))),
  );
}

/** The canonical name of the trace that these steps are an interleaving of. */
function keyOf(events: readonly Event[]): string {
  const taskCount = Math.max(-1, ...events.map((event) => event.task)) + 1;
  const clocks: number[][] = [];
  const last: number[] = [];
  const perTask: string[][] = Array.from({ length: taskCount }, () => []);
  const nameOf = new Map<number, string>();
  for (const event of events) nameOf.set(event.task, event.name);
  // Tasks in the order of their names: their indexes may differ between interleavings.
  const order = [...nameOf].toSorted((a, b) => (a[1] < b[1] ? -1 : 1)).map(([task]) => task);
  for (const [at, event] of events.entries()) {
    const clock = Array.from({ length: taskCount }, () => 0);
    const join = (step: number): void => {
      for (const [task, count] of (clocks[step] ?? []).entries()) {
        clock[task] = Math.max(clock[task] ?? 0, count);
      }
    };
    join(last[event.task] ?? event.spawnedAt);
    for (let before = 0; before < at; before += 1) {
      const other = events[before] as Event;
      if (other.task !== event.task && doConflict(other.footprint, event.footprint)) join(before);
    }
    for (const step of event.after) join(step);
    const shown = order.map((task) => clock[task]).join(',');
    perTask[event.task]?.push(`${event.outcome}<${shown}>`);
    clock[event.task] = event.index + 1;
    clocks.push(clock);
    last[event.task] = at;
  }
  return order.map((task) => `${nameOf.get(task)}: ${perTask[task]?.join(' ')}`).join(' | ');
}

/** The key of the trace that `schedule` is an interleaving of; see the head of this file. */
export function traceKey(program: Program, schedule: Schedule): string {
  const run = new Run(program, []);
  for (const [at, task] of schedule.tasks.entries()) run.take(task, schedule.outcomes[at] ?? 0);
  return keyOf(run.events);
}

function scheduleName(schedule: Schedule): string {
  return schedule.tasks.map((task, at) => `${task}.${schedule.outcomes[at] ?? 0}`).join(' ');
}

/** What has been found out about a program so far. */
class Enumeration {
  readonly scheduleOf = new Map<string, Schedule>();
  readonly behaviourOf = new Map<string, string>();
  readonly names = new Set<string>();
  /** Swapped schedules that must exist, and those that must not, with what they came from. */
  readonly wanted = new Map<string, string>();
  readonly unwanted = new Map<string, string>();
  readonly faults = new Set<string>();

  note(run: Run, behaviour: string): void {
    for (const name of run.unsteady) this.faults.add(`touches more or less than before: ${name}`);
    const key = keyOf(run.events);
    const { schedule } = run;
    this.names.add(run.stepNames.join(' '));
    const known = this.behaviourOf.get(key);
    if (known === undefined) {
      this.behaviourOf.set(key, behaviour);
      this.scheduleOf.set(key, schedule);
    } else if (known !== behaviour) {
      this.faults.add(`one trace, two behaviours:\n${known}\n-- and --\n${behaviour}`);
    }
  }

  /** Notes what the neighbours in this interleaving promise about others. */
  noteNeighbours(run: Run): void {
    const { events, stepNames } = run;
    const name = stepNames.join(' ');
    for (let at = 1; at < events.length; at += 1) {
      const [one, two] = [events[at - 1] as Event, events[at] as Event];
      if (one.task === two.task || doConflict(one.footprint, two.footprint)) continue;
      if (two.index === 0 && two.spawnedAt === at - 1) continue;
      const swapped = swap(stepNames, at);
      // The rest of the schedule may turn out otherwise if the order did matter after all.
      if (two.after.includes(at - 1)) {
        this.unwanted.set(swapped.slice(0, at).join(' '), `${name}: steps ${at - 1} and ${at}`);
      } else {
        this.wanted.set(swapped.join(' '), `${name}: steps ${at - 1} and ${at}`);
      }
    }
  }

  check(): void {
    for (const [name, from] of this.wanted) {
      if (!this.names.has(name)) this.faults.add(`independent, but cannot be swapped: ${from}`);
    }
    const prefixes = new Set<string>();
    for (const name of this.names) {
      const steps = name.split(' ');
      for (let count = 1; count <= steps.length; count += 1) {
        prefixes.add(steps.slice(0, count).join(' '));
      }
    }
    for (const [name, from] of this.unwanted) {
      if (prefixes.has(name)) this.faults.add(`ordered by after(), but can be swapped: ${from}`);
    }
  }
}

/** The steps with those at `at - 1` and `at` the other way round. */
function swap(steps: readonly string[], at: number): string[] {
  const copy = [...steps];
  [copy[at - 1], copy[at]] = [copy[at] as string, copy[at - 1] as string];
  return copy;
}

/** Runs every interleaving of `program`, by executing it anew for each. */
export function bruteForce(program: Program, options: BruteForceOptions = {}): BruteForce {
  const limit = options.interleavingCountMax ?? 200_000;
  const found = new Enumeration();
  /** For each depth the choices that are left, the one being taken last. */
  const path: [number, number][][] = [];
  let interleavings = 0;
  do {
    const run = new Run(program, options.watches?.() ?? []);
    for (let depth = 0; ; depth += 1) {
      path[depth] ??= run.choices().toReversed();
      const choice = path[depth]?.at(-1);
      if (choice === undefined) break;
      run.take(choice[0], choice[1]);
    }
    interleavings += 1;
    if (interleavings > limit) throw new Error(`more than ${limit} interleavings`);
    found.note(run, run.finish());
    if (options.skipsChecks !== true) found.noteNeighbours(run);
    // The last entry has no choices: the execution ended there.
    path.pop();
    for (; path.length > 0; path.pop()) {
      path.at(-1)?.pop();
      if ((path.at(-1)?.length ?? 0) > 0) break;
    }
  } while (path.length > 0);
  found.check();
  return {
    interleavings,
    traces: new Set(found.behaviourOf.keys()),
    scheduleOf: found.scheduleOf,
    behaviourOf: found.behaviourOf,
    faults: [...found.faults],
  };
}

/** How the explorer did, measured against all interleavings. */
export interface Comparison {
  readonly interleavings: number;
  /** Traces that there are. */
  readonly traces: number;
  /** Executions that the explorer took. */
  readonly executions: number;
  readonly blocked: number;
  /** Schedules of traces that it did not execute. */
  readonly missing: readonly string[];
  /** Schedules that repeat a trace. */
  readonly repeated: readonly string[];
  readonly faults: readonly string[];
}

/** Explores `program` with both explorers and compares with {@link bruteForce}; they must agree. */
export function compare(program: Program, options: BruteForceOptions = {}): Comparison {
  const all = bruteForce(program, options);
  const optimal = compareWith(OptimalDpor, program, all);
  const source = compareWith(SourceDpor, program, all);
  const [one, other] = [optimal, source].map((found) => JSON.stringify({ ...found, blocked: 0 }));
  const disagreement = one === other ? [] : [`Source-DPOR says otherwise: ${other}`];
  return { ...optimal, faults: [...all.faults, ...disagreement] };
}

function compareWith(
  Explorer: typeof OptimalDpor | typeof SourceDpor,
  program: Program,
  all: BruteForce,
): Comparison {
  const schedules: Schedule[] = [];
  const result = new Explorer(program, {
    onExecution: (run) => {
      schedules.push(run.schedule);
      return false;
    },
  }).run();
  const seen = new Set<string>();
  const repeated: string[] = [];
  for (const schedule of schedules) {
    const key = traceKey(program, schedule);
    if (seen.has(key)) repeated.push(scheduleName(schedule));
    seen.add(key);
  }
  const missing = [...all.scheduleOf]
    .filter(([key]) => !seen.has(key))
    .map(([, schedule]) => scheduleName(schedule));
  return {
    interleavings: all.interleavings,
    traces: all.traces.size,
    executions: result.executions,
    blocked: result.blocked,
    missing,
    repeated,
    faults: [],
  };
}
