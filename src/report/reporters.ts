/** All reporters, by name. */
import { assert } from '../base/assert.ts';
import { github } from './github.ts';
import { html } from './html.ts';
import { itf } from './itf.ts';
import { jsonReporter } from './json.ts';
import { junit } from './junit.ts';
import { mermaid } from './mermaid.ts';
import { perfetto } from './perfetto.ts';
import type { Reporter } from './reporter.ts';
import type { ReporterName } from './reporter-name.ts';
import { sarif } from './sarif.ts';
import { textReporter } from './text.ts';

export const REPORTERS: readonly Reporter[] = [
  textReporter,
  jsonReporter,
  html,
  junit,
  sarif,
  github,
  itf,
  perfetto,
  mermaid,
];

export function findReporter(name: ReporterName): Reporter {
  const found = REPORTERS.find((reporter) => reporter.name === name);
  assert(found !== undefined, `there is a reporter ${name}`);
  return found;
}
