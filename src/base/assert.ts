/**
 * The three grades of "this must not be", never mixed:
 *
 * - `assert` guards our own code. It fails only by a bug of mmulab (exit code 70).
 * - `UsageError` says that what a person handed us cannot be taken (exit code 2).
 * - A modelled `BUG_ON` or `WARN_ON` is neither: it is a finding, and lives in `kernel/`.
 */

/** A bug of mmulab itself. */
export class InternalError extends Error {
  override readonly name = 'InternalError';
}

/** Throws {@link InternalError} unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError(message);
}

/** Ends an exhaustive match: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new InternalError(`unexpected ${JSON.stringify(value)}`);
}
