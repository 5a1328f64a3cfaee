/**
 * One fuzz program, two ways: every interleaving by definition, and what the explorer executes. They
 * must have the same traces, each executed once, and come to the same ends.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { Program } from '../../../src/check/program.ts';
import type { Explorer, ExploreOptions } from '../../../src/check/exploration.ts';
import { PAUSE } from '../../../src/kernel/kernel.ts';
import { setRunning } from '../../../src/kernel/running.ts';
import { Misuse } from './kind/kind.ts';
import { EVENT_COUNT_MAX, Machine } from './machine.ts';
import { forMachine, MEMORY_NAME, onKernel, type FuzzProgram } from './program.ts';

export type ExplorerClass = new (program: Program, options?: ExploreOptions) => Explorer;

export interface Enumeration {
  readonly interleavings: number;
  /** For each trace what it comes to. */
  readonly traces: ReadonlyMap<string, string>;
  /** True if some task had to wait for what another task held. */
  readonly hasWaiting: boolean;
  /** Traces that end with a task still waiting. */
  readonly deadlocks: number;
}

class TooMany extends Error {}

const WALK_COUNT = 24;

/**
 * About how many interleavings there are: random walks, each counted as often as there were
 * alternatives to it. Sorts out what is far too large before it is enumerated.
 */
function estimate(program: FuzzProgram): number {
  const random = xoroshiro128plus(WALK_COUNT);
  let sum = 0;
  for (let walk = 0; walk < WALK_COUNT; walk += 1) {
    const machine = new Machine(forMachine(program));
    let weight = 1;
    for (;;) {
      const branches = branchesOf(machine);
      if (branches.length === 0) break;
      if (machine.events.length === EVENT_COUNT_MAX) return Infinity;
      weight *= branches.length;
      const [task, outcome] = branches[uniformInt(random, 0, branches.length - 1)] as Branch;
      machine.take(task, outcome);
    }
    sum += weight;
  }
  return sum / WALK_COUNT;
}

/** A task that can go on, and one of the ways in which it can. */
type Branch = readonly [task: number, outcome: number];

function branchesOf(machine: Machine): Branch[] {
  const branches: Branch[] = [];
  for (let task = 0; task < machine.code.length; task += 1) {
    const choices = machine.choices(task);
    for (let outcome = 0; outcome < choices; outcome += 1) branches.push([task, outcome]);
  }
  return branches;
}

/** True if a task has not ended and cannot go on. */
function hasWaiter(machine: Machine): boolean {
  return machine.code.some(
    (_, task) => machine.pending(task) !== null && machine.choices(task) === 0,
  );
}

/** Every interleaving of the program, or null if there are more than `countMax`. */
export function enumerate(program: FuzzProgram, countMax: number): Enumeration | null {
  if (estimate(program) > 1.5 * countMax) return null;
  const machine = new Machine(forMachine(program));
  const traces = new Map<string, string>();
  let interleavings = 0;
  let hasWaiting = false;
  let deadlocks = 0;

  const note = (): void => {
    interleavings += 1;
    if (interleavings > countMax) throw new TooMany();
    const key = machine.traceKey();
    const outcome = machine.outcome();
    const known = traces.get(key);
    if (known === undefined) {
      traces.set(key, outcome);
      if (outcome.includes('waits')) deadlocks += 1;
    } else if (known !== outcome) {
      throw new Error(`by definition one trace comes to two ends: ${known} -- and -- ${outcome}`);
    }
  };

  const visit = (): void => {
    const branches = branchesOf(machine);
    if (branches.length > 0 && machine.events.length === EVENT_COUNT_MAX) throw new TooMany();
    hasWaiting ||= hasWaiter(machine);
    if (branches.length === 0) note();
    // A step without an alternative is taken back by whoever had one before it.
    const saved = branches.length > 1 ? machine.save() : null;
    for (const [task, outcome] of branches) {
      machine.take(task, outcome);
      visit();
      if (saved !== null) machine.restore(saved);
    }
  };

  try {
    visit();
  } catch (error) {
    if (error instanceof TooMany) return null;
    throw error;
  }
  return { interleavings, traces, hasWaiting, deadlocks };
}

/** An explorer that can say more of what it did. */
export interface Watched extends Explorer {
  /** True if it was not always known what a step would touch. */
  readonly hasVaried: boolean;
  /** How often nothing that was planned could be taken. */
  readonly impossibleCount: number;
}

export interface Exploration {
  /** What is wrong, or null. */
  readonly fault: string | null;
  readonly executions: number;
  readonly blocked: number;
  /** True if it was always known what a step would touch. */
  readonly isForeseen: boolean;
}

/** Explores the program and compares with what there is by definition. */
export function explore(
  program: FuzzProgram,
  all: Enumeration,
  Explorer: ExplorerClass,
): Exploration {
  const { program: subject, watch, outcome, taskOf } = onKernel(program);
  const definition = forMachine(program);
  const seen = new Set<string>();
  let fault: string | null = null;
  const blame = (text: string): void => {
    fault ??= text;
  };
  const explorer = new Explorer(subject, {
    stepCountMax: 100,
    watches: [watch],
    executionCountMax: 10 * all.interleavings + 100,
    ...(program.isVisible ? { visibleMemory: new Set([MEMORY_NAME]) } : {}),
    onExecution({ kernel, schedule }) {
      const machine = new Machine(definition);
      for (const [at, task] of schedule.tasks.entries()) {
        const outcomeOfStep = (schedule.outcomes[at] ?? 0) & ~PAUSE;
        if (machine.take(taskOf(kernel, task), outcomeOfStep)) continue;
        blame(
          `the kernel takes a step that cannot be taken: step ${at} of ${schedule.tasks.join(' ')}`,
        );
        return true;
      }
      const key = machine.traceKey();
      const wanted = machine.outcome();
      const before = setRunning(kernel);
      const found = outcome(kernel);
      setRunning(before);
      if (!all.traces.has(key)) blame(`the kernel stopped too early, at ${key}: ${found}`);
      else if (found !== wanted)
        blame(`after ${key} the kernel has ${found}; by definition ${wanted}`);
      if (seen.has(key)) blame(`executed twice: ${key}, ${found}`);
      seen.add(key);
      return fault !== null;
    },
  });
  let executions = 0;
  let blocked = 0;
  try {
    ({ executions, blocked } = explorer.run());
  } catch (error) {
    blame(`the explorer gave up: ${error instanceof Error ? error.message : String(error)}`);
  }
  for (const [key, end] of all.traces) {
    if (!seen.has(key)) blame(`never executed: ${key}, ${end} (of ${all.traces.size} traces)`);
  }
  const { hasVaried, impossibleCount = 0 } = explorer as Partial<Watched>;
  // A handler that spins for ever on what the interrupted task holds still costs a run now and then.
  const isForeseen = hasVaried === false && program.handlers === 0;
  if (isForeseen && blocked > 0) blame(`abandoned without need: ${blocked} runs`);
  if (isForeseen && impossibleCount > 0) blame(`planned what cannot be taken`);
  return { fault, executions, blocked, isForeseen };
}

/** What is wrong with the program, or null; also null if it is no program or too large. */
export function faultOf(
  program: FuzzProgram,
  Explorer: ExplorerClass,
  interleavingCountMax: number,
): string | null {
  try {
    const all = enumerate(program, interleavingCountMax);
    return all === null ? null : explore(program, all, Explorer).fault;
  } catch (error) {
    if (error instanceof Misuse) return null;
    throw error;
  }
}
