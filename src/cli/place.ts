/**
 * Places in source files, as people read them.
 *
 * V8 names places in what it runs: a user's stripped file, whose lines are those of the `.ts`, or a
 * compiled module of ours, whose map leads back to `src/`. Maps are read only for the few files that
 * occur in a report; switching Node's own source maps on would read all of them at every start.
 */
import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { PACKAGE_ROOT } from './resolve-import.ts';

const DIST = `${PACKAGE_ROOT}dist/`;
/** Folders of ours in which nobody looks for the mistake. */
const ENGINE = /^(?:base|kernel|check|trace|report|cli)\//;

const maps = new Map<string, SourceMap | null>();

function mapOf(url: string): SourceMap | null {
  let map = maps.get(url);
  if (map === undefined) {
    const path = `${fileURLToPath(url)}.map`;
    map = existsSync(path)
      ? new SourceMap(
          JSON.parse(readFileSync(path, 'utf8')) as ConstructorParameters<typeof SourceMap>[0],
        )
      : null;
    maps.set(url, map);
  }
  return map;
}

interface Location {
  readonly url: string;
  readonly line: number;
  readonly column: number;
}

/** Takes `file:///…:line:column` apart; test runners write `/…:line:column`. */
function parse(raw: string): Location | null {
  const match = /^(file:.*?|\/.*?|[A-Za-z]:[\\/].*?):(\d+)(?::(\d+))?$/.exec(raw);
  if (match === null) return null;
  const [, file = '', line, column = 1] = match;
  const url = file.startsWith('file:') ? file : pathToFileURL(file).href;
  return { url, line: Number(line), column: Number(column) };
}

/** `file:///…/dist/mm/exit.js:41:7` → `src/mm/exit.ts:38`; a user's → `driver.ts:12`; else null. */
export function resolvePlace(raw: string): string | null {
  const location = parse(raw);
  if (location === null) return null;
  const { url, line, column } = location;
  if (!url.startsWith(DIST)) return `${displayPath(fileURLToPath(url))}:${line}`;
  const entry = mapOf(url)?.findEntry(line - 1, column - 1);
  if (entry === undefined || !('originalLine' in entry)) return null;
  const file = url.slice(DIST.length).replace(/\.js$/, '.ts');
  return `src/${file}:${entry.originalLine + 1}`;
}

/** A path as the user would type it: relative to where the command was given, if that is below. */
export function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('../../..') ? path : short;
}

/** The raw places of a V8 stack, innermost first. */
export function placesOfStack(stack: string): string[] {
  const found: string[] = [];
  for (const line of stack.split('\n')) {
    const match = /[\s(]((?:file:\/\/|\/|[A-Za-z]:[\\/])[^()\s]+:\d+(?::\d+)?)\)?$/.exec(line);
    if (match !== null) found.push(match[1] as string);
  }
  return found;
}

/** Whether a raw place is code under test, rather than the engine, the checker or Node. */
export function isModelCode(raw: string): boolean {
  const url = parse(raw)?.url;
  if (url === undefined) return false;
  return !url.startsWith(DIST) || !ENGINE.test(url.slice(DIST.length));
}

/** Where in a user's own files a stack leads, as people read it, or null. */
export function userPlace(stack: string): string | null {
  const raw = placesOfStack(stack).find((place) => isUserCode(place));
  return raw === undefined ? null : resolvePlace(raw);
}

/** As {@link userPlace}, or else where in our drivers and scenarios it leads, or null. */
export function modelPlace(stack: string): string | null {
  const user = userPlace(stack);
  if (user !== null) return user;
  const raw = placesOfStack(stack).find((place) => isModelCode(place));
  return raw === undefined ? null : resolvePlace(raw);
}

/** Whether a raw place, or the address of a file, is of a user's own code. */
export function isUserCode(raw: string): boolean {
  const url = parse(raw)?.url ?? (raw.startsWith('file:') ? raw : undefined);
  return url !== undefined && !url.startsWith(DIST) && !url.includes('/node_modules/');
}
