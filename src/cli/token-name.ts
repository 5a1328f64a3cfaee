/** How tokens name a scenario. */
import { decodeToken } from '../trace/token.ts';

/** `file:drivers/gru.ts#gru-open`. */
export const IN_FILE = /^file:(.*)#(.*)$/s;

/** The name in a token; `file` is null for a scenario of the catalogue. */
export function tokenScenario(name: string, file: string | null): string {
  return file === null ? name : `file:${file}#${name}`;
}

/** Whether a token is for a scenario in a file; false if it is none. */
export function isOfFile(token: string): boolean {
  try {
    return IN_FILE.test(decodeToken(token).scenario);
  } catch {
    return false;
  }
}
