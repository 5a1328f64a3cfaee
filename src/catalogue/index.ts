/**
 * The catalogue: every scenario that mmulab ships, by name.
 *
 * The acceptance programs exist for many sizes; the list holds those that are quick to check, and
 * `findScenario` makes the others.
 */
import type { AnyScenario, Scenario } from '../check/scenario.ts';
import type { Machine } from '../mm/machine.ts';
import { CORE_SCENARIOS } from './core/index.ts';
import { AMDGPU_SCENARIOS } from './drivers/amdgpu.ts';
import { AMDKFD_SCENARIOS } from './drivers/amdkfd.ts';
import { GNTDEV } from './drivers/gntdev.ts';
import { HFI1 } from './drivers/hfi1.ts';
import { HMM_SCENARIOS } from './drivers/hmm.ts';
import { I915 } from './drivers/i915.ts';
import { KVM } from './drivers/kvm.ts';
import { amdgpuPairs, nouveauPairs } from './drivers/mirror-pairs.ts';
import { NOUVEAU_SCENARIOS } from './drivers/nouveau.ts';
import { RADEON_SCENARIOS } from './drivers/radeon.ts';
import { RDMA_ODP_SCENARIOS } from './drivers/rdma-odp.ts';
import { GRU_SCENARIOS } from './drivers/sgi-gru.ts';
import { VHOST } from './drivers/vhost.ts';
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

/** The scenarios that are no acceptance programs. */
export const DRIVER_SCENARIOS: readonly AnyScenario[] = [
  hidden(kfdUnregister),
  hidden(lockedRegister),
  hidden(speculativeAllocation),
  hidden(lastPut),
  hidden(unload),
  ...CORE_SCENARIOS,
  ...AMDKFD_SCENARIOS.map(hidden),
  ...RADEON_SCENARIOS.map(hidden),
  ...HMM_SCENARIOS.map(hidden),
  ...NOUVEAU_SCENARIOS.map(hidden),
  hidden(nouveauPairs),
  ...AMDGPU_SCENARIOS.map(hidden),
  hidden(amdgpuPairs),
  ...GRU_SCENARIOS.map(hidden),
  ...RDMA_ODP_SCENARIOS.map(hidden),
  ...KVM.scenarios.map(hidden),
  ...I915.scenarios.map(hidden),
  ...VHOST.scenarios.map(hidden),
  ...GNTDEV.scenarios.map(hidden),
  ...HFI1.scenarios.map(hidden),
];

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
