/** Loads the scenarios of docs/examples, with the sources as the package `mmulab`. */
import { readFileSync } from 'node:fs';
import { transform } from 'sucrase';
import type { AnyScenario } from '../../src/check/scenario.ts';
import * as mmulab from '../../src/index.ts';

/** What the file, by its path below `docs`, exports. */
export function loadExample(path: string): AnyScenario[] {
  const source = readFileSync(new URL(`../../docs/${path}`, import.meta.url), 'utf8');
  const { code } = transform(source, { transforms: ['typescript', 'imports'] });
  const exported: Record<string, AnyScenario> = {};
  // oxlint-disable-next-line typescript/no-implied-eval -- the documents are our own
  const run = new Function('require', 'exports', code) as (
    require: () => unknown,
    exports: object,
  ) => void;
  run(() => mmulab, exported);
  return Object.values(exported);
}
