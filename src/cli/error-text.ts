/** How errors are told: what is wrong with the input, or that it is our fault. */
import { UsageError } from '../base/usage-error.ts';

/** A {@link UsageError} as plain data, as it comes out of a worker. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly place: string | null;
}

export function isUsageError(error: unknown): error is UsageError {
  return error instanceof UsageError;
}

/** `driver.ts:12: task 'open' threw Error: no (MN201)`. */
export function errorText({ code, message, place }: Failure): string {
  const where = place === null ? 'mmulab' : place;
  return `${where}: ${message} (${code})`;
}

/** For bugs of our own: what to report, and that it is not the user's mistake. */
export function internalErrorText(error: unknown): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [
    'mmulab: internal error. This is a bug of mmulab and not of your code; please report it with',
    'the command line and the following:',
    text,
  ].join('\n');
}
