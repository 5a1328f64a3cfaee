/**
 * Scenarios do what they say, in every variant, and all of it is explored; each violation replays from its token; and
 * the pages in docs/scenarios say so. `expectations-1` and `-2` ask that of all that are no acceptance programs, each of
 * one half: files are what runs side by side.
 */
import { describe, expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { preemptionsOf } from '../../src/check/preemption.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { ScenarioPage } from '../docs/scenario-page.ts';
import { replayed } from '../util/replayed.ts';

export function expectWhatIsSaid(scenarios: readonly AnyScenario[]): void {
  for (const scenario of scenarios) {
    describe(scenario.name, () => {
      const page = new ScenarioPage(scenario);
      for (const variant of Object.keys(scenario.variants)) {
        test(`${variant} is what it is expected to be`, () => {
          const result = checkVariant(scenario, variant);
          page.add(result);
          const found = result.violations.map(({ kind, object, message }) => [
            kind,
            object,
            message,
          ]);
          expect({ found, asExpected: result.asExpected }).toEqual({ found, asExpected: true });
          // Not all is explored only where a bound is stated.
          const bound = scenario.variants[variant]?.preemptions ?? scenario.preemptions;
          expect(result.complete).toBe(bound === undefined);
          expect(result.suspicions).toEqual([]);
          if (result.verdict !== 'violation') expect(found).toEqual([]);
          for (const violation of result.violations) {
            const program = programOf(scenario, variant);
            expect(replayed(program, violation.schedule)).toContain(identityOf(violation));
            const shown = preemptionsOf(program, violation.schedule);
            expect(violation.preemptions).toBeLessThanOrEqual(shown);
          }
        });
      }
      test('its page says what was found (npm run docs:scenarios writes it)', (context) => {
        if (!page.isWhole) context.skip('not all variants were checked');
        if (process.env['UPDATE_DOCS'] === '1') page.write();
        else if (!page.isWritten && process.env['CI'] === undefined) context.skip('no page yet');
        else expect(page.written()).toBe(page.text());
      });
    });
  }
}
