/** The acceptance programs that are measured. */
import { findProgram } from '../src/catalogue/program/index.ts';
import type { AnyScenario } from '../src/check/scenario.ts';

/** By family and number, as `mmulab check program/lockinc-9` names them. */
export const MEASURED = [
  'lockinc-7',
  'lockinc-8',
  'lockinc-9',
  'lastzero-10',
  'readers-13',
  'refcount-4',
  'indexer-12',
  'indexer-15',
] as const;

/** The acceptance program of that name, without `program/`. */
export function programNamed(name: string): AnyScenario {
  const scenario = findProgram(`program/${name}`);
  if (scenario === null) throw new Error(`there is no program/${name}`);
  return scenario;
}

export function measured(match: string | null): readonly string[] {
  return MEASURED.filter((name) => match === null || name.includes(match));
}
