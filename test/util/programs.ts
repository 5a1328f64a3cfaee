/** Short ways to write the small programs that tests explore. */
import type { Program } from '../../src/check/program.ts';
import { programOf, type TaskDefinition } from '../../src/check/scenario.ts';
import { Kernel, type Budget } from '../../src/kernel/kernel.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { struct, type Fields, type Instance } from '../../src/kernel/struct.ts';

export interface SmallOptions<S = unknown> {
  /** The CPU of each task, by name; one of its own if left out. */
  readonly cpus?: Readonly<Record<string, number>>;
  readonly faults?: Partial<Budget>;
  /** Runs first, on the new struct. */
  readonly setup?: (s: S) => void;
}

type Tasks<S> = Readonly<Record<string, (s: S) => Body<unknown>>>;

/** A program of tasks that share one static struct with the given fields. */
export function small<const F extends Fields>(
  fields: F,
  tasks: Tasks<Instance<F>>,
  options: SmallOptions<Instance<F>> = {},
): Program {
  const type = struct('s', fields);
  const definitions: Record<string, TaskDefinition<Instance<F>>> = {};
  for (const [name, run] of Object.entries(tasks)) {
    const cpu = options.cpus?.[name];
    definitions[name] = cpu === undefined ? { run } : { run, cpu };
  }
  return programOf(
    {
      name: 'small',
      variants: { v: {} },
      faults: options.faults ?? {},
      boot: (boot) => new Kernel(boot),
      setup(kernel: Kernel) {
        const s = allocateStatic(kernel, type);
        options.setup?.(s);
        return s;
      },
      tasks: definitions,
    },
    'v',
  );
}

/** `count` tasks, `t0` and so on, that all run `body`. */
export function same<S>(count: number, body: (s: S) => Body<unknown>): Tasks<S> {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`t${at}`, body]));
}
