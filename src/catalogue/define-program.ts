/**
 * Acceptance programs: the small programs on which an explorer is measured. Each has a known number
 * of Mazurkiewicz traces, and an optimal explorer executes exactly that many.
 *
 * They need no mm and no drivers: they boot the bare kernel. Their results are kept in plain fields,
 * which only their own task writes and which are judged after all tasks have ended.
 */
import type {
  Expectation,
  Scenario,
  ScenarioDefinition,
  TaskDefinition,
} from '../check/scenario.ts';
import { Kernel } from '../kernel/kernel.ts';
import type { Body } from '../kernel/operation.ts';
import { allocateStatic } from '../kernel/slab.ts';
import type { Fields, Instance, StructType } from '../kernel/struct.ts';

/** The one variant that a program has. */
export const PROGRAM_VARIANT = 'sc';

interface ProgramDefinition<F extends Fields> extends Pick<
  ScenarioDefinition<Kernel, Instance<F>>,
  'name' | 'about' | 'tasks' | 'goals' | 'finally'
> {
  /** What the tasks share; it is there from the beginning. */
  readonly state: StructType<F>;
  /** Clean if left out. */
  readonly expect?: Expectation;
  /** Sets what does not begin as the struct says. */
  readonly prepare?: (state: Instance<F>) => void;
}

/** A scenario of tasks that share one struct, on the bare kernel. */
export function defineProgram<F extends Fields>(
  definition: ProgramDefinition<F>,
): Scenario<Kernel, Instance<F>> {
  const { state: type, expect, prepare, ...rest } = definition;
  return {
    ...rest,
    models: ['acceptance'],
    variants: { [PROGRAM_VARIANT]: { expect: expect ?? { verdict: 'clean' } } },
    boot: (options) => new Kernel(options),
    setup(kernel) {
      const state = allocateStatic(kernel, type);
      prepare?.(state);
      return state;
    },
  };
}

/** `count` tasks named `<prefix>0`, `<prefix>1`, …, each with the body that `bodyOf` gives it once. */
export function tasksOf<S>(
  count: number,
  prefix: string,
  bodyOf: (index: number) => (state: S) => Body<unknown>,
): Record<string, TaskDefinition<S>> {
  const tasks: Record<string, TaskDefinition<S>> = {};
  for (let index = 0; index < count; index += 1)
    tasks[`${prefix}${index}`] = { run: bodyOf(index) };
  return tasks;
}
