/** A driver as programs use it: every execution of a few tasks, in none of which anything may be found. */
import { expect } from 'vitest';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { programOf, type TaskDefinition } from '../../src/check/scenario.ts';
import type { Budget } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import type { Machine } from '../../src/mm/machine.ts';

/** What is used, and how. */
export interface Use<S> {
  readonly setup: (machine: Machine) => S;
  readonly tasks: Readonly<Record<string, (state: S) => Body<unknown>>>;
  readonly finally?: (state: S) => Body<unknown>;
  readonly faults?: Partial<Budget>;
}

/** Explores all executions; returns how many there were. Nothing must be found in any of them. */
export function exploreUse<S>({ setup, tasks, finally: last, faults = {} }: Use<S>): number {
  const definitions = Object.entries(tasks).map(
    ([name, run]) => [name, { run }] as const satisfies readonly [string, TaskDefinition<S>],
  );
  const scenario = defineScenario<S>({
    name: 'use',
    variants: { v: {} },
    faults,
    setup: (machine) => setup(machine),
    tasks: Object.fromEntries(definitions),
    ...(last === undefined ? {} : { finally: last }),
  });
  const messages = new Set<string>();
  const result = new OptimalDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { message } of kernel.findings) messages.add(message);
      return false;
    },
  }).run();
  expect([...messages]).toEqual([]);
  expect(result.isComplete).toBe(true);
  return result.executions;
}
