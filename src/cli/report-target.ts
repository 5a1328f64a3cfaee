/** What follows `--reporter`. */
import { REPORTER_NAMES, type ReporterName } from '../report/reporter-name.ts';
import { suggestion } from './nearest.ts';

export interface ReportTarget {
  readonly name: ReporterName;
  /** Null for standard output. */
  readonly file: string | null;
}

/** `html=report.html`, `github`. Throws what is wrong with it. */
export function parseReporter(text: string): ReportTarget {
  const at = text.indexOf('=');
  const given = at < 0 ? text : text.slice(0, at);
  const name = REPORTER_NAMES.find((one) => one === given);
  if (name === undefined) {
    const names = REPORTER_NAMES.join(', ');
    throw new Error(`expected one of ${names}.${suggestion(given, REPORTER_NAMES)}`);
  }
  const file = at < 0 ? null : text.slice(at + 1);
  if (file === '') throw new Error('expected a file after =');
  return { name, file };
}
