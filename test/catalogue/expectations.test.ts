/**
 * Every scenario that is no acceptance program does what it says, in every variant, and all of it is explored; each
 * violation replays from its token; and its page in docs/scenarios says so.
 */
import { describe, expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { preemptionsOf } from '../../src/check/preemption.ts';
import { programOf } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { ScenarioPage } from '../docs/scenario-page.ts';
import { replayed } from '../util/replayed.ts';

for (const scenario of DRIVER_SCENARIOS) {
  describe(scenario.name, () => {
    const page = new ScenarioPage(scenario);
    for (const variant of Object.keys(scenario.variants)) {
      test(`${variant} is what it is expected to be`, () => {
        const result = checkVariant(scenario, variant);
        page.add(result);
        const found = result.violations.map(({ kind, object, message }) => [kind, object, message]);
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
