/** What we draw ourselves is a claim as well, and a reachable one. */
import { expect, it } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { findScenario } from '../../src/catalogue/index.ts';
import { judgeClaim } from '../../src/claim/judge.ts';
import { diagram } from '../../src/report/diagram.ts';
import { record } from '../../src/trace/record.ts';

it.each([
  ['last-put', 'v5.2'],
  ['interval-remove', 'v5.5'],
  ['kfd-unregister', 'v5.3'],
  ['get-after-exit', 'unpinned'],
])('the pictures of %s %s are reachable', (name, variant) => {
  const scenario = findScenario(name) as AnyScenario;
  const { violations } = checkVariant(scenario, variant);
  expect(violations.length).toBeGreaterThan(0);
  const [{ schedule }] = violations as readonly [(typeof violations)[number]];
  const recording = record(programOf(scenario, variant), schedule, allDetectors());
  for (const width of [100, 160]) {
    const picture = diagram(recording, recording.findings[0] ?? null, { width });
    const answer = judgeClaim(picture, {
      scenarios: [scenario],
      catalogue: [],
      variant,
      nearest: (_, names) => names[0] ?? null,
    });
    expect(answer.puzzles).toEqual([]);
    expect(answer.claim.steps.length).toBeGreaterThan(10);
    expect(answer.verdict, picture).toBe('reachable');
  }
});
