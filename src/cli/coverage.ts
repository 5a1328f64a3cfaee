/**
 * Which lines of the code under test no execution ran, as V8 counts it: of a user's own files, and of our drivers.
 *
 * A line counts as run if any of it was. Lines of types, comments and lone brackets count as nothing.
 */
import { Session, type Profiler } from 'node:inspector';
import type { FileCoverage } from '../report/reporter.ts';
import { isUserCode, resolvePlace } from './place.ts';

const DRIVER = /\/dist\/drivers\/.*\.js$/;
/** Nothing of a line but brackets: they belong to what they close. */
const BRACKETS = /^[\s()[\]{};,]*$/;

const session = new Session();

/** Begins to count. V8 leaves out functions of modules that were loaded before. */
export function startCoverage(): void {
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
}

/** Functions that were called by the time at which all is loaded. */
const calledAtLoad = new Set<string>();

/** Call it when everything is loaded: a driver is used if something else of it is called from now on. */
export function noteLoaded(): void {
  session.post('Profiler.getBestEffortCoverage', (_error, { result }) => {
    for (const script of result) {
      for (const call of script.functions) {
        if (callsOf(call) > 0) calledAtLoad.add(nameOf(script, call));
      }
    }
  });
}

function nameOf({ url }: Profiler.ScriptCoverage, { ranges }: Profiler.FunctionCoverage): string {
  return `${url}:${ranges[0]?.startOffset}`;
}

function callsOf({ ranges }: Profiler.FunctionCoverage): number {
  return ranges[0]?.count ?? 0;
}

/** What was counted of the files that matter; the drivers among them that were used at all. Ends the counting. */
export function takeCoverage(): FileCoverage[] {
  let scripts: readonly Profiler.ScriptCoverage[] = [];
  session.post('Profiler.takePreciseCoverage', (_error, found) => {
    scripts = found.result;
  });
  // From here on sources can be asked for.
  session.post('Debugger.enable');
  const files = scripts.flatMap((script) => coverageOf(script) ?? []);
  session.disconnect();
  return files;
}

/** What V8 ran, which its offsets are of: of a user's file that is the text without types. */
function sourceOf({ scriptId }: Profiler.ScriptCoverage): string {
  let source = '';
  session.post('Debugger.getScriptSource', { scriptId }, (_error, found) => {
    source = found.scriptSource;
  });
  return source;
}

function coverageOf(script: Profiler.ScriptCoverage): FileCoverage | null {
  const { url, functions } = script;
  if (!url.startsWith('file:') || !(DRIVER.test(url) || isUserCode(url))) return null;
  const source = sourceOf(script);
  const inner = functions.filter(({ ranges }) => !isWhole(ranges, source.length));
  const isUsed = inner.some((call) => callsOf(call) > 0 && !calledAtLoad.has(nameOf(script, call)));
  if (DRIVER.test(url) && !isUsed) return null;
  return byLine(url, source, runMask(source.length, inner));
}

function isWhole(ranges: readonly Profiler.CoverageRange[], length: number): boolean {
  const [range] = ranges;
  return range !== undefined && range.startOffset === 0 && range.endOffset >= length;
}

/** For each character whether it was run: inner ranges come after those around them. */
function runMask(length: number, functions: readonly Profiler.FunctionCoverage[]): Uint8Array {
  const mask = new Uint8Array(length).fill(1);
  for (const { ranges } of functions) {
    for (const { startOffset, endOffset, count } of ranges) {
      mask.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    }
  }
  return mask;
}

function byLine(url: string, source: string, mask: Uint8Array): FileCoverage | null {
  const lines = new Map<number, boolean>();
  let path: string | null = null;
  let offset = 0;
  for (const [index, text] of source.split('\n').entries()) {
    const start = text.search(/\S/);
    if (start >= 0 && !BRACKETS.test(text) && !text.startsWith('//#')) {
      const place = resolvePlace(`${url}:${index + 1}:${start + 1}`);
      const at = place?.lastIndexOf(':') ?? -1;
      if (place !== null && at > 0) {
        path = place.slice(0, at);
        const line = Number(place.slice(at + 1));
        const wasRun = mask.subarray(offset + start, offset + text.trimEnd().length).includes(1);
        lines.set(line, wasRun || lines.get(line) === true);
      }
    }
    offset += text.length + 1;
  }
  if (path === null) return null;
  const all = [...lines].toSorted(([a], [b]) => a - b);
  return {
    path,
    run: all.flatMap(([line, wasRun]) => (wasRun ? [line] : [])),
    missed: all.flatMap(([line, wasRun]) => (wasRun ? [] : [line])),
  };
}

/** What several runs covered together. */
export function mergeCoverage(parts: readonly FileCoverage[]): FileCoverage[] {
  const files = new Map<string, { readonly run: Set<number>; readonly missed: Set<number> }>();
  for (const { path, run, missed } of parts) {
    const file = files.get(path) ?? { run: new Set<number>(), missed: new Set<number>() };
    files.set(path, file);
    for (const line of run) file.run.add(line);
    for (const line of missed) file.missed.add(line);
  }
  const sorted = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([path, { run, missed }]) => ({
    path,
    run: [...run].toSorted((a, b) => a - b),
    missed: [...missed].filter((line) => !run.has(line)).toSorted((a, b) => a - b),
  }));
}

/** `12, 15-18`. */
export function lineRanges(lines: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const line of lines) {
    const last = ranges.at(-1);
    if (last !== undefined && line === last[1] + 1) last[1] = line;
    else ranges.push([line, line]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

/** The lines that no execution ran, file by file. */
export function coverageText(files: readonly FileCoverage[]): string {
  const rows = files.map(({ path, run, missed }) =>
    missed.length === 0
      ? `  ${path}: all ${run.length} lines ran`
      : `  ${path}: of ${run.length + missed.length} lines not ${lineRanges(missed)}`,
  );
  if (rows.length === 0) return 'coverage: no file of yours and no driver was loaded\n';
  return `Lines that no execution ran:\n${rows.join('\n')}\n`;
}
