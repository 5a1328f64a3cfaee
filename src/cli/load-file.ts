/** Imports a user's file and finds the scenarios in it. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '../base/usage-error.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { findSyntaxError, type SourceError } from './loader-core.ts';
import { installLoader } from './loader.ts';
import { displayPath, modelPlace, resolvePlace } from './place.ts';
import { scenarioProblem } from './scenario-problem.ts';

const EXTENSION = /\.m?[tj]s$/;

/**
 * The scenarios that the file exports, in the order of their names.
 *
 * @throws UsageError MN103, MN104 or MN105
 */
export async function loadScenarios(path: string): Promise<readonly AnyScenario[]> {
  const file = resolve(path);
  if (!existsSync(file) || !statSync(file).isFile()) {
    throw new UsageError('MN103', `there is no file '${path}'`);
  }
  if (!EXTENSION.test(file)) {
    throw new UsageError('MN103', `'${path}' is no TypeScript module; expected a .ts file`);
  }
  const exported = await importFile(file);
  const scenarios = Object.values(exported).filter((value) => isScenario(value));
  if (scenarios.length === 0) {
    const names = Object.keys(exported);
    const found = names.length === 0 ? 'nothing' : `only ${names.join(', ')}`;
    throw new UsageError(
      'MN104',
      `no scenario is exported, ${found}. Write 'export const scenario = defineScenario({ … })'.`,
      displayPath(file),
    );
  }
  for (const scenario of scenarios) {
    const problem = scenarioProblem(scenario);
    if (problem !== null) throw new UsageError('MN105', problem, displayPath(file));
  }
  return [...new Set(scenarios)];
}

function isScenario(value: unknown): value is AnyScenario {
  return typeof value === 'object' && value !== null && 'boot' in value && 'name' in value;
}

async function importFile(file: string): Promise<object> {
  installLoader();
  try {
    return (await import(pathToFileURL(file).href)) as object;
  } catch (error) {
    throw importError(error, file);
  }
}

/** Tells what is wrong with a file in our words: with its place, and without our stack. */
function importError(error: unknown, file: string): UsageError {
  if (error instanceof UsageError) {
    return new UsageError(error.code, error.message, modelPlace(error.stack ?? ''));
  }
  // Hooks in a thread of their own hand over copies of what they throw.
  const { place: raw } = error as Partial<SourceError>;
  if (typeof raw === 'string') return sourceError((error as SourceError).message, raw);
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  if (error instanceof SyntaxError) {
    const found = /^(file:.*:\d+)$/m.exec(stack)?.[1];
    if (found !== undefined) return sourceError(error.message, found);
    const mistake = findSyntaxError(file);
    if (mistake !== null) return sourceError(mistake.message, mistake.place);
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_MODULE_NOT_FOUND') {
    const [, wanted = '', from = file] =
      /Cannot find \w+ '(.*?)' imported from (.*)$/.exec(message) ?? [];
    return new UsageError(
      'MN103',
      `it imports '${wanted}', which does not exist`,
      displayPath(from),
    );
  }
  const place = modelPlace(stack) ?? displayPath(file);
  return new UsageError('MN103', `the file threw ${String(error)} when it was loaded`, place);
}

function sourceError(message: string, raw: string): UsageError {
  const column = /:\d+(:\d+)$/.exec(raw)?.[1] ?? '';
  return new UsageError('MN103', message, `${resolvePlace(raw) ?? raw}${column}`);
}
