/** `defineScenario`: a scenario that boots a whole machine. */
import type { Scenario, ScenarioDefinition } from '../check/scenario.ts';
import { bootMachine, type Machine } from '../mm/machine.ts';

/**
 * A scenario, for a file that `mmulab check` or the vitest matcher is given: `setup` boots nothing itself but gets
 * the machine, for each execution a new one, and returns the state that the tasks share.
 *
 *     export const scenario = defineScenario({
 *       name: 'gadget',
 *       variants: { mine: {} },
 *       setup: (machine) => machine.process(),
 *       tasks: { munmap: { *run(process) { yield* process.munmap(0x10000, PAGE_SIZE); } } },
 *     });
 */
export function defineScenario<S>(
  definition: ScenarioDefinition<Machine, S>,
): Scenario<Machine, S> {
  return { ...definition, boot: bootMachine };
}
