/** `mmulab claim`: whether an interleaving that somebody claims can be. */
import { readFileSync, statSync } from 'node:fs';
import { CLAIM_BYTES_MAX } from '../../base/limits.ts';
import { UsageError } from '../../base/usage-error.ts';
import { errorText } from '../error-text.ts';
import { EXIT_USAGE } from '../exit-code.ts';
import type { Invocation } from '../commands.ts';
import { columns, hasColor, writeNote, writeResult } from '../output.ts';
import { runInWorker } from '../supervise.ts';

interface ClaimOptions {
  readonly scenario?: string;
  readonly variant?: string;
  readonly file?: string;
  readonly json?: boolean;
  readonly maxExecutions?: number;
  readonly timeout?: number;
  readonly progress?: boolean;
}

const STDIN = 0;

export async function claim({ args, options: given }: Invocation): Promise<number> {
  const options = given as ClaimOptions;
  const isJson = options.json === true;
  let source: string;
  try {
    source = readClaim(args[0] ?? '-');
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    writeNote(errorText(error));
    if (isJson) writeResult(JSON.stringify({ schemaVersion: 1, errors: [plain(error)] }, null, 2));
    return EXIT_USAGE;
  }
  const outcome = await runInWorker(
    {
      kind: 'claim',
      source,
      scenario: options.scenario ?? null,
      variant: options.variant ?? null,
      file: options.file ?? null,
      executionCountMax: options.maxExecutions ?? null,
      secondsMax: options.timeout ?? null,
      view: {
        isJson,
        hasColor: !isJson && hasColor(process.stdout),
        columns: columns(options.file !== undefined),
        isBrief: false,
      },
    },
    writeResult,
    { showsProgress: options.progress === true },
  );
  if (isJson) {
    const [document = { schemaVersion: 1, errors: outcome.failures }] = outcome.documents;
    writeResult(JSON.stringify(document, null, 2));
  }
  return outcome.exitCode;
}

function plain({ code, message, place }: UsageError): object {
  return { code, message, place };
}

/**
 * The text of a claim.
 *
 * @param path `-` for standard input.
 */
function readClaim(path: string): string {
  let bytes: Buffer;
  try {
    if (path !== '-') {
      const found = statSync(path);
      if (!found.isFile()) throw refused(`'${path}' is no file`);
      if (found.size > CLAIM_BYTES_MAX) throw tooLong(found.size);
    }
    bytes = readFileSync(path === '-' ? STDIN : path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? `there is no file '${path}'` : String(error);
    throw refused(what);
  }
  if (bytes.length > CLAIM_BYTES_MAX) throw tooLong(bytes.length);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refused('it is no UTF-8 text');
  }
}

function tooLong(length: number): UsageError {
  return refused(`it is ${length} bytes long, the limit is ${CLAIM_BYTES_MAX}`);
}

function refused(reason: string): UsageError {
  return new UsageError('MN601', `the claim cannot be read: ${reason}`);
}
