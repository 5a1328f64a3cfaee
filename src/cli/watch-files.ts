/** `--watch`: does a thing again whenever one of the files, or what they import, changes. */
import { existsSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { UsageError } from '../base/usage-error.ts';
import { EXIT_SIGINT } from './exit-code.ts';
import { importedFiles } from './resolve-import.ts';
import { writeNote } from './output.ts';

/** Editors write a file in several steps. */
const SETTLE_MS = 100;

/**
 * Runs `action` now and after each change, until interrupted. A change in the middle of an action
 * aborts it. Returns the exit code for the interruption.
 */
export async function watchFiles(
  files: readonly string[],
  action: (signal: AbortSignal) => Promise<unknown>,
): Promise<number> {
  const interrupted = new Promise<null>((done) => {
    process.once('SIGINT', () => done(null));
  });
  for (const file of files) {
    if (!existsSync(file)) throw new UsageError('MN103', `there is no file '${file}'`);
  }
  for (;;) {
    const abort = new AbortController();
    const change = nextChange(files);
    const run = action(abort.signal).then(() => {
      if (!abort.signal.aborted) writeNote('mmulab: waiting for a change (Ctrl-C ends)');
    });
    const changed = await Promise.race([change.promise, interrupted]);
    change.stop();
    abort.abort();
    await run;
    if (changed === null) return EXIT_SIGINT;
    writeNote(`mmulab: ${changed} changed`);
  }
}

interface Change {
  /** The name of the file that changed. */
  readonly promise: Promise<string>;
  stop(): void;
}

/** Folders are watched and not files: most editors replace a file by a new one. */
function nextChange(files: readonly string[]): Change {
  const wanted = new Set(files.flatMap((file) => importedFiles(resolve(file))));
  const watchers: FSWatcher[] = [];
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<string>((done) => {
    for (const folder of new Set([...wanted].map((file) => dirname(file)))) {
      watchers.push(
        watch(folder, (_event, name) => {
          if (name === null || !wanted.has(resolve(folder, name))) return;
          clearTimeout(timer);
          timer = setTimeout(() => done(basename(name)), SETTLE_MS);
        }),
      );
    }
  });
  return {
    promise,
    stop() {
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}
