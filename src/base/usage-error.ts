/**
 * Errors in what a person handed us: a scenario, a driver file, a token, a command line.
 *
 * A message says what was received, what was expected and what to try. `code` is stable and is
 * listed in docs/errors.md; `place` is `file:line` where one is known.
 */
export const ERROR_CODES = {
  MN101: 'unknown scenario',
  MN102: 'unknown variant',
  MN103: 'a file cannot be read or parsed',
  MN104: 'a file exports no scenario',
  MN105: 'a scenario definition is malformed',
  MN201: 'an exception was thrown inside a task',
  MN202: 'an operation or call was made but never yielded',
  MN203: 'something other than an operation or call was yielded',
  MN204: 'replaying the same schedule took another course',
  MN205: 'an execution did not end',
  MN206: 'no operation was reached for too long',
  MN207: 'too many tasks',
  MN208: 'set-up would block',
  MN209: 'a kernel call was misused',
  MN210: 'a direct call can never go on',
  MN211: 'a direct call ended in an oops',
  MN301: 'a token cannot be decoded',
  MN302: 'a token has a format that this version does not know, or belongs to another scenario',
  MN303: 'a saved search does not fit',
  MN304: 'a file of a saved search cannot be used',
  MN401: 'a file exists already',
  MN402: 'a name cannot be used',
  MN501: 'a recording is refused',
  MN601: 'a claim cannot be read',
} as const;

/** `MN101`, …: docs/errors.md explains each. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** What was given to mmulab is wrong: its `code` says what, and its message where. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code: ErrorCode;
  /** `file:line` of the mistake, or null where none is known. */
  readonly place: string | null;

  constructor(code: ErrorCode, message: string, place: string | null = null) {
    super(message);
    this.code = code;
    this.place = place;
  }
}
