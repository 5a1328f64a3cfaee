/**
 * The catalogue: every scenario that mmulab ships, by name.
 *
 * The acceptance programs exist for many sizes; the list holds those that are quick to check, and
 * `findScenario` makes the others.
 */
import type { AnyScenario, Scenario } from '../check/scenario.ts';
import type { Machine } from '../mm/machine.ts';
import { CONSUMERS } from './consumers.ts';
import { CORE_SCENARIOS } from './core/index.ts';
import { findProgram, PROGRAMS } from './program/index.ts';
import { kfdUnregister } from './series/kfd-unregister.ts';
import { lastPut } from './series/last-put.ts';
import { lockedRegister } from './series/locked-register.ts';
import { speculativeAllocation } from './series/speculative-allocation.ts';
import { unload } from './series/unload.ts';

/** Programs with more traces than this are made on demand and are not part of `check --all`. */
const LISTED_TRACE_COUNT_MAX = 600;

export { PROGRAMS, type ProgramFamily } from './program/index.ts';

/** A scenario whose state only its own file knows. */
function hidden<S>(scenario: Scenario<Machine, S>): AnyScenario {
  return scenario as unknown as AnyScenario;
}

/** Each once: the first of amdkfd's is the series' own, and a scenario of two consumers belongs to both. */
function distinct(scenarios: readonly AnyScenario[]): AnyScenario[] {
  return [...new Set(scenarios)];
}

/** The scenarios that are no acceptance programs. */
export const DRIVER_SCENARIOS: readonly AnyScenario[] = distinct([
  hidden(kfdUnregister),
  hidden(lockedRegister),
  hidden(speculativeAllocation),
  hidden(lastPut),
  hidden(unload),
  ...CORE_SCENARIOS,
  ...CONSUMERS.flatMap(({ scenarios }) => scenarios),
]);

function listedPrograms(): AnyScenario[] {
  return PROGRAMS.flatMap((family) =>
    Object.entries(family.traces)
      .filter(([, traces]) => traces <= LISTED_TRACE_COUNT_MAX)
      .map(([count]) => family.make(Number(count))),
  );
}

/** What `list` shows and `check --all` checks, in that order. */
export const SCENARIOS: readonly AnyScenario[] = [...DRIVER_SCENARIOS, ...listedPrograms()];

/**
 * The scenario of that name, or null.
 *
 * @throws UsageError MN101 for an acceptance program of a size that does not exist.
 */
export function findScenario(name: string): AnyScenario | null {
  return SCENARIOS.find((scenario) => scenario.name === name) ?? findProgram(name);
}
