/** From a token to what it stands for: a scenario, a variant and a schedule. */
import { UsageError } from '../base/usage-error.ts';
import type { Schedule } from '../check/program.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { decodeToken } from '../trace/token.ts';
import { findNamedScenario, findVariant } from './find-scenario.ts';
import { suggestion } from './nearest.ts';
import { displayPath } from './place.ts';
import { IN_FILE } from './token-name.ts';

export interface Opened {
  readonly scenario: AnyScenario;
  readonly variant: string;
  readonly schedule: Schedule;
  /** The version of mmulab that wrote the token. */
  readonly version: string;
  /** Where the scenario is defined, or null for one of the catalogue. */
  readonly file: string | null;
}

/**
 * Opens a token.
 *
 * @param file where the scenario is defined, if not where the token says
 * @throws UsageError MN301 or MN302; what loading a file throws
 */
export async function openToken(token: string, file: string | null): Promise<Opened> {
  const content = decodeToken(token);
  const [, tokenFile = null, name = content.scenario] = IN_FILE.exec(content.scenario) ?? [];
  const path = file ?? tokenFile;
  const scenario = path === null ? await named(name) : await inFile(path, name);
  if (!Object.hasOwn(scenario.variants, content.variant)) {
    throw new UsageError(
      'MN302',
      `the token is for variant '${content.variant}' of scenario '${name}', which has no such ` +
        `variant now. Check it again to get a new token.`,
    );
  }
  const variant = findVariant(scenario, content.variant);
  const shown = path === null ? null : displayPath(path);
  return { scenario, variant, schedule: content.schedule, version: content.version, file: shown };
}

async function named(name: string): Promise<AnyScenario> {
  try {
    return await findNamedScenario(name);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError('MN302', `the token is for another scenario: ${error.message}`);
  }
}

async function inFile(path: string, name: string): Promise<AnyScenario> {
  const { loadScenarios } = await import('./load-file.ts');
  const scenarios = await loadScenarios(path);
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  const names = scenarios.map((scenario) => scenario.name);
  throw new UsageError(
    'MN302',
    `the token is for scenario '${name}', which '${path}' does not export.${suggestion(name, names)}`,
  );
}
