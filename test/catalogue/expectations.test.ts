/** Every scenario that is no acceptance program does what it says, in every variant, and all of it is explored. */
import { describe, expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';

for (const scenario of DRIVER_SCENARIOS) {
  describe(scenario.name, () => {
    for (const variant of Object.keys(scenario.variants)) {
      test(`${variant} is what it is expected to be`, () => {
        const result = checkVariant(scenario, variant);
        const found = result.violations.map(({ kind, object, message }) => [kind, object, message]);
        expect({ found, asExpected: result.asExpected }).toEqual({ found, asExpected: true });
        expect(result.complete).toBe(true);
        expect(result.suspicions).toEqual([]);
        if (result.verdict !== 'violation') expect(found).toEqual([]);
      }, 60_000);
    }
  });
}
