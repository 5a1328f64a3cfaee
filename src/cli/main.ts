#!/usr/bin/env node
/** The command `mmulab`: sets the exit code and never ends the process in the middle of a write. */
import { readFileSync } from 'node:fs';
import { EXIT_INTERNAL, EXIT_USAGE } from './exit-code.ts';
import { errorText, internalErrorText, isUsageError } from './error-text.ts';
import { handleFailedWrites, writeNote } from './output.ts';

handleFailedWrites();
try {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  const { runCommandLine } = await import('./command-line.ts');
  process.exitCode = await runCommandLine(process.argv.slice(2), version);
} catch (error) {
  if (isUsageError(error)) {
    writeNote(errorText(error));
    process.exitCode = EXIT_USAGE;
  } else {
    writeNote(internalErrorText(error));
    process.exitCode = EXIT_INTERNAL;
  }
}
