/** `mmulab conform`: plays recordings of a real kernel against the mm. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { UsageError } from '../../base/usage-error.ts';
import { agreesFully } from '../../conform/compare.ts';
import { playRecording, Summary, type RecordingResult } from '../../conform/conform.ts';
import { parseRecording } from '../../conform/parse.ts';
import { differenceText, summaryJson, summaryText } from '../../conform/text.ts';
import type { Invocation } from '../commands.ts';
import { errorText } from '../error-text.ts';
import { EXIT_FINDING, EXIT_OK, EXIT_USAGE } from '../exit-code.ts';
import { ProgressLine, writeNote, writeResult } from '../output.ts';

const EXTENSION = '.jsonl';

export async function conform({ args, options }: Invocation): Promise<number> {
  const paths = new Set<string>();
  for (const arg of args) for (const path of recordingsIn(arg)) paths.add(path);
  const progress = new ProgressLine();
  if (!areWhole(paths, progress)) return EXIT_USAGE;
  const isJson = options['json'] === true;
  const summary = new Summary();
  const differing: RecordingResult[] = [];
  let count = 0;
  for (const path of paths) {
    progress.show(`${count} of ${paths.size} recordings: ${path}`);
    const result = playRecording(parseRecording(path, read(path)));
    summary.add(result);
    if (result.difference !== null) differing.push(result);
    count += 1;
    // So that an interruption gets through, and the progress out.
    await new Promise(setImmediate);
  }
  progress.clear();
  if (isJson) {
    writeResult(summaryJson(summary));
  } else {
    for (const result of differing) writeResult(`${differenceText(result)}\n`);
    writeResult(summaryText(summary));
  }
  return agreesFully(summary.total) ? EXIT_OK : EXIT_FINDING;
}

/** The recordings that a file or folder stands for. */
function recordingsIn(path: string): string[] {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new UsageError('MN103', `there is no file or folder '${path}'`);
  if (!stats.isDirectory()) return [normalize(path)];
  const found = readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(EXTENSION))
    .toSorted()
    .map((name) => join(path, name));
  if (found.length === 0) {
    throw new UsageError('MN501', `there is no recording (*${EXTENSION}) in the folder '${path}'`);
  }
  return found;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError('MN103', `cannot read '${path}': ${(error as Error).message}`);
  }
}

/** Before anything is played: whether all are whole. Says of each that is not what is wrong. */
function areWhole(paths: ReadonlySet<string>, progress: ProgressLine): boolean {
  let areAll = true;
  for (const path of paths) {
    progress.show(`reading ${path}`);
    try {
      parseRecording(path, read(path));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      progress.clear();
      writeNote(errorText(error));
      areAll = false;
    }
  }
  progress.clear();
  return areAll;
}
