/** Imports a user's file and finds the scenarios in it. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '../base/usage-error.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { findSyntaxError, type SourceError } from './strip-types.ts';
import { installLoader } from './loader.ts';
import { suggestion } from './nearest.ts';
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
  const different = [...new Set(scenarios)];
  const names = different.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice === undefined) return different;
  throw new UsageError('MN105', `two scenarios are called '${twice}'`, displayPath(file));
}

function isScenario(value: unknown): value is AnyScenario {
  return typeof value === 'object' && value !== null && 'boot' in value && 'name' in value;
}

async function importFile(file: string): Promise<object> {
  installLoader();
  try {
    return (await import(pathToFileURL(file).href)) as object;
  } catch (error) {
    throw (await missingName(error)) ?? importError(error, file);
  }
}

const NO_EXPORT = /^The requested module 'mmulab' does not provide an export named '(.*)'$/;

/** An import of a name that we do not have: says which is nearest. */
async function missingName(error: unknown): Promise<UsageError | null> {
  if (!(error instanceof SyntaxError)) return null;
  const name = NO_EXPORT.exec(error.message)?.[1];
  const raw = decoratedPlace(error);
  if (name === undefined || raw === null) return null;
  const names = Object.keys(await import('../index.ts'));
  return sourceError(`'mmulab' exports no '${name}'.${suggestion(name, names)}`, raw);
}

/** `file:///…:line`, which Node puts above the stack of some errors. */
function decoratedPlace(error: Error): string | null {
  return /^(file:.*:\d+)$/m.exec(error.stack ?? '')?.[1] ?? null;
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
    const found = decoratedPlace(error);
    if (found !== null) return sourceError(error.message, found);
    const mistake = findSyntaxError(file);
    if (mistake !== null) return sourceError(mistake.message, mistake.place);
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_MODULE_NOT_FOUND') {
    const [, wanted = '', from = file] =
      /Cannot find \w+ '(.*?)' imported from (.*)$/.exec(message) ?? [];
    return new UsageError(
      'MN103',
      `it imports '${displayPath(wanted)}', which does not exist`,
      `${displayPath(from)}${importLine(from, wanted)}`,
    );
  }
  const place = modelPlace(stack) ?? displayPath(file);
  return new UsageError('MN103', `the file threw ${String(error)} when it was loaded`, place);
}

/** `:3`, the line of `from` that imports `wanted`, or nothing. */
function importLine(from: string, wanted: string): string {
  if (!existsSync(from)) return '';
  const name = basename(wanted);
  const lines = readFileSync(from, 'utf8').split('\n');
  const at = lines.findIndex((line) => /\b(?:from|import)\b/.test(line) && line.includes(name));
  return at < 0 ? '' : `:${at + 1}`;
}

function sourceError(message: string, raw: string): UsageError {
  const column = /:\d+(:\d+)$/.exec(raw)?.[1] ?? '';
  return new UsageError('MN103', message, `${resolvePlace(raw) ?? raw}${column}`);
}
