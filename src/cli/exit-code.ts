/** What the process ends with. A part of the public interface; `--help` prints the table. */
import type { VariantResult } from '../check/result.ts';

export const EXIT_OK = 0;
export const EXIT_FINDING = 1;
export const EXIT_USAGE = 2;
export const EXIT_LIMIT = 3;
export const EXIT_INTERNAL = 70;
export const EXIT_OUTPUT = 74;
export const EXIT_SIGINT = 130;
export const EXIT_SIGTERM = 143;

export const EXIT_CODE_TABLE = `Exit codes:
  0    every variant did what it is expected to; where nothing is expected, nothing was found
  1    something else was found
  2    the command line, a file or a token cannot be used
  3    a limit that nobody asked for ended the search, and nothing was found until then
  70   mmulab itself failed
  74   the result could not be written
  130  interrupted (SIGINT, Ctrl-C); what was found until then is printed
  143  terminated (SIGTERM); likewise
  Of a claim: 0 reachable, 1 not reachable, 2 ambiguous or not to be read, 3 undecided`;

/** From what matters most to what matters least, when several things are checked. */
const PRECEDENCE = [
  EXIT_SIGINT,
  EXIT_SIGTERM,
  EXIT_INTERNAL,
  EXIT_OUTPUT,
  EXIT_USAGE,
  EXIT_FINDING,
  EXIT_LIMIT,
  EXIT_OK,
];

/** The exit code of several things together. */
export function worstExitCode(codes: readonly number[]): number {
  return PRECEDENCE.find((code) => codes.includes(code)) ?? EXIT_OK;
}

/** The exit code that one result stands for. */
export function exitCodeOf(result: VariantResult): number {
  const { bound, expected, violations } = result;
  if (bound !== null && violations.length === 0) {
    if (!bound.isRequested) return EXIT_LIMIT;
    // What is expected may be in another part.
    if (bound.kind === 'shard') return EXIT_OK;
    // A bound that was asked for is no finding; what had to be found was not.
    return expected?.verdict === 'violation' ? EXIT_FINDING : EXIT_OK;
  }
  return result.asExpected ? EXIT_OK : EXIT_FINDING;
}
