/**
 * What we draw ourselves is a claim as well, and a reachable one. `MMULAB_ALL_PICTURES=1` pastes back the
 * pictures of every violation of the catalogue.
 */
import { expect, it } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Violation } from '../../src/check/result.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { SCENARIOS } from '../../src/catalogue/index.ts';
import { judgeClaim, type ClaimAnswer } from '../../src/claim/judge.ts';
import { diagram } from '../../src/report/diagram.ts';
import { findingOf } from '../../src/report/text.ts';
import { record } from '../../src/trace/record.ts';

/** Some that are quick, of all kinds: below a call, before the first step, with two workers of one name. */
const SAMPLE = new Set([
  'get-after-exit',
  'locked-register',
  'unload',
  'over-put',
  'silent-reaper',
  'unregister-exit',
  'radeon-release-twice',
  'program/ab-ba',
]);
const isAll = process.env['MMULAB_ALL_PICTURES'] === '1';
/** What is not found by then may be found later: only 'not reachable' would be wrong. */
const EXECUTION_COUNT_MAX = isAll ? 3000 : 500;

const CASES = SCENARIOS.filter(({ name }) => isAll || SAMPLE.has(name)).flatMap((scenario) =>
  Object.entries(scenario.variants).flatMap(([variant, { expect: expected }]) =>
    expected?.verdict === 'violation'
      ? [{ name: `${scenario.name} ${variant}`, scenario, variant }]
      : [],
  ),
);

function pictureOf(
  scenario: AnyScenario,
  variant: string,
  violation: Violation,
  width: number,
): string {
  const identity = identityOf(violation);
  const recording = record(programOf(scenario, variant), violation.schedule, allDetectors(), {
    isSought: (finding) => identityOf(finding) === identity,
  });
  return diagram(recording, findingOf(recording, violation), { width });
}

function judge(picture: string, scenario: AnyScenario, variant: string): ClaimAnswer {
  return judgeClaim(picture, {
    scenarios: [scenario],
    catalogue: [],
    variant,
    nearest: (_, names) => names[0] ?? null,
    executionCountMax: EXECUTION_COUNT_MAX,
  });
}

it.each(CASES)(
  'the pictures of $name are reachable',
  { timeout: 600_000 },
  ({ scenario, variant }) => {
    const { violations } = checkVariant(scenario, variant, {
      executionCountMax: EXECUTION_COUNT_MAX,
    });
    const kinds = new Map(violations.map((violation) => [violation.kind, violation]));
    for (const violation of kinds.values()) {
      // The last is too narrow for columns.
      for (const width of [100, 60]) {
        const picture = pictureOf(scenario, variant, violation, width);
        const { claim, puzzles, variants, verdict } = judge(picture, scenario, variant);
        const why = JSON.stringify([puzzles, variants.map(({ obstacle }) => obstacle?.reasons)]);
        expect(claim.format).toBe('picture');
        expect(['reachable', 'undecided'], `${picture}\n${why}`).toContain(verdict);
      }
    }
  },
);

it('a table with numbers that somebody has made is read as one', () => {
  const { claim } = judge(
    [
      '     CPU0          CPU1',
      '     ----          ----',
      '  1  kfree(p)',
      '  3                foo()',
    ].join('\n'),
    SCENARIOS[0] as AnyScenario,
    'v5.3',
  );
  expect(claim.format).toBe('table');
});
