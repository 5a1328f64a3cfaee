/**
 * `import 'mmulab/vitest'`: the matcher with which a test asks the checker.
 *
 *     expect(scenario).toHoldInEveryInterleaving();
 *
 * It passes if every variant does what it is expected to, or, where nothing is expected, if nothing is
 * found. The message of a failure is what `mmulab check` prints: the picture and the line that replays
 * it. Exploration runs in the test's own process; an endless loop in the driver hangs the test.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { checkVariant, type CheckOptions } from '../check/check-variant.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { EXIT_OK, exitCodeOf } from './exit-code.ts';
import { findVariant } from './find-scenario.ts';
import { displayPath } from './place.ts';
import { presentCheck } from './present.ts';
import { importedFiles } from './resolve-import.ts';
import { scenarioProblem } from './scenario-problem.ts';

export interface MatcherOptions {
  /** Only this variant. */
  readonly variant?: string;
  /** Stop after so many executions; without it the search is complete. */
  readonly executionCountMax?: number;
}

interface MatcherResult {
  readonly pass: boolean;
  readonly message: () => string;
}

declare module 'vitest' {
  interface Assertion {
    /** Checks a scenario as `mmulab check` does. */
    toHoldInEveryInterleaving(options?: MatcherOptions): void;
  }
}

const VIEW = { isJson: false, hasColor: false, columns: 120, isBrief: false };

expect.extend({
  toHoldInEveryInterleaving(received: unknown, options: MatcherOptions = {}): MatcherResult {
    const scenario = received as AnyScenario;
    const problem =
      typeof received === 'object' && received !== null
        ? scenarioProblem(received)
        : 'expected a scenario, made by defineScenario';
    if (problem !== null) return { pass: false, message: () => problem };
    const { variant, executionCountMax } = options;
    const names =
      variant === undefined ? Object.keys(scenario.variants) : [findVariant(scenario, variant)];
    const file = fileOf(scenario.name, expect.getState().testPath ?? null);
    const limits: CheckOptions = executionCountMax === undefined ? {} : { executionCountMax };
    const results = names.map((name) => ({ name, result: checkVariant(scenario, name, limits) }));
    const wrong = results.filter(({ result }) => exitCodeOf(result) !== EXIT_OK);
    const shown = wrong.length > 0 ? wrong : results;
    return {
      pass: wrong.length === 0,
      message: () =>
        shown
          .map(({ name, result }) => {
            const origin = { scenario, variant: name, file };
            return presentCheck(result, origin, VIEW).text;
          })
          .join('\n'),
    };
  },
});

/** The file that defines the scenario, as far as can be told: its name is in it. For the replay line. */
function fileOf(name: string, testPath: string | null): string | null {
  if (testPath === null) return null;
  const isDefinition = (path: string): boolean => {
    const text = readFileSync(path, 'utf8');
    return (
      text.includes('defineScenario') && (text.includes(`'${name}'`) || text.includes(`"${name}"`))
    );
  };
  const files = importedFiles(testPath).slice(1);
  const found = files.find((path) => isDefinition(path));
  return found === undefined ? null : displayPath(found);
}
