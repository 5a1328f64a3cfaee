/**
 * Scenarios: what is set up, which tasks then run side by side, what must be reached, and what each
 * variant of the code under test is expected to do.
 */
import { InternalError } from '../base/assert.ts';
import { UsageError } from '../base/usage-error.ts';
import type { FindingKind } from '../kernel/finding.ts';
import { NO_FAULTS, type Budget, type Kernel, type KernelOptions } from '../kernel/kernel.ts';
import { interruptBody } from '../kernel/interrupt.ts';
import { Oops } from '../kernel/oops.ts';
import type { Body } from '../kernel/operation.ts';
import { setRunning } from '../kernel/running.ts';
import type { TaskKind } from '../kernel/task.ts';
import type { Tracer, Watch } from '../kernel/watch.ts';
import type { Program } from './program.ts';

export type Verdict = 'violation' | 'clean' | 'bounded' | 'vacuous';

/** What a variant is expected to do. What is left out is not compared. */
export interface Expectation {
  readonly verdict: Verdict;
  readonly kind?: FindingKind;
  readonly object?: string;
  readonly invariant?: string;
}

export interface KnownViolation {
  /** Its name in the facts. */
  readonly name: string;
  readonly kind: FindingKind;
  /** Left out: any. */
  readonly object?: string;
}

/** One version of the code under test, and what is expected of it. */
export interface Variant {
  readonly expect?: Expectation;
  /**
   * Other violations that are known in this variant, by the names of the facts. One that says what it
   * looks like may be found beside the expected one; a mere name is for the reader.
   */
  readonly alsoKnown?: readonly (string | KnownViolation)[];
  /** One line for `list`. */
  readonly about?: string;
  /** As that of the scenario, for this variant. */
  readonly preemptions?: number;
}

export interface TaskDefinition<S> {
  /** The CPU it runs on; one of its own if left out. */
  readonly cpu?: number;
  /** `interrupt` for a handler that starts once, at any moment at which its CPU lets it. */
  readonly kind?: TaskKind;
  /** The code. Made once; everything that differs between executions is in the state. */
  run(state: S, variant: string): Body<unknown>;
}

/** A name given to `goal()`, or one that is reached when a kernel function is called. */
export type Goal = string | { readonly name: string; readonly calls: string };

export function goalName(goal: Goal): string {
  return typeof goal === 'string' ? goal : goal.name;
}

/** A scenario: what is set up, which tasks run side by side, and what is expected. See {@link defineScenario}. */
export interface ScenarioDefinition<K extends Kernel, S> {
  readonly name: string;
  /** What it stands for: patches, published bugs, candidates, by the names of the facts. */
  readonly models?: readonly string[];
  /** One or two lines for `list` and for reports. */
  readonly about?: string;
  readonly variants: Readonly<Record<string, Variant>>;
  /** How many faults of each kind one execution may suffer. */
  readonly faults?: Partial<Budget>;
  /** Explore only executions with at most so many preemptions; without it, all. */
  readonly preemptions?: number;
  /** Builds the state. Runs first in each execution, not interleaved. */
  setup(kernel: K, variant: string): S;
  readonly tasks: Readonly<Record<string, TaskDefinition<S>>>;
  /**
   * Groups of tasks that run the same code on the same state, by name: which one of them is which makes no
   * difference, so they are explored in one order of their beginnings only. The state must not tell them
   * apart either. Nothing is left out that another order would not show with other names.
   */
  readonly interchangeable?: readonly (readonly string[])[];
  /** Some execution must reach each, or a clean verdict means nothing. */
  readonly goals?: readonly Goal[];
  /** Runs after all tasks have ended, before the search for leaks; plain code or a generator. */
  finally?(state: S, variant: string): void | Body<unknown>;
}

/** A scenario with the kernel it boots. Made by `defineScenario`. */
export interface Scenario<K extends Kernel = never, S = never> extends ScenarioDefinition<K, S> {
  readonly boot: (options: KernelOptions) => K;
}

/** A scenario of which only the outside is known. */
export type AnyScenario = Scenario<Kernel, unknown>;

/** The program that an explorer runs to check one variant of a scenario. */
export function programOf<K extends Kernel, S>(scenario: Scenario<K, S>, variant: string): Program {
  const budget: Budget = { ...NO_FAULTS, ...scenario.faults };
  const tasks = Object.entries(scenario.tasks);
  const twins = scenario.interchangeable === undefined ? null : twinsOf(scenario.interchangeable);
  let state: S;
  // The kernel whose set-up came to its end: an oops in it leaves nothing to run tasks on.
  let ready: Kernel | null = null;
  return {
    start(watches: readonly Watch[], tracer: Tracer | null): Kernel {
      const kernel = scenario.boot({ budget, watches, tracer });
      for (const goal of scenario.goals ?? []) {
        if (typeof goal !== 'string') kernel.goalCalls.set(goal.calls, goal.name);
      }
      ready = null;
      inSetup(kernel, 'set-up', () => {
        state = scenario.setup(kernel, variant);
        ready = kernel;
      });
      if (ready === null) return kernel;
      kernel.roots.push(state);
      const before = setRunning(kernel);
      for (const [name, task] of tasks) {
        const run = (): Body<unknown> => task.run(state, variant);
        const body = task.kind === 'interrupt' ? (): Body<unknown> => interruptBody(run) : run;
        const made = kernel.spawn(name, task.kind ?? 'thread', task.cpu ?? null, body);
        const twin = twins?.get(name);
        if (twin !== undefined) made.twin = kernel.tasks.find((one) => one.name === twin) ?? null;
      }
      setRunning(before);
      return kernel;
    },
    finish(kernel: Kernel): void {
      if (scenario.finally === undefined || ready !== kernel || !kernel.isQuiet) return;
      inSetup(kernel, 'finally', () => {
        const body = scenario.finally?.(state, variant);
        if (body !== undefined) kernel.runNow(body);
      });
    },
  };
}

/** For each interchangeable task the one that begins before it. */
function twinsOf(groups: readonly (readonly string[])[]): Map<string, string> {
  const twins = new Map<string, string>();
  for (const group of groups) {
    for (let at = 1; at < group.length; at += 1) {
      twins.set(group[at] as string, group[at - 1] as string);
    }
  }
  return twins;
}

/**
 * Runs code of the scenario that belongs to no task. An oops ends it (the finding was reported);
 * anything else it throws is an error of the scenario.
 */
function inSetup(kernel: Kernel, what: string, code: () => void): void {
  const before = setRunning(kernel);
  try {
    code();
  } catch (error) {
    if (error instanceof UsageError || error instanceof InternalError) throw error;
    if (error instanceof Oops) {
      kernel.currentTask.isOopsed = true;
      return;
    }
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const wrapped = new UsageError('MN201', `${what} of the scenario threw ${text}`);
    wrapped.cause = error;
    throw wrapped;
  } finally {
    setRunning(before);
  }
}
