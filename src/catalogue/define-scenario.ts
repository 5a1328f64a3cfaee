/** `defineScenario`: a scenario that boots a whole machine. */
import type { Scenario, ScenarioDefinition } from '../check/scenario.ts';
import { bootMachine, type Machine } from '../mm/machine.ts';

export function defineScenario<S>(
  definition: ScenarioDefinition<Machine, S>,
): Scenario<Machine, S> {
  return { ...definition, boot: bootMachine };
}
