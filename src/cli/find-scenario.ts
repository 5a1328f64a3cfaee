/** Finds what a name on the command line means, or says which name is nearest. */
import { findProgram } from '../catalogue/program/index.ts';
import { UsageError } from '../base/usage-error.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { suggestion } from './nearest.ts';

/**
 * A scenario of the catalogue. Most of it is loaded only if the name is not that of an acceptance program:
 * that takes longer than many searches.
 *
 * @throws UsageError MN101
 */
export async function findNamedScenario(name: string): Promise<AnyScenario> {
  const program = findProgram(name);
  if (program !== null) return program;
  const { findScenario, SCENARIOS } = await import('../catalogue/index.ts');
  const found = findScenario(name);
  if (found !== null) return found;
  const names = SCENARIOS.map((scenario) => scenario.name);
  throw new UsageError(
    'MN101',
    `there is no scenario '${name}'.${suggestion(name, names)} 'mmulab list' shows all; a file is ` +
      `written with its extension, like ./${name}.ts.`,
  );
}

/**
 * The name of a variant that the scenario has.
 *
 * @throws UsageError MN102
 */
export function findVariant(scenario: AnyScenario, name: string): string {
  if (Object.hasOwn(scenario.variants, name)) return name;
  const names = Object.keys(scenario.variants);
  throw new UsageError(
    'MN102',
    `scenario '${scenario.name}' has no variant '${name}'.${suggestion(name, names)} It has ` +
      `${names.join(', ')}.`,
  );
}
