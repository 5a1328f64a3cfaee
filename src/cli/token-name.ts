/** How tokens name a scenario, and the tokens that the command prints. */
import type { Program, Schedule } from '../check/program.ts';
import { withMarks } from '../check/step-marks.ts';
import { decodeToken, encodeToken } from '../trace/token.ts';
import { VERSION } from './version.ts';

/** `file:drivers/gru.ts#gru-open`. */
export const IN_FILE = /^file:(.*)#(.*)$/s;

/** The name in a token; `file` is null for a scenario of the catalogue. */
export function tokenScenario(name: string, file: string | null): string {
  return file === null ? name : `file:${file}#${name}`;
}

/** The token of a schedule, which `program` is run along once more; `scenario` as in {@link tokenScenario}. */
export function writeToken(
  program: Program,
  schedule: Schedule,
  { scenario, variant }: { readonly scenario: string; readonly variant: string },
): string {
  const marked = withMarks(program, schedule);
  return encodeToken({ version: VERSION, scenario, variant, schedule: marked });
}

/** Whether a token is for a scenario in a file; false if it is none. */
export function isOfFile(token: string): boolean {
  try {
    return IN_FILE.test(decodeToken(token).scenario);
  } catch {
    return false;
  }
}
