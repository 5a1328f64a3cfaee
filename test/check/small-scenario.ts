/** Scenarios of a few lines, for tests of detectors and of the runner. */
import { checkVariant } from '../../src/check/check-variant.ts';
import type { VariantResult } from '../../src/check/result.ts';
import type { Goal, Scenario, Variant } from '../../src/check/scenario.ts';
import { Kernel, type Budget } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct, type Fields, type Instance } from '../../src/kernel/struct.ts';

export type Run<F extends Fields> = (s: Instance<F>, variant: string) => Body<unknown>;

export interface Extras<F extends Fields> {
  readonly variants?: Readonly<Record<string, Variant>>;
  readonly goals?: readonly Goal[];
  readonly faults?: Partial<Budget>;
  readonly cpus?: Readonly<Record<string, number>>;
  readonly setup?: (kernel: Kernel, s: Instance<F>) => void;
  readonly finally?: (s: Instance<F>, variant: string) => void | Body<unknown>;
}

/** Tasks that share one static struct with the given fields, named `s`. */
export function scenarioOf<const F extends Fields>(
  fields: F,
  tasks: Readonly<Record<string, Run<F>>>,
  extras: Extras<F> = {},
): Scenario<Kernel, Instance<F>> {
  const type = struct('s', fields);
  return {
    name: 'small',
    variants: extras.variants ?? { v: {} },
    goals: extras.goals ?? [],
    faults: extras.faults ?? {},
    boot: (options) => new Kernel(options),
    setup(kernel) {
      const s = allocateStatic(kernel, type);
      extras.setup?.(kernel, s);
      return s;
    },
    tasks: Object.fromEntries(
      Object.entries(tasks).map(([name, run]) => {
        const cpu = extras.cpus?.[name];
        return [name, cpu === undefined ? { run } : { run, cpu }];
      }),
    ),
    ...(extras.finally === undefined ? {} : { finally: extras.finally }),
  };
}

/** Checks the variant `v` of such a scenario. */
export function check<const F extends Fields>(
  fields: F,
  tasks: Readonly<Record<string, Run<F>>>,
  extras: Extras<F> = {},
): VariantResult {
  return checkVariant(scenarioOf(fields, tasks, extras), 'v');
}

/** The violations as `kind object`. */
export function violationsOf(result: VariantResult): string[] {
  return result.violations.map(({ kind, object }) => `${kind} ${object}`);
}

/** The messages of the violations. */
export function messagesOf(result: VariantResult): string[] {
  return result.violations.map(({ message }) => message);
}
